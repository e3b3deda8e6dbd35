package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire stands between two who speak over connections, and can be cut.
type wire struct {
	lock  sync.Mutex
	pairs map[*pair]bool
	// losing is how many answers are still to be lost.
	losing int
}

// pair is one connection of who calls and the one to who answers behind it.
type pair struct {
	wire      *wire
	near, far net.Conn
	lock      sync.Mutex
	// deaf says that what is answered is lost.
	deaf bool
}

// newWire returns a wire that begins at the listener and ends where dial leads.
func newWire(t *testing.T, listener net.Listener, dial func() (net.Conn, error)) *wire {
	t.Helper()
	w := &wire{pairs: map[*pair]bool{}}
	t.Cleanup(func() {
		listener.Close()
		w.lock.Lock()
		defer w.lock.Unlock()
		for p := range w.pairs {
			p.near.Close()
		}
	})
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := dial()
			if err != nil {
				// Who answers is away, and so is this connection.
				_ = near.Close()
				continue
			}
			w.join(&pair{wire: w, near: near, far: far})
		}
	}()
	return w
}

// wireBefore returns a wire before a server of HTTP, and the server's address at the
// near end of it.
func wireBefore(t *testing.T, server string) (*wire, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	behind := strings.TrimPrefix(server, "http://")
	return newWire(t, listener, func() (net.Conn, error) { return net.Dial("tcp", behind) }), "http://" + listener.Addr().String()
}

func (w *wire) join(p *pair) {
	w.lock.Lock()
	w.pairs[p] = true
	w.lock.Unlock()
	end := func() {
		w.lock.Lock()
		delete(w.pairs, p)
		w.lock.Unlock()
		// Either may be closed already.
		_ = errors.Join(p.near.Close(), p.far.Close())
	}
	go func() {
		defer end()
		// How a copy ends says nothing: connections are cut here.
		_, _ = io.Copy(p.far, p.near)
	}()
	go func() {
		defer end()
		_, _ = io.Copy(p, p.far)
	}()
}

// Write passes on what is answered, unless it is lost.
func (p *pair) Write(content []byte) (int, error) {
	if p.wire.loses() {
		return 0, errors.New("the connection is cut")
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.deaf {
		return len(content), nil
	}
	return p.near.Write(content)
}

// lose cuts the connections of the next answers before those come out of the wire:
// what was commanded is done then, and nobody heard of it.
func (w *wire) lose(answers int) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.losing = answers
}

func (w *wire) loses() bool {
	w.lock.Lock()
	defer w.lock.Unlock()
	if w.losing == 0 {
		return false
	}
	w.losing--
	return true
}

// toLose is how many answers are still to be lost.
func (w *wire) toLose() int {
	w.lock.Lock()
	defer w.lock.Unlock()
	return w.losing
}

// cut cuts every connection: some at once, and some after commands went through
// whose answers are lost.
func (w *wire) cut(t *testing.T, chance *rand.Rand) {
	w.lock.Lock()
	var now, later []*pair
	for p := range w.pairs {
		if chance.IntN(2) == 0 {
			now = append(now, p)
		} else {
			later = append(later, p)
		}
	}
	w.lock.Unlock()
	for _, p := range later {
		p.lock.Lock()
		p.deaf = true
		p.lock.Unlock()
	}
	for _, p := range now {
		_ = p.near.Close()
	}
	<-time.After(100 * time.Millisecond)
	for _, p := range later {
		_ = p.near.Close()
	}
	t.Logf("%d connections cut, %d after answers were lost", len(now)+len(later), len(later))
}

// wired founds a house on SQLite with a wire before its target and one before its
// callers.
func wired(t *testing.T) (h *house, target, callers *wire) {
	t.Helper()
	h = newHouse(t)
	h.target = newOutside(t)
	target, h.target.address = wireBefore(t, h.target.address)
	h.found()
	callers, h.door = wireBefore(t, h.balancer.server.URL)
	return h, target, callers
}

func TestWithTheConnectionsOfItsTargetAndOfItsCallersCutNothingIsLostHalfDoneOrDoneTwice(t *testing.T) {
	t.Parallel()
	for round := range rounds(1) {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			chance := seeded(t)
			h, target, callers := wired(t)
			l := h.begin(chance)
			for range 8 {
				<-time.After(time.Duration(chance.IntN(int(500 * time.Millisecond))))
				for _, i := range chance.Perm(2) {
					[]*wire{target, callers}[i].cut(t, chance)
				}
			}
			h.check(l.end())
		})
	}
}

// Each answer is lost on its way, of the house and of its target, after what it
// answers was done.
func TestWhoseAnswerIsLostAsksAgainAndHearsTheSameAndItWasDoneOnce(t *testing.T) {
	t.Parallel()
	h, target, callers := wired(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := &load{house: h, pairs: map[string]int{}}
	// again sends a command whose first two answers are lost, and then once more.
	again := func(login, path string, body any) answer {
		t.Helper()
		key := l.key()
		callers.lose(2)
		said, err := h.insist(ctx, login, http.MethodPost, "/api/v1"+path, key, body)
		if err != nil || !said.done() || callers.toLose() != 0 {
			t.Fatalf("%s is answered by %s, %v; %d answers are still to be lost", path, said, err, callers.toLose())
		}
		if once, err := h.insist(ctx, login, http.MethodPost, "/api/v1"+path, key, body); err != nil || once.status != said.status || idOf(once) != idOf(said) || idOf(said) == "" {
			t.Errorf("%s is answered by %s, and once more under the same key by %s, %v", path, said, once, err)
		}
		return said
	}
	// The target's answers to what changes it are lost; what is read comes through.
	var lock sync.Mutex
	lost := map[string]int{}
	h.target.interrupt(func(method, _ string) {
		lock.Lock()
		defer lock.Unlock()
		if method != http.MethodGet && lost[method] == 0 {
			lost[method]++
			target.lose(1)
		}
	})
	holders, right, err := l.pair("ledger", 1)
	if err != nil {
		t.Fatal(err)
	}
	a := &asked{reason: "the line is bad, " + l.key(), holder: holders[0], rights: []string{right}, fate: kept}
	view := must(parsed(again(asker(0), "/requests", requestBody{Beneficiary: holders[0], Entitlements: a.rights, Reason: a.reason})))(t)
	a.id = view.ID
	again("max", "/requests/"+a.id+"/approve", map[string]any{"shown": view.Shown})
	h.grantOf(ctx, a.id, `"state":"live"`)
	grant := must(h.view(ctx, "max", a.id))(t).Grants[0]
	if given := h.target.times(); len(given) != 1 || given[grant.Credentials[0].ID] != 1 {
		t.Errorf("the target was given %v", given)
	}
	again(asker(0), "/grants/"+grant.ID+"/revoke", map[string]any{"reason": "not needed any more"})
	a.fate = revoked
	h.check([]*asked{a})
	lock.Lock()
	defer lock.Unlock()
	if lost[http.MethodPut] != 1 || lost[http.MethodDelete] != 1 || target.toLose() != 0 {
		t.Errorf("of the target, the answers lost are %v, and %d are still to be", lost, target.toLose())
	}
}

// idOf is the id of what an answer shows.
func idOf(said answer) string {
	var shown struct{ ID string }
	// What has no id is found by the caller.
	_ = json.Unmarshal(said.body, &shown)
	return shown.ID
}
