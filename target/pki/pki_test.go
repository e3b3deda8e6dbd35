package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
)

// world is an authority on a shelf in memory.
type world struct {
	*testing.T
	*Authority
	clock *connectortest.Clock
	stops *target.Stops
	shelf *shelftest.Shelf
	mint  *countersign.Mint
	keys  keys.Master
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, clock: connectortest.NewClock(), stops: target.NewStops(), shelf: shelftest.New(ShelfName)}
	w.mint = countersign.NewMint([32]byte{7}, w.clock.Instant())
	var err error
	if w.keys, err = keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.Authority = w.another()
	return w
}

// another is a second process on the same shelf.
func (w *world) another() *Authority {
	return New(w.shelf, w.keys, w.stops, w.clock, rand.Reader, "https://desk.example")
}

func (w *world) order(kind Kind) Order {
	order := Order{
		Intent: w.mint.Intent(), Attempt: 1, Credential: w.mint.Credential(), Grant: w.mint.Grant(), Holder: w.mint.Identity(),
		System: "sys_01k0000000e00800000000000a", SystemName: "certificates", Entitlement: w.mint.Entitlement(), Resource: "servers", Kind: kind,
		Limits: Limits{Longest: 90 * countersign.Day, Server: true}, Until: w.clock.Instant().Add(countersign.Day),
	}
	if kind == SSH {
		order.Name, order.Key = "deploy", publicKey(w.T)
	} else {
		order.Name = "shop.example"
		order.Key = request(w.T, ecKey(w.T), x509.CertificateRequest{DNSNames: []string{order.Name}})
	}
	return order
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t *testing.T, key crypto.Signer, template x509.CertificateRequest) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func publicKey(t *testing.T) string {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(made))
}

func (w *world) issue(order Order) Check {
	w.Helper()
	if err := w.Issue(w.Context(), order); err != nil {
		w.Fatal(err)
	}
	return w.check(order)
}

func (w *world) check(order Order) Check {
	w.Helper()
	check, err := w.CheckCredential(w.Context(), order.Credential)
	if err != nil {
		w.Fatal(err)
	}
	return check
}

// revocations returns what the published list has, having checked its signature.
func (w *world) revocations(system countersign.SystemID) *x509.RevocationList {
	w.Helper()
	content, err := w.CRL(w.Context(), system)
	if err != nil {
		w.Fatal(err)
	}
	read, err := x509.ParseRevocationList(content)
	if err != nil {
		w.Fatal(err)
	}
	der, err := w.AuthorityCertificate(w.Context(), system)
	if err != nil {
		w.Fatal(err)
	}
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		w.Fatal(err)
	}
	if err := read.CheckSignatureFrom(authority); err != nil {
		w.Fatal(err)
	}
	return read
}

func serials(read *x509.RevocationList) []string {
	found := []string{}
	for _, one := range read.RevokedCertificateEntries {
		found = append(found, hexSerial(one.SerialNumber))
	}
	return found
}

func (w *world) kinds(system countersign.SystemID) string {
	var kinds []string
	for _, event := range w.shelf.Events(countersign.Stream(system)) {
		kinds = append(kinds, event.Header.Kind)
	}
	return strings.Join(kinds, " ")
}

func TestACertificateIsWhatWasAskedAndVerifiesUntilItsEnd(t *testing.T) {
	w := newWorld(t)
	order := w.order(X509)
	check := w.issue(order)
	certificate, err := x509.ParseCertificate(check.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := w.AuthorityCertificate(t.Context(), order.System)
	authority, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	verify := func(at time.Time) error {
		_, err := certificate.Verify(x509.VerifyOptions{DNSName: "shop.example", Roots: roots, CurrentTime: at})
		return err
	}
	if err := verify(order.Until.Time().Add(-time.Second)); err != nil {
		t.Error(err)
	}
	if err := verify(order.Until.Time()); err == nil {
		t.Error("it verifies at its end")
	}
	if certificate.IsCA || hexSerial(certificate.SerialNumber) != check.Serial || !slices.Equal(certificate.CRLDistributionPoints, []string{"https://desk.example/targets/pki/" + string(order.System) + "/crl"}) {
		t.Errorf("the certificate is %+v", certificate)
	}
	if got := w.kinds(order.System); got != "pki.authority-made@1 pki.certificate-issued@1" {
		t.Errorf("the system's stream has %s", got)
	}
}

func TestTheKeyOfAnAuthorityIsNeverStoredInClearAndOpensOnlyInItsPlace(t *testing.T) {
	w := newWorld(t)
	order := w.order(X509)
	w.issue(order)
	signer, err := w.loadAuthority(t.Context(), X509, order.System)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := signer.key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	items, err := w.shelf.Items(t.Context(), "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if strings.Contains(string(item.Body), hex.EncodeToString(secret)) || strings.Contains(string(item.Body), string(secret)) {
			t.Errorf("the key stands in %s", item.Key)
		}
	}
	held, err := w.authorityRecord(t.Context(), X509, order.System)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Unseal(w.keys, held.Secret, secretContext(X509, w.mint.System())); err == nil {
		t.Error("the key of one system opens as that of another")
	}
}

func TestOfManyAtOnceEachGetsItsCertificateFromOneAuthority(t *testing.T) {
	w := newWorld(t)
	results := make([]error, 6)
	orders := make([]Order, len(results))
	var group sync.WaitGroup
	for i := range results {
		orders[i] = w.order(X509)
		group.Go(func() { results[i] = w.another().Issue(context.Background(), orders[i]) })
	}
	group.Wait()
	if err := errors.Join(results...); err != nil {
		t.Fatal(err)
	}
	if made := strings.Count(w.kinds(orders[0].System), "authority-made"); made != 1 {
		t.Errorf("%d authorities were made", made)
	}
	listed, err := w.Register(t.Context(), orders[0].System, "", 4)
	if err != nil || len(listed) != 4 {
		t.Fatalf("the register lists %v, %v", listed, err)
	}
	rest, err := w.Register(t.Context(), orders[0].System, "x509/"+listed[3].Serial, 4)
	if err != nil || len(rest) != 2 || rest[0].Serial <= listed[3].Serial {
		t.Errorf("and then %v, %v", rest, err)
	}
}

func TestWhatNoCertificateIsIssuedForIsRefusedBeforeAndWithASentence(t *testing.T) {
	weakKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := x509.CertificateRequest{DNSNames: []string{"shop.example"}}
	constraints := pkix.Extension{Id: []int{2, 5, 29, 19}, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}
	spoilt := []byte(request(t, ecKey(t), good))
	weakSSH, err := ssh.NewPublicKey(weakKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		kind   Kind
		change func(*Order)
		reason string
	}{
		"a weak RSA key": {X509, func(o *Order) { o.Key = request(t, weakKey, good) }, "weak-key"},
		"a weak curve":   {X509, func(o *Order) { o.Key = request(t, p224, good) }, "weak-key"},
		"another name":   {X509, func(o *Order) { o.Name = "till.example" }, "another-name"},
		"one name more": {X509, func(o *Order) {
			o.Key = request(t, ecKey(t), x509.CertificateRequest{DNSNames: []string{"shop.example", "bank.example"}})
		}, "another-name"},
		"an address": {X509, func(o *Order) {
			o.Key = request(t, ecKey(t), x509.CertificateRequest{DNSNames: []string{"shop.example"}, IPAddresses: []net.IP{{10, 0, 0, 1}}})
		}, "another-name"},
		"another common name": {X509, func(o *Order) {
			o.Key = request(t, ecKey(t), x509.CertificateRequest{Subject: pkix.Name{CommonName: "bank.example"}, DNSNames: []string{"shop.example"}})
		}, "another-name"},
		"no name": {X509, func(o *Order) { o.Key = request(t, ecKey(t), x509.CertificateRequest{}) }, "no-name"},
		"to be an authority": {X509, func(o *Order) {
			o.Key = request(t, ecKey(t), x509.CertificateRequest{DNSNames: good.DNSNames, ExtraExtensions: []pkix.Extension{constraints}})
		}, "unknown-extension"},
		"a wildcard":            {X509, func(o *Order) { o.Name = "*.example" }, "no-dns-name"},
		"capitals":              {X509, func(o *Order) { o.Name = "Shop.example" }, "no-dns-name"},
		"no request":            {X509, func(o *Order) { o.Key = "" }, "malformed-request"},
		"no PEM":                {X509, func(o *Order) { o.Key = "hello" }, "malformed-request"},
		"two requests":          {X509, func(o *Order) { o.Key += o.Key }, "malformed-request"},
		"a broken signature":    {X509, func(o *Order) { o.Key = breakSignature(t, spoilt) }, "not-its-key"},
		"too long a life":       {X509, func(o *Order) { o.Until = w0.Add(91 * countersign.Day) }, "life-too-long"},
		"an end that is over":   {X509, func(o *Order) { o.Until = w0 }, "end-has-passed"},
		"no end":                {X509, func(o *Order) { o.Until = 0 }, "no-end"},
		"a weak SSH key":        {SSH, func(o *Order) { o.Key = string(ssh.MarshalAuthorizedKey(weakSSH)) }, "weak-key"},
		"a key with options":    {SSH, func(o *Order) { o.Key = `command="rm" ` + o.Key }, "malformed-key"},
		"two keys":              {SSH, func(o *Order) { o.Key += o.Key }, "malformed-key"},
		"no key":                {SSH, func(o *Order) { o.Key = "ssh-ed25519 AAAA" }, "malformed-key"},
		"a principal of two":    {SSH, func(o *Order) { o.Name = "root,deploy" }, "no-principal"},
		"a principal with room": {SSH, func(o *Order) { o.Name = "root deploy" }, "no-principal"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			order := w.order(c.kind)
			c.change(&order)
			_, err := w.Check(t.Context(), order)
			if countersign.ReasonOf(err) != c.reason || len(err.Error()) < 30 {
				t.Errorf("planned: %v", err)
			}
			if err := w.Issue(t.Context(), order); countersign.ReasonOf(err) != c.reason {
				t.Errorf("issued: %v", err)
			}
			if items, _ := w.shelf.Items(t.Context(), "", "", 10); len(items) != 0 {
				t.Errorf("something was written: %v", items)
			}
		})
	}
}

var w0 = connectortest.NewClock().Instant()

// breakSignature changes the last byte of a request's signature.
func breakSignature(t *testing.T, text []byte) string {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	block.Bytes[len(block.Bytes)-1] ^= 1
	return string(pem.EncodeToMemory(block))
}

func TestAKeyIsCertifiedOnce(t *testing.T) {
	for _, kind := range []Kind{X509, SSH} {
		w := newWorld(t)
		first := w.order(kind)
		if _, err := w.Check(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		w.issue(first)
		second := w.order(kind)
		second.Key = first.Key
		if _, err := w.Check(t.Context(), second); countersign.ReasonOf(err) != "key-reused" {
			t.Errorf("%s, planned: %v", kind, err)
		}
		if err := w.Revoke(t.Context(), first.Credential, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.Issue(t.Context(), second); countersign.ReasonOf(err) != "key-reused" {
			t.Errorf("%s, after the revoke: %v", kind, err)
		}
	}
}

func TestOfTwoOrdersWithOneKeyAtOnceOneIsIssued(t *testing.T) {
	w := newWorld(t)
	w.issue(w.order(X509))
	first, second := w.order(X509), w.order(X509)
	second.Key = first.Key
	results := make([]error, 2)
	var group sync.WaitGroup
	for i, order := range []Order{first, second} {
		group.Go(func() { results[i] = w.another().Issue(context.Background(), order) })
	}
	group.Wait()
	if (results[0] == nil) == (results[1] == nil) {
		t.Errorf("got %v", results)
	}
}

func TestTheListNamesWhatIsRevokedWithANumberThatGrowsAndTheTimeOfTheNext(t *testing.T) {
	w := newWorld(t)
	order, other := w.order(X509), w.order(X509)
	serial := w.issue(order).Serial
	w.issue(other)
	empty := w.revocations(order.System)
	if len(empty.RevokedCertificateEntries) != 0 || empty.Number.Cmp(big.NewInt(w.clock.Now().Unix())) != 0 || !empty.NextUpdate.Equal(w.clock.Now().Add(time.Hour)) {
		t.Errorf("the first list is number %s with %v, the next comes at %s", empty.Number, serials(empty), empty.NextUpdate)
	}
	for range 2 {
		if err := w.Revoke(t.Context(), order.Credential, 0); err != nil {
			t.Fatal(err)
		}
	}
	read := w.revocations(order.System)
	if !slices.Equal(serials(read), []string{serial}) || read.Number.Int64() != empty.Number.Int64()+1 || read.RevokedCertificateEntries[0].ReasonCode != 5 {
		t.Errorf("the second list is number %s with %v", read.Number, read.RevokedCertificateEntries)
	}
	if again := w.revocations(order.System); again.Number.Cmp(read.Number) != 0 {
		t.Errorf("a list without news got the number %s", again.Number)
	}
	w.clock.Advance(31 * time.Minute)
	if later := w.revocations(order.System); later.Number.Cmp(read.Number) <= 0 || !later.ThisUpdate.Equal(w.clock.Now()) || len(later.RevokedCertificateEntries) != 1 {
		t.Errorf("half an hour later it is number %s with %v", later.Number, serials(later))
	}
	w.clock.Advance(27 * time.Hour)
	if later := w.revocations(order.System); len(later.RevokedCertificateEntries) != 0 {
		t.Errorf("long after the end of the certificate the list still names %v", serials(later))
	}
	content, err := w.another().CRL(t.Context(), order.System)
	if err != nil {
		t.Fatal(err)
	}
	if read, err := x509.ParseRevocationList(content); err != nil || read.Number.Int64() != w.clock.Now().Unix() {
		t.Errorf("another process publishes %v, %v", read.Number, err)
	}
}

func TestAStopIsOnTheListsAtOnceAndOffThemWhenItIsLifted(t *testing.T) {
	w := newWorld(t)
	tls, login := w.order(X509), w.order(SSH)
	login.Holder = tls.Holder
	serial := w.issue(tls).Serial
	w.issue(login)
	holder, err := target.ParseID(tls.Holder)
	if err != nil {
		t.Fatal(err)
	}
	w.stops.Stop(holder, target.Held)
	read := w.revocations(tls.System)
	if !slices.Equal(serials(read), []string{serial}) || read.RevokedCertificateEntries[0].ReasonCode != 6 {
		t.Errorf("while held the list has %v", read.RevokedCertificateEntries)
	}
	since := read.RevokedCertificateEntries[0].RevocationTime
	w.clock.Advance(40 * time.Minute)
	if read := w.revocations(tls.System); !read.RevokedCertificateEntries[0].RevocationTime.Equal(since) {
		t.Error("a hold is said to begin anew with each list")
	}
	if got := w.check(tls).State; got != Stopped {
		t.Errorf("while held it is %s", got)
	}
	krl, err := w.KRL(t.Context(), login.System)
	if err != nil || !strings.Contains(string(krl), string(w.serialBytes(login))) {
		t.Errorf("while held the list for SSH is %x, %v", krl, err)
	}
	w.stops.Lift(holder, target.Held)
	if read := w.revocations(tls.System); len(read.RevokedCertificateEntries) != 0 {
		t.Errorf("after the hold the list has %v", serials(read))
	}
	if krl, err := w.KRL(t.Context(), login.System); err != nil || strings.Contains(string(krl), string(w.serialBytes(login))) {
		t.Errorf("after the hold the list for SSH is %x, %v", krl, err)
	}
	w.stops.SetUnfit("the clock is 3 s off")
	if _, err := w.CRL(t.Context(), tls.System); countersign.KindOf(err) != countersign.Unavailable {
		t.Errorf("an unfit replica publishes: %v", err)
	}
}

func (w *world) serialBytes(order Order) []byte {
	w.Helper()
	number, ok := new(big.Int).SetString(w.check(order).Serial, 10)
	if !ok {
		w.Fatal("no serial number")
	}
	return number.FillBytes(make([]byte, 8))
}

func TestALaterEndIsANewCertificateThatSupersedesTheFormer(t *testing.T) {
	w := newWorld(t)
	order := w.order(X509)
	former := w.issue(order).Serial
	later := order
	later.Attempt, later.Until = 2, order.Until.Add(countersign.Hour)
	check := w.issue(later)
	if check.Serial == former || check.Until != later.Until {
		t.Errorf("the later attempt gives %+v", check)
	}
	if again := w.issue(order); again.Serial != check.Serial {
		t.Error("a late first attempt makes another certificate")
	}
	if read := w.revocations(order.System); !slices.Equal(serials(read), []string{former}) || read.RevokedCertificateEntries[0].ReasonCode != 4 {
		t.Errorf("the list has %v", read.RevokedCertificateEntries)
	}
}

func TestWhatIsRevokedOrSomebodyElsesIsNeverIssued(t *testing.T) {
	w := newWorld(t)
	order, never := w.order(X509), w.order(X509)
	w.issue(order)
	other := order
	other.Holder = w.mint.Identity()
	if err := w.Issue(t.Context(), other); countersign.ReasonOf(err) != "not-ours" {
		t.Errorf("for another holder: %v", err)
	}
	for _, one := range []Order{order, never} {
		if err := w.Revoke(t.Context(), one.Credential, 0); err != nil {
			t.Fatal(err)
		}
		if err := w.Issue(t.Context(), one); countersign.ReasonOf(err) != "revoked" {
			t.Errorf("after its revoke: %v", err)
		}
	}
}

func TestNothingIsSignedThatWouldOutliveItsAuthority(t *testing.T) {
	w := newWorld(t)
	first := w.order(X509)
	w.issue(first)
	ends, err := w.Ends(t.Context())
	if err != nil || len(ends) != 1 {
		t.Fatalf("the authorities end at %v, %v", ends, err)
	}
	end := ends[first.System]
	w.clock.Advance(end.Time().Sub(w.clock.Now()) - 24*time.Hour)
	order := w.order(X509)
	// Ends are inclusive in certificates, and exclusive here.
	order.Until = end.Add(2)
	if err := w.Issue(t.Context(), order); countersign.ReasonOf(err) != "authority-ends-first" {
		t.Errorf("a second too long: %v", err)
	}
	order.Until = end.Add(1)
	if check := w.issue(order); check.State != Good {
		t.Errorf("up to its last second: %+v", check)
	}
	w.clock.Advance(48 * time.Hour)
	order = w.order(X509)
	if err := w.Issue(t.Context(), order); countersign.ReasonOf(err) != "authority-ends-first" {
		t.Errorf("after its end: %v", err)
	}
	// An authority for SSH has no end.
	w.issue(w.order(SSH))
	if ends, err := w.Ends(t.Context()); err != nil || len(ends) != 1 {
		t.Errorf("the authorities end at %v, %v", ends, err)
	}
}

func TestNothingIsWrittenAfterTheDeadline(t *testing.T) {
	w := newWorld(t)
	order := w.order(X509)
	order.NotAfter = w.clock.Instant()
	if err := w.Issue(t.Context(), order); countersign.ReasonOf(err) != "deadline-passed" {
		t.Errorf("got %v", err)
	}
	if items, _ := w.shelf.Items(t.Context(), "", "", 10); len(items) != 0 {
		t.Errorf("something was written: %v", items)
	}
}

func TestWhoVerifiesReadsAuthoritiesAndListsWithoutAToken(t *testing.T) {
	w := newWorld(t)
	order, login := w.order(X509), w.order(SSH)
	mux := http.NewServeMux()
	for path, handler := range w.Public() {
		mux.Handle(path, handler)
	}
	mux.Handle(IssuedPath, w.ReadIssued(target.AuthenticatorFunc(func(*http.Request) (countersign.IdentityID, error) { return order.Holder, nil })))
	mux.Handle(RegisterPath, w.ReadRegister(target.AuthenticatorFunc(func(*http.Request) (countersign.IdentityID, error) { return "", nil })))
	get := func(path string) (int, string, string) {
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		return answer.Code, answer.Header().Get("Content-Type"), answer.Body.String()
	}
	base := "/targets/pki/" + string(order.System)
	if code, _, body := get(base + "/crl"); code != 404 || !strings.Contains(body, "first certificate") {
		t.Errorf("before the first need: %d %s", code, body)
	}
	w.issue(order)
	w.issue(login)
	for path, media := range map[string]string{"/ca.crt": "application/pkix-cert", "/crl": "application/pkix-crl", "/ssh-ca.pub": "text/plain; charset=utf-8", "/krl": "application/octet-stream"} {
		if code, got, body := get(base + path); code != 200 || got != media || body == "" {
			t.Errorf("%s gives %d %s", path, code, got)
		}
	}
	if code, _, _ := get("/targets/pki/certificates-prod/crl"); code != 404 {
		t.Errorf("a system by name gives %d", code)
	}
	if code, _, _ := get(base + "/certificates"); code != 401 {
		t.Errorf("the register gives a stranger %d", code)
	}
	if code, _, body := get("/targets/pki/credentials/" + string(order.Credential) + "/certificate"); code != 200 || strings.Count(body, "BEGIN CERTIFICATE") != 2 || strings.Contains(body, "PRIVATE") {
		t.Errorf("the chain is %d %s", code, body)
	}
	if code, _, body := get("/targets/pki/credentials/" + string(login.Credential) + "/certificate"); code != 200 || !strings.Contains(body, "ssh-ed25519-cert-v01@openssh.com") {
		t.Errorf("the certificate for SSH is %d %s", code, body)
	}
	if code, _, _ := get("/targets/pki/credentials/crd_x/certificate"); code != 404 {
		t.Errorf("nothing gives %d", code)
	}
}

func TestTheListForSSHKeepsItsBytes(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	authority, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	const header = "5353484b524c0a00" + "00000001" + "0000000000000003" + "0000000069a56b10" + "0000000000000000" + "00000000" + "0000000b436f756e7465727369676e"
	const section = "01" + "00000058" + "00000033" + "0000000b7373682d65643235353139" + "00000020" + "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29" + "00000000" +
		"20" + "00000018" + "0000000000000005" + "0000000000000007" + "ffffffffffffffff"
	if got := hex.EncodeToString(marshalKRL(authority, 3, 0x69a56b10, nil)); got != header {
		t.Errorf("an empty list is %s", got)
	}
	if got := hex.EncodeToString(marshalKRL(authority, 3, 0x69a56b10, []uint64{7, 1<<64 - 1, 5, 7})); got != header+section {
		t.Errorf("a list is %s, want %s", got, header+section)
	}
}

// tool finds a program that judges what was made, or skips by name.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: scripts/install-test-tools installs it", name)
		}
		t.Skipf("%s is missing: scripts/install-test-tools installs it", name)
	}
	return path
}

func TestOpenSSHReadsTheListAndNamesWhatIsRevoked(t *testing.T) {
	keygen := tool(t, "ssh-keygen")
	w := newWorld(t)
	revoked, good := w.order(SSH), w.order(SSH)
	folder := t.TempDir()
	write := func(name string, content []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate := func(order Order) string {
		w.issue(order)
		chain, err := w.Chain(t.Context(), order.Credential)
		return write(string(order.Credential)+"-cert.pub", chain, err)
	}
	bad, fine := certificate(revoked), certificate(good)
	empty, err := w.KRL(t.Context(), good.System)
	before := write("before.krl", empty, err)
	if err := w.Revoke(t.Context(), revoked.Credential, 0); err != nil {
		t.Fatal(err)
	}
	content, err := w.KRL(t.Context(), good.System)
	after := write("after.krl", content, err)
	asks := func(krl, certificate string) (string, bool) {
		out, err := exec.Command(keygen, "-Q", "-f", krl, certificate).CombinedOutput()
		return string(out), err == nil
	}
	for _, c := range []struct {
		krl, certificate string
		ok               bool
	}{{before, bad, true}, {before, fine, true}, {after, bad, false}, {after, fine, true}} {
		if out, ok := asks(c.krl, c.certificate); ok != c.ok || !c.ok && !strings.Contains(out, "REVOKED") {
			t.Errorf("ssh-keygen -Q -f %s %s: %s", c.krl, c.certificate, out)
		}
	}
	out, err := exec.Command(keygen, "-L", "-f", fine).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "certificates/servers/deploy") || !strings.Contains(string(out), "Serial: "+w.check(good).Serial) || !strings.Contains(string(out), string(good.Holder)) {
		t.Errorf("ssh-keygen -L: %s", out)
	}
}

func TestOpenSSLVerifiesTheChainAndTheList(t *testing.T) {
	openssl := tool(t, "openssl")
	w := newWorld(t)
	// OpenSSL has the time of this machine.
	w.clock.Advance(time.Since(w.clock.Now()))
	order := w.order(X509)
	w.issue(order)
	folder := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	verify := func() (string, bool) {
		t.Helper()
		crl, err := w.CRL(t.Context(), order.System)
		if err != nil {
			t.Fatal(err)
		}
		authority, err := w.AuthorityCertificate(t.Context(), order.System)
		if err != nil {
			t.Fatal(err)
		}
		list := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl})
		out, err := exec.Command(openssl, "verify", "-crl_check", "-purpose", "sslserver", "-verify_hostname", "shop.example", "-CAfile", write("ca.pem", pemOf(authority)), "-CRLfile", write("crl.pem", list), write("leaf.pem", pemOf(w.check(order).Certificate))).CombinedOutput()
		return string(out), err == nil
	}
	if out, ok := verify(); !ok {
		t.Errorf("openssl verify: %s", out)
	}
	if err := w.Revoke(t.Context(), order.Credential, 0); err != nil {
		t.Fatal(err)
	}
	if out, ok := verify(); ok || !strings.Contains(out, "revoked") {
		t.Errorf("openssl verify after the revoke: %s", out)
	}
}
