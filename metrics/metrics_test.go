package metrics_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/metrics"
	"github.com/countersign/countersign/notify"
)

// deaf is a channel that takes nothing.
type deaf struct{}

func (deaf) Name() string                  { return "deaf" }
func (deaf) Reaches(notify.Recipient) bool { return true }
func (deaf) Send(context.Context, notify.Message) error {
	return countersign.Errorf(countersign.Unavailable, "not-delivered", "the line is dead")
}

// watched is a sample house with its figures. Its clock stands still, and its
// engine does only what a test says.
type watched struct {
	t       *testing.T
	house   *house.House
	clock   *connectortest.Clock
	figures *metrics.Metrics
	ready   error
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{t: t, clock: connectortest.NewClock()}
	h, _, err := house.Start(t.Context(), house.Place{Data: filepath.Join(t.TempDir(), "house")}, nil, house.Options{
		Clock: w.clock, Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "test", Issuer: "http://countersign.test",
		DeliverByClaim: true, Channels: []notify.Channel{deaf{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Store.Close() })
	w.house = h
	w.figures = metrics.New(metrics.Config{
		Desk: h.Desk, Engine: h.Engine, Point: h.Point, Clock: w.clock, Log: slog.New(slog.DiscardHandler), Version: "1.2.3",
		Ready: func(context.Context) error { return w.ready }, CertificateExpires: func() time.Time { return time.Unix(1800000000, 0) },
		AuthoritiesEnd: func(context.Context) (map[countersign.SystemID]countersign.Instant, error) {
			return map[countersign.SystemID]countersign.Instant{"sys_shop": 1900000000_000}, nil
		},
	})
	w.settle()
	return w
}

func (w *watched) settle() {
	w.t.Helper()
	if err := w.house.Settle(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// scrape reads the figures as Prometheus would: by name and, in braces, the value
// of the one label that matters here.
func (w *watched) scrape() map[string]float64 {
	w.t.Helper()
	// Figures of the record serve for a second.
	w.clock.Advance(time.Second)
	answer := httptest.NewRecorder()
	w.figures.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil || answer.Code != 200 {
		w.t.Fatalf("%d: %v", answer.Code, err)
	}
	read := map[string]float64{}
	for name, family := range families {
		for _, sample := range family.GetMetric() {
			full := name
			for _, label := range sample.GetLabel() {
				full += "{" + label.GetValue() + "}"
			}
			read[full] = sample.GetGauge().GetValue() + sample.GetCounter().GetValue()
		}
	}
	return read
}

func (w *watched) says(want map[string]float64) {
	w.t.Helper()
	read := w.scrape()
	for name, value := range want {
		if got, there := read["countersign_"+name]; got != value || !there {
			w.t.Errorf("%s is %v (%v), want %v", name, got, there, value)
		}
	}
}

func (w *watched) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) caller(login string) desk.Caller {
	w.t.Helper()
	identity, known := w.house.Desk.Resolve(login)
	if !known {
		w.t.Fatalf("there is no %s", login)
	}
	return desk.Caller{Identity: identity, Issuer: "test", Strength: "token"}
}

// submit asks for something that somebody has to decide.
func (w *watched) submit() countersign.RequestID {
	w.t.Helper()
	id, err := w.house.Desk.Submit(w.t.Context(), w.caller("mina.park"), desk.Key{}, desk.Asking{
		Beneficiary: "mina.park", Entitlements: []string{"wiki/pages/editor"}, Reason: "I write the handbook of the reports.",
	})
	w.must(err)
	return id
}

func TestAHouseThatIsWellSaysSo(t *testing.T) {
	w := watch(t)
	w.figures.Answered("GET /healthz", 200, time.Millisecond)
	w.says(map[string]float64{
		"ready": 1, "database_up": 1, "oldest_unrevoked_end_seconds": 0, "grants_ending": 0, "work_due{grant}": 0, "work_due_age_seconds{deliver}": 0,
		"work_parked{deliver}": 0, "work_parked{notice}": 0, "oldest_undelivered_notice_seconds": 0, "requests_overdue": 0, "clock_offset_seconds": 0,
		"engine_step_failures_total{beat}": 0, "stream_time_ahead_total": 0, "decision_point_bound_seconds": 5, "http_requests_total{GET /healthz}{200}": 1,
		"tls_certificate_expiry_timestamp_seconds": 1800000000, "authority_certificate_expiry_timestamp_seconds{sys_shop}": 1900000000, "power_holders{administrator}": 2,
		// Four powers are born with two holders each, for ninety days.
		// Eight powers, and the birthright of each of the 38 active employees.
		"operations_total{role}{apply}{done}": 46, "power_first_end_timestamp_seconds{administrator}": float64(w.clock.Now().Add(90 * 24 * time.Hour).Unix()),
	})
	w.ready = errors.New("draining")
	w.says(map[string]float64{"ready": 0, "database_up": 1})
	w.must(w.house.Store.Close())
	w.says(map[string]float64{"database_up": 0, "decision_point_bound_seconds": 5})
	if _, there := w.scrape()["countersign_oldest_unrevoked_end_seconds"]; there {
		t.Error("figures of a record that does not answer are there")
	}
}

func TestAnEndThatWaitsIsToldWithItsAge(t *testing.T) {
	w := watch(t)
	administrator := w.caller("jonas.weber")
	grants, err := w.house.Desk.Grants(t.Context(), administrator, desk.GrantFilter{})
	w.must(err)
	var power countersign.GrantID
	for _, grant := range grants {
		if strings.HasSuffix(grant.Entitlement.Name, "/"+desk.PowerAdministrator) {
			power = grant.ID
		}
	}
	w.must(w.house.Desk.Revoke(t.Context(), administrator, desk.Key{}, power, "it is not needed"))
	w.clock.Advance(10 * time.Minute)
	w.says(map[string]float64{
		"grants_ending": 1, "oldest_unrevoked_end_seconds": 601, "work_due{deliver}": 1, "work_due_age_seconds{deliver}": 601, "power_holders{administrator}": 1,
	})
	w.settle()
	w.says(map[string]float64{"grants_ending": 0, "oldest_unrevoked_end_seconds": 0, "work_due{deliver}": 0, "operations_total{role}{revoke}{done}": 1})
}

func TestWhatNobodyCouldBeToldIsToldHere(t *testing.T) {
	w := watch(t)
	w.submit()
	w.clock.Advance(time.Hour)
	_, err := w.house.Engine.Tell(t.Context())
	w.must(err)
	if age := w.scrape()["countersign_oldest_undelivered_notice_seconds"]; age < 3600 || age > 3700 {
		t.Errorf("the oldest notice is %v s old", age)
	}
	for range 120 {
		w.clock.Advance(2 * time.Hour)
		_, err := w.house.Engine.Tell(t.Context())
		w.must(err)
	}
	read := w.scrape()
	if read["countersign_work_parked{notice}"] == 0 || read["countersign_work_parked_age_seconds{notice}"] < 7200 || read["countersign_oldest_undelivered_notice_seconds"] != 0 {
		t.Errorf("parked are %v, for %v s; the oldest that is tried is %v s old",
			read["countersign_work_parked{notice}"], read["countersign_work_parked_age_seconds{notice}"], read["countersign_oldest_undelivered_notice_seconds"])
	}
}

func TestAStreamFromTheFutureIsToldOf(t *testing.T) {
	w := watch(t)
	id := w.submit()
	// Replicas whose clocks are good enough differ by some seconds.
	w.clock.Advance(-3 * time.Second)
	w.must(w.house.Desk.Cancel(t.Context(), w.caller("mina.park"), desk.Key{}, id, "changed my mind"))
	w.says(map[string]float64{"stream_time_ahead_total": 0})
	id = w.submit()
	w.clock.Advance(-time.Minute)
	w.must(w.house.Engine.Beat(t.Context()))
	w.must(w.house.Desk.Cancel(t.Context(), w.caller("mina.park"), desk.Key{}, id, "changed my mind"))
	w.says(map[string]float64{"stream_time_ahead_total": 1})
}

func TestTheDecisionPointTellsItsAge(t *testing.T) {
	w := watch(t)
	w.says(map[string]float64{"decision_point_age_seconds": 1})
	w.clock.Advance(10 * time.Second)
	w.says(map[string]float64{"decision_point_age_seconds": 12})
	w.must(w.house.Engine.Beat(t.Context()))
	w.says(map[string]float64{"decision_point_age_seconds": 1, "engine_beat_timestamp_seconds": float64(w.clock.Now().Unix())})
}
