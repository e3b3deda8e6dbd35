package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/store/pgtest"
	"github.com/countersign/countersign/store/sqlstore"
)

// patience bounds whatever has to happen in a test, leases of the real length
// and slow machines included.
const patience = 6 * time.Minute

// pace is how long is waited between two looks at something, or two tries.
const pace = 50 * time.Millisecond

// house is the real program in one or more processes behind a load balancer.
type house struct {
	t *testing.T
	// place are the flags that name where it is kept.
	place        []string
	database     string
	organisation string
	// configuration is a file for serve; "" for none.
	configuration string
	// program is another version than the present one; "" for that.
	program string
	target  *outside
	// door is where callers reach the house in place of the balancer; "" for that.
	door     string
	balancer *balancer
	replicas []*process
	lock     sync.Mutex
	tokens   map[string]string
}

// onSQLite founds a house on the embedded database; one process serves it.
func onSQLite(t *testing.T) *house { return newHouse(t).found() }

// newHouse is one on SQLite that is not founded yet.
func newHouse(t *testing.T) *house {
	data := filepath.Join(t.TempDir(), "house")
	return &house{t: t, place: []string{"--data", data}, database: filepath.Join(data, "countersign.db"), replicas: make([]*process, 1)}
}

// onPostgres founds a house that several replicas serve.
func onPostgres(t *testing.T, replicas int) *house {
	return onDatabase(t, replicas, pgtest.Database(t, migrate))
}

func migrate(url string) error { return sqlstore.Migrate(context.Background(), url) }

func onDatabase(t *testing.T, replicas int, url string) *house {
	h := &house{
		t: t, place: []string{"--database", url, "--key-file", filepath.Join(t.TempDir(), "master.key")}, database: url,
		replicas: make([]*process, replicas),
	}
	return h.found()
}

// found starts all replicas, the first of which founds the house.
func (h *house) found() *house {
	h.t.Helper()
	if h.organisation == "" {
		h.organisation = organisation(h.t)
	}
	if h.target == nil {
		h.target = newOutside(h.t)
	}
	h.balancer = newBalancer(h.t)
	h.tokens = map[string]string{}
	for i := range h.replicas {
		h.up(i, "")
	}
	h.sign(append([]string{"max", "syd", asker(0), asker(1), asker(2), asker(3)}, powerful...)...)
	h.empowered()
	return h
}

// empowered waits until every replica knows the powers that the files hand out: like
// all access, they are carried out after they were given.
func (h *house) empowered() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, replica := range h.replicas {
		for _, login := range powerful {
			for {
				said, err := h.insistAt(ctx, replica.url, login, http.MethodGet, "/api/v1/me", "", nil)
				if err != nil {
					h.t.Fatal(err)
				}
				var me struct{ Powers []string }
				if err := json.Unmarshal(said.body, &me); err != nil {
					h.t.Fatalf("the powers of %s are read as %s, %v", login, said, err)
				}
				if len(me.Powers) == 1 {
					break
				}
				select {
				case <-ctx.Done():
					h.t.Fatalf("the power of %s is never there: %s", login, said)
				case <-time.After(pace):
				}
			}
		}
	}
}

// up starts a replica, which kills itself at the point; "" for none. The replica
// that was there before must have ended.
func (h *house) up(replica int, point string) {
	h.t.Helper()
	arguments := append([]string{"serve", "--listen", "127.0.0.1:0", "--org", h.organisation}, h.place...)
	if h.configuration != "" {
		arguments = append(arguments, "--config", h.configuration)
	}
	// The target learns from the path which replica calls it.
	target := fmt.Sprintf("%s/%d", h.target.address, replica)
	started, err := start(h.t, h.version(), []string{"COUNTERSIGN_FAULTPOINT=" + point, "COUNTERSIGN_OUTSIDE_TARGET=" + target}, arguments...)
	if err != nil {
		h.t.Fatalf("the house does not start: %v", err)
	}
	h.replicas[replica] = started
	h.ready(started)
	h.balance()
}

// version is the program that the house is served with.
func (h *house) version() string {
	h.t.Helper()
	if h.program != "" {
		return h.program
	}
	return program(h.t)
}

// run runs a command of that program on the house's host.
func (h *house) run(arguments ...string) (string, error) {
	h.t.Helper()
	return run(h.t, h.version(), append(arguments, h.place...)...)
}

// ready waits until the replica says that it should get requests, as a balancer does,
// or has killed itself before.
func (h *house) ready(replica *process) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !h.call(ctx, replica.url, "", http.MethodGet, "/readyz", "", nil).done() {
		select {
		case <-replica.ended:
			return
		case <-ctx.Done():
			h.t.Fatalf("a replica is never ready; its log is\n%s", replica.log)
		case <-time.After(pace):
		}
	}
}

// down kills a replica.
func (h *house) down(replica int) {
	h.t.Helper()
	h.replicas[replica].kill()
	h.balance()
}

// balance tells the balancer which replicas there are.
func (h *house) balance() {
	h.t.Helper()
	var all []*url.URL
	for _, replica := range h.replicas {
		if replica == nil {
			continue
		}
		select {
		case <-replica.ended:
		default:
			address, err := url.Parse(replica.url)
			if err != nil {
				h.t.Fatal(err)
			}
			all = append(all, address)
		}
	}
	h.balancer.set(all)
}

// sign gets tokens, as somebody on the house's host does; each lasts an hour.
func (h *house) sign(logins ...string) {
	h.t.Helper()
	var all sync.WaitGroup
	for _, login := range logins {
		all.Go(func() {
			token, err := h.run("token", "issue", "--as", login)
			if err != nil {
				h.t.Errorf("no token for %s: %v %s", login, err, token)
			}
			h.lock.Lock()
			defer h.lock.Unlock()
			h.tokens[login] = token
		})
	}
	all.Wait()
	if h.t.Failed() {
		h.t.FailNow()
	}
}

// signed gets a token for somebody who has none yet.
func (h *house) signed(login string) {
	h.t.Helper()
	h.lock.Lock()
	has := h.tokens[login] != ""
	h.lock.Unlock()
	if !has {
		h.sign(login)
	}
}

// answer is what the house said. Its status is 0 where nobody answered.
type answer struct {
	status int
	reason string
	body   []byte
}

// definite reports whether it is known what became of the command.
func (a answer) definite() bool {
	return a.status != 0 && a.status < 500 && a.status != http.StatusTooManyRequests && a.reason != "changed-meanwhile"
}

func (a answer) done() bool { return a.status >= 200 && a.status < 300 }

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// call sends one request to the server at base and reads the answer. With a key a
// command can be sent again.
func (h *house) call(ctx context.Context, base, login, method, path, key string, body any) answer {
	content, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	var reader io.Reader = http.NoBody
	if body != nil {
		reader = bytes.NewReader(content)
	}
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, base+path, reader)
	if err != nil {
		panic(err)
	}
	h.lock.Lock()
	request.Header.Set("Authorization", "Bearer "+h.tokens[login])
	h.lock.Unlock()
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{body: []byte(err.Error())}
	}
	defer response.Body.Close()
	said := answer{status: response.StatusCode}
	if said.body, err = io.ReadAll(response.Body); err != nil {
		return answer{body: []byte(err.Error())}
	}
	if !said.done() {
		var problem struct{ Reason string }
		// What is no problem document has no reason.
		_ = json.Unmarshal(said.body, &problem)
		said.reason = problem.Reason
	}
	return said
}

// insist sends a command through the balancer, again and again under the same key,
// until it is known what became of it.
func (h *house) insist(ctx context.Context, login, method, path, key string, body any) (answer, error) {
	return h.insistAt(ctx, h.front(), login, method, path, key, body)
}

// front is where callers reach the house.
func (h *house) front() string {
	if h.door != "" {
		return h.door
	}
	return h.balancer.server.URL
}

// insistAt does so at one server.
func (h *house) insistAt(ctx context.Context, base, login, method, path, key string, body any) (answer, error) {
	for {
		said := h.call(ctx, base, login, method, path, key, body)
		if said.definite() {
			return said, nil
		}
		select {
		case <-ctx.Done():
			return said, fmt.Errorf("%s %s as %s is never answered, at last %s", method, path, login, said)
		case <-time.After(pace):
		}
	}
}

// balancer passes each request to the next replica. It tries none twice.
type balancer struct {
	server   *httptest.Server
	lock     sync.Mutex
	replicas []*url.URL
	next     int
}

func newBalancer(t *testing.T) *balancer {
	b := &balancer{}
	proxy := &httputil.ReverseProxy{
		ErrorLog:     log.New(io.Discard, "", 0), // of replicas that are killed
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(b.pick()) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	b.server = httptest.NewServer(proxy)
	t.Cleanup(b.server.Close)
	return b
}

func (b *balancer) set(replicas []*url.URL) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.replicas = replicas
}

// nowhere is where nobody listens.
var nowhere = &url.URL{Scheme: "http", Host: "127.0.0.1:1"}

func (b *balancer) pick() *url.URL {
	b.lock.Lock()
	defer b.lock.Unlock()
	if len(b.replicas) == 0 {
		return nowhere
	}
	b.next++
	return b.replicas[b.next%len(b.replicas)]
}
