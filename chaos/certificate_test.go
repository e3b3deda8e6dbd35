package chaos

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
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/faultpoint"
)

// shop is a TLS server, and the folder in which a deploy program leaves its
// certificate. It outlives the house.
type shop struct {
	*testing.T
	folder string
	server net.Listener

	lock sync.Mutex
	keys []crypto.Signer
}

const shopName = "shop.example"

// shopScript leaves what it is told for the server, in one step; or says that it
// did, while a file named broken is there.
const shopScript = `cd "$1" && cat > told && if [ ! -e broken ]; then mv told live; fi && echo '{"protocol":1,"answer":"done"}'`

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{T: t, folder: t.TempDir()}
	var err error
	s.server, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.live() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.server.Close() })
	go func() {
		for {
			connection, err := s.server.Accept()
			if err != nil {
				return
			}
			_ = connection.(*tls.Conn).Handshake()
			connection.Close()
		}
	}()
	return s
}

// live is the certificate that the server shows, with the key that it belongs to.
func (s *shop) live() (*tls.Certificate, error) {
	content, err := os.ReadFile(filepath.Join(s.folder, "live"))
	if err != nil {
		return nil, err
	}
	var told struct {
		Task struct {
			Certificate string `json:"certificate"`
		} `json:"task"`
	}
	if err := json.Unmarshal(content, &told); err != nil {
		return nil, err
	}
	var shown tls.Certificate
	for block, rest := pem.Decode([]byte(told.Task.Certificate)); block != nil; block, rest = pem.Decode(rest) {
		shown.Certificate = append(shown.Certificate, block.Bytes)
	}
	if len(shown.Certificate) == 0 {
		return nil, errors.New("there is no certificate yet")
	}
	leaf, err := x509.ParseCertificate(shown.Certificate[0])
	if err != nil {
		return nil, err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, key := range s.keys {
		if key.Public().(*ecdsa.PublicKey).Equal(leaf.PublicKey) {
			shown.PrivateKey = key
		}
	}
	return &shown, nil
}

func (s *shop) serial() string {
	s.Helper()
	shown, err := s.live()
	if err != nil {
		s.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(shown.Certificate[0])
	if err != nil {
		s.Fatal(err)
	}
	return fmt.Sprintf("%032x", leaf.SerialNumber)
}

// request makes a key and asks for a certificate for it.
func (s *shop) request() string {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{shopName}}, key)
	if err != nil {
		s.Fatal(err)
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.keys = append(s.keys, key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// withShop founds a house on SQLite that deploys certificates to the shop.
func withShop(t *testing.T, s *shop) *house {
	t.Helper()
	h := newHouse(t)
	h.organisation = organisation(t)
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(h.organisation, "directory/all.yaml"), directoryFile()+`  - name: certificates
    title: Certificates
    owner: otto
    environment: prod
    risk: low
    connector: edge
    resources: [{name: servers, title: Servers, entitlements: [{name: `+shopName+`, kind: credential}]}]
`)
	write(filepath.Join(h.organisation, "policies/certificates.yaml"), `
request: certificates
title: A certificate
grants: {system: certificates, kind: credential}
beneficiary: [service]
ask: {csr: {type: string}}
limits: {duration: {default: 10d, max: 30d}}
stages: [{name: manager, approvers: [manager-of(requester)], within: 2 business days}]
fulfil: [edge.issue]
parameters: [csr]
grant: {ends: revoke}
`)
	// On a busy machine a handshake takes its time.
	h.looksFor(s, "10s")
	return h.found()
}

// looksFor writes the configuration by which a certificate that is not seen within the
// time is taken back, from the next start on.
func (h *house) looksFor(s *shop, within string) {
	h.t.Helper()
	command, err := json.Marshal([]string{"/bin/sh", "-c", shopScript, "sh", s.folder})
	if err != nil {
		h.t.Fatal(err)
	}
	h.configuration = filepath.Join(h.t.TempDir(), "countersign.yaml")
	text := fmt.Sprintf("connectors:\n  edge: {kind: pki, deploy: {command: %s}, probe: %q, probe_within: %s}\n", command, s.server.Addr(), within)
	if err := os.WriteFile(h.configuration, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// issued is what the register says, by serial number: whether it is revoked.
func (h *house) issued(ctx context.Context, system string) map[string]bool {
	h.t.Helper()
	var answer struct {
		Certificates []struct {
			Serial    string `json:"serial"`
			RevokedAt string `json:"revoked_at"`
		} `json:"certificates"`
	}
	said, err := h.insist(ctx, "aud", http.MethodGet, "/targets/pki/"+system+"/certificates", "", nil)
	if err != nil || !said.done() || json.Unmarshal(said.body, &answer) != nil {
		h.t.Fatalf("the register is read as %s, %v", said, err)
	}
	found := map[string]bool{}
	for _, one := range answer.Certificates {
		found[one.Serial] = one.RevokedAt != ""
	}
	// What is revoked is on the public list, and nothing else.
	said, err = h.insist(ctx, "", http.MethodGet, "/targets/pki/"+system+"/crl", "", nil)
	if err != nil || !said.done() {
		h.t.Fatalf("the list is read as %s, %v", said, err)
	}
	list, err := x509.ParseRevocationList(said.body)
	if err != nil {
		h.t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, one := range list.RevokedCertificateEntries {
		listed[fmt.Sprintf("%032x", one.SerialNumber)] = true
	}
	for serial, revoked := range found {
		if revoked != listed[serial] {
			h.t.Errorf("of %s the register says revoked %v, the list %v", serial, revoked, listed[serial])
		}
	}
	return found
}

// certificate asks for one and has it approved; the answer to the approval may be
// lost with the house.
func (h *house) certificate(ctx context.Context, s *shop, by, service string) string {
	h.t.Helper()
	said, err := h.insist(ctx, by, http.MethodPost, "/api/v1/requests", "ask-"+service, requestBody{
		Beneficiary: service, Entitlements: []string{"certificates/servers/" + shopName}, Reason: "the shop needs it", Answers: map[string]any{"csr": s.request()},
	})
	if err != nil || !said.done() {
		h.t.Fatalf("asking: %s, %v", said, err)
	}
	view := must(parsed(said))(h.t)
	h.call(ctx, h.replicas[0].url, "max", http.MethodPost, "/api/v1/requests/"+view.ID+"/approve", "", map[string]any{"shown": view.Shown})
	return view.ID
}

// grantOf waits until the house says of the request's grant what is wanted.
func (h *house) grantOf(ctx context.Context, id, says string) {
	h.t.Helper()
	l := &load{house: h}
	for {
		said, err := h.insist(ctx, "max", http.MethodGet, "/api/v1/requests/"+id, "", nil)
		if err != nil {
			h.t.Fatal(err)
		}
		if strings.Contains(string(said.body), says) {
			return
		}
		if err := l.wait(ctx); err != nil {
			h.t.Fatalf("the request never says %q, but %s", says, said)
		}
	}
}

// certificatePoints are where the program is killed while it deploys a certificate.
var certificatePoints = []faultpoint.Point{faultpoint.AfterIssue, faultpoint.AfterDeploy, faultpoint.AfterRestore}

func TestKilledBetweenTheStepsOfADeploymentTheServerShowsTheOneCertificateThatIsGood(t *testing.T) {
	t.Parallel()
	for _, point := range certificatePoints {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			h := withShop(t, s)
			// The program was built for that, which takes its time as well.
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			system := must(h.insist(ctx, "max", http.MethodGet, "/api/v1/systems/certificates", "", nil))(t)
			var about struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(system.body, &about); err != nil || about.ID == "" {
				t.Fatalf("the system is read as %s", system)
			}
			first := h.certificate(ctx, s, asker(0), "svc0")
			h.grantOf(ctx, first, `"state":"live"`)
			former := s.serial()

			// The next one is for another holder, so that both are good together.
			if point == faultpoint.AfterRestore {
				if err := os.WriteFile(filepath.Join(s.folder, "broken"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h.down(0)
			if point == faultpoint.AfterRestore {
				h.looksFor(s, "1s")
			}
			h.up(0, string(point))
			next := h.certificate(ctx, s, asker(1), "svc1")
			if err := h.replicas[0].ends(ctx); err != nil {
				t.Fatal(err)
			}
			h.up(0, "")
			if point == faultpoint.AfterRestore {
				h.grantOf(ctx, next, "was taken back, and ")
			} else {
				h.grantOf(ctx, next, `"state":"live"`)
			}
			good := []string{}
			for serial, revoked := range h.issued(ctx, about.ID) {
				if !revoked {
					good = append(good, serial)
				}
			}
			switch shown := s.serial(); {
			case point == faultpoint.AfterRestore && (shown != former || len(good) != 1 || good[0] != former):
				t.Errorf("the server shows %s, and good are %v; want the former one, %s", shown, good, former)
			case point != faultpoint.AfterRestore && (shown == former || len(good) != 2 || good[0] != shown && good[1] != shown || good[0] != former && good[1] != former):
				t.Errorf("the server shows %s, and good are %v; the former one is %s", shown, good, former)
			}
			h.intact()
			if said, err := h.run("audit", "verify"); err != nil {
				t.Errorf("audit verify: %v %s", err, said)
			}
		})
	}
}
