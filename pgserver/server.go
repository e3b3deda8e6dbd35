// Package pgserver runs a PostgreSQL server of one's own from the installed
// binaries: for tests, and for the tour. It listens on a socket in a folder of its
// own, which is gone once the server is closed or its process has ended, however it
// ended. It imports no room of the house.
package pgserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// script runs the server for as long as its standard input stays open. Only the
// test process holds the other end, so the server ends with it, also when the
// process is killed. Whoever is not the superuser needs a password, so that tests
// of logins mean something. It gets the folder of the binaries and its own folder,
// and reads what to do: kill the server without a word to anybody, or start it
// again, which takes a few tries while the processes of the killed one are going.
const script = `
bin=$1 dir=$2
cd "$dir" || exit 1
start() {
	"$bin/pg_ctl" -D data -w -t 60 -l log -o "-c listen_addresses='' -c unix_socket_directories='$dir' -c max_connections=200" start >>log 2>&1
}
"$bin/initdb" -D data -U postgres -A trust -E UTF8 --locale=C --no-sync >log 2>&1 &&
printf 'local all postgres trust\nlocal all all scram-sha-256\n' >data/pg_hba.conf &&
start || { echo failed; cat log; exit 1; }
echo ready
while read -r what; do
	case $what in
	kill) kill -9 "$(head -n 1 data/postmaster.pid)" && echo killed || echo failed ;;
	start)
		tries=0
		until start; do
			tries=$((tries + 1))
			[ $tries -lt 50 ] || { echo failed; cat log; exit 1; }
		done
		echo ready ;;
	esac
done
"$bin/pg_ctl" -D data -m immediate -w stop >>log 2>&1
cd / && rm -rf "$dir"
`

// Missing says why no server can be had.
type Missing struct{ Why string }

func (m *Missing) Error() string { return m.Why }

// Server is a running server. It runs for as long as the process keeps hold,
// which the collector would close if nobody referred to it.
type Server struct {
	// URL is that of the superuser, who alone needs no password.
	URL string
	// Binaries is the folder of the programs that came with it.
	Binaries string
	hold     io.WriteCloser
	// answer is what the script says.
	answer *bufio.Reader
}

// Start starts a server. Without its binaries the error is a *Missing.
func Start() (*Server, error) {
	bin, err := Binaries()
	if err != nil {
		return nil, err
	}
	// /tmp and not the folder for temporary files: the path of a socket is short.
	dir, err := os.MkdirTemp("/tmp", "countersign-postgres-")
	if err != nil {
		return nil, err
	}
	command := exec.Command("/bin/sh", "-c", script, "sh", bin, dir)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if os.Geteuid() == 0 {
		// The server refuses to run as root.
		credential, err := unprivileged()
		if err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(credential.Uid), int(credential.Gid)); err != nil {
			return nil, err
		}
		command.SysProcAttr.Credential = credential
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	hold, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	answer := bufio.NewReader(output)
	if line, err := answer.ReadString('\n'); err != nil || line != "ready\n" {
		log, _ := io.ReadAll(answer)
		return nil, errors.Join(fmt.Errorf("the server did not start: %s%s", line, log), hold.Close(), command.Wait(), os.RemoveAll(dir))
	}
	superuser := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/postgres", RawQuery: url.Values{"host": {dir}}.Encode()}
	return &Server{superuser.String(), bin, hold, answer}, nil
}

// Close stops the server and removes its folder.
func (s *Server) Close() error { return s.hold.Close() }

// Kill ends the server by SIGKILL. What was committed is on disk.
func (s *Server) Kill() error { return s.tell("kill", "killed") }

// Again starts the killed server, and returns when it answers.
func (s *Server) Again() error { return s.tell("start", "ready") }

// tell has the script do something, and fails unless it answers as it should.
func (s *Server) tell(what, answer string) error {
	if _, err := io.WriteString(s.hold, what+"\n"); err != nil {
		return err
	}
	line, err := s.answer.ReadString('\n')
	if err == nil && line != answer+"\n" {
		err = fmt.Errorf("the server was told to %s and says %q", what, line)
	}
	return err
}

// Binaries returns the folder of the newest installed server.
func Binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if _, err := exec.LookPath("pg_ctl"); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", &Missing{"PostgreSQL server binaries are not installed: apt-get install postgresql"}
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return major(a) - major(b) })
	return filepath.Dir(newest), nil
}

// major returns the 15 of /usr/lib/postgresql/15/bin/initdb.
func major(path string) int {
	version, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return version
}

// unprivileged returns a user to run the server as.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("there is neither a user postgres nor a user nobody to run the server as")
}
