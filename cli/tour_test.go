package cli_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/countersign/countersign/pgserver"
)

func TestTheTourPlaysOnARealPostgreSQL(t *testing.T) {
	var missing *pgserver.Missing
	if _, err := pgserver.Binaries(); errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(missing)
	}
	code, out, problems := run(t, "", "tour", "--targets")
	for _, wanted := range []string{"✓ 1207 orders", "permission denied for table orders", "left_over has orders-server/app_reader", "the open session was ended", "nothing was changed"} {
		if !strings.Contains(out, wanted) {
			t.Errorf("the tour does not say %q", wanted)
		}
	}
	if code != 0 {
		t.Errorf("it exits with %d: %s", code, problems)
	}
}
