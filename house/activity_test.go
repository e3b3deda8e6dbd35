package house_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
)

// attach brings evidence as somebody.
func (w *world) attach(who string, id countersign.RequestID, slot, text string) error {
	return w.house.Desk.Attach(w.ctx, w.as(who), desk.Key{}, id, desk.EvidenceContent{Slot: slot, Content: []byte(text)})
}

// opened opens evidence as somebody, and looks for texts in it.
func (w *world) opened(who string, id countersign.RequestID, slot string, texts ...string) {
	w.t.Helper()
	content, err := w.house.Desk.OpenEvidence(w.ctx, w.as(who), id, slot)
	w.must(err)
	for _, text := range texts {
		if !strings.Contains(string(content), text) {
			w.t.Errorf("the evidence %s does not say %q:\n%s", slot, text, content)
		}
	}
}

// telling is a target that tells what was done, or why it cannot.
type telling struct {
	connector.Connector
	asked   connector.Use
	acts    []string
	trouble error
}

func (c *telling) Activity(_ context.Context, of connector.Use, found func(connector.Act) error) (string, error) {
	c.asked = of
	for _, what := range c.acts {
		if err := found(connector.Act{At: of.From, What: what}); err != nil {
			return "the log", err
		}
	}
	return "the log", c.trouble
}

func (c *telling) Describe() connector.Description {
	description := c.Connector.Describe()
	description.Name = "telling"
	return description
}

// afterwards founds a house whose break-glass access on the connector has ended,
// with the closed ticket fetched.
func afterwards(t *testing.T, open database, hands *telling, breakGlass string) (*world, countersign.RequestID) {
	w := empty(t, open)
	hands.Connector = noop.New(w.clock, countersign.RoleKind)
	w.connectors = func(house.Targets) (connector.Set, error) { return connector.Set{"telling": hands}, nil }
	w.restart()
	w.edit("connector: role\n    resources: [{name: space", "connector: telling\n    resources: [{name: space")
	by := strings.NewReplacer("role.assign", "telling.apply")
	w.must(w.found(by.Replace(eligibilityPolicy), by.Replace(breakGlass), builtInTickets))
	w.settle()
	id := w.submit("ana", desk.Asking{Entitlements: []string{"wiki/space/editor-on-call"}, Reason: "on call this quarter"})
	w.must(w.approve("max", id))
	w.settle()
	incident := w.incident()
	id = w.submit("ana", emergency(incident))
	w.settle()
	w.pass(time.Hour)
	w.resolve(incident)
	w.must(w.fetch("ana", id, "closed-ticket"))
	return w, id
}

func TestAReviewerSeesWhatTheTargetTells(t *testing.T) {
	hands := &telling{acts: []string{"page 7 changed\nand forged", "PASSWORD -----BEGIN OPENSSH PRIVATE KEY-----"}}
	w, id := afterwards(t, onSQLite(t), hands, breakGlassPolicy)
	w.must(w.fetch("pia", id, "activity"))
	grant := w.grant(id)
	if hands.asked.Credential != grant.Credentials[0].ID || hands.asked.Holder != w.as("ana").Identity || hands.asked.To != grant.GoneAt {
		t.Errorf("the target was asked for %+v of the grant %+v", hands.asked, grant)
	}
	w.opened("pia", id, "activity", "page 7 changed and forged", "(left out: it looks like", "looked at: the log")
	w.refused(w.attach("pia", id, "substitute", "I asked Ana"), "not-owed")
	w.must(w.review("pia", id, countersign.InOrder))
	w.state(id, countersign.RequestClosed)
	w.verified()
}

func TestWhereTheTargetCannotTellTheReviewerBringsSomethingElse(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		hands := &telling{trouble: errors.New("the log begins too late")}
		named := strings.Replace(breakGlassPolicy, "  reviewers: [group(platform-leads), person(ana)]\n", "  reviewers: [group(platform-leads), person(ana)]\n  substitute: page-history\n", 1)
		w, id := afterwards(t, open, hands, named)
		w.refused(w.attach("pia", id, "page-history", "The history of page 7."), "not-owed")
		w.must(w.fetch("ana", id, "activity"))
		if waits := w.view(id).WaitsFor; !strings.HasSuffix(waits, "; activity not available, so who reviews brings the evidence page-history in its place") {
			t.Errorf("it waits for %q", waits)
		}
		w.opened("pia", id, "activity", "activity not available: the log begins too late")
		w.tells(id, `fetched the evidence "activity", which is not available`)
		w.refused(w.review("pia", id, countersign.InOrder), "evidence-missing")
		w.refused(w.attach("ana", id, "page-history", "Trust me."), "separation-of-duties")
		w.must(w.attach("pia", id, "page-history", "The history of page 7."))
		w.must(w.review("pia", id, countersign.InOrder))
		w.state(id, countersign.RequestClosed)
		w.verified()
	})
}

func TestATargetThatTellsLaterIsAskedAgain(t *testing.T) {
	hands := &telling{trouble: errors.New("the log is not there yet")}
	w, id := afterwards(t, onSQLite(t), hands, breakGlassPolicy)
	w.must(w.fetch("pia", id, "activity"))
	hands.trouble, hands.acts = nil, []string{"page 7 changed"}
	w.must(w.fetch("pia", id, "activity"))
	w.refused(w.review("pia", id, countersign.InOrder), "evidence-not-opened")
	w.opened("pia", id, "activity", "page 7 changed")
	w.must(w.review("pia", id, countersign.InOrder))
	w.state(id, countersign.RequestClosed)
}
