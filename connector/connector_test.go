package connector_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/noop"
)

func TestAnUnknownConnectorIsAnErrorThatNamesTheKnownOnes(t *testing.T) {
	only := noop.New(connectortest.NewClock(), countersign.RoleKind)
	set := connector.Set{"noop": only}
	if found, err := set.Find("noop"); err != nil || found != only {
		t.Errorf("got %v, %v", found, err)
	}
	if _, err := set.Find("nope"); countersign.ReasonOf(err) != "no-such-connector" || !strings.Contains(err.Error(), "noop") {
		t.Errorf("got %v", err)
	}
}

func TestATargetsErrorSaysWhetherToTryAgain(t *testing.T) {
	for kind, want := range map[countersign.Kind]connector.FailureKind{
		countersign.Invalid: connector.Rejected, countersign.Conflict: connector.Rejected, countersign.Refused: connector.Rejected,
		countersign.Unavailable: connector.Transient, countersign.Internal: connector.Transient, countersign.TooMany: connector.Transient,
	} {
		cause := countersign.Errorf(kind, "some-reason", "it did not work")
		var failure *connector.Failure
		if err := connector.FailureOf(cause); !errors.As(err, &failure) || failure.Kind != want || !errors.Is(err, cause) {
			t.Errorf("%s: got %v, want %s", kind, err, want)
		}
	}
	if err := connector.FailureOf(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
	var failure *connector.Failure
	if err := connector.FailureOf(errors.New("connection reset")); !errors.As(err, &failure) || failure.Kind != connector.Transient {
		t.Errorf("an unknown error became %v", err)
	}
}
