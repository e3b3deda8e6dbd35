package notify

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// newMail fills in what the options leave out.
func newMail(t *testing.T, options MailOptions) *Mail {
	t.Helper()
	if options.From == "" {
		options.From = "desk@example.org"
	}
	mail, err := NewMail(options)
	if err != nil {
		t.Fatal(err)
	}
	return mail
}

// faulty is a mail server that answers as it is told to, by the first word of
// what it hears; "greeting" and "." stand for a connection and for a mail that
// was said to its end.
type faulty struct {
	address string
	// hangs says that the server has stopped to answer.
	hangs chan struct{}
	// mails are those that were said to their end.
	mails chan string
}

// What a server may do instead of an answer.
const (
	hang = "hang"
	drop = "drop"
)

func startFaulty(t *testing.T, answers map[string]string) *faulty {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &faulty{address: listener.Addr().String(), hangs: make(chan struct{}, 1), mails: make(chan string, 8)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			server.serve(conn, answers)
		}
	}()
	// That serve has returned also says that the client has closed its connection.
	t.Cleanup(func() { listener.Close(); <-ended })
	return server
}

func (f *faulty) serve(conn net.Conn, answers map[string]string) {
	defer conn.Close()
	heard := bufio.NewScanner(conn)
	// answer returns false at the end of the conversation.
	answer := func(word, otherwise string) bool {
		say := otherwise
		if told, is := answers[word]; is {
			say = told
		}
		switch say {
		case hang:
			f.hangs <- struct{}{}
			for heard.Scan() {
			}
			return false
		case drop:
			return false
		}
		_, err := conn.Write([]byte(say + "\r\n"))
		return err == nil
	}
	if !answer("greeting", "220 faulty") {
		return
	}
	for heard.Scan() {
		word, _, _ := strings.Cut(heard.Text(), " ")
		switch word {
		case "EHLO":
			if !answer(word, "250-faulty\r\n250 ENHANCEDSTATUSCODES") {
				return
			}
		case "DATA":
			if !answer(word, "354 go on") {
				return
			}
			if answers[word] != "" {
				continue
			}
			var mail strings.Builder
			for heard.Scan() && heard.Text() != "." {
				mail.WriteString(heard.Text() + "\n")
			}
			f.mails <- mail.String()
			if !answer(".", "250 taken") {
				return
			}
		case "QUIT":
			answer(word, "221 bye")
			return
		default:
			if !answer(word, "250 fine") {
				return
			}
		}
	}
}

func TestAMailThatIsNotTakenIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		word, answer string
		kind         countersign.Kind
		reason, says string
	}{
		"no service":           {"greeting", "421 4.3.2 too busy", countersign.Unavailable, "mail-not-delivered", "too busy"},
		"never a service":      {"greeting", "554 5.3.2 no mail here", countersign.Refused, "mail-refused", "no mail here"},
		"dropped at once":      {"greeting", drop, countersign.Unavailable, "mail-not-delivered", ""},
		"sender refused":       {"MAIL", "550 5.7.1 not from you", countersign.Refused, "mail-refused", "not from you"},
		"recipient later":      {"RCPT", "451 4.7.1 greylisted", countersign.Unavailable, "mail-not-delivered", "greylisted"},
		"recipient unknown":    {"RCPT", "550 5.1.1 nobody", countersign.Refused, "mail-refused", "nobody"},
		"data refused":         {"DATA", "554 5.6.0 no data", countersign.Refused, "mail-refused", "no data"},
		"full":                 {".", "452 4.3.1 disk is full", countersign.Unavailable, "mail-not-delivered", "disk is full"},
		"content refused":      {".", "554 5.7.1 looks like spam", countersign.Refused, "mail-refused", "looks like spam"},
		"dropped at the end":   {".", drop, countersign.Unavailable, "mail-not-delivered", "EOF"},
		"dropped in between":   {"RCPT", drop, countersign.Unavailable, "mail-not-delivered", "EOF"},
		"an answer of no sort": {"RCPT", "what?", countersign.Unavailable, "mail-not-delivered", ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := startFaulty(t, map[string]string{c.word: c.answer})
			err := newMail(t, MailOptions{Server: server.address, TLS: NoTLS}).Send(t.Context(), oneMessage())
			refusedAs(t, err, c.kind, c.reason)
			if err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), server.address)) {
				t.Errorf("the error is %q", err)
			}
		})
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	err = newMail(t, MailOptions{Server: listener.Addr().String(), TLS: NoTLS}).Send(t.Context(), oneMessage())
	refusedAs(t, err, countersign.Unavailable, "mail-not-delivered")
}

// A mail that was taken is not sent again because of a rude goodbye.
func TestAMailThatWasTakenIsDelivered(t *testing.T) {
	for _, answer := range []string{"500 what?", drop} {
		server := startFaulty(t, map[string]string{"QUIT": answer})
		if err := newMail(t, MailOptions{Server: server.address, TLS: NoTLS}).Send(t.Context(), oneMessage()); err != nil {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

func TestAMailServerThatHangsIsLeftWithTheContext(t *testing.T) {
	for _, word := range []string{"greeting", "EHLO", "RCPT", "."} {
		t.Run(word, func(t *testing.T) {
			server := startFaulty(t, map[string]string{word: hang})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { <-server.hangs; cancel() }()
			err := newMail(t, MailOptions{Server: server.address, TLS: NoTLS}).Send(ctx, oneMessage())
			refusedAs(t, err, countersign.Unavailable, "mail-not-delivered")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// A real server knows no clock but the real one, so this takes ten seconds.
func TestAMailServerThatHangsIsLeftAfterTenSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	t.Parallel()
	server := startFaulty(t, map[string]string{".": hang})
	before := time.Now()
	err := newMail(t, MailOptions{Server: server.address, TLS: NoTLS}).Send(t.Context(), oneMessage())
	if took := time.Since(before); !errors.Is(err, context.DeadlineExceeded) || took < 9*time.Second || took > 14*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
}

func TestNothingIsSaidToAServerThatDoesNotEncrypt(t *testing.T) {
	// This server would take the mail and the sign-in.
	for _, options := range []MailOptions{{}, {TLS: StartTLS, Username: "desk", Password: countersign.NewSecret("hidden")}} {
		server := startFaulty(t, nil)
		options.Server = server.address
		err := newMail(t, options).Send(t.Context(), oneMessage())
		refusedAs(t, err, countersign.Unavailable, "mail-not-delivered")
		if err != nil && !strings.Contains(err.Error(), "STARTTLS") {
			t.Errorf("the error is %q", err)
		}
		if len(server.mails) != 0 {
			t.Error("the mail was sent in the clear")
		}
	}
}

func TestAMailThatIsSentAgainIsTheSameMail(t *testing.T) {
	server := startFaulty(t, nil)
	mail := newMail(t, MailOptions{Server: server.address, TLS: NoTLS, House: "Example Ltd"})
	other := oneMessage()
	other.Key = "msg-2"
	for _, message := range []Message{oneMessage(), oneMessage(), other} {
		if err := mail.Send(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	first, second, third := <-server.mails, <-server.mails, <-server.mails
	if first != second {
		t.Errorf("the mails differ:\n%s\n%s", first, second)
	}
	messageID := func(mail string) string {
		for _, line := range strings.Split(mail, "\n") {
			if strings.HasPrefix(line, "Message-ID: <") && strings.HasSuffix(line, "@example.org>") {
				return line
			}
		}
		t.Errorf("there is no Message-ID in\n%s", mail)
		return ""
	}
	if messageID(first) == messageID(third) {
		t.Error("two messages have one Message-ID")
	}
}

func TestMailReachesAnAddressAndNothingElse(t *testing.T) {
	server := startFaulty(t, nil)
	mail := newMail(t, MailOptions{Server: server.address, TLS: NoTLS})
	for address, want := range map[string]bool{
		"ada@example.org": true, "ada+desk@example.org": true, "": false, "ada": false, "Ada <ada@example.org>": false,
		"ada@example.org, eve@example.org": false, "ada@example.org\r\nRCPT TO:<eve@example.org>": false,
		"\"a> b\"@example.org": false, "<ada@example.org>": false, " ada@example.org": false,
	} {
		to := Recipient{ID: "idn_ada", Email: address}
		if mail.Reaches(to) != want {
			t.Errorf("%q is reached: %v", address, !want)
		}
		if !want {
			refusedAs(t, mail.Send(t.Context(), Message{Key: "k", To: to, Lines: oneMessage().Lines}), countersign.Invalid, "malformed-address")
		}
	}
	if mail.Name() != "mail" || len(server.mails) != 0 {
		t.Error("something was sent")
	}
}

func TestMailOptionsThatAreUnsafeAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		options MailOptions
		reason  string
	}{
		"encrypted by default":     {MailOptions{Server: "mail.example.org:587"}, ""},
		"in the clear at home":     {MailOptions{Server: "[::1]:25", TLS: NoTLS}, ""},
		"in the clear elsewhere":   {MailOptions{Server: "mail.example.org:25", TLS: NoTLS}, "mail-in-the-clear"},
		"in the clear on all":      {MailOptions{Server: "0.0.0.0:25", TLS: NoTLS}, "mail-in-the-clear"},
		"an unknown way":           {MailOptions{Server: "mail.example.org:25", TLS: "ssl"}, "unknown-tls"},
		"a server without a port":  {MailOptions{Server: "mail.example.org"}, "malformed-mail-server"},
		"a port without a server":  {MailOptions{Server: ":25"}, "malformed-mail-server"},
		"a sender who is none":     {MailOptions{Server: "mail.example.org:25", From: "desk"}, "malformed-sender"},
		"a sender with a header":   {MailOptions{Server: "mail.example.org:25", From: "desk@example.org\r\nBcc: eve@example.org"}, "malformed-sender"},
		"a user without password":  {MailOptions{Server: "mail.example.org:25", Username: "desk"}, "incomplete-mail-credential"},
		"a password without  user": {MailOptions{Server: "mail.example.org:25", Password: countersign.NewSecret("hidden")}, "incomplete-mail-credential"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.options.From == "" {
				c.options.From = "desk@example.org"
			}
			_, err := NewMail(c.options)
			if countersign.ReasonOf(err) != c.reason || err != nil && countersign.KindOf(err) != countersign.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
}
