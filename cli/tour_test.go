package cli_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/countersign/countersign/pgserver"
	"github.com/countersign/countersign/servers"
)

func TestTheTourPlaysOnRealSystems(t *testing.T) {
	_, noPostgres := pgserver.Binaries()
	_, noRedis := exec.LookPath("redis-server")
	_, noSlapd := os.Stat("/usr/sbin/slapd")
	if missing := errors.Join(noPostgres, noRedis, noSlapd, servers.FindSSHD()); missing != nil && os.Getenv("CI") != "true" {
		t.Skip(missing)
	}
	code, out, problems := run(t, "", "tour", "--targets")
	for _, wanted := range []string{
		"✓ 1207 orders", "permission denied for table orders", "left_over has orders-server/app_reader", "the open session was ended",
		"✓ a blue kettle", "NOPERM", "WRONGPASS", "uid=george.hall,ou=people", "✓ the host says: deployed", "Authentication key ED25519-CERT", "nothing was changed",
	} {
		if !strings.Contains(out, wanted) {
			t.Errorf("the tour does not say %q", wanted)
		}
	}
	if code != 0 || strings.Contains(problems, "not played") {
		t.Errorf("it exits with %d: %s", code, problems)
	}
}
