package sample

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/client"
)

const (
	shopName = "shop.meridian.example"
	payName  = "pay.meridian.example"
)

// certificateAsking asks for the shop's certificate, or with a grant for another one
// in its place.
func certificateAsking(name, csr, grant string, lasting countersign.Seconds) client.Asking {
	reason := "The shop moves to its own web server."
	if grant != "" {
		reason = "The certificate of the shop ends in two weeks."
	}
	return client.Asking{
		Beneficiary: "svc-checkout", Entitlements: []string{"certificates/servers/" + name}, Reason: reason, Rotates: grant,
		Duration: seconds(lasting), Answers: map[string]any{"record": "SR-1044", "csr": csr},
	}
}

// certificate plays a certificate from its first issue to its successor.
func (t *tour) certificate() error {
	t.title("A certificate: platform, security; deployed, seen in a handshake; rotated; rolled back")
	t.say("The shop has a web server, a real one that listens in this process. It makes its own\n" +
		"keys, and Countersign's authority signs for them. Fatima answers for the shop.\n")
	if err := t.refusedCertificates(); err != nil {
		return err
	}
	first, err := t.askForCertificate("asks for the certificate of "+shopName, "", 45*countersign.Day)
	if err != nil {
		return err
	}
	if err := t.keptOut(first); err != nil {
		return err
	}
	if err := t.decideCertificate(first); err != nil {
		return err
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	request, err := t.expect("fatima.zahra", first, "active")
	if err != nil {
		return err
	}
	t.did("the house", "signed, had it deployed, and saw it in a TLS handshake\n✓ until %s", request.Grants[0].Until.Format("2006-01-02 15:04"))
	old, err := t.handshake("a browser", "")
	if err != nil {
		return err
	}
	if err := t.pass(32*countersign.Day, ""); err != nil {
		return err
	}
	if request, err = t.expect("fatima.zahra", first, "active"); err != nil {
		return err
	}
	if !request.Grants[0].Reminded {
		return fmt.Errorf("thirteen days before the end nobody was reminded")
	}
	t.did("the house", "reminded of the end, fourteen days ahead")
	grant := request.Grants[0].Id
	if err := t.rolledBack(grant, old); err != nil {
		return err
	}
	return t.rotated(grant, old)
}

// refusedCertificates looks at what would be refused, before anybody is asked.
func (t *tour) refusedCertificates() error {
	fatima, err := t.as("fatima.zahra")
	if err != nil {
		return err
	}
	good, err := t.stage.Web.Ask(shopName)
	if err != nil {
		return err
	}
	pay, err := t.stage.Web.Ask(payName)
	if err != nil {
		return err
	}
	short, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		return err
	}
	weak, err := signingRequest(short, shopName)
	if err != nil {
		return err
	}
	for _, wrong := range []struct {
		what, reason string
		asking       client.Asking
	}{
		{"looks at a certificate with a weak key", "cannot-be-carried-out", certificateAsking(shopName, weak, "", 45*countersign.Day)},
		{"looks at one for " + payName + ", which is not the shop's", "record-does-not-cover", certificateAsking(payName, pay, "", 45*countersign.Day)},
		{"hides that name in a request for the shop", "cannot-be-carried-out", certificateAsking(shopName, pay, "", 45*countersign.Day)},
		{"looks at a certificate for 120 days", "duration-not-offered", certificateAsking(shopName, good, "", 120*countersign.Day)},
	} {
		preview, err := client.Content(fatima.PreviewRequestWithResponse(t.ctx, wrong.asking))
		if err != nil {
			return err
		}
		if len(preview.Refusals) == 0 || preview.Refusals[0].Reason != wrong.reason {
			return fmt.Errorf("when Fatima %s, the refusals are %v, and %q should be the first", wrong.what, preview.Refusals, wrong.reason)
		}
		t.did("Fatima", "%s\n✗ refused: %s", wrong.what, preview.Refusals[0].Because)
	}
	return nil
}

// askForCertificate has the web server make a key, and asks with its request.
func (t *tour) askForCertificate(what, grant string, lasting countersign.Seconds) (string, error) {
	fatima, err := t.as("fatima.zahra")
	if err != nil {
		return "", err
	}
	csr, err := t.stage.Web.Ask(shopName)
	if err != nil {
		return "", err
	}
	request, err := client.Submitted(fatima.SubmitRequestWithResponse(t.ctx, &client.SubmitRequestParams{}, certificateAsking(shopName, csr, grant, lasting)))
	if err != nil {
		return "", err
	}
	t.did("Fatima", "%s\n  effect: %s\n✓ %s waits for %s", what, strings.Join(request.Effects, " "), request.Id, request.WaitsFor)
	return request.Id, nil
}

// keptOut shows who cannot decide.
func (t *tour) keptOut(id string) error {
	for _, wrong := range []struct{ who, login, what, reason string }{
		{"Fatima", "fatima.zahra", "approves her own request", "separation-of-duties"},
		{"Nadia", "nadia.haddad", "of security approves before the platform has", "stage-not-open"},
	} {
		_, err := t.approve(wrong.login, id)
		if err := t.refused(wrong.who, wrong.what, err, wrong.reason); err != nil {
			return err
		}
	}
	return nil
}

// decideCertificate takes a request through platform and security.
func (t *tour) decideCertificate(id string) error {
	for _, right := range []struct{ who, login, what string }{
		{"Jonas", "jonas.weber", "approves as the owner of the platform"},
		{"Nadia", "nadia.haddad", "approves algorithm, life and name for security"},
	} {
		request, err := t.approve(right.login, id)
		if err != nil {
			return fmt.Errorf("%s %s: %w", right.who, right.what, err)
		}
		t.did(right.who, "%s\n✓ %s, waits for %s", right.what, request.State, request.WaitsFor)
	}
	return nil
}

// rolledBack rotates while the web server takes no new certificate.
func (t *tour) rolledBack(grant, old string) error {
	fatima, err := t.as("fatima.zahra")
	if err != nil {
		return err
	}
	_, err = client.Content(fatima.RotateGrantWithResponse(t.ctx, grant, &client.RotateGrantParams{}, client.Rotation{}))
	if err := t.refused("Fatima", "rotates it at once, without asking", err, "rotation-needs-approval"); err != nil {
		return err
	}
	id, err := t.askForCertificate("asks for a new one in its place", grant, 60*countersign.Day)
	if err != nil {
		return err
	}
	if err := t.decideCertificate(id); err != nil {
		return err
	}
	t.stage.Web.Stick(true)
	t.did("web server", "hangs: it says that it took the new certificate, and still shows the old one")
	if err := t.stage.Settle(); err != nil {
		return err
	}
	request, err := t.expect("fatima.zahra", id, "failed")
	if err != nil {
		return err
	}
	t.did("the house", "does not see the new one, takes it back, and says so\n✗ %s", request.Outcome)
	t.stage.Web.Stick(false)
	shown, err := t.handshake("a browser", "")
	if err == nil && shown != old {
		err = fmt.Errorf("after the roll-back the server shows %s, and it should show %s", shown, old)
	}
	return err
}

// rotated rotates for good: both are good for a day, then the older one is revoked.
func (t *tour) rotated(grant, old string) error {
	id, err := t.askForCertificate("asks again, now that the web server is repaired", grant, 60*countersign.Day)
	if err != nil {
		return err
	}
	if err := t.decideCertificate(id); err != nil {
		return err
	}
	if err := t.stage.Settle(); err != nil {
		return err
	}
	if _, err := t.expect("fatima.zahra", id, "active"); err != nil {
		return err
	}
	fresh, err := t.handshake("a browser", "")
	if err != nil {
		return err
	}
	if fresh == old {
		return fmt.Errorf("the server still shows %s", old)
	}
	if err := t.onList(old, false, "is the older certificate revoked, in the overlap?"); err != nil {
		return err
	}
	if err := t.pass(countersign.Day+countersign.Minute, ", and the overlap is over"); err != nil {
		return err
	}
	if err := t.onList(old, true, "is the older certificate revoked?"); err != nil {
		return err
	}
	if _, err := t.handshake("a browser", fresh); err != nil {
		return err
	}
	request, err := t.expect("fatima.zahra", id, "closed")
	if err != nil {
		return err
	}
	t.did("the house", "revoked the older one, read that back, and closed the request\n✓ %s: %s", request.State, request.Outcome)
	return nil
}

// handshake connects as a browser does and returns the serial number of what it is
// shown, valid for the shop under the authority; want "" takes any.
func (t *tour) handshake(who, want string) (string, error) {
	authority, err := t.published("certificates", "ca.crt")
	if err != nil {
		return "", err
	}
	certificate, err := x509.ParseCertificate(authority)
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	connection, err := tls.Dial("tcp", t.stage.Web.Address(), &tls.Config{ServerName: shopName, RootCAs: roots, Time: t.stage.Now, MinVersion: tls.VersionTLS12})
	if err != nil {
		return "", err
	}
	defer connection.Close()
	shown := connection.ConnectionState().PeerCertificates[0]
	serial := shown.SerialNumber.Text(16)
	if want != "" && serial != want {
		return "", fmt.Errorf("the server shows the certificate %s, and it should show %s", serial, want)
	}
	t.did(who, "shakes hands with %s\n✓ trusted: serial number %s…, until %s", shopName, serial[:8], shown.NotAfter.Format("2006-01-02 15:04"))
	return serial, nil
}

// onList reads the public list of what is revoked.
func (t *tour) onList(serial string, want bool, question string) error {
	content, err := t.published("certificates", "crl")
	if err != nil {
		return err
	}
	list, err := x509.ParseRevocationList(content)
	if err != nil {
		return err
	}
	revoked := false
	for _, entry := range list.RevokedCertificateEntries {
		revoked = revoked || entry.SerialNumber.Text(16) == serial
	}
	if revoked != want {
		return fmt.Errorf("%s The list says %t, and it should say %t", question, revoked, want)
	}
	t.did("anybody", "reads the public list: %s\n%s revoked: %t", question, map[bool]string{true: "✗", false: "✓"}[revoked], revoked)
	return nil
}

// published reads what the authority of a system shows to everybody.
func (t *tour) published(name, what string) ([]byte, error) {
	fatima, err := t.as("fatima.zahra")
	if err != nil {
		return nil, err
	}
	system, err := client.Content(fatima.GetSystemWithResponse(t.ctx, name))
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(t.ctx, http.MethodGet, t.stage.URL+"/targets/pki/"+system.Id+"/"+what, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", request.URL.Path, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, 1<<20))
}
