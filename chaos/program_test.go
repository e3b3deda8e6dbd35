package chaos

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Environment variables: how much is done, and with which seed. The tests print
// the seed that they used.
const (
	roundsVariable = "COUNTERSIGN_CHAOS_ROUNDS"
	seedVariable   = "COUNTERSIGN_CHAOS_SEED"
	// tagsVariable are the build tags; without shortlease the leases are real.
	tagsVariable = "COUNTERSIGN_CHAOS_TAGS"
)

// rounds is how often something is repeated: few times in an ordinary run.
func rounds(few int) int { return few * moreRounds }

// moreRounds is what roundsVariable asks for, once TestMain has read it.
var moreRounds = 1

// seeded returns chance, by the seed that was asked for or a fresh one.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s=%q is not a number", seedVariable, text)
		}
	}
	t.Logf("%s=%d", seedVariable, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

var folder string

func TestMain(m *testing.M) {
	// Most of the time the tests of an ordinary run wait for leases, and not for a
	// processor.
	flag.Parse()
	var err error
	if text := os.Getenv(roundsVariable); text == "" {
		err = flag.Set("test.parallel", "8")
	} else if moreRounds, err = strconv.Atoi(text); err != nil || moreRounds < 1 {
		err = fmt.Errorf("%s=%q is not how often", roundsVariable, text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if folder, err = os.MkdirTemp("", "countersign-chaos-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// binary builds the program once, and not for the race detector: its races are
// looked for by every other room's tests, and here it should be as it is shipped.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "countersign")
	return path, buildAt("..", path)
})

// buildAt builds the program of the source in a folder. With trimpath, what two
// folders have in common is compiled once.
func buildAt(source, path string) error {
	tags := os.Getenv(tagsVariable)
	if tags == "" {
		tags = "faultpoint,shortlease"
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", tags, "-o", path, "./cmd/countersign")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program in %s: %w\n%s", source, err, output)
	}
	return nil
}

func program(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a program to its end and returns what it printed.
func run(t *testing.T, program string, arguments ...string) (string, error) {
	t.Helper()
	command := exec.Command(program, arguments...)
	command.Dir, command.Env = t.TempDir(), environment()
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

// environment has nothing of who runs the tests in it.
func environment(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + folder, "TMPDIR=" + os.TempDir()}, more...)
}

// process is one running `countersign serve`.
type process struct {
	command *exec.Cmd
	url     string
	guard   io.Closer
	// ended is closed once the process has ended, however it ended.
	ended chan struct{}
	log   *safeBuffer
}

// guardScript kills a process when the test process, which holds its standard input,
// has ended: nothing outlives a test that was killed itself.
const guardScript = `cat >/dev/null; kill -9 "$1" 2>/dev/null`

// start starts a program with the arguments, and returns when it listens; or, as
// an error, what it said before it ended.
func start(t *testing.T, program string, variables []string, arguments ...string) (*process, error) {
	t.Helper()
	p := &process{command: exec.Command(program, arguments...), ended: make(chan struct{}), log: &safeBuffer{}}
	p.command.Dir, p.command.Env, p.command.Stderr = folder, environment(variables...), p.log
	output, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	guard := exec.Command("/bin/sh", "-c", guardScript, "sh", strconv.Itoa(p.command.Process.Pid))
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if p.guard, err = guard.StdinPipe(); err == nil {
		err = guard.Start()
	}
	if err != nil {
		t.Fatal(errors.Join(err, p.command.Process.Kill(), p.command.Wait()))
	}
	listening, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			fmt.Fprintln(p.log, lines.Text())
			if url, is := strings.CutPrefix(lines.Text(), "Listening on "); is {
				listening <- url
			}
		}
	}()
	go func() {
		<-read
		// It was killed, or ended with what its log says.
		_ = p.command.Wait()
		// The guard ends before the number of the process can be given away again.
		_ = guard.Process.Kill()
		_ = guard.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	select {
	case p.url = <-listening:
		return p, nil
	case <-p.ended:
		return nil, errors.New(p.log.String())
	}
}

// kill ends the process by SIGKILL and waits until it is gone.
func (p *process) kill() {
	// It may have ended by itself.
	_ = p.command.Process.Kill()
	<-p.ended
}

func (p *process) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// ends waits until the process has ended: killed itself at its point, or done what a
// signal asked for.
func (p *process) ends(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		log := p.log.String()
		return fmt.Errorf("the process does not end; its log ends with\n%s", log[max(0, len(log)-2000):])
	}
}

// safeBuffer is a buffer for several goroutines.
type safeBuffer struct {
	lock   sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(content []byte) (int, error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.buffer.Write(content)
}

func (b *safeBuffer) String() string {
	b.lock.Lock()
	defer b.lock.Unlock()
	return b.buffer.String()
}
