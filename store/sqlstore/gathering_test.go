package sqlstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign/countersign"
)

// lane is a gathering with one lane, which is taken until release is called.
func lane(run func(batch []*waiter[string])) (do func(ctx context.Context, what string) error, release func()) {
	g := &gathering[string]{free: 1}
	all := func(leader *waiter[string], waiting []*waiter[string]) (batch, left []*waiter[string]) {
		return append([]*waiter[string]{leader}, waiting...), nil
	}
	do = func(ctx context.Context, what string) error { return g.do(ctx, what, all, run) }
	taken := make(chan struct{})
	go func() {
		_ = g.do(context.Background(), "first", all, func(batch []*waiter[string]) {
			<-taken
			batch[0].tell(nil)
		})
	}()
	synctest.Wait()
	return do, func() { close(taken) }
}

func TestWhatWaitsGoesTogetherAndWhoWentAwayDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lock sync.Mutex
		var ran [][]string
		do, release := lane(func(batch []*waiter[string]) {
			var whats []string
			for _, w := range batch {
				whats = append(whats, w.what)
			}
			lock.Lock()
			ran = append(ran, whats)
			lock.Unlock()
			for _, w := range batch {
				w.tell(errors.New(w.what))
			}
		})
		gone, leave := context.WithCancel(context.Background())
		for _, what := range []string{"a", "gone", "b"} {
			ctx, want := context.Background(), what
			if what == "gone" {
				ctx, want = gone, context.Canceled.Error()
			}
			go func() {
				if err := do(ctx, what); err == nil || err.Error() != want {
					t.Errorf("%s was told %v", what, err)
				}
			}()
			synctest.Wait()
		}
		leave()
		synctest.Wait()
		release()
		synctest.Wait()
		if len(ran) != 1 || !slices.Equal(ran[0], []string{"a", "b"}) {
			t.Errorf("it ran %v", ran)
		}
		// The lane is free again.
		if err := do(context.Background(), "c"); err == nil || len(ran) != 2 {
			t.Errorf("it was told %v, and it ran %v", err, ran)
		}
	})
}

func TestWhoseLanesAreAllTakenGoesAloneAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do, release := lane(func(batch []*waiter[string]) { batch[0].tell(nil) })
		start := time.Now()
		if err := do(context.Background(), "impatient"); err != nil || time.Since(start) != patience {
			t.Errorf("it was told %v after %s", err, time.Since(start))
		}
		release()
	})
}

func TestAFaultOfOursLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		do, release := lane(func(batch []*waiter[string]) {
			if len(batch) > 1 {
				panic("a fault")
			}
			batch[0].tell(nil)
		})
		go func() {
			defer func() {
				if recover() == nil {
					t.Error("who leads does not learn of it")
				}
			}()
			_ = do(context.Background(), "leads")
		}()
		synctest.Wait()
		go func() {
			if err := do(context.Background(), "follows"); countersign.ReasonOf(err) != "outcome-unknown" {
				t.Errorf("who follows was told %v", err)
			}
		}()
		synctest.Wait()
		release()
		synctest.Wait()
		if err := do(context.Background(), "later"); err != nil {
			t.Errorf("later one was told %v", err)
		}
	})
}
