// Package notify is the voice: it tells people by mail, and other programs by a
// signed webhook, what the desk has for them.
//
// It imports the nouns alone, never the desk, the store or a door: it is told
// what to say and to whom, and asks nobody. It keeps nothing and reads no clock.
//
// After a Send without an error the mail server, or the program behind the
// webhook, has taken the message. After one with an error it may have done so, too: a
// message that is sent again carries the same name, so that who got it already
// can tell. Text of others is cut to a length, freed of control characters, and
// cannot add a header.
package notify

import (
	"context"
	"net"
	"strings"
	"time"
	"unicode"

	"github.com/countersign/countersign"
)

// Recipient is who is told.
type Recipient struct {
	ID          countersign.IdentityID
	Name, Email string
}

// Line is one thing to tell somebody about.
type Line struct {
	// Key is stable: the same line sent twice has the same key.
	Key string
	// Kind is a stable name in kebab case: "asked-to-decide", "break-glass".
	Kind string
	// At is when it came about.
	At countersign.Instant
	// Subject is one sentence, without secrets.
	Subject string
	// Text has the details as plain text, of any number of lines; may be "".
	Text string
	// About is the id of what it is about, as req_...; may be "".
	About string
}

// Message is what one person is told at once: one line, or several as a digest.
type Message struct {
	// Key is stable, too: up to 200 visible ASCII characters without a full stop.
	Key   string
	To    Recipient
	Lines []Line
}

// Channel brings messages out of the house. Its methods may be called at once.
type Channel interface {
	Name() string
	// Reaches reports whether the channel can tell this recipient anything.
	Reaches(to Recipient) bool
	// Send delivers or returns an error, after ten seconds at most; it may be
	// called again with the same Key. An error of the kind Unavailable may pass by
	// itself, any other takes a person. The text of an error may quote the other
	// side, and so name the recipient's address.
	Send(ctx context.Context, message Message) error
}

const (
	// timeout bounds one Send.
	timeout = 10 * time.Second
	// maxSubject, maxText and maxName are in characters (runes).
	maxSubject = 200
	maxText    = 2000
	maxName    = 100
	// maxLines bounds what one message carries; what is beyond is counted.
	maxLines = 50
	maxKey   = 200
)

// check refuses a message that cannot be sent whole.
func (m Message) check() error {
	malformed := func(r rune) bool { return r <= ' ' || r > '~' || r == '.' }
	if m.Key == "" || len(m.Key) > maxKey || strings.ContainsFunc(m.Key, malformed) {
		return countersign.Errorf(countersign.Invalid, "malformed-key", "%q cannot be the key of a message: write 1 to %d visible ASCII characters without a full stop", countersign.Clip(m.Key), maxKey)
	}
	if len(m.Lines) == 0 {
		return countersign.Errorf(countersign.Invalid, "empty-message", "the message %s says nothing: give it at least one line", m.Key)
	}
	for _, line := range m.Lines {
		if line.At == 0 || oneLine(line.Subject, maxSubject) == "" {
			return countersign.Errorf(countersign.Invalid, "incomplete-line", "the line %q of the message %s has no time or no subject: give both", countersign.Clip(line.Key), m.Key)
		}
	}
	return nil
}

// at is when the newest line came about: the same at each attempt.
func (m Message) at() countersign.Instant {
	newest := m.Lines[0].At
	for _, line := range m.Lines {
		newest = max(newest, line.At)
	}
	return newest
}

// tidy returns the message with every text cleaned and cut, and how many lines
// it leaves out.
func (m Message) tidy() (Message, int) {
	shown := m.Lines[:min(len(m.Lines), maxLines)]
	tidied := Message{Key: m.Key, To: m.To, Lines: make([]Line, len(shown))}
	tidied.To.Name = oneLine(m.To.Name, maxName)
	for i, line := range shown {
		tidied.Lines[i] = Line{
			Key: oneLine(line.Key, maxKey), Kind: oneLine(line.Kind, maxName), At: line.At,
			Subject: oneLine(line.Subject, maxSubject), Text: paragraphs(line.Text, maxText), About: oneLine(line.About, maxName),
		}
	}
	return tidied, len(m.Lines) - len(shown)
}

// visible returns text without what could change how the rest of it is shown:
// bytes that are no UTF-8, marks that turn the direction of writing, and control
// characters but for those that break lines or words.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Bidi_Control, r) || unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar)))
}

// oneLine returns text on one line, of at most so many characters.
func oneLine(text string, most int) string {
	return clip(strings.Join(strings.Fields(visible(text)), " "), most)
}

// lineBreaks are the many ways to end a line.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// paragraphs returns text whose lines end in "\n", of at most so many
// characters.
func paragraphs(text string, most int) string {
	return clip(strings.TrimSpace(lineBreaks.Replace(visible(text))), most)
}

// clip cuts text to at most so many characters.
func clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// onLoopback reports whether what is sent to host stays on this machine.
func onLoopback(host string) bool {
	address := net.ParseIP(host)
	return host == "localhost" || address != nil && address.IsLoopback()
}
