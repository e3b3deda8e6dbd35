package house_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/notify"
	"github.com/countersign/countersign/store"
)

// listener keeps what it was told, or is broken.
type listener struct {
	broken bool
	heard  []notify.Message
}

func (l *listener) Name() string                     { return "listener" }
func (l *listener) Reaches(to notify.Recipient) bool { return to.Email != "" }
func (l *listener) Send(_ context.Context, message notify.Message) error {
	if l.broken {
		return countersign.Errorf(countersign.Unavailable, "not-delivered", "the line is dead")
	}
	l.heard = append(l.heard, message)
	return nil
}

// kinds returns what the person was told so far.
func (l *listener) kinds(name string) []string {
	var kinds []string
	for _, message := range l.heard {
		for _, line := range message.Lines {
			if message.To.Name == name {
				kinds = append(kinds, line.Kind)
			}
		}
	}
	return kinds
}

// listening founds a house that tells people through the channel.
func listening(t *testing.T, open database, channel notify.Channel, policies ...string) *world {
	w := found(t, open, policies...)
	w.channels = []notify.Channel{channel}
	w.restart()
	return w
}

func (w *world) tell() {
	w.t.Helper()
	for {
		told, err := w.house.Engine.Tell(w.ctx)
		w.must(err)
		if told == 0 {
			return
		}
	}
}

func TestApproversAreToldInOneQuietMessageAndAskersOfTheOutcome(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		first := w.submit("ana", asking())
		second := asking()
		second.Entitlements = []string{"ledger/books/write"}
		w.submit("ana", second)
		w.tell()
		if len(ear.heard) != 0 {
			t.Fatalf("what can wait does not: %+v", ear.heard)
		}
		w.move(15 * time.Minute)
		w.tell()
		if len(ear.heard) != 1 || len(ear.heard[0].Lines) != 2 || ear.heard[0].To.Email != "max@test.example" {
			t.Fatalf("Max should hear of both at once: %+v", ear.heard)
		}
		if line := ear.heard[0].Lines[0]; line.Kind != "asked-to-decide" || !strings.Contains(line.Subject, "Ana Asker: ledger/books/") || line.About == "" {
			t.Fatalf("the line is %+v", line)
		}
		w.must(w.approve("max", first))
		w.move(15 * time.Minute)
		w.tell()
		if kinds := ear.kinds("Ana Asker"); !slices.Equal(kinds, []string{"outcome"}) {
			t.Fatalf("Ana heard %v", kinds)
		}
		w.tell()
		if len(ear.heard) != 2 {
			t.Fatal("something was told twice")
		}
	})
}

func TestABrokenChannelHoldsNothingUpAndIsTriedAgain(t *testing.T) {
	ear := &listener{broken: true}
	w := listening(t, onSQLite(t), ear, policyFor(managerStage, ""))
	id := w.submit("ana", asking())
	w.move(15 * time.Minute)
	w.tell()
	w.must(w.approve("max", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	if len(ear.heard) != 0 {
		t.Fatal("a broken channel delivered")
	}
	ear.broken = false
	w.move(2 * time.Hour)
	w.tell()
	if !slices.Contains(ear.kinds("Max Manager"), "asked-to-decide") || !slices.Contains(ear.kinds("Ana Asker"), "outcome") {
		t.Fatalf("after it was mended: %+v", ear.heard)
	}
	w.verified()
}

func TestEverybodyNamedIsToldOfBreakGlassAtOnce(t *testing.T) {
	ear := &listener{}
	w := onCall(t, onSQLite(t), builtInTickets)
	w.channels = []notify.Channel{ear}
	w.restart()
	w.submit("ana", emergency(w.incident()))
	w.tell()
	for _, name := range []string{"Syd Security", "Sam Security", "Sue Security"} {
		if !slices.Equal(ear.kinds(name), []string{"break-glass"}) {
			t.Errorf("%s heard %v", name, ear.kinds(name))
		}
	}
}

func TestOperatorsAreToldOfWhatIsAskedInWords(t *testing.T) {
	ear := &listener{}
	w := listening(t, onSQLite(t), ear, policyFor(managerStage, ""))
	w.describe("ana", "I need to see the books of May")
	w.move(15 * time.Minute)
	w.tell()
	for _, name := range []string{"Oda Operator", "Odo Operator"} {
		if !slices.Equal(ear.kinds(name), []string{"asked-to-triage"}) {
			t.Errorf("%s heard %v", name, ear.kinds(name))
		}
	}
	if kinds := ear.kinds("Adam Admin"); len(kinds) > 0 {
		t.Errorf("who sorts nothing heard %v", kinds)
	}
}

func TestEverybodyWhoCanConfirmItIsToldOfAnEmergencyPolicyAtOnce(t *testing.T) {
	ear := &listener{}
	w := emergencies(t, onSQLite(t))
	w.channels = []notify.Channel{ear}
	w.restart()
	id, err := w.propose("ana", countersign.PolicyProposal, w.policies(strings.Replace(emergencyStage, "2 business days", "4 business days", 1))...)
	w.must(err)
	w.must(w.enforce("ana", id, "nobody could approve anything"))
	w.tell()
	for _, name := range []string{"Adam Admin", "Alma Admin"} {
		if !slices.Equal(ear.kinds(name), []string{"emergency-policy"}) {
			t.Errorf("%s heard %v", name, ear.kinds(name))
		}
	}
	if line := ear.heard[0].Lines[0]; !strings.Contains(line.Text, "nobody could approve anything") || line.About != string(id) {
		t.Errorf("the line is %+v", line)
	}
}

func TestNoticesOfAHouseThatTellsNobodyAnyMoreAreDropped(t *testing.T) {
	w := listening(t, onSQLite(t), &listener{broken: true}, policyFor(managerStage, ""))
	w.submit("ana", asking())
	w.channels = nil
	w.restart()
	w.move(15 * time.Minute)
	w.tell()
	backlog, err := w.house.Store.Backlog(w.ctx, countersign.InstantOf(w.clock.Now()))
	w.must(err)
	if due := backlog.Due[store.NoticeWork]; due.Count != 0 {
		t.Errorf("%d notices wait for a channel that is not there", due.Count)
	}
}

func TestWhatWasGivenUpIsShownAndSentWhenTheChannelIsRepaired(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{broken: true}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		id := w.submit("ana", asking())
		for range 120 {
			w.move(2 * time.Hour)
			w.tell()
		}
		parked, err := w.house.Desk.ParkedNotices(w.ctx, w.as("aud"))
		w.must(err)
		if len(parked) == 0 || parked[0].About != string(id) || parked[0].To.Name == "" || parked[0].Channel != "listener" || parked[0].Attempts != 100 || !strings.Contains(parked[0].Why, "dead") {
			t.Fatalf("parked are %+v", parked)
		}
		_, err = w.house.Desk.ParkedNotices(w.ctx, w.as("ana"))
		w.refused(err, "not-entitled-to-notices")
		_, err = w.house.Desk.RetryNotices(w.ctx, w.as("aud"))
		w.refused(err, "not-entitled-to-notices")
		ear.broken = false
		retried, err := w.house.Desk.RetryNotices(w.ctx, w.as("adam"))
		w.must(err)
		w.tell()
		heard := 0
		for _, message := range ear.heard {
			heard += len(message.Lines)
		}
		if retried != int64(len(parked)) || heard < len(parked) {
			t.Errorf("of %d notices %d were retried and %d heard", len(parked), retried, heard)
		}
		if left, err := w.house.Desk.ParkedNotices(w.ctx, w.as("adam")); err != nil || len(left) != 0 {
			t.Errorf("%v are left (%v)", left, err)
		}
	})
}
