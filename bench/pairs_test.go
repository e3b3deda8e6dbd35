package bench

import (
	"context"
	"flag"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/store/pgtest"
	"github.com/countersign/countersign/store/sqlstore"
)

var (
	measure   = flag.Bool("measure", false, "measure; without it everything runs once over very few")
	databases = flag.String("databases", "sqlite,postgres", "which databases")
	rounds    = flag.Int("rounds", 5, "rounds of pairs at each number of clients; the median counts")
	pairs     = flag.Int("pairs", 400, "pairs in a round")
	results   = flag.String("results", "results", "folder for machine-readable results")
	profile   = flag.String("profile", "", "folder for CPU profiles of the house")
)

// place makes an empty place for a house.
func place(t *testing.T, database string) (where house.Place) {
	t.Helper()
	where.Data = t.TempDir()
	if database == "postgres" {
		where.Database = pgtest.Database(t, func(url string) error { return sqlstore.Migrate(context.Background(), url) })
		where.KeyFile = filepath.Join(where.Data, "master.key")
	}
	return where
}

func profileOf(name string) string {
	if *profile == "" {
		return ""
	}
	return filepath.Join(*profile, name+".pprof")
}

// figures are those of the whole run, which TestMain prints as one table.
var figures report

// each runs a measurement for each database that was asked for.
func each(t *testing.T, run func(t *testing.T, database string, r *report)) {
	for database := range strings.SplitSeq(*databases, ",") {
		t.Run(database, func(t *testing.T) { run(t, database, &figures) })
	}
}

// TestPairs measures pairs at 1, 8 and 32 clients beside the limit of the same
// minute.
func TestPairs(t *testing.T) {
	each(t, func(t *testing.T, database string, r *report) {
		org := organisation{People: 2000, Systems: 5, Entitlements: 8, Connector: "noop"}
		times, count, lasting := *rounds, *pairs, time.Second
		if !*measure {
			org.People, times, count, lasting = 40, 1, 20, 100*time.Millisecond
		}
		where := place(t, database)
		p := start(t, served{Place: where, Organisation: org, Tokens: org.callers(), Profile: profileOf("pairs-" + database)})
		c := newCaller(p)
		m := newMeter(t, p, where)
		limit := func(int) float64 { return plainCommits(t, lasting) }
		limitName, bar := "plain durable commits", 0.3
		// What one transaction of pgbench takes of the database's processors in the same
		// minute tells a slow program from a busy machine.
		yardstick := map[int][]float64{}
		if database == "postgres" {
			bench := newPgbench(t, pgtest.Database(t, nil))
			if bench == nil {
				t.Skip("pgbench is not installed: apt-get install postgresql")
			}
			limit = func(clients int) float64 {
				before := m.read(t)
				count, rate := bench.run(t, clients, lasting)
				yardstick[clients] = append(yardstick[clients], m.read(t).since(before).database.Seconds()*1000/count)
				return rate
			}
			limitName, bar = "pgbench -N", 0.25
		}
		var next atomic.Int64
		idle := idleRate(t, m)
		r.atMost(database, "", "memory at rest", float64(resident(t, m.house))/1e6, "MB", 80)
		rates := map[int]float64{}
		for _, clients := range []int{1, 8, 32} {
			of := newRound(clients)
			for range times {
				// The limit is taken before and after, because the machine is shared.
				before := limit(clients)
				of.run(t, c, m, org, &next, clients, count, idle)
				of.limits = append(of.limits, (before+limit(clients))/2)
			}
			rates[clients] = median(of.rates)
			of.report(r, database, limitName, bar)
			if len(yardstick[clients]) > 0 {
				r.add(database, strconv.Itoa(clients), "processor time of a pgbench -N transaction, database", median(yardstick[clients]), "ms")
			}
		}
		r.atLeast(database, "32/8", "pairs at 32 clients in parts of those at 8", rates[32], "/s", rates[8], 0.95)
		r.add(database, "", "memory after it", float64(resident(t, m.house))/1e6, "MB")
	})
}

// idleRate is how many transactions a second write while nobody asks anything.
func idleRate(t *testing.T, m *meter) float64 {
	t.Helper()
	before := m.read(t)
	time.Sleep(map[bool]time.Duration{true: 5 * time.Second, false: time.Second}[*measure])
	after := m.read(t)
	return float64(after.since(before).writing) / after.at.Sub(before.at).Seconds()
}

// round gathers what the rounds at one number of clients gave.
type round struct {
	clients                                     int
	rates, house, database, writing, p50s, p99s []float64
	limits                                      []float64
}

func newRound(clients int) *round { return &round{clients: clients} }

// run makes count pairs and waits until they are carried out.
func (of *round) run(t *testing.T, c *caller, m *meter, org organisation, next *atomic.Int64, clients, count int, idle float64) {
	t.Helper()
	if clients == 1 {
		count = max(1, count/4)
	}
	before := m.read(t)
	var left atomic.Int64
	left.Store(int64(count))
	latencies := make([][]time.Duration, clients)
	failures := make(chan error, clients)
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				if err := c.pair(org.asking(int(next.Add(1)))); err != nil {
					failures <- err
					return
				}
				latencies[i] = append(latencies[i], time.Since(began))
			}
		})
	}
	running.Wait()
	select {
	case err := <-failures:
		t.Fatal(err)
	default:
	}
	c.drain(t)
	after := m.read(t)
	lasted := after.at.Sub(before.at).Seconds()
	spent, pairs := after.since(before), float64(count)
	var all []time.Duration
	for _, some := range latencies {
		all = append(all, some...)
	}
	of.rates = append(of.rates, pairs/lasted)
	of.house = append(of.house, spent.house.Seconds()*1000/pairs)
	of.database = append(of.database, spent.database.Seconds()*1000/pairs)
	of.writing = append(of.writing, (float64(spent.writing)-idle*lasted)/pairs)
	of.p50s = append(of.p50s, quantile(all, 0.5).Seconds()*1000)
	of.p99s = append(of.p99s, quantile(all, 0.99).Seconds()*1000)
}

func (of *round) report(r *report, database, limitName string, bar float64) {
	size := strconv.Itoa(of.clients)
	what := "pairs beside " + limitName
	r.atLeast(database, size, what, median(of.rates), "/s", median(of.limits), bar)
	if database == "postgres" && of.clients > 1 {
		r.atMost(database, size, "transactions that write in a pair", median(of.writing), "", 4)
	} else {
		r.add(database, size, "transactions that write in a pair", median(of.writing), "")
	}
	if database == "postgres" {
		r.add(database, size, "processor time of a pair, database", median(of.database), "ms")
	}
	r.add(database, size, "processor time of a pair, house", median(of.house), "ms")
	whole := median(of.house) + median(of.database)
	if database == "postgres" {
		r.atMost(database, size, "processor time of a pair", whole, "ms", 1.5)
	} else {
		r.add(database, size, "processor time of a pair", whole, "ms")
	}
	r.add(database, size, "a pair, p50", median(of.p50s), "ms")
	r.add(database, size, "a pair, p99", median(of.p99s), "ms")
}
