package cli

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/house"
)

// served is a house behind its doors, for the command line to reach. Its clock
// begins now and stands still, and its engine runs only when a test says so.
type served struct {
	*house.House
	t      *testing.T
	place  house.Place
	clock  *connectortest.Clock
	server *httptest.Server
}

// testDoors are those of a sample house without limits.
func testDoors(clock connector.Clock) doorOptions {
	return doorOptions{clock: clock, log: slog.New(slog.DiscardHandler), sample: true, draining: new(atomic.Bool), certificateEnd: (*certificate)(nil).end}
}

// newHouse founds a house from files; nil for the sample.
func newHouse(t *testing.T, organisation fs.FS) *served {
	t.Helper()
	clock := connectortest.NewClock()
	clock.Advance(time.Since(clock.Now()))
	s := newHouseAt(t, house.Place{Data: filepath.Join(t.TempDir(), "house")}, organisation, clock)
	s.clock = clock
	return s
}

// newHouseAt founds a house at a place, with a clock that is not the test's to move. On
// PostgreSQL it has to agree with the database's.
func newHouseAt(t *testing.T, place house.Place, organisation fs.FS, clock connector.Clock) *served {
	t.Helper()
	h, _, err := house.Start(t.Context(), place, organisation, house.Options{
		Clock: clock, Entropy: rand.Reader, Log: slog.New(slog.DiscardHandler), Replica: "test", Issuer: "http://countersign.test", DeliverByClaim: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Store.Close() })
	s := &served{House: h, t: t, place: place, server: httptest.NewServer(doors(h, testDoors(clock)))}
	t.Cleanup(s.server.Close)
	s.settle()
	return s
}

func (s *served) settle() {
	s.t.Helper()
	if err := s.Settle(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// as gives a command line as somebody with a token of the scope, and returns what
// it printed.
func (s *served) as(login, scope string, code int, args ...string) string {
	s.t.Helper()
	identity, known := s.Desk.Resolve(login)
	if !known {
		s.t.Fatalf("there is no %s", login)
	}
	token, err := issueToken(s.t.Context(), s.House, identity, login, []string{scope}, countersign.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Setenv("COUNTERSIGN_TOKEN", token.Reveal())
	var out bytes.Buffer
	if got := Main(append(args, "--server", s.server.URL), strings.NewReader(""), &out, &out); got != code {
		s.t.Errorf("%v as %s exits with %d, want %d: %s", args, login, got, code, &out)
	}
	return out.String()
}

// says checks that a text has each of the wanted parts.
func says(t *testing.T, out string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

func TestAnOperatorSeesWhatNobodyCouldBeTold(t *testing.T) {
	s := newHouse(t, nil)
	says(t, s.as("wanda.jansen", "grant", 0, "notice", "ls"), "Nothing.")
	says(t, s.as("jonas.weber", "grant", 0, "notice", "retry"), "0 notice(s) are due now")
	says(t, s.as("ben.adeyemi", "grant", exitRefused, "notice", "ls"), "administrator or an auditor")
}
