package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	netmail "net/mail"
	"net/textproto"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/countersign/countersign"
)

// TLS says how the way to the mail server is encrypted. Certificates are always
// verified against the roots of the system.
type TLS string

const (
	// StartTLS begins in the clear and says nothing before it is encrypted.
	StartTLS TLS = "starttls"
	// ImplicitTLS is encrypted from the first byte on.
	ImplicitTLS TLS = "implicit"
	// NoTLS is not encrypted, and taken for a server on loopback only.
	NoTLS TLS = "none"
)

// MailOptions say how mail leaves the house.
type MailOptions struct {
	// Server is host:port of the server that takes mail in.
	Server string
	// From is the sender, as desk@example.org or "Desk <desk@example.org>".
	From string
	// Username and Password sign in at the server; without a username nobody does.
	Username string
	Password countersign.Secret
	// TLS is StartTLS where it is "".
	TLS TLS
	// Link gives the address of the page about an id, "" where there is none; may
	// be nil.
	Link func(about string) string
	// House is how the house calls itself in mail; may be "".
	House string
	// Templates say how mail reads; nil for the default.
	Templates *Templates
}

// Mail is the channel that sends each message as one mail of plain text.
type Mail struct {
	options MailOptions
	host    string
	from    netmail.Address
	domain  string
	client  []mail.Option
}

// NewMail checks the options and connects to nothing.
func NewMail(options MailOptions) (*Mail, error) {
	refuse := func(reason, format string, args ...any) (*Mail, error) {
		return nil, countersign.Errorf(countersign.Invalid, reason, format, args...)
	}
	host, port, err := net.SplitHostPort(options.Server)
	if err != nil || host == "" || port == "" {
		return refuse("malformed-mail-server", "%q is not a mail server: write host:port, as in mail.example.org:587", countersign.Clip(options.Server))
	}
	from, err := netmail.ParseAddress(options.From)
	if err != nil {
		return refuse("malformed-sender", "%q cannot be the sender of mail: write an address, as in desk@example.org", countersign.Clip(options.From))
	}
	if from.Name == "" {
		from.Name = options.House
	}
	m := &Mail{
		host: host, from: netmail.Address{Name: headerText(from.Name, maxName), Address: from.Address},
		domain: from.Address[strings.LastIndex(from.Address, "@")+1:],
		// One connection takes one mail: nothing has to be asked or reset in between.
		client: []mail.Option{mail.WithoutNoop(), mail.WithoutRset()},
	}
	switch options.TLS {
	case "", StartTLS:
		options.TLS = StartTLS
		m.client = append(m.client, mail.WithTLSPolicy(mail.TLSMandatory))
	case ImplicitTLS:
		m.client = append(m.client, mail.WithTLSPolicy(mail.NoTLS))
	case NoTLS:
		if !onLoopback(host) {
			return refuse("mail-in-the-clear", "mail to %s would leave this machine unencrypted: set TLS to %s or %s", options.Server, StartTLS, ImplicitTLS)
		}
		m.client = append(m.client, mail.WithTLSPolicy(mail.NoTLS))
	default:
		return refuse("unknown-tls", "%q is not a way to encrypt: write %s, %s or %s", countersign.Clip(string(options.TLS)), StartTLS, ImplicitTLS, NoTLS)
	}
	if (options.Username == "") != (options.Password.Reveal() == "") {
		return refuse("incomplete-mail-credential", "signing in at %s takes a username and a password: give both or neither", options.Server)
	}
	if options.Username != "" {
		m.client = append(m.client, mail.WithUsername(options.Username), mail.WithPassword(options.Password.Reveal()),
			mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
	}
	if options.Templates == nil {
		folder, err := fs.Sub(defaults, "templates")
		if err != nil {
			return nil, err
		}
		if options.Templates, err = ParseTemplates(folder); err != nil {
			return nil, err
		}
	}
	m.options = options
	return m, nil
}

func (m *Mail) Name() string { return "mail" }

// Reaches reports whether the recipient has an address that mail can go to.
func (m *Mail) Reaches(to Recipient) bool {
	parsed, err := netmail.ParseAddress(to.Email)
	return err == nil && parsed.Name == "" && parsed.Address == to.Email
}

// Send hands one mail to the server. Sent again it is the same mail, byte by
// byte, with the same Message-ID.
func (m *Mail) Send(ctx context.Context, message Message) error {
	if err := message.check(); err != nil {
		return err
	}
	if !m.Reaches(message.To) {
		return countersign.Errorf(countersign.Invalid, "malformed-address", "mail cannot reach %s: %q is not an address, as in ada@example.org", message.To.ID, countersign.Clip(message.To.Email))
	}
	letter, err := m.letter(message)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, err := mail.NewClient(m.host, append(m.client[:len(m.client):len(m.client)], mail.WithDialContextFunc(m.dial(ctx)))...)
	if err != nil {
		return countersign.Errorf(countersign.Internal, "mail-client", "a connection to %s cannot be prepared: %v", m.options.Server, err).Because(err)
	}
	err = client.DialAndSendWithContext(ctx, letter)
	if err == nil || letter.IsDelivered() {
		// The server has taken it; that the goodbye failed changes nothing.
		return nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	failed := countersign.Errorf(countersign.Unavailable, "mail-not-delivered", "the mail server %s did not take the message %s: %s", m.options.Server, message.Key, oneLine(err.Error(), maxSubject))
	if code := answered(err); code >= 500 {
		failed.Kind, failed.Reason = countersign.Refused, "mail-refused"
	}
	return failed.Because(err)
}

// dial returns what connects to the server. The library heeds its context only
// until the connection stands, and leaves it open where signing in fails; this
// one closes with ctx.
func (m *Mail) dial(ctx context.Context) mail.DialContextFunc {
	return func(dialing context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(dialing, "tcp", m.options.Server)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		if m.options.TLS == ImplicitTLS {
			return tls.Client(conn, &tls.Config{ServerName: m.host, MinVersion: tls.VersionTLS12}), nil
		}
		return conn, nil
	}
}

// answered is the code that the server gave as its reason, 0 for none.
func answered(err error) int {
	var sending *mail.SendError
	var greeting *textproto.Error
	switch {
	case errors.As(err, &sending):
		return sending.ErrorCode()
	case errors.As(err, &greeting):
		return greeting.Code
	default:
		return 0
	}
}

// letter writes the mail. Its date is that of the newest line, so that it does
// not depend on the attempt.
func (m *Mail) letter(message Message) (*mail.Msg, error) {
	subject, text, err := m.options.Templates.render(message, m.options.House, m.options.Link)
	if err != nil {
		return nil, err
	}
	letter := mail.NewMsg(mail.WithNoDefaultUserAgent())
	letter.FromMailAddress(&m.from)
	letter.ToMailAddress(&netmail.Address{Name: headerText(message.To.Name, maxName), Address: message.To.Email})
	letter.Subject(headerText(subject, maxSubject))
	letter.SetDateWithValue(message.at().Time())
	digest := sha256.Sum256([]byte("countersign/message-id/v1\n" + message.Key))
	letter.SetMessageIDWithValue(hex.EncodeToString(digest[:16]) + "@" + m.domain)
	letter.SetGenHeader("Auto-Submitted", "auto-generated")
	letter.SetBodyString(mail.TypeTextPlain, text)
	return letter, nil
}

// headerText returns text for a header. A reader decodes what looks like an
// encoded word (RFC 2047), and so would find in it what oneLine took out.
func headerText(text string, most int) string {
	return oneLine(strings.ReplaceAll(text, "=?", "= ?"), most)
}
