// Package servers runs Redis, slapd and sshd servers of one's own from the installed
// programs: for tests, and for the tour. Each stands in a folder of its own and is
// gone once it is closed or its process has ended, however it ended. It imports no
// room of the house.
package servers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Missing says why no server can be had.
type Missing struct{ Why string }

func (m *Missing) Error() string { return m.Why }

// script runs a server for as long as its standard input stays open. Only the
// process that started it holds the other end, so the server ends with it, also
// when that is killed. Told to stop, it leaves the folder as it is.
const script = `
dir=$1
shift
"$@" &
read -r what || what=gone
kill -9 $!
wait
[ "$what" = stop ] || { cd / && rm -rf "$dir"; }
`

// patience is how long a server may take to answer.
const patience = 10 * time.Second

// process is a server that runs.
type process struct {
	folder  string
	command *exec.Cmd
	hold    io.WriteCloser
	said    *said
}

// newFolder makes a folder whose path fits into the address of a socket.
func newFolder(name string) (string, error) { return os.MkdirTemp("/tmp", "countersign-"+name+"-") }

// start runs a program in the folder until it answers.
func start(folder string, told func(line string), answers func() error, program string, arguments ...string) (*process, error) {
	p := &process{folder: folder, said: &said{told: told}}
	p.command = exec.Command("/bin/sh", append([]string{"-c", script, "sh", folder, program}, arguments...)...)
	p.command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p.command.Stdout, p.command.Stderr = p.said, p.said
	var err error
	if p.hold, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	// It listens within a moment; each try that fails takes one of its own.
	const pause = 10 * time.Millisecond
	for tries := int(patience / pause); ; tries-- {
		if err = answers(); err == nil {
			return p, nil
		}
		if tries == 0 {
			return nil, errors.Join(fmt.Errorf("%s did not start: %w: %s", filepath.Base(program), err, p.said), p.close())
		}
		<-time.After(pause)
	}
}

// stop ends the server by SIGKILL and leaves its folder.
func (p *process) stop() error {
	_, err := io.WriteString(p.hold, "stop\n")
	return errors.Join(err, p.close())
}

// close ends the server and removes its folder.
func (p *process) close() error { return errors.Join(p.hold.Close(), p.command.Wait()) }

// said is what a server says, line by line.
type said struct {
	told func(line string)
	lock sync.Mutex
	all  []byte
	line []byte
}

func (s *said) Write(text []byte) (int, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.all = append(s.all, text...)
	s.line = append(s.line, text...)
	for {
		end := bytes.IndexByte(s.line, '\n')
		if end < 0 {
			return len(text), nil
		}
		if s.told != nil {
			s.told(string(bytes.TrimRight(s.line[:end], "\r")))
		}
		s.line = s.line[end+1:]
	}
}

func (s *said) String() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	return string(s.all)
}

// found is the first of the paths at which there is a program.
func found(missing string, paths ...string) (string, error) {
	for _, path := range paths {
		if full, err := exec.LookPath(path); err == nil {
			return full, nil
		}
	}
	return "", &Missing{missing}
}
