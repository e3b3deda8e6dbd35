package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// atTheHost gives a command line on the house's host, and returns what it printed.
func atTheHost(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if got := Main(args, strings.NewReader(""), &out, &out); got != code {
		t.Errorf("%v exits with %d, want %d: %s", args, got, code, &out)
	}
	return out.String()
}

func TestBackupAndRestoreFromTheCommandLine(t *testing.T) {
	s := newHouse(t, nil)
	folder, file := t.TempDir(), filepath.Join(t.TempDir(), "house.backup")
	says(t, atTheHost(t, 0, "backup", "--data", s.place.Data, file), "Copied the house of Meridian", "schema", "archive     sha256:", "master key  mk-", "not in the file")
	says(t, atTheHost(t, exitConflict, "backup", "--data", s.place.Data, file), "never replaced")
	says(t, atTheHost(t, exitNotFound, "backup", "--data", folder, filepath.Join(folder, "x")), "no house")
	says(t, atTheHost(t, exitInvalid, "backup"), "FILE")

	restored := filepath.Join(folder, "restored")
	says(t, atTheHost(t, exitNotFound, "restore", "--data", restored, file), "takes the master key mk-", "no key file at")
	if err := os.Mkdir(restored, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(s.place.Data, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(restored, "master.key"), key, 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, atTheHost(t, 0, "restore", "--data", restored, file), "Restored the house of Meridian", "do it again before others use the house", "0 finding(s)")
	says(t, atTheHost(t, exitConflict, "restore", "--data", restored, file), "There is", "already")
	says(t, atTheHost(t, 0, "audit", "verify", "--data", restored), "0 finding(s)")
	if left, _ := filepath.Glob(filepath.Join(restored, "restoring-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}

	again := filepath.Join(folder, "again.backup")
	var told struct {
		Archive   string
		MasterKey string `json:"master_key"`
		Tables    []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(atTheHost(t, 0, "backup", "--data", restored, again, "--json")), &told); err != nil || !strings.HasPrefix(told.Archive, "sha256:") || len(told.Tables) < 20 {
		t.Errorf("got %+v, %v", told, err)
	}
}
