package sqlstore

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/countersign/countersign/store"
)

// victim names the database that a second run of this test writes to until it
// is killed.
const victim = "COUNTERSIGN_TEST_VICTIM"

func TestWhatWasAnsweredSurvivesAKill(t *testing.T) {
	if path := os.Getenv(victim); path != "" {
		commitForEver(t, path)
	}
	path := filepath.Join(t.TempDir(), "house.db")
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	command.Env = append(os.Environ(), victim+"="+path)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var answered []string
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		answered = append(answered, lines.Text())
		if len(answered) == 200 {
			if err := command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := command.Wait(); err == nil {
		t.Fatal("the process was not killed")
	}
	if len(answered) < 200 {
		t.Fatalf("only %d commits were answered: %v", len(answered), answered)
	}
	s := opened(t)(OpenSQLite(background, path, Options{}))
	defer s.Close()
	versions, err := s.Guards(background, answered)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range answered {
		if versions[key] != 1 {
			t.Fatalf("%s was answered and is lost", key)
		}
	}
}

// commitForEver writes guards from several callers and prints the key of each
// after its commit was answered.
func commitForEver(t *testing.T, path string) {
	s := opened(t)(OpenSQLite(background, path, Options{}))
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("k-%d-%d", caller, n)
				if err := s.Commit(background, store.Change{Guards: []store.Guard{{Key: key, Next: 1}}}); err != nil {
					panic(err)
				}
				os.Stdout.WriteString(key + "\n")
			}
		})
	}
	all.Wait()
}

func TestTwoProcessesShareOneSQLiteFile(t *testing.T) {
	// The command line writes beside a running server; each has its own writer.
	path := filepath.Join(t.TempDir(), "house.db")
	left, right := opened(t)(OpenSQLite(background, path, Options{})), opened(t)(OpenSQLite(background, path, Options{}))
	defer left.Close()
	defer right.Close()
	for round := range int64(50) {
		var errs [2]error
		var all sync.WaitGroup
		for i, s := range []*Store{left, right} {
			all.Go(func() {
				errs[i] = s.Commit(background, store.Change{Guards: []store.Guard{{Key: "k", Version: round, Next: round + 1}}})
			})
		}
		all.Wait()
		var changed *store.Changed
		if (errs[0] == nil) == (errs[1] == nil) || !errors.As(errors.Join(errs[:]...), &changed) {
			t.Fatalf("round %d: got %v", round, errs)
		}
		for _, s := range []*Store{left, right} {
			if versions, err := s.Guards(background, []string{"k"}); err != nil || versions["k"] != round+1 {
				t.Fatalf("round %d: a reader sees %v (%v)", round, versions, err)
			}
		}
	}
}
