package connectortest

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
)

// NewTask is a good one, with everything new but the display name.
func NewTask(mint *countersign.Mint, now countersign.Instant, action string) connector.Task {
	return connector.Task{
		Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(),
		Action: action, Holder: mint.Identity(), HolderName: "Alex Kim",
		System: mint.System(), SystemName: "billing", Resource: "invoices",
		Entitlement: "reader", EntitlementID: mint.Entitlement(),
		Until: now.Add(countersign.Hour), Deadline: now.Add(countersign.Minute),
	}
}

// Fails wants a failure of the kind that says the text, and in which the secret of
// the connector's own account does not stand. It returns the failure, nil for none.
func Fails(t testing.TB, err error, kind connector.FailureKind, says, secret string) *connector.Failure {
	t.Helper()
	var failure *connector.Failure
	if !errors.As(err, &failure) || failure.Kind != kind || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want %s that says %q", err, kind, says)
	}
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("the secret of the connector's account stands in %v", err)
	}
	return failure
}
