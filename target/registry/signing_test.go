package registry

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/countersign/countersign/keys"
)

// counting is a master key that counts what it is asked for.
type counting struct {
	keys.Master
	unwrapped atomic.Int32
}

func (c *counting) Unwrap(wrapped keys.Wrapped, context string) ([]byte, error) {
	c.unwrapped.Add(1)
	return c.Master.Unwrap(wrapped, context)
}

func TestTheSigningKeyIsUnwrappedOnceForAllTokens(t *testing.T) {
	l := newLab(t)
	asked := &counting{Master: l.master}
	l.master = asked
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if recorder, _ := l.ask(true, grantType()); recorder.Code != 200 {
				t.Errorf("got %d", recorder.Code)
			}
		})
	}
	all.Wait()
	if count := asked.unwrapped.Load(); count != 1 {
		t.Errorf("it was unwrapped %d times", count)
	}
}
