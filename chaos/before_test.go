package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// migrations is the folder by which versions differ here.
const migrations = "store/sqlstore/migrations"

// version is the program as it was at a commit.
type version struct {
	commit, path string
	// earlier says that its schema is an earlier one than the present one.
	earlier bool
}

// missing says what a test of two versions lacks.
type missing struct{ what string }

func (m *missing) Error() string { return m.what }

// versionBefore is built once. What it has in common with the present program is
// compiled once, too, and kept from run to run by the go command.
var versionBefore = sync.OnceValues(func() (*version, error) {
	commit, earlier, err := commitBefore()
	if err != nil {
		return nil, err
	}
	source := filepath.Join(folder, "before")
	// A copy and not a second work tree: nothing of it stays in the repository.
	index := "GIT_INDEX_FILE=" + filepath.Join(folder, "before.index")
	if _, err := git(index, "read-tree", commit); err != nil {
		return nil, err
	}
	if _, err := git(index, "checkout-index", "--all", "--prefix="+source+"/"); err != nil {
		return nil, err
	}
	v := &version{commit, filepath.Join(folder, "countersign-before"), earlier}
	return v, buildAt(source, v.path)
})

// before returns the program of the version before; without its history the test is
// skipped.
func before(t *testing.T) *version {
	t.Helper()
	v, err := versionBefore()
	if lacks := (*missing)(nil); errors.As(err, &lacks) {
		t.Skip(lacks.what)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the version before is that of commit %s", v.commit)
	return v
}

// commitBefore is the newest commit whose schema the present one only adds to, or the
// last one where there is none.
func commitBefore() (commit string, earlier bool, err error) {
	// An archive may lie in somebody else's repository.
	if prefix, err := git("", "rev-parse", "--show-prefix"); err != nil || prefix != "" {
		return "", false, &missing{"the version before cannot be built: this is no clone of the repository (" + fmt.Sprint(prefix, err) + ")"}
	}
	if shallow, err := git("", "rev-parse", "--is-shallow-repository"); err != nil || shallow != "false" {
		return "", false, &missing{"the version before cannot be built: this clone has no history (git fetch --unshallow brings it)"}
	}
	changes, err := git("", "log", "--first-parent", "--format=%H", "--", migrations)
	if err != nil {
		return "", false, err
	}
	candidates := []string{"HEAD"}
	for _, change := range strings.Fields(changes) {
		candidates = append(candidates, change+"^")
	}
	for _, candidate := range candidates {
		commit, err := git("", "rev-parse", "--verify", "--quiet", candidate+"^{commit}")
		if err != nil {
			break // before the first commit
		}
		changed, err := git("", "diff", "--no-renames", "--name-status", commit, "--", migrations)
		if err != nil {
			return "", false, err
		}
		if onlyAdds(changed) {
			return commit, true, nil
		}
	}
	commit, err = git("", "rev-parse", "HEAD~")
	return commit, false, err
}

// onlyAdds says whether a list of changed files has new ones, and no others.
func onlyAdds(changed string) bool {
	lines := strings.Split(changed, "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "A\t") {
			return false
		}
	}
	return true
}

// git runs git in the repository, with one more variable if there is one.
func git(variable string, arguments ...string) (string, error) {
	command := exec.Command("git", append([]string{"-C", ".."}, arguments...)...)
	command.Env = os.Environ()
	if variable != "" {
		command.Env = append(command.Env, variable)
	}
	output, err := command.Output()
	if err != nil {
		said := ""
		if ended := (*exec.ExitError)(nil); errors.As(err, &ended) {
			said = string(ended.Stderr)
		}
		return "", fmt.Errorf("git %s: %w %s", strings.Join(arguments, " "), err, said)
	}
	return strings.TrimSpace(string(output)), nil
}
