package sim

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

// The model is the law of requests in short: what the desk must answer, and how
// everything stands afterwards. The engine works at once, and the target as well.
//
// Stage 0 is the manager's, or else the leads'; on the ledger silence asks bea and the
// leads as well. Stage 1, on the vaults, is two of security. Who writes the books does
// not open the vaults.
type model struct {
	w        *world
	requests []*modelled
	// suspended are people and machines, with who suspended them.
	suspended map[string]string
	holds     []modelledHold
	// happened counts what came of it, over all checks.
	happened map[string]int
}

// modelled is what the model knows of one request: who stands to it how, and where
// it is.
type modelled struct {
	id          countersign.RequestID
	asker       string
	holder      string
	entitlement string
	reason      string
	duration    countersign.Seconds
	// extends is the request whose access is to have a later end; nil asks for access.
	extends *modelled
	state   countersign.RequestState
	stage   int
	climbed bool
	// approved are the approvals of the open stage, ever those of all.
	approved, ever []string
	// grant is the access, until when it ends, replaced when each credential does that
	// was rotated.
	grant    countersign.GrantID
	until    countersign.Instant
	replaced []countersign.Instant
}

// modelledHold is a hold on somebody, a system, an entitlement or a grant, by name.
type modelledHold struct {
	id countersign.HoldID
	on string
}

const read, write, vaults, wiki = "ledger/books/read", "ledger/books/write", "ledger/vaults/open", "wiki/space/reader"

var (
	managers  = map[string]string{"ana": "max", "olga": "max", "ben": "pia", "syd": "bea", "max": "bea", "pia": "bea", "pit": "bea", "sam": "bea", "sue": "bea"}
	ownerOf   = map[string]string{"svc": "olga", "svc-ana": "ana"}
	halves    = map[string]string{write: vaults, vaults: write}
	leads     = []string{"pia", "pit"}
	guardians = []string{"syd", "sam", "sue"}
	admins    = []string{"adam", "alma"}
	// systemOwners are those of the ledger and of the wiki.
	systemOwners = []string{"otto", "pit"}
	askers       = []string{"ana", "olga", "ben", "syd", "max"}
	deciders     = []string{"ana", "max", "bea", "olga", "pia", "pit", "syd", "sam", "sue", "otto", "ben", "adam", "alma"}
	stillOpen    = []countersign.RequestState{countersign.RequestCollecting, countersign.RequestDeciding}
)

func person(who string) string { return cmp.Or(ownerOf[who], who) }

func (r *modelled) open() bool   { return slices.Contains(stillOpen, r.state) }
func (r *modelled) active() bool { return r.state == countersign.RequestActive }

// onePerson reports whether somebody counts as one with who asked or gets it.
func (r *modelled) onePerson(who string) bool {
	return who == r.asker || who == r.holder || who == ownerOf[r.holder]
}

func (m *model) held(on ...string) bool {
	return slices.ContainsFunc(m.holds, func(hold modelledHold) bool { return slices.Contains(on, hold.on) })
}

// stopped reports whether something stands against giving r's holder more.
func (m *model) stopped(r *modelled) bool {
	system, _, _ := strings.Cut(r.entitlement, "/")
	return m.suspended[r.holder] != "" || m.suspended[person(r.holder)] != "" || m.held(r.holder, system, r.entitlement)
}

// refuses reports whether r may not be asked for, approved or carried out now.
func (m *model) refuses(r *modelled) bool {
	combined := slices.ContainsFunc(m.requests, func(other *modelled) bool {
		return other.active() && person(other.holder) == person(r.holder) && other.entitlement == halves[r.entitlement]
	})
	return combined || m.stopped(r) || m.suspended[r.asker] != "" || m.held(r.asker)
}

// taken reports whether r's holder has the same already, or asks for it.
func (m *model) taken(r *modelled) bool {
	return slices.ContainsFunc(m.requests, func(other *modelled) bool {
		same := other.holder == r.holder && other.entitlement == r.entitlement
		return same && (other.open() || other.active() && other != r.extends)
	})
}

// extendable reports whether r asks for no later end, or for one that can be had.
func (m *model) extendable(r *modelled) bool {
	return r.extends == nil || r.extends.active() && m.now().Add(r.duration) > r.extends.until
}

// asks returns whom a stage of r asks.
func (m *model) asks(r *modelled, stage int, climbed bool) []string {
	out := func(who string) bool { return m.suspended[who] != "" || r.onePerson(who) }
	asked := slices.DeleteFunc([]string{managers[r.asker]}, out)
	switch {
	case stage == 1:
		asked = slices.Clone(guardians)
	case len(asked) == 0:
		asked = slices.Clone(leads)
	}
	if climbed {
		asked = append(asked, "bea", "pia", "pit")
	}
	slices.Sort(asked)
	return slices.Compact(slices.DeleteFunc(asked, out))
}

// possible reports whether a stage of r can pass, with the approvals that it has.
func (m *model) possible(r *modelled, stage int, climbed bool, approved []string) bool {
	people := slices.Concat(m.asks(r, stage, climbed), approved)
	slices.Sort(people)
	return len(slices.Compact(people)) > stage
}

// mayDecide reports whether the open stage asks somebody, who has not decided yet.
func (m *model) mayDecide(r *modelled, who string) bool {
	return r.state == countersign.RequestDeciding && slices.Contains(m.asks(r, r.stage, r.climbed), who) && !slices.Contains(r.approved, who) && !m.held(who)
}

// last reports whether one more approval is all that r needs.
func (r *modelled) last() bool {
	return len(r.approved) == r.stage && (r.stage == 1 || r.entitlement != vaults)
}

// suppliable reports whether all stages of r can be decided, as they are at first.
func (m *model) suppliable(r *modelled) bool {
	return m.possible(r, 0, false, nil) && (r.entitlement != vaults || m.possible(r, 1, false, nil))
}

// begins is r as it is submitted, and whenever all that was said of it is void.
func (m *model) begins(r *modelled) {
	r.state, r.approved, r.ever = countersign.RequestCollecting, nil, nil
	if r.holder == r.asker || ownerOf[r.holder] == r.asker {
		m.opens(r, 0) // nobody has to consent
	}
}

func (m *model) opens(r *modelled, stage int) {
	r.state, r.stage, r.climbed, r.approved = countersign.RequestDeciding, stage, false, nil
	m.goesOn(r, false)
}

// goesOn asks others where the time of the open stage is over, or where nobody could
// decide it any more; with nobody left r is denied.
func (m *model) goesOn(r *modelled, late bool) {
	if r.state != countersign.RequestDeciding || !late && m.possible(r, r.stage, r.climbed, r.approved) {
		return
	}
	if r.climbed || r.stage == 1 || r.entitlement == wiki || !m.possible(r, 0, true, r.approved) {
		r.state = countersign.RequestDenied
	}
	m.happened[fmt.Sprintf("an open stage had to go on (in time %v), and the request is %s", !late, r.state)]++
	r.climbed = true
}

func (m *model) approve(r *modelled, who string) {
	last := r.last()
	r.approved, r.ever = append(r.approved, who), append(r.ever, who)
	gone := slices.ContainsFunc(r.ever, func(who string) bool { return m.suspended[who] != "" })
	switch end := m.now().Add(r.duration); {
	case !last && len(r.approved) > r.stage:
		m.opens(r, 1)
	case !last:
	case gone || r.extends != nil && m.held(string(r.extends.grant)):
		r.state = countersign.RequestFailed
		m.happened["what was approved could not be carried out"]++
	case r.extends != nil:
		r.state, r.extends.until = countersign.RequestClosed, max(r.extends.until, end)
	default:
		r.state, r.until = countersign.RequestActive, end
	}
}

// ends is r once its access was taken away.
func (r *modelled) ends() {
	r.state = countersign.RequestClosed
	if r.entitlement != wiki {
		r.state = countersign.RequestClosing // the handover is owed
	}
}

// rotate replaces the credential of r. What was replaced before ends no later.
func (r *modelled) rotate(end countersign.Instant) {
	for i := range r.replaced {
		r.replaced[i] = min(r.replaced[i], end)
	}
	r.replaced = append(r.replaced, end)
}

// mayHold reports whether somebody may put a hold on something, and lift one there.
// Who is held, or answers for it, may stop it and never start it again; and who is
// held starts nothing else.
func (m *model) mayHold(on, who string) (hold, lift bool) {
	subject, owners := on, []string{managers[on], ownerOf[on]}
	for _, r := range m.requests {
		if string(r.grant) == on {
			subject, owners = r.holder, systemOwners
		}
	}
	if strings.HasPrefix(on, "ledger") || strings.HasPrefix(on, "wiki") {
		subject, owners = "", systemOwners
	}
	same := who == subject || who == ownerOf[subject]
	entitled := slices.Contains(slices.Concat(owners, admins), who)
	return entitled || same, entitled && !same && !m.held(who)
}

// maySuspend reports whether somebody is the manager of who, answers for it, or is an
// administrator. The same may reactivate, but for the very one who suspended.
func maySuspend(who, by string) bool {
	return by != who && (by == managers[who] || by == ownerOf[who] || slices.Contains(admins, by))
}

func (m *model) mayRotate(r *modelled, who string, overlap countersign.Seconds) bool {
	return r.active() && r.onePerson(who) && (r.entitlement == read || r.entitlement == vaults) && !m.stopped(r) && !m.held(string(r.grant)) && m.now().Add(overlap) < r.until
}

// passes is what the time that has passed does to r; late says that the time for what
// is open was over.
func (m *model) passes(r *modelled, late bool) {
	switch {
	case r.active() && m.now() >= r.until:
		r.ends()
	case late && r.state == countersign.RequestCollecting:
		r.state = countersign.RequestExpired
		m.happened["nobody consented in time"]++
	default:
		m.goesOn(r, late)
	}
}

func init() {
	// Few checks, of many steps: an extension after a rotation takes some.
	if err := flag.Set("rapid.steps", "100"); err != nil {
		panic(err)
	}
}

func TestTheDeskDoesWhatTheModelSays(t *testing.T) {
	outer, happened := t, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		w := newWorld(outer, 1, true, func() time.Time { return now })
		defer w.close()
		m := &model{w: w, suspended: map[string]string{}, happened: happened}
		// who draws somebody who can sign in, those more often who may.
		who := func(t *rapid.T, may func(string) bool) string {
			var all []string
			for _, who := range deciders {
				if m.suspended[who] == "" {
					all = append(all, who)
				}
				if m.suspended[who] == "" && may(who) {
					all = append(all, who, who, who, who, who, who)
				}
			}
			return rapid.SampledFrom(all).Draw(t, "who")
		}
		duration := func(t *rapid.T) countersign.Seconds {
			return rapid.SampledFrom([]countersign.Seconds{countersign.Day, 3 * countersign.Day, 6 * countersign.Day}).Draw(t, "duration")
		}
		// answered compares the desk's answer with the model's.
		answered := func(t *rapid.T, err error, may bool, format string, args ...any) bool {
			what := fmt.Sprintf(format, args...)
			if kind := countersign.KindOf(err); may != (err == nil) || kind == countersign.Internal || kind == countersign.Unavailable {
				t.Fatalf("%s: the model says %v, the desk %v", what, may, err)
			}
			happened[fmt.Sprintf("somebody %s: %v", strings.Fields(what)[1], may)]++
			return may
		}
		const reason = "the books of the month are due"
		ask := func(t *rapid.T, r *modelled, may bool, asking desk.Asking, does string) {
			r.reason, r.duration = asking.Reason, asking.Duration
			id, err := m.desk().Submit(w.ctx, w.as(r.asker), desk.Key{}, asking)
			if answered(t, err, may, "%s %s %+v", r.asker, does, *r) {
				r.id = id
				m.requests = append(m.requests, r)
				m.begins(r)
			}
		}
		submit := func(t *rapid.T) {
			r := &modelled{asker: rapid.SampledFrom(askers).Draw(t, "asker"), entitlement: rapid.SampledFrom([]string{read, write, vaults, wiki}).Draw(t, "entitlement")}
			r.holder = rapid.SampledFrom([]string{r.asker, r.asker, "svc", "svc-ana"}).Draw(t, "holder")
			ask(t, r, !m.refuses(r) && !m.taken(r) && m.suppliable(r), desk.Asking{Beneficiary: r.holder, Entitlements: []string{r.entitlement}, Reason: reason, Duration: duration(t)}, "submits")
		}
		// to does something to a request that fits; where there is none, somebody asks.
		to := func(fits func(*modelled) bool, do func(*rapid.T, *modelled)) func(*rapid.T) {
			return func(t *rapid.T) {
				fit := slices.DeleteFunc(slices.Clone(m.requests), func(r *modelled) bool { return !fits(r) })
				if len(fit) == 0 {
					submit(t)
					return
				}
				do(t, rapid.SampledFrom(fit).Draw(t, "request"))
			}
		}
		deciding := func(r *modelled) bool { return r.state == countersign.RequestDeciding }
		given := func(r *modelled) bool { return r.open() || r.active() }
		approve := func(t *rapid.T, r *modelled) {
			who := who(t, func(who string) bool { return m.mayDecide(r, who) })
			if slices.Contains(r.ever, who) {
				return // the same approval again is no new one
			}
			may := m.mayDecide(r, who) && !m.refuses(r) && (r.extends == nil || r.extends.active() || !r.last())
			err := m.desk().Approve(w.ctx, w.as(who), desk.Key{}, r.id, desk.Decision{Shown: m.shown(t, r)})
			if answered(t, err, may, "%s approves %+v", who, *r) {
				m.approve(r, who)
			}
		}
		lift := func(t *rapid.T) {
			if len(m.holds) == 0 {
				submit(t)
				return
			}
			at := rapid.IntRange(0, len(m.holds)-1).Draw(t, "hold")
			on := m.holds[at].on
			who := who(t, func(who string) bool { concerned, _ := m.mayHold(on, who); return concerned })
			err := m.desk().Lift(w.ctx, w.as(who), desk.Key{}, m.holds[at].id, "nothing was wrong")
			if _, may := m.mayHold(on, who); answered(t, err, may, "%s lifts %s", who, on) {
				m.holds = slices.Delete(m.holds, at, at+1)
			}
		}
		reactivate := func(t *rapid.T) {
			if len(m.suspended) == 0 {
				submit(t)
				return
			}
			name := rapid.SampledFrom(slices.Sorted(maps.Keys(m.suspended))).Draw(t, "name")
			may := func(who string) bool { return maySuspend(name, who) && who != m.suspended[name] }
			by := who(t, may)
			err := m.desk().Reactivate(w.ctx, w.as(by), desk.Key{}, name, "stays after all")
			if answered(t, err, may(by), "%s reactivates %s", by, name) {
				delete(m.suspended, name)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"submit": submit,
			"extend": to((*modelled).active, func(t *rapid.T, base *modelled) {
				r := &modelled{holder: base.holder, entitlement: base.entitlement, extends: base, duration: duration(t)}
				r.asker = rapid.SampledFrom([]string{base.asker, base.asker, person(base.holder), "max"}).Draw(t, "asker")
				may := base.onePerson(r.asker) && !m.refuses(r) && !m.taken(r) && m.suppliable(r) && m.extendable(r)
				ask(t, r, may, desk.Asking{Beneficiary: r.holder, Entitlements: []string{r.entitlement}, Extends: base.grant, Reason: reason, Duration: r.duration}, "extends")
			}),
			"amend": to((*modelled).open, func(t *rapid.T, r *modelled) {
				who, is := who(t, func(who string) bool { return who == r.asker }), *r
				is.reason, is.duration = rapid.SampledFrom([]string{r.reason, reason, "those of the year, too"}).Draw(t, "reason"), duration(t)
				err := m.desk().Amend(w.ctx, w.as(who), desk.Key{}, r.id, desk.Asking{Entitlements: []string{r.entitlement}, Reason: is.reason, Duration: is.duration})
				may := who == r.asker && !m.refuses(r) && m.suppliable(r) && m.extendable(&is)
				if answered(t, err, may, "%s amends %+v to %+v", who, *r, is) {
					voids := is.reason != r.reason || is.duration > r.duration
					if r.reason, r.duration = is.reason, is.duration; voids {
						m.happened[fmt.Sprintf("an amendment voids %d approvals", len(r.ever))]++
						m.begins(r)
					}
				}
			}),
			"consent": to(func(r *modelled) bool { return r.state == countersign.RequestCollecting }, func(t *rapid.T, r *modelled) {
				who := who(t, func(who string) bool { return who == ownerOf[r.holder] })
				err := m.desk().Consent(w.ctx, w.as(who), desk.Key{}, r.id)
				if answered(t, err, who == ownerOf[r.holder], "%s consents to %+v", who, *r) {
					m.opens(r, 0)
				}
			}),
			"approve": to(deciding, approve), "approve another": to(deciding, approve), "approve a third": to(given, approve),
			"deny": to((*modelled).open, func(t *rapid.T, r *modelled) {
				who := who(t, func(who string) bool { return m.mayDecide(r, who) })
				err := m.desk().Deny(w.ctx, w.as(who), desk.Key{}, r.id, desk.Decision{Shown: m.shown(t, r), Reason: "not now"})
				if answered(t, err, m.mayDecide(r, who), "%s denies %+v", who, *r) {
					r.state = countersign.RequestDenied
				}
			}),
			"cancel": to(given, func(t *rapid.T, r *modelled) {
				who := who(t, func(string) bool { return false })
				err := m.desk().Cancel(w.ctx, w.as(who), desk.Key{}, r.id, "not needed any more")
				if answered(t, err, r.onePerson(who) && r.open(), "%s cancels %+v", who, *r) {
					r.state = countersign.RequestCancelled
				}
			}),
			"revoke": to((*modelled).active, func(t *rapid.T, r *modelled) {
				who := who(t, func(string) bool { return false })
				err := m.desk().Revoke(w.ctx, w.as(who), desk.Key{}, r.grant, "not needed any more")
				if answered(t, err, r.onePerson(who) || slices.Contains(slices.Concat(systemOwners, admins), who), "%s revokes %+v", who, *r) {
					r.ends()
				}
			}),
			"rotate": to((*modelled).active, func(t *rapid.T, r *modelled) {
				overlap := rapid.SampledFrom([]countersign.Seconds{0, 12 * countersign.Hour}).Draw(t, "overlap")
				who := who(t, func(who string) bool { return m.mayRotate(r, who, overlap) })
				err := m.desk().Rotate(w.ctx, w.as(who), desk.Key{}, r.grant, overlap, "it was seen in a log")
				if answered(t, err, m.mayRotate(r, who, overlap), "%s rotates %+v", who, *r) {
					r.rotate(m.now().Add(overlap))
				}
			}),
			"hold": func(t *rapid.T) {
				all := []string{"ana", "max", "svc", "syd", "ledger", "wiki", read}
				for _, r := range m.requests {
					if r.active() {
						all = append(all, string(r.grant), string(r.grant))
					}
				}
				on := rapid.SampledFrom(all).Draw(t, "on")
				who := who(t, func(who string) bool { may, _ := m.mayHold(on, who); return may })
				id, err := m.desk().Hold(w.ctx, w.as(who), desk.Key{}, on, "something looks wrong", false)
				if may, _ := m.mayHold(on, who); answered(t, err, may, "%s holds %s", who, on) {
					m.holds = append(m.holds, modelledHold{id, on})
				}
			},
			"lift": lift, "lift another": lift,
			"suspend": func(t *rapid.T) {
				all := []string{"ana", "olga", "max", "pia", "sam", "sue", "svc"}
				for _, r := range m.requests {
					if r.open() {
						all = append(all, r.ever...) // they count no more
					}
				}
				name := rapid.SampledFrom(all).Draw(t, "name")
				by := who(t, func(who string) bool { return maySuspend(name, who) })
				err := m.desk().Suspend(w.ctx, w.as(by), desk.Key{}, name, "on the way out", false)
				if answered(t, err, maySuspend(name, by) && m.suspended[name] == "", "%s suspends %s", by, name) {
					m.suspended[name] = by
				}
			},
			"reactivate": reactivate, "reactivate another": reactivate,
			"time passes": func(t *rapid.T) {
				deadlines := map[*modelled]countersign.Instant{}
				for _, r := range m.requests {
					deadlines[r] = m.deadline(t, r)
				}
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Hour, 25 * time.Hour, 25 * time.Hour, 49 * time.Hour}).Draw(t, "time"))
				m.must(t, m.house().Engine.Beat(w.ctx))
				for _, r := range m.requests {
					m.passes(r, deadlines[r] != 0 && m.now() >= deadlines[r])
				}
			},
			"": func(t *rapid.T) { m.compare(t) },
		})
		found, err := desk.Verify(w.ctx, w.store, func(int64) {})
		if err != nil || len(found.Findings) > 0 {
			t.Fatalf("the record: %v, %v", found, err)
		}
	})
	for _, what := range slices.Sorted(maps.Keys(happened)) {
		t.Logf("%s, %d times", what, happened[what])
	}
}

func (m *model) desk() *desk.Desk         { return m.house().Desk }
func (m *model) house() *house.House      { return m.w.houses[0] }
func (m *model) now() countersign.Instant { return m.w.clock.instant() }

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

func (m *model) stored(t *rapid.T, r *modelled) *countersign.Request {
	request, err := m.w.store.Request(m.w.ctx, r.id)
	m.must(t, err)
	return request
}

// deadline is until when what is open has time. Other tests hold it to the calendar.
func (m *model) deadline(t *rapid.T, r *modelled) countersign.Instant {
	request := m.stored(t, r)
	if r.state == countersign.RequestDeciding {
		return request.Stages[r.stage].Deadline
	}
	return request.CollectBy
}

// compare lets the engine work, and holds storage and target to the model: each
// state, whom each open stage asks, when each access ends, and what there is of it.
func (m *model) compare(t *rapid.T) {
	m.must(t, m.house().Settle(m.w.ctx))
	onTarget := 0
	for _, r := range m.requests {
		m.goesOn(r, false)
		request := m.stored(t, r)
		if request.State != r.state {
			t.Fatalf("the model says %+v, and the desk %s (%s)", *r, request.State, request.Outcome)
		}
		if r.state == countersign.RequestDeciding {
			m.compareAsked(t, r, request.Stages[r.stage])
		}
		if !r.active() {
			continue
		}
		r.grant = request.Grants[0].Grant
		grant, err := m.w.store.Grant(m.w.ctx, r.grant)
		m.must(t, err)
		if grant.Until != r.until {
			t.Fatalf("the model says %+v, and the access ends at %s", *r, grant.Until)
		}
		if r.entitlement != wiki {
			onTarget++
			for _, end := range r.replaced {
				if end > m.now() {
					onTarget++
				}
			}
		}
	}
	if len(m.w.target.held) != onTarget {
		t.Fatalf("the target holds %d credentials, and the model %d", len(m.w.target.held), onTarget)
	}
}

func (m *model) compareAsked(t *rapid.T, r *modelled, stage countersign.Stage) {
	asked := map[countersign.IdentityID]bool{}
	for _, one := range stage.Asked {
		asked[one.Person] = true
	}
	for _, who := range deciders {
		if id := m.w.as(who).Identity; asked[id] != slices.Contains(m.asks(r, r.stage, r.climbed), who) {
			t.Fatalf("the model asks %q for %+v, and the desk asks %s: %v", m.asks(r, r.stage, r.climbed), *r, who, asked[id])
		}
	}
}
