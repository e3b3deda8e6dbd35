package chaos

import (
	"context"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Two applies are under way when the replica is stopped: of one, the target was read
// and nothing is written yet; of the other, the write has left the replica and comes
// to the target after the grant was revoked and read back as gone.
func TestAReplicaStoppedInTheMiddleOfAnApplyAndLetGoAfterTheRevokeLeavesNothingOnTheTarget(t *testing.T) {
	t.Parallel()
	h := onPostgres(t, 2)
	// The program was built for that, which takes its time as well.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := &load{house: h, pairs: map[string]int{}}
	stopped, other := h.replicas[0], h.replicas[1]
	onItsWay, unwritten := must(l.ask(ctx, asker(0), beneficiary(0), "ledger/books/r01"))(t), must(l.ask(ctx, asker(0), beneficiary(1), "ledger/books/r01"))(t)

	var once [2]sync.Once
	arrived, reads, letGo := make(chan struct{}), make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(letGo) })
	// Before the target's server is closed, which waits for its calls.
	t.Cleanup(release)
	h.target.interrupt(func(method, _ string) {
		if method == http.MethodPut {
			once[0].Do(func() { close(arrived) })
			<-letGo
		}
	})
	h.approveAt(ctx, stopped, onItsWay)
	await(ctx, t, arrived)
	late := h.credential(ctx, onItsWay)
	h.target.interrupt(func(method, id string) {
		switch {
		case id == late && method == http.MethodPut:
			<-letGo
		case id != late && method == http.MethodGet:
			once[1].Do(func() {
				stopped.signal(t, syscall.SIGSTOP)
				stopped.isStopped(t)
				close(reads)
			})
		}
	})
	// The replica may be stopped before it has answered: that the target is read says
	// that the approval is committed.
	var approving sync.WaitGroup
	shown := must(h.viewAt(ctx, stopped, unwritten.id))(t).Shown
	approving.Go(func() { h.approve(ctx, stopped, unwritten, shown) })
	t.Cleanup(approving.Wait)
	await(ctx, t, reads)
	h.target.interrupt(func(method, id string) {
		if id == late && method == http.MethodPut {
			<-letGo
		}
	})

	for _, a := range []*asked{onItsWay, unwritten} {
		view := must(h.viewAt(ctx, other, a.id))(t)
		said := h.call(ctx, other.url, asker(0), http.MethodPost, "/api/v1/grants/"+view.Grants[0].ID+"/revoke", "", map[string]any{"reason": "not needed any more"})
		if !said.done() {
			t.Fatalf("the other replica does not revoke: %s", said)
		}
		a.fate = revoked
	}
	// The lease of the stopped replica ends, and the other one finds nothing to take.
	for _, a := range []*asked{onItsWay, unwritten} {
		for must(h.viewAt(ctx, other, a.id))(t).Grants[0].State == "revoking" {
			if err := l.wait(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if held := h.target.now(); len(held) != 0 {
		t.Fatalf("before anything was written, the target holds %v", held)
	}
	release()
	for len(h.target.now()) == 0 && h.target.times()[late] == 0 {
		if err := l.wait(ctx); err != nil {
			t.Fatal("the write that was on its way never came")
		}
	}
	stopped.signal(t, syscall.SIGCONT)
	h.ready(stopped)
	h.check([]*asked{onItsWay, unwritten})
	if held, times := h.target.now(), h.target.times(); len(held) != 0 || times[late] != 1 || len(times) != 1 {
		t.Errorf("the target holds %v; what came to be there is %v, and should be %s once", held, times, late)
	}
}

// approveAt approves at one replica, which then carries out what it committed.
func (h *house) approveAt(ctx context.Context, replica *process, a *asked) {
	h.t.Helper()
	view := must(h.viewAt(ctx, replica, a.id))(h.t)
	if said := h.approve(ctx, replica, a, view.Shown); !said.done() {
		h.t.Fatalf("approving: %s", said)
	}
}

func (h *house) approve(ctx context.Context, replica *process, a *asked, shown string) answer {
	return h.call(ctx, replica.url, "max", http.MethodPost, "/api/v1/requests/"+a.id+"/approve", "", map[string]any{"shown": shown})
}

// viewAt reads a request at one replica.
func (h *house) viewAt(ctx context.Context, replica *process, id string) (*seen, error) {
	said := h.call(ctx, replica.url, "max", http.MethodGet, "/api/v1/requests/"+id, "", nil)
	return parsed(said)
}

// credential is that of the only grant of a request.
func (h *house) credential(ctx context.Context, a *asked) string {
	h.t.Helper()
	view := must(h.viewAt(ctx, h.replicas[1], a.id))(h.t)
	if len(view.Grants) != 1 || len(view.Grants[0].Credentials) != 1 {
		h.t.Fatalf("the request has the grants %v", view.Grants)
	}
	return view.Grants[0].Credentials[0].ID
}

// isStopped returns when the operating system says that the process is stopped.
func (p *process) isStopped(t *testing.T) {
	t.Helper()
	for {
		state, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(p.command.Process.Pid)).Output()
		if err != nil {
			t.Errorf("ps: %v", err)
			return
		}
		if strings.HasPrefix(strings.TrimSpace(string(state)), "T") {
			return
		}
	}
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func await(ctx context.Context, t *testing.T, happened <-chan struct{}) {
	t.Helper()
	select {
	case <-happened:
	case <-ctx.Done():
		t.Fatal("it never comes to that")
	}
}
