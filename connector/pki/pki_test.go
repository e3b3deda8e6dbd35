package pki_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	hands "github.com/countersign/countersign/connector/pki"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/pki"
)

// holder keeps the private keys, as the machines do that ask for certificates.
type holder struct {
	lock sync.Mutex
	keys map[string]crypto.Signer
	csrs map[string]string
}

// request makes a key and a certificate signing request for the name, once for
// each credential.
func (h *holder) request(t *testing.T, credential countersign.CredentialID, name string) string {
	t.Helper()
	h.lock.Lock()
	defer h.lock.Unlock()
	if h.keys == nil {
		h.keys, h.csrs = map[string]crypto.Signer{}, map[string]string{}
	}
	which := string(credential) + name
	if _, made := h.csrs[which]; !made {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
		if err != nil {
			t.Fatal(err)
		}
		h.keys[which] = key
		h.csrs[which] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	}
	return h.csrs[which]
}

// asking adds to each task the request that its holder made for it.
type asking struct {
	connector.Connector
	t      *testing.T
	holder *holder
}

func (a *asking) with(task connector.Task) connector.Task {
	task.Parameters = map[string]string{"csr": a.holder.request(a.t, task.Credential, task.Entitlement)}
	return task
}

func (a *asking) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	return a.Connector.Plan(ctx, a.with(task))
}

func (a *asking) Apply(ctx context.Context, task connector.Task) error {
	return a.Connector.Apply(ctx, a.with(task))
}

func (a *asking) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	return a.Connector.(connector.Inventory).List(ctx, of, found)
}

func newAuthority(t *testing.T, shelf store.Shelf, stops *target.Stops, clock connector.Clock) *pki.Authority {
	t.Helper()
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pki.New(shelf, master, stops, clock, rand.Reader, "https://desk.example")
}

func open(t *testing.T, target hands.Target, options hands.Options, clock connector.Clock) *hands.Connector {
	t.Helper()
	made, err := hands.New(target, options, clock)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// works verifies as a client does: chain, name, time, and the list of today.
func works(t *testing.T, authority *pki.Authority, clock *connectortest.Clock, task connector.Task) bool {
	t.Helper()
	check, err := authority.CheckCredential(t.Context(), task.Credential)
	if err != nil || check.Certificate == nil || check.Holder != task.Holder {
		return false
	}
	certificate, err := x509.ParseCertificate(check.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	der, err := authority.AuthorityCertificate(t.Context(), task.System)
	if err != nil {
		return false
	}
	issuer, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(issuer)
	if _, err := certificate.Verify(x509.VerifyOptions{DNSName: task.Entitlement, Roots: roots, CurrentTime: clock.Now()}); err != nil {
		return false
	}
	crl, err := authority.CRL(t.Context(), task.System)
	if err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(crl)
	if err != nil || list.CheckSignatureFrom(issuer) != nil {
		t.Fatalf("the list cannot be used: %v", err)
	}
	for _, revoked := range list.RevokedCertificateEntries {
		if revoked.SerialNumber.Cmp(certificate.SerialNumber) == 0 {
			return false
		}
	}
	return true
}

func TestConformance(t *testing.T) {
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		clock, keeper, shelf := connectortest.NewClock(), &holder{}, shelftest.New(pki.ShelfName)
		authority := newAuthority(t, shelf, target.NewStops(), clock)
		return &connectortest.Bench{
			Connector: &asking{open(t, authority, hands.Options{}, clock), t, keeper}, Clock: clock,
			Works: func(t *testing.T, task connector.Task) bool { return works(t, authority, clock, task) },
			Plant: func(t *testing.T, task connector.Task) {
				err := authority.Issue(t.Context(), pki.Order{
					Credential: task.Credential, Grant: task.Grant, Holder: task.Holder, System: task.System, SystemName: task.SystemName, Entitlement: task.EntitlementID,
					Resource: task.Resource, Name: task.Entitlement, Kind: pki.X509, Key: keeper.request(t, task.Credential, task.Entitlement), Limits: pki.Limits{Server: true}, Until: task.Until,
				})
				if err != nil {
					t.Fatal(err)
				}
			},
			Writes: func(t *testing.T, task connector.Task) int {
				item, err := shelf.Item(t.Context(), string(task.Credential))
				if countersign.KindOf(err) == countersign.NotFound {
					return 0
				}
				if err != nil {
					t.Fatal(err)
				}
				return int(item.Version)
			},
		}
	})
}

func TestACertificateThatTheDeskStopsIsNotGone(t *testing.T) {
	clock, stops := connectortest.NewClock(), target.NewStops()
	made := open(t, newAuthority(t, shelftest.New(pki.ShelfName), stops, clock), hands.Options{}, clock)
	connectortest.RunStopped(t, &asking{made, t, &holder{}}, clock, stops)
}

// place is where certificates are used: a TLS server, and the program that puts
// certificates there.
type place struct {
	*testing.T
	holder *holder
	server net.Listener

	lock sync.Mutex
	// shows is the certificate that the server has.
	shows *tls.Certificate
	told  int
	// deaf lets the program report success and change nothing.
	deaf bool
	// refuses is what the program rejects with; "" for nothing.
	refuses string
	// silent lets the server answer one handshake, and no other until it is closed.
	silent chan struct{}
	looks  int
}

func newPlace(t *testing.T, keeper *holder) *place {
	t.Helper()
	p := &place{T: t, holder: keeper}
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		p.lock.Lock()
		p.looks++
		shows, silent := p.shows, p.silent
		if p.looks == 1 {
			silent = nil
		}
		p.lock.Unlock()
		if silent != nil {
			<-silent
		}
		if shows == nil {
			return nil, errors.New("no certificate yet")
		}
		return shows, nil
	}}
	var err error
	if p.server, err = tls.Listen("tcp", "127.0.0.1:0", config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.server.Close() })
	go func() {
		for {
			connection, err := p.server.Accept()
			if err != nil {
				return
			}
			_ = connection.(*tls.Conn).Handshake()
			connection.Close()
		}
	}()
	return p
}

// Carry implements wire.Carrier as the deploy program would.
func (p *place) Carry(_ context.Context, _ string, body []byte) ([]byte, error) {
	var question struct {
		Protocol  int    `json:"protocol"`
		Operation string `json:"operation"`
		Task      struct {
			Credential  countersign.CredentialID `json:"credential"`
			Name        string                   `json:"name"`
			Certificate string                   `json:"certificate"`
		} `json:"task"`
	}
	if err := json.Unmarshal(body, &question); err != nil || question.Operation != "deploy" || question.Protocol != 1 {
		p.Errorf("the program was asked %s: %v", body, err)
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	p.told++
	if p.refuses != "" {
		return fmt.Appendf(nil, `{"protocol":1,"answer":"rejected","message":%q}`, p.refuses), nil
	}
	if p.deaf {
		return []byte(`{"protocol":1,"answer":"done"}`), nil
	}
	var chain tls.Certificate
	for block, rest := pem.Decode([]byte(question.Task.Certificate)); block != nil; block, rest = pem.Decode(rest) {
		chain.Certificate = append(chain.Certificate, block.Bytes)
	}
	leaf, err := x509.ParseCertificate(chain.Certificate[0])
	if err != nil {
		p.Error(err)
	}
	// The machine looks for the key that belongs to the certificate.
	p.holder.lock.Lock()
	defer p.holder.lock.Unlock()
	for _, key := range p.holder.keys {
		if key.Public().(*ecdsa.PublicKey).Equal(leaf.PublicKey) {
			chain.PrivateKey = key
		}
	}
	p.shows = &chain
	return []byte(`{"protocol":1,"answer":"done"}`), nil
}

func (p *place) serial() string {
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.shows == nil {
		return ""
	}
	leaf, err := x509.ParseCertificate(p.shows.Certificate[0])
	if err != nil {
		p.Fatal(err)
	}
	return fmt.Sprintf("%032x", leaf.SerialNumber)
}

// scene is an authority, a place, and tasks for one name.
type scene struct {
	*testing.T
	clock     *connectortest.Clock
	shelf     *shelftest.Shelf
	stops     *target.Stops
	authority *pki.Authority
	place     *place
	mint      *countersign.Mint
	first     connector.Task
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, clock: connectortest.NewClock(), shelf: shelftest.New(pki.ShelfName), stops: target.NewStops()}
	s.authority = newAuthority(t, s.shelf, s.stops, s.clock)
	s.place = newPlace(t, &holder{})
	s.mint = countersign.NewMint([32]byte{3}, s.clock.Instant())
	s.first = connector.Task{
		Holder: s.mint.Identity(), HolderName: "checkout", Grant: s.mint.Grant(), Action: "issue", System: s.mint.System(), SystemName: "certificates",
		Resource: "servers", Entitlement: "shop.example", EntitlementID: s.mint.Entitlement(),
	}
	return s
}

// task is the next certificate of the grant.
func (s *scene) task() connector.Task {
	task, now := s.first, s.clock.Instant()
	task.Intent, task.Attempt, task.Credential = s.mint.Intent(), 1, s.mint.Credential()
	task.Until, task.Deadline = now.Add(countersign.Day), now.Add(countersign.Minute)
	return task
}

func (s *scene) hands(target hands.Target, probe string) connector.Connector {
	return &asking{open(s.T, target, hands.Options{Name: "edge", Deploy: s.place, Probe: probe, Within: time.Second}, s.clock), s.T, s.place.holder}
}

func (s *scene) edge() connector.Connector {
	return s.hands(s.authority, s.place.server.Addr().String())
}

func (s *scene) check(task connector.Task) pki.Check {
	s.Helper()
	check, err := s.authority.CheckCredential(s.Context(), task.Credential)
	if err != nil {
		s.Fatal(err)
	}
	return check
}

func (s *scene) deployed(task connector.Task) {
	s.Helper()
	if err := s.edge().Apply(s.Context(), task); err != nil {
		s.Fatal(err)
	}
	reading, err := s.edge().Verify(s.Context(), task)
	if err != nil || !reading.Present || !strings.Contains(reading.How, "TLS handshake") {
		s.Fatalf("the read-back is %+v, %v", reading, err)
	}
	if s.place.serial() != s.check(task).Serial {
		s.Fatal("the server shows another one")
	}
}

func wantRejected(t *testing.T, err error, says string) {
	t.Helper()
	var failure *connector.Failure
	if !errors.As(err, &failure) || failure.Kind != connector.Rejected || !strings.Contains(err.Error(), says) {
		t.Fatalf("got %v, want a rejection that says %q", err, says)
	}
}

func TestACertificateIsDeployedAndSeenAndTheNextOneTakesItsPlaceWhileBothAreGood(t *testing.T) {
	s := newScene(t)
	first, second := s.task(), s.task()
	plan, err := s.edge().Plan(t.Context(), first)
	if err != nil || !strings.Contains(plan.Effect, "shop.example (ECDSA P-256, TLS server, for 1d at most") || !strings.Contains(plan.Effect, s.place.server.Addr().String()) {
		t.Errorf("the plan is %q, %v", plan.Effect, err)
	}
	s.deployed(first)
	s.deployed(second)
	for _, task := range []connector.Task{first, second} {
		if !works(t, s.authority, s.clock, task) {
			t.Errorf("%s is no good in the overlap", task.Credential)
		}
	}
	// What is asked again is not deployed again.
	told := s.place.told
	if err := s.edge().Apply(t.Context(), second); err != nil || s.place.told != told {
		t.Errorf("applied again: %v, and the program was told %d times more", err, s.place.told-told)
	}
	if err := s.edge().Revoke(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if works(t, s.authority, s.clock, first) || !works(t, s.authority, s.clock, second) {
		t.Error("the end of the former one is not the end of exactly that one")
	}
}

func TestACertificateThatTheProbeDoesNotSeeIsTakenBackAndTheFormerOneStays(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(s *scene)
		probe func(s *scene) string
		says  string
	}{
		"the program does nothing": {func(s *scene) { s.place.deaf = true }, nil, "it shows the serial number"},
		"the server falls silent":  {func(s *scene) { s.place.deaf, s.place.silent, s.place.looks = true, make(chan struct{}), 0 }, nil, "it shows the serial number"},
		"nobody is there":          {func(*scene) {}, func(*scene) string { return "127.0.0.1:1" }, "does not see it"},
		"the program refuses":      {func(s *scene) { s.place.refuses = "the disk is full" }, nil, "the disk is full"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			former, next := s.task(), s.task()
			s.deployed(former)
			serial := s.place.serial()
			c.spoil(s)
			probe := s.place.server.Addr().String()
			if c.probe != nil {
				probe = c.probe(s)
			}
			err := s.hands(s.authority, probe).Apply(t.Context(), next)
			if name == "the program refuses" {
				// Not even the former one can be put back: it is tried again.
				if err == nil || s.check(next).State != pki.Good {
					t.Fatalf("got %v", err)
				}
				s.place.refuses = ""
				err = s.edge().Apply(t.Context(), next)
			}
			if s.place.silent != nil {
				close(s.place.silent)
				s.place.silent = nil
			}
			wantRejected(t, err, c.says)
			s.place.deaf = false
			if s.place.serial() != serial || !works(t, s.authority, s.clock, former) {
				t.Error("the former certificate is not where it was, or no good")
			}
			if s.check(next).State != pki.Revoked || works(t, s.authority, s.clock, next) {
				t.Errorf("the new certificate is %s", s.check(next).State)
			}
			wantRejected(t, s.edge().Apply(t.Context(), next), c.says)
			s.deployed(s.task())
		})
	}
}

// mortal is an authority whose caller is killed after, or before, one of its
// steps.
type mortal struct {
	hands.Target
	left   int
	before bool
}

var errKilled = errors.New("killed")

func step[T any](m *mortal, do func() (T, error)) (T, error) {
	m.left--
	if m.left == 0 && m.before || m.left < 0 {
		var nothing T
		return nothing, errKilled
	}
	done, err := do()
	if m.left == 0 {
		return done, errKilled
	}
	return done, err
}

func (m *mortal) Issue(ctx context.Context, order pki.Order) error {
	_, err := step(m, func() (any, error) { return nil, m.Target.Issue(ctx, order) })
	return err
}

func (m *mortal) Deploy(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) (pki.Deployment, error) {
	return step(m, func() (pki.Deployment, error) { return m.Target.Deploy(ctx, credential, notAfter) })
}

func (m *mortal) Seen(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	_, err := step(m, func() (any, error) { return nil, m.Target.Seen(ctx, credential, notAfter) })
	return err
}

func (m *mortal) Restore(ctx context.Context, credential countersign.CredentialID, trouble string, notAfter countersign.Instant) error {
	_, err := step(m, func() (any, error) { return nil, m.Target.Restore(ctx, credential, trouble, notAfter) })
	return err
}

func (m *mortal) Restored(ctx context.Context, credential countersign.CredentialID, notAfter countersign.Instant) error {
	_, err := step(m, func() (any, error) { return nil, m.Target.Restored(ctx, credential, notAfter) })
	return err
}

func TestKilledBeforeOrAfterEachStepItGoesOnToTheSameEnd(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		steps := 3
		if deaf {
			steps = 5
		}
		for at := 1; at <= steps; at++ {
			for _, before := range []bool{true, false} {
				t.Run(fmt.Sprintf("deaf %v, step %d, before %v", deaf, at, before), func(t *testing.T) {
					t.Parallel()
					s := newScene(t)
					former, next := s.task(), s.task()
					s.deployed(former)
					serial := s.place.serial()
					s.place.deaf = deaf
					probe := s.place.server.Addr().String()
					if err := s.hands(&mortal{s.authority, at, before}, probe).Apply(t.Context(), next); err == nil {
						t.Fatal("it was not killed")
					}
					// A later claim fixes a later end.
					next.Attempt, next.Until = 2, next.Until.Add(countersign.Minute)
					err := s.edge().Apply(t.Context(), next)
					if deaf {
						wantRejected(t, err, "it shows the serial number")
						if s.place.serial() != serial || s.check(next).State != pki.Revoked || !works(t, s.authority, s.clock, former) {
							t.Error("the former one is not in its place, or the new one is not revoked")
						}
						return
					}
					if err != nil || s.place.serial() != s.check(next).Serial || !works(t, s.authority, s.clock, next) || !works(t, s.authority, s.clock, former) {
						t.Errorf("got %v, and the server shows %s", err, s.place.serial())
					}
				})
			}
		}
	}
}

func TestTwoCertificatesForOneNameAreNotDeployedAtOnce(t *testing.T) {
	s := newScene(t)
	first, second := s.task(), s.task()
	second.Grant, second.Holder = s.mint.Grant(), s.mint.Identity()
	if err := s.hands(&mortal{s.authority, 2, false}, s.place.server.Addr().String()).Apply(t.Context(), first); err == nil {
		t.Fatal("it was not killed")
	}
	var failure *connector.Failure
	if err := s.edge().Apply(t.Context(), second); !errors.As(err, &failure) || failure.Kind != connector.Transient || !strings.Contains(err.Error(), string(first.Credential)) {
		t.Errorf("while another one is on its way: %v", err)
	}
	if err := s.edge().Revoke(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	s.deployed(second)
}

func TestSettingsAndOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	s := newScene(t)
	for _, c := range []struct {
		options hands.Options
		says    string
	}{
		{hands.Options{Deploy: s.place}, "must be seen"}, {hands.Options{Probe: "shop.example"}, "host:port"},
		{hands.Options{Probe: "{host}:443"}, "host:port"}, {hands.Options{Probe: "{name}:443", Within: time.Minute}, "between 0s and 20s"},
	} {
		if _, err := hands.New(s.authority, c.options, s.clock); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: got %v", c.options, err)
		}
	}
	for setting, good := range map[[2]string]bool{{"usage", "both"}: true, {"usage", "any"}: false, {"longest", "2d"}: true, {"longest", "12h"}: false, {"longest", "soon"}: false, {"lognest", "1d"}: false} {
		task := s.task()
		task.Settings = map[string]string{setting[0]: setting[1]}
		if _, err := s.edge().Plan(t.Context(), task); (err == nil) != good {
			t.Errorf("%v: got %v", setting, err)
		}
	}
}
