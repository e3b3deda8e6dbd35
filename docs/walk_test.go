package docs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A page is executed by these rules:
//
//   - In a ```console block a line that begins with "$ " is a command. All
//     commands of a page run in one shell, in the order of the page.
//   - The lines after a command are its whole output, standard error included;
//     "…" stands for any text within a line, and a line of "…" alone for any
//     lines.
//   - A command ends with the exit code 0, unless a line of its output begins
//     with "countersign: ", which is how a refusal is told.
//   - A command that ends with " &" starts a house; the next command runs when
//     /readyz answers 200.
//   - A block whose first line names a file (```yaml acme/x.yaml) is written to it.
//   - The address 127.0.0.1:8740 is a free port in the test.
type action struct {
	line    int
	command string
	expect  []string
	// file is where content is written; "" for a command.
	file    string
	content string
}

const pageAddress = "127.0.0.1:8740"

// actionsOf reads the fenced blocks of a page.
func actionsOf(page string) ([]action, error) {
	var actions []action
	var kind, file string
	inside := false
	for i, line := range strings.Split(page, "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !inside:
			kind, file, _ = strings.Cut(fence, " ")
			inside = true
			if file != "" {
				actions = append(actions, action{line: i + 1, file: file})
			}
		case isFence:
			inside, file = false, ""
		case !inside:
		case file != "":
			last := &actions[len(actions)-1]
			last.content += line + "\n"
		case kind == "console":
			if command, is := strings.CutPrefix(line, "$ "); is {
				actions = append(actions, action{line: i + 1, command: command})
			} else if len(actions) == 0 || actions[len(actions)-1].file != "" {
				return nil, fmt.Errorf("line %d: output without a command", i+1)
			} else {
				last := &actions[len(actions)-1]
				last.expect = append(last.expect, line)
			}
		}
	}
	if inside {
		return nil, errors.New("a block does not end")
	}
	return actions, nil
}

// walk executes a page in an empty folder with the program at binary.
func walk(ctx context.Context, t *testing.T, page, binary string) error {
	actions, err := actionsOf(page)
	if err != nil {
		return err
	}
	folder, address := t.TempDir(), freeAddress(t)
	shell, err := startShell(ctx, folder, filepath.Dir(binary))
	if err != nil {
		return err
	}
	defer shell.stop()
	there := strings.NewReplacer(pageAddress, address)
	for _, a := range actions {
		if a.file != "" {
			path := filepath.Join(folder, filepath.FromSlash(a.file))
			err = os.WriteFile(path, []byte(there.Replace(a.content)), 0o600)
		} else {
			err = shell.perform(ctx, a, there, address)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", a.line, err)
		}
	}
	return nil
}

// shell is one sh that takes commands one by one.
type shell struct {
	process *exec.Cmd
	in      io.WriteCloser
	lines   chan string
	end     context.CancelFunc
}

// marker ends the output of each command, followed by the exit code.
const marker = "--- end of the command: "

func startShell(ctx context.Context, folder, path string) (*shell, error) {
	ctx, end := context.WithTimeout(ctx, time.Minute)
	s := &shell{process: exec.CommandContext(ctx, "sh"), lines: make(chan string), end: end}
	s.process.Dir = folder
	// Nothing of who runs the tests reaches the commands.
	s.process.Env = []string{"PATH=" + path + ":" + os.Getenv("PATH"), "HOME=" + folder, "LC_ALL=C.UTF-8"}
	// A group of its own, so that what the shell started ends with it.
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.process.Cancel = func() error { return syscall.Kill(-s.process.Process.Pid, syscall.SIGKILL) }
	var err error
	if s.in, err = s.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.process.Stderr = s.process.Stdout
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.lines)
		scanner := bufio.NewScanner(out)
		for scanner.Scan() {
			s.lines <- scanner.Text()
		}
	}()
	return s, nil
}

func (s *shell) stop() {
	s.end()
	for range s.lines {
	}
	// It was killed; how it ended says nothing.
	_ = s.process.Wait()
}

// perform runs one command and compares what it does with the page.
func (s *shell) perform(ctx context.Context, a action, there *strings.Replacer, address string) error {
	// The exit code stays what it is for a next command that asks for it.
	if _, err := fmt.Fprintf(s.in, "%s\ncode=$?; printf '\\n%s%%s\\n' \"$code\"; (exit \"$code\")\n", there.Replace(a.command), marker); err != nil {
		return err
	}
	var output []string
	code, ended := "", false
	for line := range s.lines {
		if code, ended = strings.CutPrefix(line, marker); ended {
			break
		}
		output = append(output, line)
	}
	if !ended {
		return fmt.Errorf("%q did not end; so far it wrote:\n%s", a.command, strings.Join(output, "\n"))
	}
	// The marker stands on a line of its own, after a line break that is not the
	// command's.
	if len(output) > 0 && output[len(output)-1] == "" {
		output = output[:len(output)-1]
	}
	refused := false
	expect := make([]string, len(a.expect))
	for i, line := range a.expect {
		expect[i] = there.Replace(line)
		refused = refused || strings.HasPrefix(line, "countersign: ")
	}
	if problem := difference(expect, output); problem != "" {
		return fmt.Errorf("%q: %s\nall that it wrote:\n%s", a.command, problem, strings.Join(output, "\n"))
	}
	if refused == (code == "0") {
		return fmt.Errorf("%q ended with the exit code %s, which does not fit the page", a.command, code)
	}
	if strings.HasSuffix(a.command, " &") {
		return ready(ctx, address)
	}
	return nil
}

// difference says where the output is not what the page says; "" for nowhere.
func difference(expect, output []string) string {
	if len(expect) == 0 {
		if len(output) > 0 {
			return fmt.Sprintf("the page shows no output, and there is %q", output[0])
		}
		return ""
	}
	if expect[0] == "…" {
		for skip := 0; skip <= len(output); skip++ {
			if difference(expect[1:], output[skip:]) == "" {
				return ""
			}
		}
		if len(expect) == 1 {
			return ""
		}
		return fmt.Sprintf("nothing in the output is followed to its end from %q on", expect[1])
	}
	if len(output) == 0 {
		return fmt.Sprintf("the page shows %q, and there is nothing more", expect[0])
	}
	parts := strings.Split(expect[0], "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	if matched, err := regexp.MatchString("^"+strings.Join(parts, ".*")+"$", strings.TrimRight(output[0], " ")); err != nil || !matched {
		return fmt.Sprintf("the page shows %q, and there is %q", expect[0], output[0])
	}
	return difference(expect[1:], output[1:])
}

// ready asks the house until it is ready, a bounded number of times.
func ready(ctx context.Context, address string) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for range 1000 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		last = err
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return fmt.Errorf("the house did not become ready: %w", last)
}

// freeAddress finds a port that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
