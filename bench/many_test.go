package bench

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

var (
	grants       = flag.String("grants", "10000,50000", "how many live grants, one run for each")
	openRequests = flag.String("requests", "20000", "how many open requests, one run for each")
	watching     = flag.Duration("watch", 20*time.Second, "how long the revoking under a hold is watched")
)

func sizes(t *testing.T, list string, few int) []int {
	t.Helper()
	if !*measure {
		return []int{few}
	}
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		size, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, size)
	}
	return all
}

// smallestCrowd is how many grants or open requests a house has at least whose growth
// is shown; fewer are clients.
const smallestCrowd = 1000

// rightsOfSystem is how many rights each system of the large houses has.
const rightsOfSystem = 5

// crowd is a house with many live grants: its systems are full of them, but for
// the last two, "ending" and "fresh".
type crowd struct {
	organisation
	grants, ends, full int
}

func crowdOf(grants int) crowd {
	people := min(10_000, max(200, grants/10))
	full := max(1, grants/people/rightsOfSystem)
	return crowd{
		organisation: organisation{People: people, Systems: full + 2, Entitlements: rightsOfSystem, Connector: "role"},
		grants:       grants, ends: min(10_000, grants/4), full: full,
	}
}

func (c crowd) ending() string { return fmt.Sprintf("s%d", c.full) }
func (c crowd) fresh() string  { return fmt.Sprintf("s%d", c.full+1) }

// TestManyGrants measures what many live grants cost, and what it takes to end many
// of them at once.
func TestManyGrants(t *testing.T) {
	each(t, func(t *testing.T, database string, r *report) {
		for _, count := range sizes(t, *grants, 200) {
			t.Run(strconv.Itoa(count), func(t *testing.T) { manyGrants(t, r, database, crowdOf(count)) })
		}
	})
}

func manyGrants(t *testing.T, r *report, database string, crowd crowd) {
	where := place(t, database)
	size, idle, allowance := strconv.Itoa(crowd.grants), 6*time.Second, 30*time.Second+time.Duration(crowd.grants)*30*time.Microsecond
	if !*measure {
		idle, allowance = time.Second, 8*time.Second
	}
	start(t, served{Place: where, Organisation: crowd.organisation}).stop(t)
	l := newLoader(t, where)
	rest := crowd.grants - crowd.ends
	l.grants(rest, l.now.Add(9*countersign.Day), func(n int) (person, system, right string) {
		k := n / crowd.People
		return fmt.Sprintf("p%d", n%crowd.People), fmt.Sprintf("s%d", k/rightsOfSystem), fmt.Sprintf("e%d", k%rightsOfSystem)
	})
	// The ends are armed last: nobody knows how long the rest takes to load.
	end := countersign.InstantOf(time.Now().Add(allowance)) / 1000 * 1000
	endingOf := func(n int) (person, system, right string) {
		return fmt.Sprintf("p%d", n%crowd.People), crowd.ending(), fmt.Sprintf("e%d", n/crowd.People)
	}
	l.grants(crowd.ends, end, endingOf)
	look := lookForDue(t, l.store)
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}

	logins := append(crowd.callers(), "admin2")
	p := start(t, served{Place: where, Organisation: crowd.organisation, Tokens: logins, Profile: profileOf(fmt.Sprintf("grants-%s-%d", database, crowd.grants))})
	c := newCaller(p)
	r.atMost(database, size, "ready after", p.ready.Seconds(), "s", 5)
	r.atMost(database, size, "a look for what is due", look.Seconds()*1000, "ms", 1)
	r.add(database, size, "the database on disk", onDisk(t, where)/1e6, "MB")
	r.add(database, size, "memory, just started", float64(resident(t, p.command.Process.Pid))/1e6, "MB")

	var next atomic.Int64
	quiet := c.submitting(t, crowd, &next, func() bool { return false }, time.Now().Add(idle))
	r.add(database, size, "p99 of new requests, idle", quantile(quiet, 0.99).Seconds()*1000, "ms")

	allows := func(n int) bool {
		person, system, right := endingOf(n)
		return c.allowed(t, person, system, right)
	}
	if wait := time.Until(end.Time()); wait > 0 {
		if !allows(0) {
			t.Error("access is refused before its end")
		}
		time.Sleep(time.Until(end.Time()))
	} else {
		// A slow machine is nobody's fault; a measurement without this part would be.
		t.Logf("the ends fell due %s before the house was ready to be asked", -wait)
		if *measure {
			t.Fail()
		}
	}
	refused := time.Now()
	for n := 0; n < crowd.ends; n += max(1, crowd.ends/50) {
		if allows(n) {
			t.Fatal("access is allowed after its end")
		}
	}
	r.add(database, size, "50 checks after the ends: all refused, in", time.Since(refused).Seconds()*1000, "ms")
	var gone time.Duration
	busy := c.submitting(t, crowd, &next, func() bool {
		if gone == 0 && c.left(t, crowd.ending()) == 0 {
			gone = time.Since(end.Time())
		}
		return gone != 0
	}, end.Time().Add(5*time.Minute))
	t.Logf("ready after %s, gone %s after the ends, new requests %s and then %s", p.ready, gone, quantile(quiet, 0.99), quantile(busy, 0.99))
	if gone == 0 {
		t.Error("the ends were not observed in five minutes")
	}
	r.add(database, size, "ends in one second", float64(crowd.ends), "")
	r.atMost(database, size, "observed gone after", gone.Seconds(), "s", 30)
	r.atMost(database, size, "p99 of new requests meanwhile, in parts of idle", quantile(busy, 0.99).Seconds()/quantile(quiet, 0.99).Seconds(), "", 2)

	c.holdAll(t, r, database, size, crowd, func() int {
		return count(t, where, "SELECT count(*) FROM access_grant WHERE state IN ('revoked', 'gone') AND system = '"+string(l.systems["s0/r/e0"])+"'")
	})
	r.add(database, size, "memory after it", float64(resident(t, p.command.Process.Pid))/1e6, "MB")
}

// lookForDue is the median time of a look that finds nothing.
func lookForDue(t *testing.T, s store.Store) time.Duration {
	t.Helper()
	var all []time.Duration
	for range 200 {
		began := time.Now()
		claimed, err := s.Claim(context.Background(), store.Claim{
			Now: countersign.InstantOf(time.Now().Add(-time.Hour)), Owner: "bench", Kinds: []store.WorkKind{store.GrantWork, store.RequestWork, store.HoldWork}, Limit: 500, Lease: 60,
		})
		if err != nil || len(claimed) != 0 {
			t.Fatalf("%d items are due: %v", len(claimed), err)
		}
		all = append(all, time.Since(began))
	}
	return quantile(all, 0.5)
}

// submitting creates requests at a steady pace, 20 a second by four callers, until
// done says so or the time is over, and returns how long each took.
func (c *caller) submitting(t *testing.T, crowd crowd, next *atomic.Int64, done func() bool, until time.Time) (all []time.Duration) {
	t.Helper()
	var over atomic.Bool
	var lock sync.Mutex
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			pace := time.NewTicker(200 * time.Millisecond)
			defer pace.Stop()
			for !over.Load() {
				n := int(next.Add(1))
				asked := crowd.asking(n)
				asked.right = fmt.Sprintf("%s/r/e%d", crowd.fresh(), n/crowd.People%rightsOfSystem)
				began := time.Now()
				if _, err := c.submit(asked); err != nil {
					t.Error(err)
					return
				}
				lock.Lock()
				all = append(all, time.Since(began))
				lock.Unlock()
				<-pace.C
			}
		})
	}
	// Also when done fails the test: the house is not stopped under its callers.
	defer running.Wait()
	defer over.Store(true)
	for !done() && time.Now().Before(until) {
		time.Sleep(100 * time.Millisecond)
	}
	return all
}

// allowed asks the decision point.
func (c *caller) allowed(t *testing.T, person, system, right string) bool {
	t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		var answer struct {
			Decision bool `json:"decision"`
			Context  struct {
				Reason string `json:"reason"`
			} `json:"context"`
		}
		if err := c.call("auditor", http.MethodPost, "/access/v1/evaluation", map[string]any{
			"subject": map[string]any{"type": "user", "id": person}, "action": map[string]any{"name": right},
			"resource": map[string]any{"type": "resource", "id": system + "/r"},
		}, &answer, http.StatusOK); err != nil {
			t.Fatal(err)
		}
		if answer.Context.Reason != "stale" || time.Since(began) > patience {
			return answer.Decision
		}
	}
}

// left is whether any grant of the system is not yet read back as gone: 0 or 1.
func (c *caller) left(t *testing.T, system string) int {
	t.Helper()
	var list struct {
		Grants []struct{} `json:"grants"`
	}
	if err := c.call("auditor", http.MethodGet, "/api/v1/grants?limit=1&system="+system, nil, &list, http.StatusOK); err != nil {
		t.Fatal(err)
	}
	return len(list.Grants)
}

// holdAll puts a hold on a whole system and lets everything under it be revoked.
func (c *caller) holdAll(t *testing.T, r *report, database, size string, crowd crowd, gone func() int) {
	t.Helper()
	r.add(database, size, "grants under the hold of a system", float64(min(crowd.grants-crowd.ends, crowd.People*rightsOfSystem)), "")
	if !c.allowed(t, "p0", "s0", "e0") {
		t.Error("what is to be held is refused before")
	}
	var hold struct {
		ID   string `json:"id"`
		Left int    `json:"left"`
	}
	began := time.Now()
	if err := c.call("admin", http.MethodPost, "/api/v1/holds", map[string]any{"on": "s0", "reason": "measured", "revoke": true}, &hold, http.StatusCreated); err != nil {
		t.Fatal(err)
	}
	r.add(database, size, "the hold: answered in", time.Since(began).Seconds()*1000, "ms")
	for n := 0; n < crowd.People; n += max(1, crowd.People/50) {
		if c.allowed(t, fmt.Sprintf("p%d", n), "s0", "e0") {
			t.Fatal("access under a hold is allowed after its answer")
		}
	}
	began = time.Now()
	r.add(database, size, "left to revoke at once", float64(hold.Left), "")
	for hold.Left > 0 && time.Since(began) < *watching {
		time.Sleep(200 * time.Millisecond)
		left := hold.Left
		if err := c.call("admin", http.MethodGet, "/api/v1/holds/"+hold.ID, nil, &hold, http.StatusOK); err != nil {
			t.Fatal(err)
		}
		if hold.Left > left {
			t.Errorf("%d are left to revoke under the hold, and %d were", hold.Left, left)
		}
	}
	ended, lasted := gone(), time.Since(began).Seconds()
	if ended == 0 {
		t.Error("nothing under the hold was revoked")
	}
	r.add(database, size, "left to revoke when no longer watched", float64(hold.Left), "")
	r.add(database, size, "revoked under the hold and read back", float64(ended)/lasted, "/s")
}
