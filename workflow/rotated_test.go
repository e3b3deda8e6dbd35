package workflow_test

import (
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/workflow"
)

// A rotation lets nothing live longer than an earlier one did. What was recorded before
// that was so is replayed as it was, or its row would not follow from its stream.
func TestARotationProlongsNothingAndEarlierOnesAreReplayedAsTheyWere(t *testing.T) {
	const earlier, later = countersign.Instant(2_000), countersign.Instant(9_000)
	for noLater, want := range map[bool]countersign.Instant{true: earlier, false: later} {
		grant := &countersign.Grant{ID: "grt_a", Version: 1, State: countersign.GrantLive, Credentials: []countersign.Credential{
			{ID: "crd_old", State: countersign.CredentialLive, RetireAt: earlier}, {ID: "crd_new", State: countersign.CredentialIssuing},
		}}
		applied := &workflow.CredentialApplied{Change: workflow.CredentialAppliedChange{
			Observation: countersign.Observation{Credential: "crd_new", Present: true}, Until: 20_000, RetireOthersAt: later, NoLater: noLater,
		}}
		after, err := workflow.ApplyGrant(grant, workflow.Stamp{Stream: "grt_a", Seq: 2, Time: 1_000}, applied)
		if err != nil {
			t.Fatal(err)
		}
		if got := after.Credentials[0].RetireAt; got != want {
			t.Errorf("no later is %v: the older credential ends at %s, and should at %s", noLater, got, want)
		}
	}
}

// Who approves another credential decides nothing on what makes the access lapse.
func TestARotationTakesNoLapseBack(t *testing.T) {
	const lapses, was, later = countersign.Instant(2_000), countersign.Instant(5_000), countersign.Instant(9_000)
	for name, want := range map[string]struct {
		lapses      bool
		until, kept countersign.Instant
	}{"as it is": {true, lapses, later}, "as it was recorded before": {false, later, later}} {
		t.Run(name, func(t *testing.T) {
			grant := &countersign.Grant{
				ID: "grt_a", Version: 1, State: countersign.GrantLive, Until: lapses, LatestEnd: was, Lapsing: &countersign.Lapse{Cause: workflow.CauseMoved, Was: was},
				Credentials: []countersign.Credential{{ID: "crd_old", State: countersign.CredentialLive}, {ID: "crd_new", State: countersign.CredentialIssuing}},
				Rotating:    &countersign.Rotation{Request: "req_a", Credential: "crd_new", LatestEnd: later},
			}
			seq := int64(1)
			apply := func(payload countersign.Payload) {
				t.Helper()
				seq++
				var err error
				if grant, err = workflow.ApplyGrant(grant, workflow.Stamp{Stream: "grt_a", Seq: seq, Time: 1_000}, payload); err != nil {
					t.Fatal(err)
				}
			}
			apply(&workflow.CredentialApplied{Change: workflow.CredentialAppliedChange{
				Observation: countersign.Observation{Credential: "crd_new", Present: true}, Until: later, RetireOthersAt: 3_000, NoLater: true, Lapses: want.lapses,
			}})
			if grant.Until != want.until || (grant.Lapsing != nil) != want.lapses {
				t.Errorf("it ends at %s, lapsing %+v", grant.Until, grant.Lapsing)
			}
			if want.lapses {
				apply(&workflow.GrantKept{})
			}
			if grant.Until != want.kept || grant.LatestEnd != later {
				t.Errorf("kept, it ends at %s, and at the latest at %s", grant.Until, grant.LatestEnd)
			}
		})
	}
}
