package exec_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	hands "github.com/countersign/countersign/connector/exec"
	"github.com/countersign/countersign/connector/wire"
)

var description = wire.Description{
	Actions: []string{"open-account"}, Kind: countersign.RoleKind, Rotates: true, Extends: true, EnforcesExpiryItself: true,
	EndsSessions: true, ExpiryGranularity: 1, IdempotentRevoke: true, TellsLastUse: true, TellsInventory: true,
}

// python is the interpreter itself, not something on the path that looks for it.
func python(t *testing.T) string {
	t.Helper()
	found, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the example needs python3: %v", err)
		}
		t.Skipf("the example needs python3: %v", err)
	}
	return strings.TrimSpace(string(found))
}

type account struct {
	Holder      countersign.IdentityID `json:"holder"`
	Grant       countersign.GrantID    `json:"grant"`
	System      string                 `json:"system"`
	Resource    string                 `json:"resource"`
	Entitlement string                 `json:"entitlement"`
	Until       countersign.Instant    `json:"until"`
	MadeBy      string                 `json:"made_by,omitempty"`
	Version     int                    `json:"version"`
}

type book struct {
	Accounts map[countersign.CredentialID]account `json:"accounts"`
	Removed  map[string]string                    `json:"removed"`
}

func open(t *testing.T, file string) book {
	t.Helper()
	kept := book{Accounts: map[countersign.CredentialID]account{}, Removed: map[string]string{}}
	content, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return kept
	}
	if err == nil {
		err = json.Unmarshal(content, &kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func TestTheExampleConforms(t *testing.T) {
	interpreter := python(t)
	example, err := filepath.Abs("../../docs/examples/accounts.py")
	if err != nil {
		t.Fatal(err)
	}
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		clock, file := connectortest.NewClock(), filepath.Join(t.TempDir(), "accounts.json")
		made, err := hands.New("accounts", hands.Settings{Program: hands.Program{Command: []string{interpreter, "-I", example, file}}, Describe: description}, clock)
		if err != nil {
			t.Fatal(err)
		}
		if err := made.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		return &connectortest.Bench{
			Connector: made, Clock: clock,
			Works: func(t *testing.T, task connector.Task) bool {
				held, there := open(t, file).Accounts[task.Credential]
				return there && held.Holder == task.Holder && held.Resource == task.Resource && held.Entitlement == task.Entitlement && clock.Instant() < held.Until
			},
			Plant: func(t *testing.T, task connector.Task) {
				kept := open(t, file)
				kept.Accounts[task.Credential] = account{Holder: task.Holder, Grant: task.Grant, System: task.SystemName, Resource: task.Resource, Entitlement: task.Entitlement, Until: task.Until}
				content, err := json.Marshal(kept)
				if err == nil {
					err = os.WriteFile(file, content, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			},
			Writes: func(t *testing.T, task connector.Task) int { return open(t, file).Accounts[task.Credential].Version },
		}
	})
}

// shell is a program in place of one that misbehaves.
func shell(t *testing.T, script string) (wire.Hands, connector.Task) {
	t.Helper()
	clock := connectortest.NewClock()
	made, err := hands.New("accounts", hands.Settings{Program: hands.Program{Command: []string{"/bin/sh", "-c", script}}, Describe: description}, clock)
	if err != nil {
		t.Fatal(err)
	}
	mint := countersign.NewMint([32]byte{4}, clock.Instant())
	return made, connector.Task{
		Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "open-account",
		Holder: mint.Identity(), System: mint.System(), SystemName: "billing", Resource: "invoices", Entitlement: "reader",
		Deadline: clock.Instant().Add(countersign.Minute),
	}
}

func TestWhatAProgramDoesWrongIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		kind   connector.FailureKind
		says   string
	}{
		"target down":       {`echo "no route to billing" >&2; exit 3`, connector.Transient, "no route to billing"},
		"silent":            {`exit 0`, connector.Transient, "not one JSON object"},
		"unknown member":    {`echo '{"protocol":1,"answer":"done","password":"x"}'`, connector.Transient, `no member "password"`},
		"twice":             {`echo '{"protocol":1,"protocol":1,"answer":"done"}'`, connector.Transient, "stands twice"},
		"another protocol":  {`echo '{"protocol":2,"answer":"done"}'`, connector.Transient, `"protocol" must be 1`},
		"another answer":    {`echo '{"protocol":1,"answer":"plan","effect":"e"}'`, connector.Transient, "done, rejected"},
		"done and failed":   {`echo '{"protocol":1,"answer":"done"}'; exit 1`, connector.Transient, "exit status 1"},
		"refusal with code": {`echo '{"protocol":1,"answer":"rejected","message":"no"}'; exit 1`, connector.Rejected, "no"},
		"throttled":         {`echo '{"protocol":1,"answer":"throttled","message":"wait","retry_after":7}'`, connector.Throttled, "wait"},
		"endless":           {`exec cat /dev/zero`, connector.Transient, "more than 1048576 bytes"},
		"environment":       {`test -z "$HOME" && test "$(pwd)" = / && echo clean >&2; exit 1`, connector.Transient, "clean"},
	} {
		made, task := shell(t, test.script)
		err := made.Apply(t.Context(), task)
		var failure *connector.Failure
		if !errors.As(err, &failure) || failure.Kind != test.kind || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want %s that says %q", name, err, test.kind, test.says)
		}
	}
}

func TestAReadingOfSomethingElseIsNotWhatWasAsked(t *testing.T) {
	for name, change := range map[string]func(reading map[string]any){
		"wrong principal": func(r map[string]any) { r["holder"] = "Alex Kim" },
		"less than asked": func(r map[string]any) { r["entitlement"] = "guest" },
		"nothing said":    func(r map[string]any) { delete(r, "resource") },
		"later end":       func(r map[string]any) { r["until"] = "2027-01-01T00:00:00Z" },
	} {
		_, task := shell(t, "")
		task.Until = task.Deadline
		reading := map[string]any{
			"protocol": 1, "answer": "reading", "present": true, "how": "looked at " + string(task.Credential), "holder": task.Holder,
			"system": "billing", "resource": "invoices", "entitlement": "reader", "until": task.Until.String(),
		}
		for _, want := range []bool{true, false} {
			content, err := json.Marshal(reading)
			if err != nil {
				t.Fatal(err)
			}
			made, _ := shell(t, "echo '"+string(content)+"'")
			if got, err := made.Verify(t.Context(), task); err != nil || got.Present != want {
				t.Errorf("%s: got %+v, %v, want %v", name, got, err, want)
			}
			change(reading)
		}
	}
}

func TestAnOperationThatIsOverLeavesNoProcessBehind(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// A child holds the pipe open; its end is read only when the child is dead, too.
	made, task := shell(t, `sleep 1000 > "`+fifo+`" & echo started > "`+fifo+`"; wait`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- made.Apply(ctx, task) }()
	pipe, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if _, err := pipe.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("got %v", err)
	}
	if _, err := io.ReadAll(pipe); err != nil {
		t.Error(err)
	}
}

func TestTheExampleItselfWritesNothingAfterTheDeadline(t *testing.T) {
	file := filepath.Join(t.TempDir(), "accounts.json")
	program := exec.Command(python(t), "-I", "../../docs/examples/accounts.py", file)
	program.Stdin = strings.NewReader(`{"protocol": 1, "operation": "apply", "asked_at": "2026-03-02T09:00:00.000Z", "task": {
		"intent": "int_1", "attempt": 1, "credential": "crd_1", "grant": "grt_1", "action": "open-account", "holder": {"id": "idn_1", "name": "Alex"},
		"accountable": "", "system": {"id": "sys_1", "name": "billing"}, "resource": "invoices", "entitlement": {"id": "", "name": "reader"},
		"settings": {}, "until": "", "deadline": "2026-03-02T09:00:00.000Z"}}`)
	if said, err := program.CombinedOutput(); err != nil || !strings.Contains(string(said), `"transient"`) || len(open(t, file).Accounts) != 0 {
		t.Errorf("got %s, %v", said, err)
	}
}
