package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// fate is what the load has made of a request.
type fate string

const (
	undecided fate = "undecided"
	kept      fate = "approved and kept"
	revoked   fate = "approved and revoked"
	denied    fate = "denied"
	cancelled fate = "cancelled"
	// lengthened is an extension that was approved, of a grant that was revoked.
	lengthened fate = "approved, and too late"
)

// asked is one request that was acknowledged, and what was acknowledged of it
// since.
type asked struct {
	id, reason, holder string
	rights             []string
	fate               fate
}

// requestBody is what is asked.
type requestBody struct {
	Beneficiary  string         `json:"beneficiary"`
	Entitlements []string       `json:"entitlements"`
	Reason       string         `json:"reason"`
	Duration     int64          `json:"duration,omitempty"`
	Extends      string         `json:"extends,omitempty"`
	Type         string         `json:"type,omitempty"`
	Answers      map[string]any `json:"answers,omitempty"`
}

// seen is what the house says of a request.
type seen struct {
	ID       string      `json:"id"`
	State    string      `json:"state"`
	Shown    string      `json:"shown"`
	Duration int64       `json:"duration"`
	Grants   []seenGrant `json:"grants"`
}

type seenGrant struct {
	ID          string           `json:"id"`
	State       string           `json:"state"`
	Credentials []seenCredential `json:"credentials"`
}

type seenCredential struct {
	ID string `json:"id"`
}

// load asks, decides, revokes and holds from several callers at once, and remembers
// what was acknowledged. Each command is sent under one key until it is.
type load struct {
	*house
	commands atomic.Int64
	lock     sync.Mutex
	asked    []*asked
	// pairs, by system, is how much was asked for already.
	pairs map[string]int
	// people are those who are kept for sweeps, and have nothing now.
	people []string
	stop   chan struct{}
	// ctx ends when the load has failed.
	ctx     context.Context
	workers sync.WaitGroup
	// preferred is the scenario that is played most.
	preferred atomic.Value
}

const callers = 4

// begin starts the load.
func (h *house) begin(chance *rand.Rand) *load {
	ctx, failed := context.WithCancel(context.Background())
	h.t.Cleanup(failed)
	l := &load{house: h, stop: make(chan struct{}), pairs: map[string]int{}, ctx: ctx}
	for i := range sweepers {
		l.people = append(l.people, beneficiary(beneficiaries-1-i))
	}
	l.preferred.Store("")
	for i := range callers {
		own := rand.New(rand.NewPCG(chance.Uint64(), 0))
		l.workers.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				if err := l.play(i, own); err != nil {
					h.t.Error(err)
					failed()
					return
				}
			}
		})
	}
	return l
}

// end lets each caller come to the end of what it began.
func (l *load) end() []*asked {
	close(l.stop)
	l.workers.Wait()
	return l.asked
}

var scenarios = []string{"keep", "keep", "revoke at once", "revoke", "deny", "cancel", "batch", "sweep"}

// play plays one scenario from its beginning to its end.
func (l *load) play(caller int, chance *rand.Rand) error {
	ctx, cancel := context.WithTimeout(l.ctx, patience)
	defer cancel()
	scenario, _ := l.preferred.Load().(string)
	if scenario == "" || chance.IntN(2) == 0 {
		scenario = scenarios[chance.IntN(len(scenarios))]
	}
	by := asker(caller)
	if scenario == "batch" {
		return l.batch(ctx, by)
	}
	if scenario == "sweep" {
		if person := l.person(); person != "" {
			return l.sweep(ctx, by, person)
		}
		scenario = "revoke"
	}
	system := []string{"ledger", "ledger", "crypt", "wiki"}[chance.IntN(4)]
	holders, right, err := l.pair(system, 1)
	if err != nil {
		return err
	}
	a, err := l.ask(ctx, by, holders[0], right)
	if err != nil {
		return err
	}
	switch scenario {
	case "deny":
		return l.decide(ctx, a, "deny", denied)
	case "cancel":
		return l.command(ctx, by, "/requests/"+a.id+"/cancel", map[string]any{"reason": "not needed"}, func() { a.fate = cancelled })
	}
	if err := l.decide(ctx, a, "approve", kept); err != nil || scenario == "keep" {
		return err
	}
	view, err := l.view(ctx, by, a.id)
	for err == nil && scenario == "revoke" && view.State == "fulfilling" {
		if err = l.wait(ctx); err == nil {
			view, err = l.view(ctx, by, a.id)
		}
	}
	if err != nil {
		return err
	}
	if len(view.Grants) != 1 {
		return fmt.Errorf("%s was approved and has %d grants", a.id, len(view.Grants))
	}
	return l.command(ctx, by, "/grants/"+view.Grants[0].ID+"/revoke", map[string]any{"reason": "not needed any more"}, func() { a.fate = revoked })
}

func (l *load) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pace):
		return nil
	}
}

// sweepers is how many of those who benefit are kept for sweeps.
const sweepers = 8

// pair returns some people and a right that nobody asked for them yet. The first
// right is half of a toxic combination, and not of this load.
func (l *load) pair(system string, people int) (holders []string, right string, err error) {
	l.lock.Lock()
	defer l.lock.Unlock()
	const most = beneficiaries - sweepers
	n := l.pairs[system]
	if n%most+people > most {
		n += most - n%most
	}
	l.pairs[system] = n + people
	for i := range people {
		holders = append(holders, beneficiary(n%most+i))
	}
	if n/most >= rights-1 {
		err = fmt.Errorf("all there is in %s was asked for: the load takes too long", system)
	}
	return holders, fmt.Sprintf("%s/books/r%02d", system, 1+n/most), err
}

// person takes somebody who has nothing now; "" where there is nobody.
func (l *load) person() string {
	l.lock.Lock()
	defer l.lock.Unlock()
	if len(l.people) == 0 {
		return ""
	}
	person := l.people[0]
	l.people = l.people[1:]
	return person
}

func (l *load) key() string { return fmt.Sprintf("key-%d", l.commands.Add(1)) }

// command sends a command until it is acknowledged, and does then.
func (l *load) command(ctx context.Context, login, path string, body any, then func()) error {
	said, err := l.insist(ctx, login, http.MethodPost, "/api/v1"+path, l.key(), body)
	if err != nil {
		return err
	}
	if !said.done() {
		return fmt.Errorf("%s as %s: %s", path, login, said)
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	then()
	return nil
}

func (l *load) ask(ctx context.Context, by, holder string, rights ...string) (*asked, error) {
	key := l.key()
	a := &asked{reason: "the books of the month are due, " + key, holder: holder, rights: rights, fate: undecided}
	said, err := l.insist(ctx, by, http.MethodPost, "/api/v1/requests", key, requestBody{Beneficiary: holder, Entitlements: rights, Reason: a.reason})
	if err != nil {
		return nil, err
	}
	var view seen
	if !said.done() || json.Unmarshal(said.body, &view) != nil {
		return nil, fmt.Errorf("%s asks for %v for %s: %s", by, rights, holder, said)
	}
	a.id = view.ID
	l.note(a)
	return a, nil
}

// note keeps what was acknowledged.
func (l *load) note(a *asked) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.asked = append(l.asked, a)
}

// view reads a request until it is answered.
func (h *house) view(ctx context.Context, login, id string) (*seen, error) {
	said, err := h.insist(ctx, login, http.MethodGet, "/api/v1/requests/"+id, "", nil)
	if err != nil {
		return nil, err
	}
	return parsed(said)
}

// parsed is the request that an answer shows.
func parsed(said answer) (*seen, error) {
	if !said.done() {
		return nil, fmt.Errorf("a request is read as %s", said)
	}
	var view seen
	return &view, json.Unmarshal(said.body, &view)
}

// decider is who decides on what is asked for in a system.
func decider(right string) string {
	if right[:5] == "crypt" {
		return "syd"
	}
	return "max"
}

func (l *load) decide(ctx context.Context, a *asked, verb string, then fate) error {
	login := decider(a.rights[0])
	view, err := l.view(ctx, login, a.id)
	if err != nil {
		return err
	}
	return l.command(ctx, login, "/requests/"+a.id+"/"+verb, map[string]any{"shown": view.Shown, "reason": "as I see it"}, func() { a.fate = then })
}

// batch asks for three at once, and leaves them undecided.
func (l *load) batch(ctx context.Context, by string) error {
	key := l.key()
	reason := "the books of the quarter are due, " + key
	holders, right, err := l.pair("ledger", 3)
	if err != nil {
		return err
	}
	said, err := l.insist(ctx, by, http.MethodPost, "/api/v1/batches", key, map[string]any{"beneficiaries": holders, "entitlements": []string{right}, "reason": reason})
	if err != nil {
		return err
	}
	var batch struct {
		ID    string `json:"id"`
		Done  bool   `json:"done"`
		Items []struct{ Request, Because string }
	}
	for err == nil && said.done() {
		if err = json.Unmarshal(said.body, &batch); err != nil || batch.Done {
			break
		}
		if err = l.wait(ctx); err == nil {
			said, err = l.insist(ctx, by, http.MethodGet, "/api/v1/batches/"+batch.ID, "", nil)
		}
	}
	if err != nil || !batch.Done || len(batch.Items) != len(holders) {
		return fmt.Errorf("a batch of %s: %s %w", by, said, err)
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	for i, item := range batch.Items {
		if item.Request == "" {
			return fmt.Errorf("an item of a batch was refused: %s", item.Because)
		}
		l.asked = append(l.asked, &asked{id: item.Request, reason: reason, holder: holders[i], rights: []string{right}, fate: undecided})
	}
	return nil
}

// sweep gives somebody three rights, holds the person and revokes all of them, and
// lifts the hold when they are gone.
func (l *load) sweep(ctx context.Context, by, person string) error {
	a, err := l.ask(ctx, by, person, "ledger/books/r01", "ledger/books/r02", "ledger/books/r03")
	if err != nil {
		return err
	}
	if err := l.decide(ctx, a, "approve", kept); err != nil {
		return err
	}
	said, err := l.insist(ctx, "adam", http.MethodPost, "/api/v1/holds", l.key(), map[string]any{"on": person, "reason": "the account is in wrong hands", "revoke": true})
	var hold struct{ ID string }
	if err != nil || !said.done() || json.Unmarshal(said.body, &hold) != nil {
		return fmt.Errorf("a hold on %s: %s %w", person, said, err)
	}
	l.lock.Lock()
	a.fate = revoked
	l.lock.Unlock()
	for {
		view, err := l.view(ctx, by, a.id)
		if err != nil {
			return err
		}
		if settled(view, revoked) == "" {
			break
		}
		if err := l.wait(ctx); err != nil {
			return fmt.Errorf("what is under a hold does not end: %w", err)
		}
	}
	return l.command(ctx, "adam", "/holds/"+hold.ID+"/lift", map[string]any{"reason": "it is in the right hands again"}, func() { l.people = append(l.people, person) })
}
