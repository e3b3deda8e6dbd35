package house_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	hands "github.com/countersign/countersign/connector/pki"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/sample"
)

const certificateRotationPolicy = `
request: certificate-rotation
title: New certificate in the place of one
grants: {system: certificates, kind: credential}
rotates: {overlap: 1d}
beneficiary: [service]
ask:
  record: {type: string, format: system-record}
  csr: {type: string, maxLength: 8000}
limits: {duration: {default: 30d, max: 400d}}
evidence: [{name: record, kind: record, due: at-request, verified_by: directory, covers: true}]
stages:
  - {name: platform, approvers: [owner-of(resource)], distinct_from: [requester, beneficiary], within: 2 business days}
  - {name: security, approvers: [group(security)], distinct_from: [requester, beneficiary, platform], within: 2 business days}
fulfil: [pki.issue]
parameters: [csr]
`

const shop = "shop.test.example"

// withWebServer has the shop's certificate issued and deployed to a real TLS server.
func withWebServer(t *testing.T, open database) (w *world, server *sample.WebServer, first countersign.RequestID) {
	t.Helper()
	w = empty(t, open)
	server, err := sample.OpenWebServer()
	w.must(err)
	t.Cleanup(func() { server.Close() })
	w.connectors = func(targets house.Targets) (connector.Set, error) {
		deploying, err := hands.New(targets.PKI, hands.Options{Deploy: server, Probe: server.Address(), Within: 300 * time.Millisecond}, w.clock)
		return connector.Set{"pki": deploying}, err
	}
	w.restart()
	w.edit("records:\n", strings.TrimPrefix(certificates, "\n")+"records:\n", "scopes: [read, write]", "scopes: [shop.test.example]")
	w.must(w.found(certificatePolicy, certificateRotationPolicy))
	w.settle()
	first = w.submit("olga", w.askForCertificate(shop, csrOf(t, server), 30*countersign.Day))
	w.must(w.approve("otto", first))
	w.settle()
	w.state(first, countersign.RequestActive)
	return w, server, first
}

func csrOf(t *testing.T, server *sample.WebServer) string {
	t.Helper()
	csr, err := server.Ask(shop)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// shows is the serial number that a handshake shows, verified as a browser does.
func (w *world) shows(server *sample.WebServer, system countersign.SystemID) string {
	w.t.Helper()
	der, err := w.house.PKI.AuthorityCertificate(w.ctx, system)
	w.must(err)
	authority, err := x509.ParseCertificate(der)
	w.must(err)
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	connection, err := tls.Dial("tcp", server.Address(), &tls.Config{ServerName: shop, RootCAs: roots, Time: w.clock.Now})
	w.must(err)
	defer connection.Close()
	return connection.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
}

func (w *world) askForRotation(grant countersign.GrantID, csr string, duration countersign.Seconds) desk.Asking {
	asking := w.askForCertificate(shop, csr, duration)
	asking.Rotates, asking.Reason = grant, "it ends in two weeks"
	return asking
}

func TestACertificateIsRotatedByPlatformAndSecurityAndBothAreGoodInTheOverlap(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w, server, first := withWebServer(t, open)
		grant := w.grant(first)
		system := w.stored(grant.ID).System
		old := w.shows(server, system)
		w.pass(16 * 24 * time.Hour)
		w.refused(w.house.Desk.Rotate(w.ctx, w.as("olga"), desk.Key{}, grant.ID, countersign.Hour, "now"), "rotation-needs-approval")

		id := w.submit("olga", w.askForRotation(grant.ID, csrOf(t, server), 45*countersign.Day))
		if effects := w.view(id).Effects; len(effects) != 1 || !strings.Contains(effects[0], "ECDSA P-256, TLS server, for 45d at most") {
			t.Fatalf("the approvers are shown %q", effects)
		}
		w.must(w.approve("otto", id))
		if err := w.approve("otto", id); err == nil {
			t.Fatal("the owner of the platform approves for security, too")
		}
		w.must(w.approve("syd", id))
		if w.shows(server, system) != old {
			t.Fatal("the approval alone changed the server")
		}
		w.settle()
		w.state(id, countersign.RequestActive)
		fresh := w.shows(server, system)
		if fresh == old || len(w.listed(system)) != 0 {
			t.Fatalf("the server shows %s after %s, and the list has %v", fresh, old, w.listed(system))
		}
		if want := countersign.InstantOf(w.clock.Now()).Add(45 * countersign.Day); w.stored(grant.ID).Until.Add(2) < want {
			t.Errorf("the grant ends at %s, want %s", w.stored(grant.ID).Until, want)
		}
		w.pass(24*time.Hour - time.Second)
		if len(w.listed(system)) != 0 {
			t.Error("the older certificate was revoked before the overlap was over")
		}
		w.pass(time.Second)
		if listed := w.listed(system); len(listed) != 1 || listed[old] == 0 {
			t.Errorf("after the overlap the list has %v, and not %s alone", listed, old)
		}
		w.state(id, countersign.RequestClosed)
		w.state(first, countersign.RequestActive)
		w.pass(20 * 24 * time.Hour) // beyond the end of the first one
		if w.shows(server, system) != fresh {
			t.Error("the server shows another certificate")
		}
		w.verified()
	})
}

func TestACertificateThatIsNotSeenIsTakenBackAndTheRequestSaysSo(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w, server, first := withWebServer(t, open)
		grant := w.grant(first)
		system := w.stored(grant.ID).System
		old := w.shows(server, system)
		id := w.submit("olga", w.askForRotation(grant.ID, csrOf(t, server), 0))
		w.must(w.approve("otto", id))
		w.must(w.approve("syd", id))
		server.Stick(true)
		w.settle()
		if got := w.state(id, countersign.RequestFailed); !strings.Contains(got.Outcome, "was taken back, and the former one was put back") {
			t.Errorf("the request says %q", got.Outcome)
		}
		w.pass(time.Minute)
		// Only the second look, an hour after the list was published, is still owed.
		now := w.stored(grant.ID)
		if now.State != countersign.GrantLive || now.Until != grant.Until || now.Credentials[1].State != countersign.CredentialGone || now.Busy() {
			t.Fatalf("the grant is %+v", now)
		}
		if listed := w.listed(system); w.shows(server, system) != old || len(listed) != 1 || listed[old] != 0 {
			t.Errorf("the server shows %s, and the list has %v", w.shows(server, system), listed)
		}
		server.Stick(false)
		again := w.submit("olga", w.askForRotation(grant.ID, csrOf(t, server), 0))
		w.must(w.approve("otto", again))
		w.must(w.approve("syd", again))
		w.settle()
		w.state(again, countersign.RequestActive)
		if w.shows(server, system) == old {
			t.Error("the server still shows the older certificate")
		}
		w.pass(2 * time.Hour)
		if now := w.stored(grant.ID); now.Intent != nil || now.Rotating == nil {
			t.Errorf("two hours later the grant is %+v", now)
		}
		w.verified()
	})
}

func TestARotationIsRefusedBeforeAnybodyIsAskedWhereKeyNameOrLifeAreNotInOrder(t *testing.T) {
	w, server, first := withWebServer(t, onSQLite(t))
	grant := w.grant(first).ID
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	w.must(err)
	used := w.view(first).Answers
	again := w.askForRotation(grant, "", 0)
	again.Answers = used
	other := w.askForRotation(grant, signingRequest(t, ecdsaKey(t), "bank.test.example"), 0)
	other.Entitlements = []string{"certificates/servers/bank.test.example"}
	for name, c := range map[string]struct {
		asking desk.Asking
		reason string
		says   string
	}{
		"a weak key":              {w.askForRotation(grant, signingRequest(t, weak, shop), 0), "cannot-be-carried-out", "RSA 1024 bits"},
		"another name in it":      {w.askForRotation(grant, signingRequest(t, ecdsaKey(t), "bank.test.example"), 0), "cannot-be-carried-out", "bank.test.example"},
		"too long a life":         {w.askForRotation(grant, csrOf(t, server), 91*countersign.Day), "cannot-be-carried-out", "at most 90d"},
		"a name of somebody else": {other, "record-does-not-cover", "bank.test.example"},
		"the same key again":      {again, "cannot-be-carried-out", "key"},
	} {
		_, err := w.house.Desk.Submit(w.ctx, w.as("olga"), desk.Key{}, c.asking)
		if countersign.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v (%s)", name, err, countersign.ReasonOf(err))
		}
	}
}
