package pdp

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// household is a directory with one agent and some tools.
type household struct {
	agent     countersign.IdentityID
	answering Answering
	tools     map[string][]string
}

func (h *household) Answering(holder countersign.IdentityID) (Answering, bool) {
	return h.answering, holder == h.agent
}

func (h *household) Tool(name string) (string, []string, bool) {
	scopes, known := h.tools[name]
	return "tools/" + name, scopes, known
}

func agentLab(t testing.TB) (*lab, *household) {
	home := &household{tools: map[string][]string{"search": {"read"}, "edit": {"read", "write"}}}
	l := newLab(t, Options{Directory: home})
	l.follow()
	home.agent = l.mint.Identity()
	home.answering = Answering{Owner: l.mint.Identity(), Sponsor: l.mint.Identity(), Active: true}
	return l, home
}

func (l *lab) allow(subject countersign.IdentityID, action, resource string, bounds ...Bound) Order {
	l.t.Helper()
	order := l.order()
	order.Subject, order.Action, order.Resource, order.Bounds = subject, action, resource, bounds
	l.assign(order)
	return order
}

func call(subject countersign.IdentityID, tool, scope string) Evaluation {
	return Evaluation{SubjectType: "identity", SubjectID: string(subject), Action: CallAction, ResourceType: ToolType, ResourceID: tool, Scope: scope}
}

func (l *lab) answers(say string, evaluation Evaluation, want Reason) {
	l.t.Helper()
	if got := l.Evaluate(evaluation); got.Reason != want || got.Allowed != (want == "") {
		l.t.Errorf("%s: the answer is %v, because %q; want %q", say, got.Allowed, got.Reason, want)
	}
}

func TestABoundIsJudgedAtEachUse(t *testing.T) {
	l, home := agentLab(t)
	bounds := []Bound{
		{Who: BoundSponsor, Holds: []BoundByRight{{Action: "editor", Resource: "wiki/pages"}, {Action: "admin", Resource: "wiki/pages"}}},
		{Who: BoundOwner, Holds: []BoundByRight{{Action: "reader", Resource: "wiki/pages"}}},
	}
	order := l.allow(home.agent, "read", "tools/search", bounds...)
	evaluation := call(home.agent, "search", "")
	l.answers("nobody holds anything", evaluation, OutOfBounds)
	editor := l.allow(home.answering.Sponsor, "editor", "wiki/pages")
	l.answers("only one of two bounds is met", evaluation, OutOfBounds)
	l.allow(home.answering.Owner, "reader", "wiki/pages")
	l.answers("both are met", evaluation, "")
	admin := l.allow(home.answering.Sponsor, "admin", "wiki/pages")
	l.remove(editor)
	l.answers("by the other right", evaluation, "")
	other := New(l.shelf, l.stops, l.people, l.clock, Options{Directory: home})
	if err := other.Follow(context.Background()); err != nil || !other.Evaluate(evaluation).Allowed {
		t.Errorf("another replica says %+v: %v", other.Evaluate(evaluation), err)
	}
	l.remove(admin)
	l.answers("by none", evaluation, OutOfBounds)
	if check, err := l.CheckCredential(context.Background(), order.Credential); err != nil || !check.Allowed {
		t.Errorf("the target still holds it, and reads back %+v: %v", check, err)
	}
	l.allow(home.answering.Sponsor, "editor", "wiki/pages")
	l.answers("met again", evaluation, "")
	home.answering.Sponsor = l.mint.Identity()
	l.answers("another sponsor, who holds nothing", evaluation, OutOfBounds)
	home.answering.Sponsor = ""
	l.answers("no sponsor", evaluation, OutOfBounds)
	home.answering.Active = false
	l.answers("an owner who has left", evaluation, Unaccountable)
	home.answering = Answering{Active: true}
	l.answers("no owner at all", evaluation, Unaccountable)
}

func TestAnotherBoundIsAnotherAssignment(t *testing.T) {
	l, home := agentLab(t)
	bound := Bound{Who: BoundOwner, Holds: []BoundByRight{{Action: "reader", Resource: "wiki/pages"}}}
	order := l.allow(home.agent, "read", "tools/search", bound)
	order.Intent, order.Bounds = l.mint.Intent(), nil
	if err := l.Assign(context.Background(), order); countersign.ReasonOf(err) != "not-ours" {
		t.Errorf("a bound falls away: %v", err)
	}
	for _, wrong := range []Bound{{Who: "manager", Holds: bound.Holds}, {Who: BoundOwner}} {
		order := l.order()
		order.Bounds = []Bound{wrong}
		if err := l.Assign(context.Background(), order); countersign.ReasonOf(err) != "incomplete-order" {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}

func TestAUseIsKeptOnceAnHourApartFromTheAnswer(t *testing.T) {
	l, home := agentLab(t)
	order := l.allow(home.agent, "read", "tools/search")
	idle := l.allow(home.agent, "write", "tools/edit")
	ctx := context.Background()
	used := func() countersign.Instant {
		t.Helper()
		at, err := l.LastUsed(ctx, order.Credential)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	l.answers("not allowed", call(home.agent, "edit", ""), NoAssignment)
	l.answers("asked in another way", call(home.agent, "search", "write"), NoAssignment)
	if used() != 0 {
		t.Error("a no counts as a use")
	}
	first := l.clock.Instant()
	l.answers("allowed", call(home.agent, "search", ""), "")
	version := func() int64 {
		items, _, err := l.shelf.Changes(ctx, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			if isUse(item.Key) {
				return item.Version
			}
		}
		return 0
	}
	if used() != first || version() != 0 {
		t.Errorf("it was used at %s, and the answer wrote version %d", used(), version())
	}
	keep := func() {
		t.Helper()
		if err := l.KeepUses(ctx); err != nil {
			t.Fatal(err)
		}
		l.follow()
	}
	keep()
	l.clock.Advance(10 * time.Minute)
	l.follow()
	l.answers("allowed again", call(home.agent, "search", ""), "")
	keep()
	if used() != first || version() != 1 {
		t.Errorf("within the hour it is written %d times, for %s", version(), used())
	}
	l.clock.Advance(time.Hour)
	l.follow()
	l.answers("the hour after", call(home.agent, "search", ""), Ended)
	order.Intent, order.Until = l.mint.Intent(), l.clock.Instant().Add(countersign.Hour)
	l.assign(order)
	l.answers("with a later end", call(home.agent, "search", ""), "")
	keep()
	if used() != l.clock.Instant() || version() != 2 {
		t.Errorf("in the next hour it is written %d times, for %s", version(), used())
	}
	if at, err := l.LastUsed(ctx, idle.Credential); err != nil || at != 0 {
		t.Errorf("the idle one was used at %s: %v", at, err)
	}
}

func TestAUseThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	l, home := agentLab(t)
	order := l.allow(home.agent, "read", "tools/search")
	l.answers("allowed", call(home.agent, "search", ""), "")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.KeepUses(cancelled); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := l.KeepUses(context.Background()); err != nil {
		t.Fatal(err)
	}
	other := New(l.shelf, l.stops, l.people, l.clock, Options{Directory: home})
	if at, err := other.LastUsed(context.Background(), order.Credential); err != nil || at != l.clock.Instant() {
		t.Errorf("another replica knows of a use at %s: %v", at, err)
	}
}

func TestACallIsReadAsTheBindingOfToolsWritesIt(t *testing.T) {
	const body = `{"subject":{"type":"identity","id":"alice"},"action":{"name":"tools/call","properties":{"scope":"read"}},` +
		`"resource":{"type":"tool","id":"search"},"context":{"agent":"client-1"}}`
	evaluation, err := ReadEvaluation([]byte(body))
	want := Evaluation{SubjectType: "identity", SubjectID: "alice", Action: CallAction, ResourceType: ToolType, ResourceID: "search", Scope: "read", Agent: "client-1"}
	if err != nil || evaluation != want {
		t.Errorf("%+v, %v", evaluation, err)
	}
	for name, test := range map[string]struct{ old, new, place string }{
		"a scope that is a list":   {`"scope":"read"`, `"scope":["read"]`, "action/properties/scope"},
		"an empty scope":           {`"scope":"read"`, `"scope":""`, "action/properties/scope"},
		"an agent that is a thing": {`"agent":"client-1"`, `"agent":{}`, "context/agent"},
		"no agent":                 {`"agent":"client-1"`, `"agent":null`, "context/agent"},
	} {
		_, err := ReadEvaluation([]byte(strings.Replace(body, test.old, test.new, 1)))
		if err == nil || !strings.Contains(err.Error(), test.place) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// For other resources the same members mean nothing to us.
	other := strings.NewReplacer(`"type":"tool"`, `"type":"resource"`, `"scope":"read"`, `"scope":[1]`, `"agent":"client-1"`, `"agent":7`).Replace(body)
	if evaluation, err := ReadEvaluation([]byte(other)); err != nil || evaluation.Scope+evaluation.Agent != "" {
		t.Errorf("%+v, %v", evaluation, err)
	}
}
