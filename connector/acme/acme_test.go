package acme_test

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	hands "github.com/countersign/countersign/connector/acme"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/pki"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	register "github.com/countersign/countersign/target/pki"
)

// pebble is a real authority on loopback that believes only what it fetches by
// http-01, from the register that answers at the time.
type pebble struct {
	directory, management string
	client                *http.Client
	answers               atomic.Pointer[http.Handler]
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing := name + " is missing: scripts/install-test-tools installs it (Debian: apt-get install pebble)"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return path
}

func free(t *testing.T) (address string, port int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String(), listener.Addr().(*net.TCPAddr).Port
}

// start runs a program until the test ends, and returns when it has said that it
// is there.
func start(t *testing.T, says string, environment []string, path string, arguments ...string) {
	t.Helper()
	command := exec.Command(path, arguments...)
	command.Env = append(os.Environ(), environment...)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	said, there, ended := &strings.Builder{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer reader.Close()
		told := false
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			if !told {
				said.WriteString(lines.Text() + "\n")
			}
			if !told && strings.Contains(lines.Text(), says) {
				told = true
				close(there)
			}
		}
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		_ = command.Wait()
	})
	select {
	case <-there:
	case <-ended:
		t.Fatalf("%s ends: %s", path, said)
	}
}

func newPebble(t *testing.T) *pebble {
	t.Helper()
	authority, names := program(t, "pebble"), program(t, "pebble-challtestsrv")
	p := &pebble{}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler := p.answers.Load(); handler != nil {
			(*handler).ServeHTTP(w, r)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pebble"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	here, _ := free(t)
	manage, _ := free(t)
	resolver, _ := free(t)
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": here, "managementListenAddress": manage, "httpPort": listener.Addr().(*net.TCPAddr).Port, "tlsPort": 1,
		"certificate": write("pebble.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"privateKey":  write("pebble.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
	}})
	if err != nil {
		t.Fatal(err)
	}
	start(t, "Starting management server", nil, names, "-dns01", resolver, "-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-management", "127.0.0.1:0")
	start(t, "ACME directory available", []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"}, authority, "-config", write("pebble.json", settings), "-dnsserver", resolver)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	t.Cleanup(p.client.CloseIdleConnections)
	p.directory, p.management = "https://"+here+"/dir", "https://"+manage
	// It says that it is there a moment before it is.
	for deadline := time.Now().Add(10 * time.Second); ; {
		response, err := p.client.Get(p.directory)
		if err == nil {
			response.Body.Close()
			return p
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// good asks the authority itself, past ACME, what it says of a certificate.
func (p *pebble) good(t *testing.T, serial string) bool {
	t.Helper()
	response, err := p.client.Get(p.management + "/cert-status-by-serial/" + strings.TrimLeft(serial, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var status struct{ Status string }
	if err := json.NewDecoder(response.Body).Decode(&status); err != nil {
		t.Fatalf("the status of %s: %s %v", serial, response.Status, err)
	}
	return status.Status == "Valid"
}

// holder keeps the private keys and makes a request for each credential.
type holder struct {
	lock sync.Mutex
	csrs map[string]string
}

func (h *holder) request(t *testing.T, credential countersign.CredentialID, name string) string {
	t.Helper()
	h.lock.Lock()
	defer h.lock.Unlock()
	which := string(credential) + name
	if h.csrs[which] == "" {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
		if err != nil {
			t.Fatal(err)
		}
		h.csrs[which] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	}
	return h.csrs[which]
}

// asking adds to each task the request that its holder made for it.
type asking struct {
	*hands.Connector
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

// bench is one house's register beside the authority, with an account of its own.
func bench(t *testing.T, p *pebble, stops *target.Stops, clock connector.Clock) (*asking, *register.Authority, *shelftest.Shelf) {
	t.Helper()
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	shelf := shelftest.New(register.ShelfName)
	kept := register.New(shelf, master, stops, clock, rand.Reader, "https://desk.example")
	mux := http.NewServeMux()
	for path, handler := range kept.Public() {
		mux.Handle(path, handler)
	}
	var handler http.Handler = mux
	p.answers.Store(&handler)
	return &asking{open(t, p, kept, clock, pki.Options{Name: "public"}), t, &holder{csrs: map[string]string{}}}, kept, shelf
}

func open(t *testing.T, p *pebble, kept *register.Authority, clock connector.Clock, options pki.Options) *hands.Connector {
	t.Helper()
	var account crypto.Signer
	account, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made, err := hands.New(kept, hands.Options{Options: options, Directory: p.directory, Account: account, HTTP: p.client, Residual: countersign.Day}, clock)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestConformance(t *testing.T) {
	p := newPebble(t)
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		clock := connectortest.NewClock()
		made, kept, shelf := bench(t, p, target.NewStops(), clock)
		return &connectortest.Bench{
			Connector: made, Clock: clock,
			Works: func(t *testing.T, task connector.Task) bool {
				check, err := kept.CheckCredential(t.Context(), task.Credential)
				if err != nil || check.Certificate == nil || check.Holder != task.Holder || check.Name != task.Entitlement || check.Resource != task.Resource {
					return false
				}
				return p.good(t, check.Serial)
			},
			Plant: func(t *testing.T, task connector.Task) {
				if err := made.Apply(t.Context(), task); err != nil {
					t.Fatal(err)
				}
			},
			Writes: func(t *testing.T, task connector.Task) int {
				items, err := shelf.Items(t.Context(), "", "serial/", 100)
				if err != nil {
					t.Fatal(err)
				}
				count := 0
				for _, item := range items {
					if strings.Contains(string(item.Body), string(task.Credential)) {
						count++
					}
				}
				return count
			},
		}
	})
	t.Run("WhatTheDeskStopsIsNotGone", func(t *testing.T) {
		clock, stops := connectortest.NewClock(), target.NewStops()
		made, _, _ := bench(t, p, stops, clock)
		connectortest.RunStopped(t, made, clock, stops)
	})
	t.Run("AnOrderThatWasLeftIsTakenUpAndAnUnprovenNameIsNot", func(t *testing.T) {
		clock := connectortest.NewClock()
		made, kept, _ := bench(t, p, target.NewStops(), clock)
		mint := countersign.NewMint([32]byte{6}, clock.Instant())
		task := connector.Task{
			Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "issue", Holder: mint.Identity(), HolderName: "checkout",
			System: mint.System(), SystemName: "public", Resource: "servers", Entitlement: "shop.example", EntitlementID: mint.Entitlement(),
			Until: clock.Instant().Add(countersign.Day), Deadline: clock.Instant().Add(countersign.Minute),
		}
		// The name leads elsewhere.
		elsewhere := http.Handler(http.NotFoundHandler())
		here := p.answers.Swap(&elsewhere)
		var failure *connector.Failure
		if err := made.Apply(t.Context(), task); !errors.As(err, &failure) || failure.Kind != connector.Transient || !strings.Contains(err.Error(), "is the name led to this house") {
			t.Fatalf("an unproven name: %v", err)
		}
		p.answers.Store(here)
		if err := made.Apply(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		check, err := kept.CheckCredential(t.Context(), task.Credential)
		if err != nil || !p.good(t, check.Serial) {
			t.Fatalf("after it was led here: %+v, %v", check, err)
		}
		chain, err := kept.Chain(t.Context(), task.Credential)
		if err != nil || strings.Count(string(chain), "BEGIN CERTIFICATE") < 2 {
			t.Errorf("the holder gets %s, %v", chain, err)
		}
	})
	t.Run("WhatWasSignedAndNeverFetchedIsRevoked", func(t *testing.T) {
		clock := connectortest.NewClock()
		made, kept, shelf := bench(t, p, target.NewStops(), clock)
		mint := countersign.NewMint([32]byte{2}, clock.Instant())
		task := connector.Task{
			Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "issue", Holder: mint.Identity(), HolderName: "checkout",
			System: mint.System(), SystemName: "public", Resource: "servers", Entitlement: "till.example", EntitlementID: mint.Entitlement(),
			Until: clock.Instant().Add(countersign.Day), Deadline: clock.Instant().Add(countersign.Minute),
		}
		if err := made.Apply(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		check, err := kept.CheckCredential(t.Context(), task.Credential)
		if err != nil {
			t.Fatal(err)
		}
		// As after a crash before the certificate was written down.
		forget(t, shelf, task.Credential)
		if reading, err := made.VerifyGone(t.Context(), task); err != nil || reading.Present {
			t.Fatalf("the register still has it: %+v, %v", reading, err)
		}
		if err := made.Revoke(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		if p.good(t, check.Serial) {
			t.Error("the authority still says that it is good")
		}
	})
}

// taking is a deploy program that puts every certificate nowhere.
type taking struct{}

func (taking) Carry(context.Context, string, []byte) ([]byte, error) {
	return []byte(`{"protocol":1,"answer":"done"}`), nil
}

func TestWhatIsNotSeenWhereItWasDeployedIsRevokedAtTheAuthority(t *testing.T) {
	p := newPebble(t)
	clock := connectortest.NewClock()
	made, kept, _ := bench(t, p, target.NewStops(), clock)
	silent, _ := free(t)
	made.Connector = open(t, p, kept, clock, pki.Options{Name: "public", Deploy: taking{}, Probe: silent, Within: time.Millisecond})
	mint := countersign.NewMint([32]byte{4}, clock.Instant())
	task := connector.Task{
		Intent: mint.Intent(), Attempt: 1, Credential: mint.Credential(), Grant: mint.Grant(), Action: "issue", Holder: mint.Identity(), HolderName: "checkout",
		System: mint.System(), SystemName: "public", Resource: "servers", Entitlement: "desk.example", EntitlementID: mint.Entitlement(),
		Until: clock.Instant().Add(countersign.Day), Deadline: clock.Instant().Add(countersign.Minute),
	}
	var failure *connector.Failure
	if err := made.Apply(t.Context(), task); !errors.As(err, &failure) || failure.Kind != connector.Rejected || !strings.Contains(err.Error(), "was taken back") {
		t.Fatalf("what nobody sees: %v", err)
	}
	check, err := kept.CheckCredential(t.Context(), task.Credential)
	if err != nil || check.State != register.Revoked || check.Serial == "" {
		t.Fatalf("the register has %+v, %v", check, err)
	}
	if p.good(t, check.Serial) {
		t.Error("the authority still says that it is good")
	}
}

// forget takes the certificate out of the register's record, and leaves the order.
func forget(t *testing.T, shelf *shelftest.Shelf, credential countersign.CredentialID) {
	t.Helper()
	item, err := shelf.Item(t.Context(), string(credential))
	if err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal(item.Body, &body); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"certificate", "serial", "issuers"} {
		delete(body, member)
	}
	if item.Body, err = json.Marshal(body); err != nil {
		t.Fatal(err)
	}
	item.Version++
	if err := shelf.Commit(t.Context(), store.ShelfChange{Puts: []store.Item{item}}); err != nil {
		t.Fatal(err)
	}
}

func TestWithoutAnAccountThereIsNoConnector(t *testing.T) {
	if _, err := hands.New(nil, hands.Options{Options: pki.Options{Name: "public"}}, connectortest.NewClock()); err == nil || !strings.Contains(err.Error(), "account") {
		t.Errorf("got %v", err)
	}
}
