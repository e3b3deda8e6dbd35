package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
)

// What keys may be, in bits.
const (
	shortestRSA = 2048
	longestRSA  = 8192
	// maxAsked is how many bytes a certificate signing request or public key may have.
	maxAsked = 16 << 10
)

// Asked is what a holder sent to be signed, checked.
type Asked struct {
	// key is the fingerprint of the public key: SHA-256 of its
	// SubjectPublicKeyInfo, or for SSH what ssh-keygen -l shows.
	key    string
	words  string
	public crypto.PublicKey
	ssh    ssh.PublicKey
}

// Words say what the key is, as "ECDSA P-256".
func (a Asked) Words() string { return a.words }

// Fingerprint returns the fingerprint of the key.
func (a Asked) Fingerprint() string { return a.key }

// read checks what the order brings, and that its end can be kept.
func (o Order) read(now countersign.Instant) (Asked, error) {
	if o.Until == 0 {
		return Asked{}, refuse("no-end", "a certificate needs an end, and %s has none", o.Name)
	}
	if o.Until <= now {
		return Asked{}, refuse("end-has-passed", "the certificate for %s would have ended at %s already", o.Name, o.Until)
	}
	// What is claimed a moment later may end a moment later.
	if life := countersign.Seconds(o.Until.Time().Sub(now.Time()).Round(time.Second) / time.Second); o.Limits.Longest != 0 && life > o.Limits.Longest {
		return Asked{}, refuse("life-too-long", "the certificate for %s would be valid for %s, and this system gives at most %s: ask for less", o.Name, life, o.Limits.Longest)
	}
	switch o.Kind {
	case X509, Elsewhere:
		return checkRequest(o.Key, o.Name)
	case SSH:
		return checkPublicKey(o.Key, o.Name)
	}
	return Asked{}, refuse("no-such-kind", "there is no authority of the kind %q", string(o.Kind))
}

// Check is everything that Issue would refuse about an order whose ids are not
// known yet: the key, the names, the life, and a key that was certified before. It
// changes nothing.
func (a *Authority) Check(ctx context.Context, order Order) (Asked, error) {
	asked, err := order.read(a.now())
	if err == nil {
		err = a.checkReuse(ctx, asked)
	}
	return asked, err
}

func refuse(reason, format string, args ...any) error {
	return countersign.Errorf(countersign.Invalid, reason, format, args...)
}

// dnsName is one host name in lower case, as certificates have it.
var dnsName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// checkRequest refuses a certificate signing request (PEM) that is not exactly for
// the name, or whose key is weak.
func checkRequest(text, name string) (Asked, error) {
	if len(name) > 253 || !dnsName.MatchString(name) {
		return Asked{}, refuse("no-dns-name", "%q is not one DNS name in lower case, and a certificate names nothing else here", countersign.Clip(name))
	}
	malformed := func(why string) (Asked, error) {
		return Asked{}, refuse("malformed-request", "the certificate signing request for %s %s: give one PEM block that begins with -----BEGIN CERTIFICATE REQUEST-----, as openssl req -new makes it", name, why)
	}
	if text == "" {
		return malformed("is missing")
	}
	if len(text) > maxAsked {
		return malformed(fmt.Sprintf("has more than %d bytes", maxAsked))
	}
	block, rest := pem.Decode([]byte(strings.TrimSpace(text)))
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return malformed("cannot be read")
	}
	if len(strings.TrimSpace(string(rest))) > 0 {
		return malformed("is followed by something else")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return malformed("cannot be read")
	}
	if slices.Contains([]x509.SignatureAlgorithm{x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA, x509.DSAWithSHA1}, request.SignatureAlgorithm) {
		return Asked{}, refuse("weak-signature", "the certificate signing request for %s is signed with %s: use SHA-256 or stronger", name, request.SignatureAlgorithm)
	}
	if err := request.CheckSignature(); err != nil {
		return Asked{}, refuse("not-its-key", "the certificate signing request for %s is not signed by its own key", name)
	}
	asked, err := checkKey(request.PublicKey, name)
	if err != nil {
		return Asked{}, err
	}
	sum := sha256.Sum256(request.RawSubjectPublicKeyInfo)
	asked.key = "sha256:" + hex.EncodeToString(sum[:])
	return asked, checkNames(request, name)
}

// dnsNameTag is that of a DNS name among general names (RFC 5280, section 4.2.1.6).
const dnsNameTag = 2

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// checkNames refuses every name but the one, and everything else that the request
// would have certified.
func checkNames(request *x509.CertificateRequest, name string) error {
	names := slices.Clone(request.DNSNames)
	for _, address := range request.IPAddresses {
		names = append(names, address.String())
	}
	names = append(names, request.EmailAddresses...)
	for _, uri := range request.URIs {
		names = append(names, uri.String())
	}
	if common := request.Subject.CommonName; common != "" {
		names = append(names, common)
	}
	for _, other := range names {
		if other != name {
			return refuse("another-name", "the certificate signing request names %q, and what is asked for is %s alone: a name needs its own request, by whoever owns it", countersign.Clip(other), name)
		}
	}
	if len(names) == 0 {
		return refuse("no-name", "the certificate signing request names nothing: put %s into its subject alternative name", name)
	}
	for _, extension := range request.Extensions {
		if !extension.Id.Equal(subjectAltName) {
			return refuse("unknown-extension", "the certificate signing request for %s asks for the extension %s: leave out everything but the subject alternative name", name, extension.Id)
		}
		// Kinds of names that the parser passes over.
		var all []asn1.RawValue
		if rest, err := asn1.Unmarshal(extension.Value, &all); err != nil || len(rest) > 0 {
			return refuse("malformed-request", "the subject alternative name of the certificate signing request for %s cannot be read", name)
		}
		for _, one := range all {
			if one.Tag != dnsNameTag {
				return refuse("another-name", "the certificate signing request for %s has a subject alternative name that is no DNS name: what is asked for is %s alone", name, name)
			}
		}
	}
	return nil
}

// checkPublicKey refuses a key for SSH, as it stands in authorized_keys, that is
// weak, is a certificate already, or brings options.
func checkPublicKey(text, name string) (Asked, error) {
	if strings.ContainsAny(name, " \t,\"*?!#") {
		return Asked{}, refuse("no-principal", "%q cannot be the name of a principal: it has a blank, comma, quote or wildcard", countersign.Clip(name))
	}
	malformed := func(why string) (Asked, error) {
		return Asked{}, refuse("malformed-key", "the public key for %s %s: give the one line of a .pub file, as ssh-keygen -t ed25519 makes it", name, why)
	}
	if text == "" {
		return malformed("is missing")
	}
	if len(text) > maxAsked {
		return malformed(fmt.Sprintf("has more than %d bytes", maxAsked))
	}
	public, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(text))
	switch {
	case err != nil:
		return malformed("cannot be read")
	case len(options) > 0:
		return malformed("has options, which the certificate decides")
	case len(strings.TrimSpace(string(rest))) > 0:
		return malformed("is followed by something else")
	}
	if _, is := public.(*ssh.Certificate); is {
		return malformed("is a certificate already")
	}
	asked := Asked{key: ssh.FingerprintSHA256(public), ssh: public}
	switch public.Type() {
	case ssh.KeyAlgoED25519:
		asked.words = "Ed25519"
	case ssh.KeyAlgoSKED25519:
		asked.words = "Ed25519 on a security key"
	case ssh.KeyAlgoSKECDSA256:
		asked.words = "ECDSA P-256 on a security key"
	case ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA:
		checked, err := checkKey(public.(ssh.CryptoPublicKey).CryptoPublicKey(), name)
		if err != nil {
			return Asked{}, err
		}
		asked.words = checked.words
	default:
		return Asked{}, weak(name, public.Type())
	}
	return asked, nil
}

func checkKey(public crypto.PublicKey, name string) (Asked, error) {
	asked := Asked{public: public}
	switch key := public.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		asked.words = fmt.Sprintf("RSA %d bits", bits)
		if bits < shortestRSA || bits > longestRSA || key.E < 65537 {
			return Asked{}, weak(name, asked.words)
		}
	case *ecdsa.PublicKey:
		asked.words = "ECDSA " + key.Curve.Params().Name
		if bits := key.Curve.Params().BitSize; bits < 256 {
			return Asked{}, weak(name, asked.words)
		}
	case ed25519.PublicKey:
		asked.words = "Ed25519"
	default:
		return Asked{}, weak(name, fmt.Sprintf("%T", public))
	}
	return asked, nil
}

func weak(name, what string) error {
	return refuse("weak-key", "the key for %s is %s: use Ed25519, ECDSA on P-256, P-384 or P-521, or RSA with %d to %d bits", name, what, shortestRSA, longestRSA)
}
