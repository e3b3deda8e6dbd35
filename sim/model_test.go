package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

// modelled is what the model knows of one request: who stands to it how, and where
// it is. Stage 0 is the manager's; stage 1, on the vaults, is two of security.
type modelled struct {
	id          countersign.RequestID
	asker       string
	holder      string
	entitlement string
	state       countersign.RequestState
	stage       int
	// approved are the approvals of the open stage, ever those of all.
	approved, ever []string
}

// model is the law of requests in short: what the desk must answer, and how
// everything stands afterwards. The engine works at once, and the target as well.
type model struct {
	w        *world
	requests []*modelled
}

var (
	managers  = map[string]string{"ana": "max", "olga": "max", "ben": "pia", "syd": "bea", "max": "bea"}
	ownerOf   = map[string]string{"svc": "olga", "svc-ana": "ana"}
	guardians = []string{"syd", "sam", "sue"}
	askers    = []string{"ana", "olga", "ben", "syd", "max"}
	deciders  = []string{"ana", "max", "bea", "olga", "pia", "syd", "sam", "sue", "otto", "ben"}
	wanted    = []string{"ledger/books/read", "ledger/vaults/open", "wiki/space/reader"}
	stillOpen = []countersign.RequestState{countersign.RequestCollecting, countersign.RequestDeciding, countersign.RequestFulfilling}
)

// onePerson reports whether the decider counts as one with who asked or gets it.
func (r *modelled) onePerson(who string) bool {
	return who == r.asker || who == r.holder || who == ownerOf[r.holder]
}

// mayDecide reports whether the open stage asks the person, who is not kept out.
func (r *modelled) mayDecide(who string) bool {
	asked := who == managers[r.asker]
	if r.stage == 1 {
		asked = slices.Contains(guardians, who)
	}
	return r.state == countersign.RequestDeciding && asked && !r.onePerson(who) && !slices.Contains(r.approved, who)
}

// decidersFirst lists everybody, those more often who may decide.
func (r *modelled) decidersFirst() []string {
	all := slices.Clone(deciders)
	for _, who := range deciders {
		if r.mayDecide(who) {
			all = append(all, who, who, who, who, who, who)
		}
	}
	return all
}

// maySubmit reports whether the desk takes it: nothing of it is open or live.
func (m *model) maySubmit(r *modelled) bool {
	return !slices.ContainsFunc(m.requests, func(other *modelled) bool {
		busy := slices.Contains(stillOpen, other.state) || other.state == countersign.RequestActive
		return busy && other.holder == r.holder && other.entitlement == r.entitlement
	})
}

// opens is the state after everything was collected.
func (r *modelled) opens() {
	r.state, r.stage, r.approved = countersign.RequestDeciding, 0, nil
}

func (r *modelled) approve(who string) {
	r.approved, r.ever = append(r.approved, who), append(r.ever, who)
	switch {
	case r.stage == 0 && r.entitlement == "ledger/vaults/open":
		r.stage, r.approved = 1, nil
	case r.stage == 0 || len(r.approved) == 2:
		r.state = countersign.RequestActive
	}
}

// ends is the state of a request whose access was taken away.
func (r *modelled) ends() {
	r.state = countersign.RequestClosed
	if r.entitlement != "wiki/space/reader" {
		r.state = countersign.RequestClosing // the handover is owed
	}
}

func TestTheDeskDoesWhatTheModelSays(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		clock := time.Unix(0, 0)
		w := newWorld(outer, 1, true, func() time.Time { return clock })
		defer w.close()
		m := &model{w: w}
		draw := func(t *rapid.T, states ...countersign.RequestState) *modelled {
			var fit []*modelled
			for _, r := range m.requests {
				if len(states) == 0 || slices.Contains(states, r.state) {
					fit = append(fit, r)
				}
			}
			if len(fit) == 0 {
				t.Skip("there is none")
			}
			return rapid.SampledFrom(fit).Draw(t, "request")
		}
		// answered compares the desk's answer with the model's.
		answered := func(t *rapid.T, err error, may bool, what string) bool {
			if kind := countersign.KindOf(err); may != (err == nil) || kind == countersign.Internal || kind == countersign.Unavailable {
				t.Fatalf("%s: the model says %v, the desk %v", what, may, err)
			}
			return may
		}
		t.Repeat(map[string]func(*rapid.T){
			"submit": func(t *rapid.T) {
				r := &modelled{asker: rapid.SampledFrom(askers).Draw(t, "asker"), entitlement: rapid.SampledFrom(wanted).Draw(t, "entitlement")}
				r.holder = rapid.SampledFrom([]string{r.asker, "svc", "svc-ana"}).Draw(t, "holder")
				id, err := m.desk().Submit(w.ctx, w.as(r.asker), desk.Key{}, desk.Asking{Beneficiary: r.holder, Entitlements: []string{r.entitlement}, Reason: "the books of the month are due", Duration: countersign.Day})
				if !answered(t, err, m.maySubmit(r), fmt.Sprintf("%s submits %s for %s", r.asker, r.entitlement, r.holder)) {
					return
				}
				r.id = id
				m.requests = append(m.requests, r)
				if r.opens(); r.holder != r.asker && ownerOf[r.holder] != r.asker {
					r.state = countersign.RequestCollecting // the owner has to consent
				}
			},
			"consent": func(t *rapid.T) {
				r, who := draw(t, countersign.RequestCollecting), rapid.SampledFrom(deciders).Draw(t, "who")
				err := m.desk().Consent(w.ctx, w.as(who), desk.Key{}, r.id)
				if answered(t, err, who == ownerOf[r.holder], who+" consents") {
					r.opens()
				}
			},
			"approve": func(t *rapid.T) {
				r := draw(t)
				who := rapid.SampledFrom(r.decidersFirst()).Draw(t, "who")
				if slices.Contains(r.ever, who) {
					t.Skip("the same approval again is no new one")
				}
				err := m.desk().Approve(w.ctx, w.as(who), desk.Key{}, r.id, desk.Decision{Shown: m.shown(t, r)})
				if answered(t, err, r.mayDecide(who), fmt.Sprintf("%s approves %+v", who, *r)) {
					r.approve(who)
				}
			},
			"deny": func(t *rapid.T) {
				r, who := draw(t, stillOpen...), rapid.SampledFrom(deciders).Draw(t, "who")
				err := m.desk().Deny(w.ctx, w.as(who), desk.Key{}, r.id, desk.Decision{Shown: m.shown(t, r), Reason: "not now"})
				if answered(t, err, r.mayDecide(who), fmt.Sprintf("%s denies %+v", who, *r)) {
					r.state = countersign.RequestDenied
				}
			},
			"cancel": func(t *rapid.T) {
				r, who := draw(t, append(slices.Clone(stillOpen), countersign.RequestActive)...), rapid.SampledFrom(deciders).Draw(t, "who")
				err := m.desk().Cancel(w.ctx, w.as(who), desk.Key{}, r.id, "not needed any more")
				if answered(t, err, r.onePerson(who) && slices.Contains(stillOpen, r.state), fmt.Sprintf("%s cancels %+v", who, *r)) {
					r.state = countersign.RequestCancelled
				}
			},
			"revoke": func(t *rapid.T) {
				r, who := draw(t, countersign.RequestActive), rapid.SampledFrom(deciders).Draw(t, "who")
				err := m.desk().Revoke(w.ctx, w.as(who), desk.Key{}, m.grant(t, r), "not needed any more")
				if answered(t, err, r.onePerson(who) || who == "otto", fmt.Sprintf("%s revokes %+v", who, *r)) {
					r.ends()
				}
			},
			"a day passes": func(t *rapid.T) {
				clock = clock.Add(24*time.Hour + time.Second)
				m.must(t, m.house().Engine.Beat(w.ctx))
				for _, r := range m.requests {
					if r.state == countersign.RequestActive {
						r.ends()
					}
					if r.state == countersign.RequestCollecting || r.state == countersign.RequestDeciding {
						// Silence is another test's: whoever asked gives up meanwhile.
						m.must(t, m.desk().Cancel(w.ctx, w.as(r.asker), desk.Key{}, r.id, "it took too long"))
						r.state = countersign.RequestCancelled
					}
				}
			},
			"": func(t *rapid.T) { m.compare(t) },
		})
		found, err := desk.Verify(w.ctx, w.store, func(int64) {})
		if err != nil || len(found.Findings) > 0 {
			t.Fatalf("the record: %v, %v", found, err)
		}
	})
}

func (m *model) desk() *desk.Desk    { return m.house().Desk }
func (m *model) house() *house.House { return m.w.houses[0] }

func (m *model) must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) shown(t *rapid.T, r *modelled) countersign.Digest {
	view, err := m.desk().Request(m.w.ctx, m.w.as("aud"), r.id)
	m.must(t, err)
	return view.Shown
}

func (m *model) grant(t *rapid.T, r *modelled) countersign.GrantID {
	request, err := m.w.store.Request(m.w.ctx, r.id)
	m.must(t, err)
	return request.Grants[0].Grant
}

// compare lets the engine work, and holds storage and target to the model: each
// state, and exactly one live grant for each active request.
func (m *model) compare(t *rapid.T) {
	m.must(t, m.house().Settle(m.w.ctx))
	onTarget := 0
	for _, r := range m.requests {
		request, err := m.w.store.Request(m.w.ctx, r.id)
		m.must(t, err)
		if request.State != r.state {
			t.Fatalf("the model says %+v, and the desk %s (%s)", *r, request.State, request.Outcome)
		}
		if r.state == countersign.RequestActive && r.entitlement != "wiki/space/reader" {
			onTarget++
		}
	}
	if len(m.w.target.held) != onTarget {
		t.Fatalf("the target holds %d credentials, and the model %d", len(m.w.target.held), onTarget)
	}
}
