package notify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/countersign/countersign"
)

// certificate and key are files that servers of these tests show, and that the
// roots of the system are made of here: the channels verify as they always do.
var certificate, key string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "countersign-notify-")
		if err == nil {
			defer os.RemoveAll(dir)
			err = makeCertificate(dir)
		}
		if err == nil {
			err = os.Setenv("SSL_CERT_FILE", certificate)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func makeCertificate(dir string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	certificate, key = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
}

// at is 2026-01-31T09:00:00Z.
const at countersign.Instant = 1769850000000

// oneMessage tells Ada one thing.
func oneMessage() Message {
	return Message{
		Key: "msg-1",
		To:  Recipient{ID: "idn_ada", Name: "Ada Lovelace", Email: "ada@example.org"},
		Lines: []Line{{
			Key: "line-1", Kind: "asked-to-decide", At: at, Subject: "Grace asks for the role admin on billing",
			Text: "Reason: the month ends.\nUntil: tomorrow.", About: "req_1",
		}},
	}
}

// digest tells Ada so many things, the newest first.
func digest(count int) Message {
	message := oneMessage()
	first := message.Lines[0]
	message.Lines = nil
	for i := range count {
		line := first
		line.Key, line.Subject = fmt.Sprintf("line-%d", i), fmt.Sprintf("Thing %d", i)
		line.At -= countersign.Instant(i) * 60_000
		message.Lines = append(message.Lines, line)
	}
	return message
}

// refusedAs fails the test unless err is of the kind and has the reason.
func refusedAs(t *testing.T, err error, kind countersign.Kind, reason string) {
	t.Helper()
	if countersign.KindOf(err) != kind || countersign.ReasonOf(err) != reason {
		t.Errorf("got %v (%s, %s), want %s, %s", err, countersign.KindOf(err), countersign.ReasonOf(err), kind, reason)
	}
}

func TestAMessageThatCannotBeSentWholeIsRefused(t *testing.T) {
	mail := newMail(t, MailOptions{Server: "127.0.0.1:1", TLS: NoTLS})
	webhook := newWebhook(t, WebhookOptions{URL: "https://127.0.0.1:1"})
	for name, c := range map[string]struct {
		change func(*Message)
		reason string
	}{
		"no key":                  {func(m *Message) { m.Key = "" }, "malformed-key"},
		"a key with a line break": {func(m *Message) { m.Key = "a\r\nb" }, "malformed-key"},
		"a key with a full stop":  {func(m *Message) { m.Key = "a.1" }, "malformed-key"},
		"a key with an accent":    {func(m *Message) { m.Key = "clé" }, "malformed-key"},
		"a long key":              {func(m *Message) { m.Key = strings.Repeat("a", 201) }, "malformed-key"},
		"no line":                 {func(m *Message) { m.Lines = nil }, "empty-message"},
		"a line without a time":   {func(m *Message) { m.Lines[0].At = 0 }, "incomplete-line"},
		"a subject of nothing":    {func(m *Message) { m.Lines[0].Subject = "\r\n\u202e" }, "incomplete-line"},
	} {
		for _, channel := range []Channel{mail, webhook} {
			t.Run(name+" by "+channel.Name(), func(t *testing.T) {
				message := oneMessage()
				c.change(&message)
				refusedAs(t, channel.Send(t.Context(), message), countersign.Invalid, c.reason)
			})
		}
	}
}

func TestTextOfOthersIsCleanedAndCut(t *testing.T) {
	message := digest(maxLines + 7)
	message.To.Name = "Ada\r\nBcc: all@example.org"
	message.Lines[0].Subject = "  a\tb\r\nc\u2028d\x00\x1b[31me\u202ef\xff " + strings.Repeat("ü", 300)
	message.Lines[0].Text = "\n one\r\n\ttwo\x07\rthree\u0085four\u2066 \n" + strings.Repeat("x", 3000)
	tidied, more := message.tidy()
	if more != 7 || len(tidied.Lines) != maxLines {
		t.Errorf("%d lines and %d more", len(tidied.Lines), more)
	}
	if tidied.To.Name != "Ada Bcc: all@example.org" {
		t.Errorf("the name is %q", tidied.To.Name)
	}
	subject := tidied.Lines[0].Subject
	if !strings.HasPrefix(subject, "a b c d[31mef\ufffd üü") || utf8.RuneCountInString(subject) != 200 || !strings.HasSuffix(subject, "ü…") {
		t.Errorf("the subject is %q", subject)
	}
	text := tidied.Lines[0].Text
	if !strings.HasPrefix(text, "one\n\ttwo\nthree\nfour \nxx") || utf8.RuneCountInString(text) != 2000 {
		t.Errorf("the text is %q", text)
	}
	if message.Lines[0].Subject == subject {
		t.Error("the caller's message was changed")
	}
}
