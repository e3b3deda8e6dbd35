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
