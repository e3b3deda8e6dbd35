package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/noop"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/httpapi"
	"github.com/countersign/countersign/pdp"
	"github.com/countersign/countersign/target"
)

// servedVariable tells a second run of this program to be the house.
const servedVariable = "COUNTERSIGN_BENCH_SERVED"

// served is what the house's process is told.
type served struct {
	Place        house.Place
	Organisation organisation
	// Tokens are for whom tokens are issued.
	Tokens []string
	// Profile is a file for a CPU profile; "" takes none.
	Profile string
}

// organisation is how large the house is: people p0 and so on under 8 managers
// m0 to m7, and systems s0 and so on, each with one resource "r" and entitlements
// e0 and so on.
type organisation struct {
	People, Systems, Entitlements int
	// Connector is noop or role.
	Connector string
}

const managers = 8

func (o organisation) files() fs.FS {
	var text strings.Builder
	text.WriteString("people:\n")
	for _, name := range []string{"admin", "admin2", "auditor", "auditor2", "owner"} {
		fmt.Fprintf(&text, "  - {login: %s, name: %s, email: %s@bench.example, manager: m0}\n", name, strings.ToUpper(name), name)
	}
	for i := range managers {
		fmt.Fprintf(&text, "  - {login: m%d, name: Manager %d, email: m%d@bench.example}\n", i, i, i)
	}
	for i := range o.People {
		fmt.Fprintf(&text, "  - {login: p%d, name: Person %d, email: p%d@bench.example, manager: m%d}\n", i, i, i, i%managers)
	}
	text.WriteString("systems:\n  - name: countersign\n    title: Countersign itself\n    owner: owner\n    environment: prod\n    risk: high\n    connector: role\n" +
		"    resources: [{name: house, title: The house, entitlements: [{name: administrator, kind: role}, {name: auditor, kind: role}]}]\n")
	kind := map[string]string{"noop": "credential", "role": "role"}[o.Connector]
	for i := range o.Systems {
		fmt.Fprintf(&text, "  - name: s%d\n    title: System %d\n    owner: owner\n    environment: prod\n    risk: low\n    connector: %s\n    resources:\n      - name: r\n        title: Resource\n        entitlements:\n", i, i, o.Connector)
		for k := range o.Entitlements {
			fmt.Fprintf(&text, "          - {name: e%d, kind: %s}\n", k, kind)
		}
	}
	text.WriteString("powers:\n  administrator: [admin, admin2]\n  auditor: [auditor, auditor2]\n")
	step := map[string]string{"noop": "noop.apply", "role": "role.assign"}[o.Connector]
	policy := "request: access\ntitle: Access\ngrants: {system: any, kind: " + kind + `}
beneficiary: [person]
limits: {duration: {default: 10d, max: 30d}, open_per_holder: 1000}
stages:
  - {name: manager, approvers: [manager-of(requester)], within: 2 business days}
fulfil: [` + step + "]\ngrant: {ends: revoke}\nclose: {when: [gone]}\n"
	return fstest.MapFS{
		"organisation.yaml":    {Data: []byte("name: Bench\n")},
		"directory/all.yaml":   {Data: []byte(text.String())},
		"policies/access.yaml": {Data: []byte(policy)},
	}
}

type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func TestMain(m *testing.M) {
	if told := os.Getenv(servedVariable); told != "" {
		if err := serve(told); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if *measure {
		figures.print()
		figures.printGrowth()
		if err := figures.keep(*results); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// serve is the house's process: the doors as the command line opens them, with the
// no-op target beside the built-in ones. It ends with its standard input.
func serve(told string) error {
	var config served
	if err := json.Unmarshal([]byte(told), &config); err != nil {
		return err
	}
	if config.Profile != "" {
		file, err := os.Create(config.Profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx := context.Background()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// What a log costs belongs to an answer; where it ends does not.
	sink, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(sink, nil))
	h, _, err := house.Start(ctx, config.Place, config.Organisation.files(), house.Options{
		Clock: wallClock{}, Entropy: rand.Reader, Log: log, Replica: fmt.Sprintf("bench/%d", os.Getpid()), Issuer: "http://" + listener.Addr().String(),
		Connectors: connector.Set{"noop": noop.New(wallClock{}, countersign.CredentialKind)},
	})
	if err != nil {
		return err
	}
	defer h.Store.Close()
	caller := target.AuthenticatorFunc(httpapi.Authenticated)
	server := httpapi.Server("", httpapi.New(httpapi.Config{
		Desk: h.Desk, Authenticate: h.Authenticate, Tokens: h.Auth, Clock: wallClock{}, Log: log, Ready: h.Ready,
		Wait:   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		Mounts: []httpapi.Mount{{Path: pdp.EvaluationPath, Scope: auth.Evaluate, Handler: h.Point.Evaluation(caller)}},
	}))
	house.AtRest()
	working, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { h.Run(working) })
	running.Go(func() { server.Serve(listener) })
	fmt.Println("http://" + listener.Addr().String())
	tokens := map[string]string{}
	for _, login := range config.Tokens {
		id, known := h.Desk.Resolve(login)
		if !known {
			return fmt.Errorf("there is no %s", login)
		}
		text, _, err := h.Auth.Issue(ctx, auth.Order{Identity: id, Login: login, Scopes: []auth.Scope{auth.AllScopes}, Duration: auth.MaxHostDuration, OperatingSystemUser: "bench"})
		if err != nil {
			return err
		}
		tokens[login] = text.Reveal()
	}
	if err := json.NewEncoder(os.Stdout).Encode(tokens); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	stop()
	server.Close()
	running.Wait()
	return nil
}

// process is the house's process, seen from outside.
type process struct {
	url    string
	tokens map[string]string
	// ready is how long it took from the start to the first good answer of /readyz.
	ready   time.Duration
	command *exec.Cmd
	input   io.Closer
}

func start(t *testing.T, config served) *process {
	t.Helper()
	told, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{command: exec.Command(os.Args[0])}
	p.command.Env = append(os.Environ(), servedVariable+"="+string(told))
	p.command.Stderr = os.Stderr
	if p.input, err = p.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := p.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.stop(t) })
	lines := bufio.NewReaderSize(output, 1<<20)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the house did not start: %v", err)
	}
	p.url = strings.TrimSpace(line)
	for {
		answer, err := http.Get(p.url + "/readyz")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
	}
	p.ready = time.Since(began)
	if err := json.NewDecoder(lines).Decode(&p.tokens); err != nil {
		t.Fatalf("the house issued no tokens: %v", err)
	}
	return p
}

// stop ends the process and waits for it; a second call does nothing.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if p.input == nil {
		return
	}
	p.input.Close()
	p.input = nil
	if err := p.command.Wait(); err != nil {
		t.Errorf("the house ended with %v", err)
	}
}
