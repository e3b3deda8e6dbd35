package bench

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// TestOpenRequests measures how long an inbox and a list take among many open
// requests.
func TestOpenRequests(t *testing.T) {
	each(t, func(t *testing.T, database string, r *report) {
		for _, count := range sizes(t, *openRequests, 100) {
			t.Run(strconv.Itoa(count), func(t *testing.T) { manyOpen(t, r, database, count) })
		}
	})
}

func manyOpen(t *testing.T, r *report, database string, count int) {
	where := place(t, database)
	// One right more than the requests take, for the one that the others are copies of.
	org := organisation{People: min(10_000, count), Connector: "noop", Entitlements: 1}
	org.Systems = count/org.People + 1
	p := start(t, served{Place: where, Organisation: org, Tokens: org.callers()})
	first := org.asking(count)
	made, err := newCaller(p).submit(first)
	if err != nil {
		t.Fatal(err)
	}
	p.stop(t)
	l := newLoader(t, where)
	like, err := l.store.Request(t.Context(), countersign.RequestID(made.ID))
	if err != nil {
		t.Fatal(err)
	}
	l.requests(like, count, org.asking)
	if err := l.store.Close(); err != nil {
		t.Fatal(err)
	}
	p = start(t, served{Place: where, Organisation: org, Tokens: org.callers(), Profile: profileOf("open-" + database)})
	c := newCaller(p)
	size, times := strconv.Itoa(count), 100
	if !*measure {
		times = 3
	}
	for _, one := range []struct{ what, who, path string }{
		{"an inbox with an eighth of all open requests", "m0", "/api/v1/requests?inbox=true"},
		{"a list of one's own requests", first.requester, "/api/v1/requests"},
		{"a list of all requests", "auditor", "/api/v1/requests"},
		{"a list of all requests that wait for a decision", "auditor", "/api/v1/requests?state=deciding"},
		{"a list of all requests that are carried out: none", "auditor", "/api/v1/requests?state=fulfilling"},
	} {
		var all []time.Duration
		for range times {
			began := time.Now()
			if err := c.call(one.who, http.MethodGet, one.path, nil, nil, http.StatusOK); err != nil {
				t.Fatal(err)
			}
			all = append(all, time.Since(began))
		}
		r.atMost(database, size, one.what+", p50", quantile(all, 0.5).Seconds()*1000, "ms", 20)
		r.add(database, size, one.what+", p99", quantile(all, 0.99).Seconds()*1000, "ms")
	}
}
