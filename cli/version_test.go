package cli_test

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/countersign/countersign/cli"
)

func TestAProgramSaysWhichBuildItIs(t *testing.T) {
	version, commit := cli.Version, cli.Commit
	defer func() { cli.Version, cli.Commit = version, commit }()
	cli.Version, cli.Commit = "1.2.3", "0123abcd"
	if code, out, _ := run(t, "", "version"); code != 0 || !strings.Contains(out, "countersign 1.2.3\ncommit 0123abcd\n"+runtime.Version()) {
		t.Errorf("exit code %d: %s", code, out)
	}
	code, out, _ := run(t, "", "version", "--json")
	var read map[string]string
	if err := json.Unmarshal([]byte(out), &read); err != nil || code != 0 || read["version"] != "1.2.3" || read["commit"] != "0123abcd" || read["go"] != runtime.Version() {
		t.Errorf("exit code %d: %s (%v)", code, out, err)
	}
}
