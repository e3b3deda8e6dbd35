package chaos

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// stopTime is how long docs/operating.md gives a process before it may be killed.
	stopTime = 75 * time.Second
	// noticeTime is a part of the three seconds for which a replica that is stopped goes
	// on to answer: somebody who begins within it can rely on that.
	noticeTime = 2 * time.Second
	// slowness is how long the target takes to put something, one thing after the other,
	// so that much is under way, and much is leased and not begun, when the replica is
	// stopped.
	slowness = 80 * time.Millisecond
)

// stop is one replica that gets SIGTERM under load.
type stop struct {
	*load
	replica *process
	// unready is closed when a balancer would have heard that it gets no requests.
	unready chan struct{}
	// at is when the signal was sent.
	lock sync.Mutex
	at   time.Time
}

func TestAReplicaStoppedBySIGTERMUnderLoadAnswersWhatItWasAskedAndGivesBackWhatItHasNotBegun(t *testing.T) {
	t.Parallel()
	h := onPostgres(t, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := &stop{load: &load{house: h, pairs: map[string]int{}}, replica: h.replicas[0], unready: make(chan struct{})}
	var turn sync.Mutex
	h.target.interrupt(func(method, _ string) {
		if method == http.MethodPut {
			turn.Lock()
			defer turn.Unlock()
			<-time.After(slowness)
		}
	})
	// Some are approved while the replica says that it stops, so that something is fresh
	// when its doors are closed: what has waited for long is given back before.
	const many, late = 50, 14
	var waiting []*asked
	var shown []string
	for i := range many {
		var three []string
		for n := range 3 {
			three = append(three, fmt.Sprintf("ledger/books/r%02d", 1+3*(i/16)+n))
		}
		a := must(s.ask(ctx, asker(0), beneficiary(i%16), three...))(t)
		waiting, shown = append(waiting, a), append(shown, must(h.view(ctx, "max", a.id))(t).Shown)
	}
	approve := func(replica *process, i int) {
		if said := h.approve(ctx, replica, waiting[i], shown[i]); !said.done() {
			t.Errorf("approving: %s", said)
			return
		}
		waiting[i].fate = kept
	}
	for i := range many - late {
		approve(s.replica, i)
	}

	ended := s.watch(ctx, waiting[0].id)
	half := s.half(asker(1), s.key())
	var callers sync.WaitGroup
	for i := range 3 {
		callers.Go(func() { s.calling(ctx, asker(i)) })
	}
	s.lock.Lock()
	s.at = time.Now()
	s.replica.signal(t, syscall.SIGTERM)
	s.lock.Unlock()
	callers.Go(func() {
		for i := many - late; i < many && time.Since(s.at) < noticeTime; i++ {
			approve(s.replica, i)
			<-time.After(noticeTime / (late + 2))
		}
	})
	s.isUnready(ctx)
	callers.Wait()
	s.isClosed(ctx)
	leased := s.leases()
	half.finish()
	ending, cancel := context.WithDeadline(ctx, s.at.Add(stopTime))
	defer cancel()
	if err := s.replica.ends(ending); err != nil {
		t.Fatalf("%s after SIGTERM: %v", stopTime, err)
	}
	left := time.Now()
	h.balance()
	if code := s.replica.command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("stopped by SIGTERM, it ends with %d; its log is\n%s", code, s.replica.log)
	}
	if lasted := <-ended; lasted > 10*time.Second {
		t.Errorf("a stream lasted for %s after SIGTERM", lasted)
	}
	if still := s.leases(); len(still) != 0 {
		t.Errorf("the replica ended %s ago, and leased to it are\n%s", time.Since(left), strings.Join(still, "\n"))
	}
	unsure := s.works(`SELECT ref FROM work WHERE kind = 'deliver' AND trouble <> ''`)
	h.target.interrupt(nil)
	h.replicas = append(h.replicas, nil)
	h.up(1, "")
	half.again(ctx, h.replicas[1])
	for i, a := range waiting {
		if a.fate != kept {
			approve(h.replicas[1], i)
		}
	}
	// What the target was told is also reported, and the next replica does the rest. On a
	// slow machine the target answers some after their time: those are reported as that,
	// and are tried again.
	for _, a := range waiting {
		for _, grant := range must(h.viewAt(ctx, h.replicas[1], a.id))(t).Grants {
			if by := h.target.put(grant.Credentials[0].ID); len(by) > 0 && by[0] == "0" && grant.State != "live" && !slices.Contains(unsure, grant.ID) {
				t.Errorf("%s was put before the end of the replica, and is %s after it", grant.ID, grant.State)
			}
		}
	}
	for _, a := range waiting {
		for must(h.viewAt(ctx, h.replicas[1], a.id))(t).State != "active" {
			if err := s.wait(ctx); err != nil {
				t.Fatalf("%s is never active", a.id)
			}
		}
	}
	took := time.Since(left)
	if tags := os.Getenv(tagsVariable); tags != "" && !strings.Contains(tags, "shortlease") && took > 30*time.Second {
		t.Errorf("the next replica took what was left only after %s", took)
	}
	h.check(s.asked)
	t.Logf("it ended %s after SIGTERM; %d items were leased to it when its doors were closed, of %d it did not know the outcome, and the next one had done all that it left after %s", left.Sub(s.at), len(leased), len(unsure), took)
	if len(leased) == 0 {
		t.Error("nothing was leased to the replica when its doors were closed, so nothing was given back")
	}
}

// calling asks and reads at the replica until a balancer would not any more. Whatever
// it asks in that time is answered.
func (s *stop) calling(ctx context.Context, login string) {
	for {
		select {
		case <-s.unready:
			return
		default:
		}
		began := time.Now()
		holders, right, err := s.pair("crypt", 1)
		if err != nil {
			s.t.Error(err)
			return
		}
		reason := "the crypt is damp, " + s.key()
		said := s.call(ctx, s.replica.url, login, http.MethodPost, "/api/v1/requests", s.key(), requestBody{Beneficiary: holders[0], Entitlements: []string{right}, Reason: reason})
		view, err := parsed(said)
		s.lock.Lock()
		late := !s.at.IsZero() && began.After(s.at.Add(noticeTime))
		s.lock.Unlock()
		if err != nil && late {
			return
		}
		if err != nil {
			s.t.Errorf("what was asked before a replica closed its doors is answered by %s", said)
			return
		}
		s.note(&asked{id: view.ID, reason: reason, holder: holders[0], rights: []string{right}, fate: undecided})
	}
}

// isUnready asks as a balancer does, until the replica says that it gets no requests.
func (s *stop) isUnready(ctx context.Context) {
	s.t.Helper()
	defer close(s.unready)
	for {
		said := s.call(ctx, s.replica.url, "", http.MethodGet, "/readyz", "", nil)
		switch {
		case said.status == http.StatusServiceUnavailable:
			return
		case !said.done():
			s.t.Errorf("a replica that was sent SIGTERM answers %s to /readyz before it said that it is not ready", said)
			return
		}
	}
}

// isClosed waits until the replica takes no connection any more.
func (s *stop) isClosed(ctx context.Context) {
	s.t.Helper()
	for {
		connection, err := net.Dial("tcp", strings.TrimPrefix(s.replica.url, "http://"))
		if err != nil {
			return
		}
		connection.Close()
		if err := s.wait(ctx); err != nil {
			s.t.Fatal("the replica never closes its doors")
		}
	}
}

// leases are the items that are leased to the replica, as the database has it, but for
// those whose outcome is not known: they wait for the end of their lease.
func (s *stop) leases() []string {
	s.t.Helper()
	return s.works(`SELECT format('%s %s, attempt %s, claimed at %s', kind, key, attempt, claimed_at) FROM work
		WHERE leased_by LIKE $1 AND lease_until > $2 AND NOT (kind = 'deliver' AND trouble <> '') ORDER BY claimed_at`,
		fmt.Sprintf("%%/%d/%%", s.replica.command.Process.Pid), time.Now().UnixMilli())
}

// works reads one text of each item of work that a query finds.
func (s *stop) works(query string, args ...any) (found []string) {
	s.t.Helper()
	database, err := sql.Open("pgx", s.database)
	if err != nil {
		s.t.Fatal(err)
	}
	defer database.Close()
	rows, err := database.Query(query, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			s.t.Fatal(err)
		}
		found = append(found, one)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return found
}

// watch follows a request at the replica, and says how long after the signal the
// stream ended.
func (s *stop) watch(ctx context.Context, id string) (ended <-chan time.Duration) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.replica.url+"/api/v1/requests/"+id+"/watch", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.tokens["aud"])
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("watching: %v, %v", response, err)
	}
	told := make(chan time.Duration, 1)
	go func() {
		defer response.Body.Close()
		// Its end is all that is waited for.
		_, _ = io.Copy(io.Discard, response.Body)
		s.lock.Lock()
		defer s.lock.Unlock()
		told <- time.Since(s.at)
	}()
	return told
}

// halfAsked is a request whose first half was sent to the replica.
type halfAsked struct {
	*stop
	*asked
	login, key string
	body       requestBody
	connection net.Conn
	rest       string
}

const requestsPath = "/api/v1/requests"

func (s *stop) half(login, key string) *halfAsked {
	s.t.Helper()
	holders, right, err := s.pair("crypt", 1)
	if err != nil {
		s.t.Fatal(err)
	}
	a := &asked{reason: "the crypt is damp, and it takes long to say so", holder: holders[0], rights: []string{right}, fate: undecided}
	half := &halfAsked{stop: s, asked: a, login: login, key: key, body: requestBody{Beneficiary: holders[0], Entitlements: a.rights, Reason: a.reason}}
	content, err := json.Marshal(half.body)
	if err != nil {
		s.t.Fatal(err)
	}
	half.rest = string(content[10:])
	if half.connection, err = net.Dial("tcp", strings.TrimPrefix(s.replica.url, "http://")); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { half.connection.Close() })
	if _, err := fmt.Fprintf(half.connection, "POST %s HTTP/1.1\r\nHost: house\r\nAuthorization: Bearer %s\r\nIdempotency-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		requestsPath, s.tokens[login], key, len(content), content[:10]); err != nil {
		s.t.Fatal(err)
	}
	return half
}

// finish sends the rest, and hears the answer.
func (half *halfAsked) finish() {
	half.t.Helper()
	if _, err := io.WriteString(half.connection, half.rest); err != nil {
		half.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(half.connection), nil)
	if err != nil {
		half.t.Fatalf("what was under way when the doors were closed is not answered: %v", err)
	}
	defer response.Body.Close()
	said := answer{status: response.StatusCode}
	if said.body, err = io.ReadAll(response.Body); err != nil || !said.done() {
		half.t.Fatalf("what was under way when the doors were closed is answered by %s, %v", said, err)
	}
	half.id = idOf(said)
	half.note(half.asked)
}

// again asks the next replica under the same key.
func (half *halfAsked) again(ctx context.Context, replica *process) {
	half.t.Helper()
	if said := half.call(ctx, replica.url, half.login, http.MethodPost, requestsPath, half.key, half.body); idOf(said) != half.id {
		half.t.Errorf("it was answered as %s, and under the same key the next replica answers %s", half.id, said)
	}
}
