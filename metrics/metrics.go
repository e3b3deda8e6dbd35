package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/engine"
	"github.com/countersign/countersign/pdp"
)

// Config is what the figures come from.
type Config struct {
	Desk   *desk.Desk
	Engine *engine.Engine
	Point  *pdp.Point
	Clock  connector.Clock
	Log    *slog.Logger
	// Ready says whether this process gets requests now; see httpapi.
	Ready   func(ctx context.Context) error
	Version string
	// CertificateExpires returns when the TLS certificate ends; the zero time
	// without one.
	CertificateExpires func() time.Time
	// AuthoritiesEnd returns when the certificates of the authorities end, by system.
	AuthoritiesEnd func(ctx context.Context) (map[countersign.SystemID]countersign.Instant, error)
}

// Metrics collects the figures of one process.
type Metrics struct {
	Config
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec

	lock    sync.Mutex
	readAt  time.Time
	figures *desk.Figures
	ready   bool
	ends    map[countersign.SystemID]countersign.Instant
}

const (
	// fresh is how long figures of the record serve, so that several who scrape at
	// once cost no more than one.
	fresh = time.Second
	// patience is how long the record may take to answer a scrape.
	patience = 5 * time.Second
)

// New returns the figures of a house.
func New(config Config) *Metrics {
	m := &Metrics{
		Config: config, registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_http_requests_total", Help: "Answered requests, by pattern of the path and status.",
		}, []string{"route", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_http_request_duration_seconds", Help: "How long answers took, by pattern of the path.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
	}
	m.registry.MustRegister(m, m.requests, m.took, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Answered counts one answer.
func (m *Metrics) Answered(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}

// Handler answers a scrape.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// read returns figures that are at most a moment old; nil while the record does not
// answer.
func (m *Metrics) read() (figures *desk.Figures, ends map[countersign.SystemID]countersign.Instant, ready bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if age := m.Clock.Now().Sub(m.readAt); age >= 0 && age < fresh {
		return m.figures, m.ends, m.ready
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if m.figures, err = m.Desk.Figures(ctx); err != nil {
		m.figures = nil
		m.Log.WarnContext(ctx, "the record does not answer what an operator is to be told", "error", err)
	}
	if m.ends, err = m.AuthoritiesEnd(ctx); err != nil {
		m.Log.WarnContext(ctx, "the authorities do not say when they end", "error", err)
	}
	m.ready = m.Ready(ctx) == nil
	m.readAt = m.Clock.Now()
	return m.figures, m.ends, m.ready
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range described {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(figures chan<- prometheus.Metric) {
	tell := func(description *prometheus.Desc, value float64, labels ...string) {
		kind := prometheus.GaugeValue
		if counters[description] {
			kind = prometheus.CounterValue
		}
		figures <- prometheus.MustNewConstMetric(description, kind, value, labels...)
	}
	tell(buildInfo, 1, m.Version, runtime.Version())
	expires := 0.0
	if end := m.CertificateExpires(); !end.IsZero() {
		expires = float64(end.Unix())
	}
	tell(certificateExpiry, expires)

	age, bound := m.Point.Freshness()
	tell(pointAge, age.Seconds())
	tell(pointBound, bound.Seconds())

	now := countersign.InstantOf(m.Clock.Now())
	health := m.Engine.Health()
	tell(clockOffset, float64(health.Offset)/1000)
	tell(beatAt, float64(health.BeatAt)/1000)
	for step, count := range health.Failures {
		tell(stepFailures, float64(count), step)
	}
	for outcome, count := range health.Operations {
		tell(operations, float64(count), outcome.Connector, outcome.Operation, outcome.Result)
	}

	record, ends, ready := m.read()
	for system, end := range ends {
		tell(authorityExpiry, float64(end)/1000, string(system))
	}
	tell(isReady, truth(ready))
	tell(databaseUp, truth(record != nil))
	if record != nil {
		tellRecord(record, now, tell)
	}
}

func tellRecord(record *desk.Figures, now countersign.Instant, tell func(*prometheus.Desc, float64, ...string)) {
	since := func(at countersign.Instant) float64 {
		if at == 0 {
			return 0
		}
		return float64(max(0, now-at)) / 1000
	}
	for kind, queue := range record.Due {
		tell(workDue, float64(queue.Count), string(kind))
		tell(workDueAge, since(queue.Oldest), string(kind))
	}
	for kind, queue := range record.Parked {
		tell(workParked, float64(queue.Count), string(kind))
		tell(workParkedAge, since(queue.Oldest), string(kind))
	}
	tell(grantsEnding, float64(record.Ending.Count))
	tell(oldestEnd, since(record.Ending.Oldest))
	tell(overdue, float64(record.Overdue))
	tell(oldestNotice, since(record.OldestUntold))
	tell(oldestComment, since(record.OldestUnwritten))
	tell(findingsOpen, float64(record.Findings.Count))
	tell(oldestFinding, since(record.Findings.Oldest))
	for state, count := range record.Systems {
		tell(systems, float64(count), string(state))
	}
	for state, count := range record.Owners {
		tell(owners, float64(count), string(state))
	}
	for power, figures := range record.Powers {
		tell(powerHolders, float64(figures.Holders), power)
		if figures.FirstEnd != 0 {
			tell(powerFirstEnd, float64(figures.FirstEnd)/1000, power)
		}
	}
	tell(streamsAhead, float64(record.Ahead))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
