// Package exec is the connector for whatever a program of the operator's can
// reach: one process for each operation, the question on its standard input, the
// answer on its standard output, as connector/wire has it.
//
// It never imports desk, starts no shell, and hands on no environment but what
// the settings name. When an operation is over, so is its process with all that
// it started, so nothing of it writes later; what it wrote, the read-back says.
package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/wire"
)

// Settings say which program is run, as countersign.yaml has them under the name
// of a connector.
type Settings struct {
	Program `yaml:",inline"`
	// Describe is what the program says of itself.
	Describe wire.Description `yaml:"describe"`
}

// Program is what is run.
type Program struct {
	// Command is the program, by its absolute path, and its arguments. No shell reads
	// it.
	Command []string `yaml:"command"`
	// Folder is the absolute path that the program is started in; "" is /.
	Folder string `yaml:"folder"`
	// Environment names the variables of our own environment that the program gets;
	// it gets no others.
	Environment []string `yaml:"environment"`
}

const (
	// maxTrouble is how much of the standard error is kept, in bytes.
	maxTrouble = 4 << 10
	// grace is how long the pipes of a program that has ended are read on.
	grace = time.Second
)

// New checks the settings and returns the connector with the name. It runs
// nothing yet.
func New(name string, settings Settings, clock connector.Clock) (wire.Hands, error) {
	carrier, err := NewCarrier(name, settings.Program)
	if err != nil {
		return nil, err
	}
	return wire.New(name, settings.Describe, carrier, clock)
}

// NewCarrier checks the settings of a program, and returns what takes questions to
// it, one process for each.
func NewCarrier(name string, settings Program) (wire.Carrier, error) {
	if len(settings.Command) == 0 {
		return nil, wire.Malformed(name, "command", "name the program and its arguments, as [/usr/bin/python3, /etc/countersign/accounts.py]")
	}
	for i, argument := range settings.Command {
		if strings.ContainsRune(argument, 0) {
			return nil, wire.Malformed(name, fmt.Sprintf("command/%d", i), "it holds a zero byte, which no argument can")
		}
	}
	program := settings.Command[0]
	info, err := os.Stat(program)
	switch {
	case !filepath.IsAbs(program):
		return nil, wire.Malformed(name, "command/0", "%q is not an absolute path: write it as /usr/bin/python3; it is not looked for", program)
	case err != nil:
		return nil, wire.Malformed(name, "command/0", "the program cannot be looked at: %v", err).Because(err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return nil, wire.Malformed(name, "command/0", "%s is not a file that can be run", program)
	case info.Mode()&0o002 != 0:
		return nil, wire.Malformed(name, "command/0", "everybody on this machine can change %s: take that right away", program)
	}
	folder := settings.Folder
	if folder == "" {
		folder = "/"
	}
	if info, err := os.Stat(folder); !filepath.IsAbs(folder) || err != nil || !info.IsDir() {
		return nil, wire.Malformed(name, "folder", "%q is not the absolute path of a folder that exists", folder)
	}
	// An empty one is not nil: nil would be all of ours.
	environment := []string{}
	for i, variable := range settings.Environment {
		if variable == "" || strings.ContainsAny(variable, "=\x00") {
			return nil, wire.Malformed(name, fmt.Sprintf("environment/%d", i), "write only the name of a variable, as LANG; its value is the one that this process has")
		}
		value, set := os.LookupEnv(variable)
		if !set {
			return nil, wire.Malformed(name, fmt.Sprintf("environment/%d", i), "the variable %s is not set: set it, or take it out", variable)
		}
		environment = append(environment, variable+"="+value)
	}
	return &processes{settings.Command, folder, environment}, nil
}

// processes implements wire.Carrier by processes.
type processes struct {
	command     []string
	folder      string
	environment []string
}

// Carry implements wire.Carrier: the process is the only one that sees the
// question, so the question's id is not needed.
func (p *processes) Carry(ctx context.Context, _ string, question []byte) ([]byte, error) {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	out, trouble := &bounded{most: wire.MaxAnswer, full: kill}, &bounded{most: maxTrouble}
	process := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
	process.Dir, process.Env = p.folder, p.environment
	process.Stdin, process.Stdout, process.Stderr = bytes.NewReader(question), out, trouble
	process.WaitDelay = grace
	// A group of its own, so that what the program starts ends with it.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	killGroup := func() error { return syscall.Kill(-process.Process.Pid, syscall.SIGKILL) }
	process.Cancel = killGroup
	if err := process.Start(); err != nil {
		return nil, fmt.Errorf("the program cannot be started: %w", err)
	}
	err := process.Wait()
	// What the program left behind in its group. That there is nothing is usual.
	_ = killGroup()
	switch {
	case out.over:
		return nil, fmt.Errorf("the answer has more than %d bytes", wire.MaxAnswer)
	case ctx.Err() != nil:
		return nil, errors.New("the time of the operation was over, and the program was killed")
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, errors.New("the program ended and left a process behind that held its output")
	}
	answer := out.kept.Bytes()
	// A refusal counts with any exit code; success needs 0.
	if err != nil && !wire.IsFailure(answer) {
		if said := wire.OneLine(trouble.kept.String()); said != "" {
			return nil, fmt.Errorf("the program ended with %v: %s", err, said)
		}
		return nil, fmt.Errorf("the program ended with %w", err)
	}
	return answer, nil
}

// bounded keeps the first bytes that are written and drops the others.
type bounded struct {
	kept bytes.Buffer
	most int
	over bool
	// full is called when something is dropped; may be nil.
	full func()
}

func (b *bounded) Write(written []byte) (int, error) {
	room := b.most - b.kept.Len()
	if len(written) > room && !b.over {
		b.over = true
		if b.full != nil {
			b.full()
		}
	}
	b.kept.Write(written[:min(len(written), room)])
	return len(written), nil
}
