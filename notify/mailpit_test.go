package notify

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/countersign/countersign"
)

// mailpit is a real mail server whose letters are read back over its HTTP API.
type mailpit struct{ server, api string }

// program returns the path of mailpit. Without it the test is skipped, and fails
// where the environment says CI=true.
func program(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("mailpit"); err == nil {
		return path
	}
	// Where scripts/install-test-tools puts it.
	output, err := exec.Command("go", "env", "GOBIN", "GOPATH").Output()
	if err != nil {
		t.Fatal(err)
	}
	bin, gopath, _ := strings.Cut(string(output), "\n")
	first := filepath.SplitList(strings.TrimSpace(gopath))[0]
	for _, folder := range []string{bin, filepath.Join(first, "bin")} {
		if path, err := exec.LookPath(filepath.Join(folder, "mailpit")); folder != "" && err == nil {
			return path
		}
	}
	const missing = "mailpit is not installed: scripts/install-test-tools"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// script runs the server for as long as its standard input stays open, so that
// it ends with the test process, however that ends.
const script = `"$@" </dev/null >/dev/null 2>&1 & cat >/dev/null; kill $!; wait`

func startMailpit(t *testing.T, flags ...string) *mailpit {
	t.Helper()
	path := program(t)
	started := &mailpit{server: freeAddress(t), api: freeAddress(t)}
	flags = append([]string{"-c", script, "sh", path, "--smtp", started.server, "--listen", started.api,
		"--database", filepath.Join(t.TempDir(), "mail.db"), "--disable-version-check", "--smtp-disable-rdns"}, flags...)
	command := exec.Command("/bin/sh", flags...)
	hold, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hold.Close(); command.Wait() })
	for deadline := time.Now().Add(30 * time.Second); ; {
		response, err := http.Get("http://" + started.api + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return started
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("mailpit does not answer: %v", err)
		}
	}
}

// freeAddress returns an address that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (m *mailpit) get(t *testing.T, path string) []byte {
	t.Helper()
	response, err := http.Get("http://" + m.api + "/api/v1/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v", path, response.StatusCode, err)
	}
	return body
}

// received are the ids of the letters, the newest first.
func (m *mailpit) received(t *testing.T) []string {
	t.Helper()
	var list struct {
		Messages []struct{ ID string }
	}
	if err := json.Unmarshal(m.get(t, "messages"), &list); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, message := range list.Messages {
		ids = append(ids, message.ID)
	}
	return ids
}

// letter is one mail as the server understood it.
type letter struct {
	From                mail.Address
	To, Cc, Bcc         []mail.Address
	Subject, Text, HTML string
	MessageID           string
	headers             map[string][]string
}

// only returns the one letter that came.
func (m *mailpit) only(t *testing.T) letter {
	t.Helper()
	ids := m.received(t)
	if len(ids) != 1 {
		t.Fatalf("%d letters came", len(ids))
	}
	var got letter
	if err := json.Unmarshal(m.get(t, "message/"+ids[0]), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(m.get(t, "message/"+ids[0]+"/headers"), &got.headers); err != nil {
		t.Fatal(err)
	}
	return got
}

// headerNames are the headers of our letters, with those that mailpit adds.
var headerNames = []string{"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Received", "Return-Path", "Subject", "To"}

func TestALetterReadsAsItWasMeant(t *testing.T) {
	server := startMailpit(t)
	channel := newMail(t, MailOptions{Server: server.server, TLS: NoTLS, House: "Exämple Ltd", Link: link})
	message := oneMessage()
	message.To.Name = "Ada, Countess of Lovelace"
	message.Lines[0].Subject = "Zoë asks for „admin“ " + strings.Repeat("on billing ", 12)
	message.Lines[0].Text = ".\r\n.hidden\nFrom me: " + strings.Repeat("long ", 300) + "ünïcödé 🔑"
	if err := channel.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	got := server.only(t)
	if got.From != (mail.Address{Name: "Exämple Ltd", Address: "desk@example.org"}) ||
		!slices.Equal(got.To, []mail.Address{{Name: message.To.Name, Address: "ada@example.org"}}) || len(got.Cc)+len(got.Bcc) != 0 {
		t.Errorf("from %v to %v, %v, %v", got.From, got.To, got.Cc, got.Bcc)
	}
	if want := "[Exämple Ltd] " + strings.TrimSpace(message.Lines[0].Subject); got.Subject != want {
		t.Errorf("the subject is %q, want %q", got.Subject, want)
	}
	_, want, err := channel.options.Templates.render(message, "Exämple Ltd", link)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.ReplaceAll(got.Text, "\r\n", "\n"); text != want || got.HTML != "" || !strings.Contains(text, "    .hidden\n") {
		t.Errorf("the text is\n%s\nwant\n%s", text, want)
	}
	for header, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "Date": "Sat, 31 Jan 2026 09:00:00 +0000",
		"Content-Type": "text/plain; charset=UTF-8", "Return-Path": "<desk@example.org>",
	} {
		if !slices.Equal(got.headers[header], []string{want}) {
			t.Errorf("%s is %q, want %q", header, got.headers[header], want)
		}
	}
}

func TestNobodyWritesAHeaderForUs(t *testing.T) {
	for name, evil := range map[string]string{
		"line breaks":       "hello\r\nBcc: eve@example.org\r\n\r\nbody",
		"line feeds":        "hello\nBcc: eve@example.org\n\nbody",
		"other line breaks": "hello\u2028Bcc: eve@example.org\u0085\x0bX: y",
		"an encoded word":   "=?utf-8?q?hello=0D=0ABcc:_eve@example.org?= =?utf-8?b?DQpCY2M6IGV2ZQ==?=",
		"quotes":            "\"hello\" <eve@example.org>, \\",
		"turned around":     "hello \u202egro.elpmaxe\u2066",
		"very long":         strings.Repeat("hello🔑", 500),
	} {
		t.Run(name, func(t *testing.T) {
			server := startMailpit(t)
			message := digest(2)
			message.To.Name = evil
			for i := range message.Lines {
				message.Lines[i].Subject, message.Lines[i].Text, message.Lines[i].About = evil, evil, evil
			}
			if err := newMail(t, MailOptions{Server: server.server, TLS: NoTLS, House: evil, Link: link}).Send(t.Context(), message); err != nil {
				t.Fatal(err)
			}
			got := server.only(t)
			if !slices.Equal(slices.Sorted(maps.Keys(got.headers)), headerNames) {
				t.Errorf("the headers are %v", got.headers)
			}
			if got.From.Address != "desk@example.org" || len(got.To) != 1 || got.To[0].Address != "ada@example.org" || len(got.Cc)+len(got.Bcc) != 0 {
				t.Errorf("from %v to %v, %v, %v", got.From, got.To, got.Cc, got.Bcc)
			}
			for _, shown := range []string{got.Subject, got.To[0].Name, got.From.Name} {
				unwanted := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }
				if strings.ContainsFunc(shown, unwanted) || utf8.RuneCountInString(shown) > maxSubject || !strings.Contains(shown, "hello") {
					t.Errorf("a reader sees %q", shown)
				}
			}
		})
	}
}

func TestARetryIsRecognisedByItsMessageID(t *testing.T) {
	server := startMailpit(t, "--ignore-duplicate-ids")
	channel := newMail(t, MailOptions{Server: server.server, TLS: NoTLS})
	for range 3 {
		if err := channel.Send(t.Context(), oneMessage()); err != nil {
			t.Fatal(err)
		}
	}
	if got := server.only(t); !strings.HasSuffix(got.MessageID, "@example.org") {
		t.Errorf("the Message-ID is %q", got.MessageID)
	}
	other := oneMessage()
	other.Key = "msg-2"
	if err := channel.Send(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if ids := server.received(t); len(ids) != 2 {
		t.Errorf("%d letters came", len(ids))
	}
}

func TestMailSignsInOverAnEncryptedWay(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the roots of the system can be set by a variable on Linux only")
	}
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("desk:right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for way, flag := range map[TLS]string{StartTLS: "--smtp-require-starttls", ImplicitTLS: "--smtp-require-tls"} {
		t.Run(string(way), func(t *testing.T) {
			server := startMailpit(t, flag, "--smtp-tls-cert", certificate, "--smtp-tls-key", key, "--smtp-auth-file", users)
			options := MailOptions{Server: server.server, TLS: way}
			err := newMail(t, options).Send(t.Context(), oneMessage())
			refusedAs(t, err, countersign.Refused, "mail-refused")

			options.Username, options.Password = "desk", countersign.NewSecret("wrong")
			err = newMail(t, options).Send(t.Context(), oneMessage())
			refusedAs(t, err, countersign.Refused, "mail-refused")
			if err != nil && strings.Contains(err.Error(), "wrong") {
				t.Errorf("the error tells the password: %v", err)
			}

			options.Password = countersign.NewSecret("right")
			// The certificate is not made out to this name.
			options.Server = strings.Replace(server.server, "127.0.0.1", "localhost", 1)
			err = newMail(t, options).Send(t.Context(), oneMessage())
			refusedAs(t, err, countersign.Unavailable, "mail-not-delivered")
			if err != nil && !strings.Contains(err.Error(), "certificate") {
				t.Errorf("the error is %v", err)
			}
			if ids := server.received(t); len(ids) != 0 {
				t.Errorf("%d letters came", len(ids))
			}

			options.Server = server.server
			if err := newMail(t, options).Send(t.Context(), oneMessage()); err != nil {
				t.Fatal(err)
			}
			server.only(t)
		})
	}
}
