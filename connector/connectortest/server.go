package connectortest

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/countersign/countersign/servers"
)

// Started returns a server that runs until the test ends. Where its program is
// missing the test is skipped, and fails where the environment says CI=true.
func Started[S io.Closer](t testing.TB, server S, err error) S {
	t.Helper()
	var missing *servers.Missing
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skipf("%s (scripts/install-test-tools installs it)", missing)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}
