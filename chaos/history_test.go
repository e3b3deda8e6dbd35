package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// recorder keeps what several clients did to one object, and when.
type recorder struct {
	*house
	began   time.Time
	lock    sync.Mutex
	history []porcupine.Operation
}

// do records one call of a client.
func (r *recorder) do(client int, did action, call func() answer) outcome {
	from := time.Since(r.began)
	said := call()
	to := time.Since(r.began)
	result := outcome{done: said.done(), reason: said.reason}
	if view, err := parsed(said); err == nil && did.name == "read" {
		result.state, result.number = view.State, view.Duration
	}
	// Nothing is killed here: every call has an answer that says what became of it.
	if !said.done() && !said.definite() && said.reason != "changed-meanwhile" {
		r.t.Errorf("%+v is answered by %s", did, said)
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.history = append(r.history, porcupine.Operation{ClientId: client, Input: did, Output: result, Call: int64(from), Return: int64(to)})
	return result
}

// post sends a command to one of the replicas.
func (r *recorder) post(replica int, login, path string, body any) answer {
	return r.call(context.Background(), r.replicas[replica%len(r.replicas)].url, login, http.MethodPost, path, "", body)
}

func (r *recorder) get(replica int, login, path string) answer {
	return r.call(context.Background(), r.replicas[replica%len(r.replicas)].url, login, http.MethodGet, path, "", nil)
}

// together lets all clients begin at the same instant.
func together(clients ...func()) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for _, client := range clients {
		all.Go(func() {
			<-start
			client()
		})
	}
	close(start)
	all.Wait()
}

// Each of these histories is recorded through HTTP from three replicas.
func TestWhatReplicasAnswerAtTheSameInstantIsWhatOneAfterTheOtherCouldHaveBeenAnswered(t *testing.T) {
	t.Parallel()
	chance := seeded(t)
	h := onPostgres(t, 3)
	h.sign("otto")
	l := &load{house: h, pairs: map[string]int{}}
	fresh := func() *recorder { return &recorder{house: h, began: time.Now()} }
	var all []*asked
	for _, kind := range []struct {
		name   string
		rounds int
		record func(*load, *recorder, *rand.Rand, int) []*asked
	}{
		{"request", rounds(8), (*load).requestHistory},
		{"grant", rounds(4), (*load).grantHistory},
		// The people of these can be used once, so there are as many.
		{"toxic", askers(), (*load).toxicHistory},
		{"break-glass", askers(), (*load).emergencyHistory},
		{"group", reviewers(), (*load).membershipHistory},
	} {
		for round := range kind.rounds {
			r := fresh()
			all = append(all, kind.record(l, r, chance, round)...)
			t.Logf("%s %d: %d calls", kind.name, round, len(r.history))
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	h.check(all)
}

// requestHistory records deciders, the one who asked and readers of one request.
func (l *load) requestHistory(r *recorder, chance *rand.Rand, _ int) []*asked {
	ctx := context.Background()
	holders, right, err := l.pair("ledger", 1)
	a := must(l.ask(ctx, asker(0), holders[0], right))(l.t)
	if err != nil {
		l.t.Fatal(err)
	}
	path := "/api/v1/requests/" + a.id
	first := must(l.view(ctx, "aud", a.id))(l.t)
	read := func(client, replica int, login string) (shown string, duration int64) {
		did := action{name: "read", who: login}
		var view seen
		result := r.do(client, did, func() answer {
			said := r.get(replica, login, path)
			if err := json.Unmarshal(said.body, &view); err != nil {
				l.t.Error(err)
			}
			return said
		})
		return view.Shown, result.number
	}
	decide := func(client int, login, verb string, seed uint64) func() {
		own := rand.New(rand.NewPCG(seed, 0))
		return func() {
			// Who is refused looks again; who is not says it once more.
			shown, duration := read(client, own.IntN(3), login)
			for range 2 {
				body := map[string]any{"shown": shown, "reason": "as I see it"}
				did := r.do(client, action{verb, login, duration}, func() answer { return r.post(own.IntN(3), login, path+"/"+verb, body) })
				if !did.done {
					shown, duration = read(client, own.IntN(3), login)
				}
			}
		}
	}
	own := rand.New(rand.NewPCG(chance.Uint64(), 0))
	type amendment struct {
		Entitlements []string `json:"entitlements"`
		Reason       string   `json:"reason"`
		Duration     int64    `json:"duration"`
	}
	together(
		decide(0, "max", "approve", chance.Uint64()),
		decide(1, "syd", "deny", chance.Uint64()),
		func() {
			for i := range 3 {
				amended := amendment{a.rights, a.reason, int64(86400 * (2 + i))}
				r.do(2, action{"amend", asker(0), amended.Duration}, func() answer { return r.post(own.IntN(3), asker(0), path+"/amend", amended) })
			}
			if own.IntN(2) == 0 {
				r.do(2, action{"cancel", asker(0), 0}, func() answer {
					return r.post(own.IntN(3), asker(0), path+"/cancel", map[string]any{"reason": "not needed"})
				})
			}
		},
		func() {
			for i := range 4 {
				read(3, i, "aud")
			}
		},
	)
	legal(l.t, model(asking{"deciding", first.Duration, ""}, requestLaw), r.history)
	l.remember(ctx, a)
	return []*asked{a}
}

// remember reads what became of a request whose history was lawful.
func (l *load) remember(ctx context.Context, a *asked) {
	l.t.Helper()
	switch must(l.view(ctx, "aud", a.id))(l.t).State {
	case "denied":
		a.fate = denied
	case "cancelled":
		a.fate = cancelled
	case "fulfilling", "active":
		a.fate = kept
	}
}

// granted asks for something, has it approved, and waits until it is live.
func (l *load) granted(ctx context.Context, by, holder string, rights ...string) (*asked, *seen) {
	l.t.Helper()
	a := must(l.ask(ctx, by, holder, rights...))(l.t)
	if err := l.decide(ctx, a, "approve", kept); err != nil {
		l.t.Fatal(err)
	}
	for {
		view := must(l.view(ctx, by, a.id))(l.t)
		if view.State == "active" {
			return a, view
		}
		if err := l.wait(ctx); err != nil {
			l.t.Fatal(err)
		}
	}
}

// grantHistory records revokes, the approval of an extension, and readers.
func (l *load) grantHistory(r *recorder, chance *rand.Rand, _ int) []*asked {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	holders, right, err := l.pair("ledger", 1)
	if err != nil {
		l.t.Fatal(err)
	}
	a, view := l.granted(ctx, asker(0), holders[0], right)
	grant := view.Grants[0].ID
	longer := &asked{reason: "a longer look at the books, " + l.key(), holder: holders[0], rights: a.rights}
	said := r.post(0, asker(0), "/api/v1/requests", requestBody{Beneficiary: holders[0], Entitlements: a.rights, Reason: longer.reason, Extends: grant, Duration: 20 * 86400})
	longer.id = must(parsed(said))(l.t).ID
	shown := must(l.view(ctx, "max", longer.id))(l.t).Shown
	order := chance.Perm(3)
	revoke := func(client int, login string) func() {
		return func() {
			r.do(client, action{"revoke", login, 0}, func() answer {
				return r.post(order[client%3], login, "/api/v1/grants/"+grant+"/revoke", map[string]any{"reason": "not needed any more"})
			})
		}
	}
	together(revoke(0, asker(0)), revoke(1, "otto"),
		func() {
			did := r.do(2, action{"extend", "max", 0}, func() answer {
				return r.post(order[2], "max", "/api/v1/requests/"+longer.id+"/approve", map[string]any{"shown": shown})
			})
			longer.fate = undecided
			if did.done {
				longer.fate = lengthened
			}
		},
		func() {
			for i := range 3 {
				r.do(3, action{name: "read", who: "aud"}, func() answer { return r.get(i, "aud", "/api/v1/grants/"+grant) })
			}
		},
	)
	legal(l.t, model(lasting{}, grantLaw), r.history)
	a.fate = revoked
	return []*asked{a, longer}
}

// toxicHistory records the two halves of a combination, asked for and approved at
// once; in every other round one half is for a service of the same person.
func (l *load) toxicHistory(r *recorder, chance *rand.Rand, round int) []*asked {
	ctx := context.Background()
	by := asker(round)
	l.signed(by)
	other := by
	if round%2 == 1 {
		other = fmt.Sprintf("svc%d", round)
	}
	requests := make([]*asked, 2)
	half := func(i int, holder, system, login string, replica int) func() {
		number := int64(i + 1)
		return func() {
			a := &asked{reason: "both halves are needed, " + l.key(), holder: holder, rights: []string{system + "/books/r00"}, fate: undecided}
			var view seen
			did := r.do(i, action{"submit", by, number}, func() answer {
				said := r.post(replica, by, "/api/v1/requests", requestBody{Beneficiary: holder, Entitlements: a.rights, Reason: a.reason})
				// What was refused is no request.
				_ = json.Unmarshal(said.body, &view)
				return said
			})
			if !did.done {
				return
			}
			a.id, requests[i] = view.ID, a
			shown := must(l.view(ctx, login, a.id))(l.t).Shown
			for try := range 2 {
				did := r.do(i, action{"approve", login, number}, func() answer {
					return r.post(replica+try, login, "/api/v1/requests/"+a.id+"/approve", map[string]any{"shown": shown})
				})
				if did.done {
					a.fate = kept
					return
				}
			}
		}
	}
	together(half(0, by, "ledger", "max", chance.IntN(3)), half(1, other, "crypt", "syd", chance.IntN(3)))
	legal(l.t, model(halves{}, toxicLaw), r.history)
	var opened []*asked
	for _, a := range requests {
		if a != nil {
			opened = append(opened, a)
		}
	}
	return opened
}

// emergencyHistory records somebody who takes the same by break-glass four times at
// once.
func (l *load) emergencyHistory(r *recorder, _ *rand.Rand, round int) []*asked {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	by := asker(round)
	l.signed(by)
	eligible, _ := l.granted(ctx, by, by, "wiki/books/r00-on-call")
	said := r.post(0, by, "/targets/tickets/tickets", map[string]any{"kind": "incident", "title": "The wiki shows the wrong handbook"})
	var ticket struct{ Key string }
	if err := json.Unmarshal(said.body, &ticket); err != nil || ticket.Key == "" {
		l.t.Fatalf("no incident: %s", said)
	}
	a := &asked{reason: "the handbook is wrong, " + l.key(), holder: by, rights: []string{"wiki/books/r00"}, fate: kept}
	body := requestBody{Type: "break-glass", Entitlements: a.rights, Reason: a.reason, Answers: map[string]any{"incident": ticket.Key}}
	var clients []func()
	var opened sync.Map
	for client := range 4 {
		clients = append(clients, func() {
			r.do(client, action{"take", by, 0}, func() answer {
				said := r.post(client, by, "/api/v1/requests", body)
				if view, err := parsed(said); err == nil {
					opened.Store(view.ID, true)
				}
				return said
			})
		})
	}
	together(clients...)
	legal(l.t, model(taken(false), emergencyLaw), r.history)
	opened.Range(func(id, _ any) bool { a.id = id.(string); return true })
	return []*asked{eligible, a}
}

// membershipHistory records somebody who approves several requests while she is
// taken out of the group that decides them.
func (l *load) membershipHistory(r *recorder, chance *rand.Rand, round int) []*asked {
	ctx := context.Background()
	who := reviewer(round)
	l.signed(who)
	var all []*asked
	var clients []func()
	for client := range 3 {
		holders, right, err := l.pair("attic", 1)
		if err != nil {
			l.t.Fatal(err)
		}
		a := must(l.ask(ctx, asker(0), holders[0], right))(l.t)
		all = append(all, a)
		shown := must(l.view(ctx, who, a.id))(l.t).Shown
		replica, wait := chance.IntN(3), time.Duration(chance.IntN(20))*time.Millisecond
		clients = append(clients, func() {
			<-time.After(wait)
			did := r.do(client, action{"approve", who, int64(client)}, func() answer {
				return r.post(replica, who, "/api/v1/requests/"+a.id+"/approve", map[string]any{"shown": shown})
			})
			if did.done {
				a.fate = kept
			}
		})
	}
	var left []string
	for i := round + 1; i < reviewers(); i++ {
		left = append(left, reviewer(i))
	}
	text := directoryFile()
	from := strings.Index(text, "{name: reviewers, members: [")
	to := from + strings.Index(text[from:], "]")
	text = text[:from] + "{name: reviewers, members: [" + strings.Join(append([]string{"sue"}, left...), ", ") + text[to:]
	clients = append(clients, func() {
		r.do(3, action{"remove", "adam", 0}, func() answer {
			said := r.post(1, "adam", "/api/v1/directory/apply", map[string]any{"files": []map[string]any{{"path": "directory/all.yaml", "content": text}}})
			if !strings.Contains(string(said.body), "reviewers") {
				l.t.Errorf("taking %s out of the group: %s", who, said)
			}
			return said
		})
	})
	together(clients...)
	legal(l.t, model(standing(true), membershipLaw), r.history)
	return all
}
