package bench

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSuspensions measures how long a suspension takes while others read all the
// time, without a pause, what it changes and what it does not.
func TestSuspensions(t *testing.T) {
	each(t, func(t *testing.T, database string, r *report) {
		readers, times := 32, 40
		if !*measure {
			readers, times = 4, 2
		}
		org := organisation{People: 200, Systems: 2, Entitlements: rightsOfSystem, Connector: "role"}
		where := place(t, database)
		p := start(t, served{Place: where, Organisation: org, Tokens: append(org.callers(), "admin2"), Profile: profileOf("suspend-" + database)})
		c := newCaller(p)
		// Enough that a list is a page, and an inbox not empty.
		const open = 60
		var asked [open]shown
		for n := range open {
			var err error
			if asked[n], err = c.submit(org.asking(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.call("m0", http.MethodPost, "/api/v1/requests/"+asked[0].ID+"/approve", map[string]any{"shown": asked[0].Shown}, nil, http.StatusOK); err != nil {
			t.Fatal(err)
		}
		c.drain(t)
		suspended := func(count int) (all []time.Duration) {
			for range count {
				if !c.allowed(t, "p0", "s0", "e0") {
					t.Fatal("access is refused before the suspension")
				}
				began := time.Now()
				if err := c.call("admin", http.MethodPost, "/api/v1/identities/p0/suspend", map[string]any{"reason": "measured"}, nil, http.StatusOK); err != nil {
					t.Fatal(err)
				}
				all = append(all, time.Since(began))
				if c.allowed(t, "p0", "s0", "e0") {
					t.Fatal("access is allowed after the answer to a suspension")
				}
				if err := c.call("admin2", http.MethodPost, "/api/v1/identities/p0/reactivate", map[string]any{"reason": "measured"}, nil, http.StatusOK); err != nil {
					t.Fatal(err)
				}
			}
			return all
		}
		peace := suspended(max(2, times/4))
		reading := []struct{ who, method, path string }{
			{"m0", http.MethodGet, "/api/v1/requests?inbox=true"},
			{"auditor", http.MethodGet, "/api/v1/identities/p0"},
			{"auditor", http.MethodGet, "/api/v1/requests"},
			{"m0", http.MethodGet, "/api/v1/requests/" + asked[0].ID},
			{"auditor", http.MethodGet, "/api/v1/grants"},
		}
		var over atomic.Bool
		var reads atomic.Int64
		var running sync.WaitGroup
		// Also when the test fails: the house is not stopped under its callers.
		defer running.Wait()
		defer over.Store(true)
		for i := range readers {
			running.Go(func() {
				for n := i; !over.Load(); n++ {
					one := reading[n%len(reading)]
					if err := c.call(one.who, one.method, one.path, nil, nil, http.StatusOK); err != nil {
						t.Error(err)
						return
					}
					reads.Add(1)
				}
			})
		}
		for reads.Load() < int64(readers) && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		from, before := time.Now(), reads.Load()
		among := suspended(times)
		rate := float64(reads.Load()-before) / time.Since(from).Seconds()
		size := strconv.Itoa(readers)
		r.add(database, size, "a suspension in peace, p50", quantile(peace, 0.5).Seconds()*1000, "ms")
		r.add(database, size, "reads a second meanwhile", rate, "/s")
		r.add(database, size, fmt.Sprintf("a suspension among readers, p50 of %d", times), quantile(among, 0.5).Seconds()*1000, "ms")
		r.atMost(database, size, fmt.Sprintf("a suspension among readers, worst of %d", times), quantile(among, 1).Seconds()*1000, "ms", 100)
	})
}
