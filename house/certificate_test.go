package house_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/workflow"
)

const certificates = `
  - name: certificates
    title: Certificates
    owner: otto
    environment: prod
    risk: medium
    connector: pki
    settings: {longest: 90d}
    resources:
      - name: servers
        title: Servers
        entitlements: [{name: shop.test.example, kind: credential}, {name: bank.test.example, kind: credential}]
`

const certificatePolicy = `
request: certificate
title: Certificate for a server
grants: {system: certificates, kind: credential}
beneficiary: [service]
ask:
  record: {type: string, format: system-record}
  csr: {type: string, maxLength: 8000}
limits: {duration: {default: 30d, max: 400d}}
evidence: [{name: record, kind: record, due: at-request, verified_by: directory, covers: true}]
stages: [{name: owner, approvers: [owner-of(resource)], within: 2 business days}]
fulfil: [pki.issue]
parameters: [csr]
grant: {ends: revoke}
`

func signingRequest(t *testing.T, key crypto.Signer, name string) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func ecdsaKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (w *world) askForCertificate(name, csr string, duration countersign.Seconds) desk.Asking {
	w.t.Helper()
	answers, err := json.Marshal(map[string]string{"record": "SR-1", "csr": csr})
	w.must(err)
	return desk.Asking{Beneficiary: "svc", Entitlements: []string{"certificates/servers/" + name}, Reason: "the shop moves to another host", Answers: answers, Duration: duration}
}

// listed returns the reasons on the published list, by serial number.
func (w *world) listed(system countersign.SystemID) map[string]int {
	w.t.Helper()
	content, err := w.house.PKI.CRL(w.ctx, system)
	w.must(err)
	read, err := x509.ParseRevocationList(content)
	w.must(err)
	found := map[string]int{}
	for _, one := range read.RevokedCertificateEntries {
		found[one.SerialNumber.Text(16)] = one.ReasonCode
	}
	return found
}

func withCertificates(t *testing.T, open database) *world {
	t.Helper()
	w := empty(t, open)
	w.edit("records:\n", strings.TrimPrefix(certificates, "\n")+"records:\n", "scopes: [read, write]", "scopes: [shop.test.example]")
	w.must(w.found(certificatePolicy))
	w.settle()
	return w
}

func TestACertificateIsRefusedBeforeAnybodyIsAskedWhereKeyNameOrLifeAreNotInOrder(t *testing.T) {
	w := withCertificates(t, onSQLite(t))
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	w.must(err)
	for name, c := range map[string]struct {
		asking desk.Asking
		reason string
		says   string
	}{
		"a weak key":              {w.askForCertificate("shop.test.example", signingRequest(t, weak, "shop.test.example"), 0), "cannot-be-carried-out", "RSA 1024 bits"},
		"another name in it":      {w.askForCertificate("shop.test.example", signingRequest(t, ecdsaKey(t), "bank.test.example"), 0), "cannot-be-carried-out", "bank.test.example"},
		"too long a life":         {w.askForCertificate("shop.test.example", signingRequest(t, ecdsaKey(t), "shop.test.example"), 91*countersign.Day), "cannot-be-carried-out", "at most 90d"},
		"a name of somebody else": {w.askForCertificate("bank.test.example", signingRequest(t, ecdsaKey(t), "bank.test.example"), 0), "record-does-not-cover", "bank.test.example"},
		"no request at all":       {w.askForCertificate("shop.test.example", "please", 0), "cannot-be-carried-out", "BEGIN CERTIFICATE REQUEST"},
	} {
		_, err := w.house.Desk.Submit(w.ctx, w.as("olga"), desk.Key{}, c.asking)
		if countersign.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v (%s)", name, err, countersign.ReasonOf(err))
		}
	}
}

func TestACertificateIsApprovedAsItWillBeAndIsOnTheListWhenHeldOrRevoked(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := withCertificates(t, open)
		key := ecdsaKey(t)
		id := w.submit("olga", w.askForCertificate("shop.test.example", signingRequest(t, key, "shop.test.example"), 30*countersign.Day))
		if effects := w.view(id).Effects; len(effects) != 1 || !strings.Contains(effects[0], "A certificate for shop.test.example (ECDSA P-256, TLS server, for 30d at most") {
			t.Fatalf("the approver is shown %q", effects)
		}
		w.must(w.approve("otto", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		grant := w.stored(w.grant(id).ID)
		check, err := w.house.PKI.CheckCredential(w.ctx, grant.Credentials[0].ID)
		w.must(err)
		certificate, err := x509.ParseCertificate(check.Certificate)
		w.must(err)
		if !key.Public().(*ecdsa.PublicKey).Equal(certificate.PublicKey) || certificate.NotAfter.After(grant.Until.Time()) || certificate.NotAfter.Before(grant.Until.Time().Add(-2*time.Second)) {
			t.Errorf("the certificate ends at %s, the grant at %s", certificate.NotAfter, grant.Until)
		}
		serial := certificate.SerialNumber.Text(16)
		if listed := w.listed(grant.System); len(listed) != 0 {
			t.Errorf("the list has %v", listed)
		}

		// A certificate for the same key would be none.
		w.refused(w.house.Desk.Rotate(w.ctx, w.as("olga"), desk.Key{}, grant.ID, countersign.Day, "a new key"), "rotation-needs-answers")
		if slices.Contains(w.grant(id).Offered, workflow.Rotate) {
			t.Error("a rotation is offered that is refused")
		}

		hold, err := w.hold("adam", "svc", false)
		w.must(err)
		if listed := w.listed(grant.System); listed[serial] != 6 {
			t.Errorf("while held the list has %v", listed)
		}
		w.restart()
		if listed := w.listed(grant.System); listed[serial] != 6 {
			t.Errorf("after a restart the list has %v", listed)
		}
		w.must(w.lift("alma", hold))
		if listed := w.listed(grant.System); len(listed) != 0 {
			t.Errorf("after the hold the list has %v", listed)
		}

		w.must(w.house.Desk.Revoke(w.ctx, w.as("olga"), desk.Key{}, grant.ID, "the shop is closed"))
		if listed := w.listed(grant.System); listed[serial] != 6 {
			t.Errorf("before the revoke is carried out the list has %v", listed)
		}
		w.settle()
		if listed := w.listed(grant.System); listed[serial] != 5 {
			t.Errorf("after the revoke the list has %v", listed)
		}
		// Who verifies may go by the former list for an hour.
		if grant := w.stored(grant.ID); grant.State != countersign.GrantRevoked || grant.EffectiveBy != countersign.InstantOf(w.clock.Now()).Add(countersign.Hour) {
			t.Errorf("the grant is %s, effective by %s", grant.State, grant.EffectiveBy)
		}
		w.pass(time.Hour + time.Minute)
		if grant := w.stored(grant.ID); grant.State != countersign.GrantGone {
			t.Errorf("an hour later the grant is %s", grant.State)
		}
		w.verified()
	})
}
