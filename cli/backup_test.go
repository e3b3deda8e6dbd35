package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store/pgtest"
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

// about is a command line about the house at a place.
func about(place house.Place, args ...string) []string {
	if place.Database != "" {
		return append(args, "--database", place.Database, "--key-file", place.KeyFile)
	}
	return append(args, "--data", place.Data)
}

func keyFile(place house.Place) string {
	if place.KeyFile != "" {
		return place.KeyFile
	}
	return filepath.Join(place.Data, "master.key")
}

// Places for a house that are empty, without a key file.
var emptyPlaces = map[string]func(t *testing.T) house.Place{
	"SQLite": func(t *testing.T) house.Place {
		folder := filepath.Join(t.TempDir(), "house")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		return house.Place{Data: folder}
	},
	"PostgreSQL": func(t *testing.T) house.Place {
		return house.Place{Database: pgtest.Database(t, nil), KeyFile: filepath.Join(t.TempDir(), "master.key")}
	},
}

func TestBackupAndRestoreFromTheCommandLine(t *testing.T) {
	for from, place := range emptyPlaces {
		t.Run(from, func(t *testing.T) {
			there := place(t)
			if there.Database != "" {
				says(t, atTheHost(t, 0, "migrate", "--database", there.Database), "up to date")
			}
			s := newHouseAt(t, there, nil, clock{})
			file := filepath.Join(t.TempDir(), "house.backup")
			says(t, atTheHost(t, 0, about(s.place, "backup", file)...), "Copied the house of Meridian", "schema", "archive     sha256:", "master key  mk-", "not in the file")
			says(t, atTheHost(t, exitConflict, about(s.place, "backup", file)...), "never replaced")
			for into, place := range emptyPlaces {
				t.Run("into "+into, func(t *testing.T) { restoredFrom(t, file, keyFile(s.place), place(t)) })
			}
		})
	}
}

// restoredFrom makes the house anew at an empty place, and copies it from there again.
func restoredFrom(t *testing.T, file, key string, place house.Place) {
	says(t, atTheHost(t, exitNotFound, about(place, "restore", file)...), "takes the master key mk-", "no key file at")
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile(place), content, 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, atTheHost(t, 0, about(place, "restore", file)...), "Restored the house of Meridian", "do it again before others use the house", "0 finding(s)")
	says(t, atTheHost(t, exitConflict, about(place, "restore", file)...), "restore into a")
	says(t, atTheHost(t, 0, about(place, "audit", "verify")...), "0 finding(s)")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(keyFile(place)), "restoring-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	again := filepath.Join(t.TempDir(), "again.backup")
	var told struct {
		Archive   string
		MasterKey string `json:"master_key"`
		Tables    []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(atTheHost(t, 0, about(place, "backup", again, "--json")...)), &told); err != nil || !strings.HasPrefix(told.Archive, "sha256:") || len(told.Tables) < 20 {
		t.Errorf("got %+v, %v", told, err)
	}
}

func TestABackupTakesAHouseAndAFile(t *testing.T) {
	folder := t.TempDir()
	says(t, atTheHost(t, exitNotFound, "backup", "--data", folder, filepath.Join(folder, "x")), "no house")
	says(t, atTheHost(t, exitInvalid, "backup"), "FILE")
}
