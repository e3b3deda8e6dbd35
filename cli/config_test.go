package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/httpapi"
)

// checked gives a text to `config check` and returns what it says, without the
// folder that the file is in.
func checked(t *testing.T, text string) (code int, says string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "countersign.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code = Main([]string{"config", "check", path}, strings.NewReader(""), &out, &out)
	return code, strings.ReplaceAll(out.String(), filepath.Dir(path)+"/", "")
}

func TestMistakesInTheConfigurationAreNamedWithTheirPlace(t *testing.T) {
	for text, says := range map[string]string{
		"listen: 127.0.0.1:8740\nlissten: x\n":                   `countersign.yaml:2:1: "lissten" is not a key of the file; did you mean "listen"?`,
		"zebra: 1\n":                                             `countersign.yaml:1:1: "zebra" is not a key of the file; the keys are data, `,
		"mail:\n  server: a:25\n  sender: x\n":                   `countersign.yaml:3:3: "sender" is not a key of mail; did you mean "server"?`,
		"limits: {submit: {callers: 1/m}}\n":                     `countersign.yaml:1:19: "callers" is not a key of limits.submit; did you mean "caller"?`,
		"limits: {sign_in: 60}\n":                                `countersign.yaml:1:19: limits.sign_in: "60" is not a rate: write it as 60/m`,
		"limits: {upload: {address: 5/d}}\n":                     `"5/d" is not a rate`,
		"limits: {sign_in: 0/s}\n":                               `"0/s" is not a rate`,
		"limits: {sign_in: [1]}\n":                               `limits.sign_in is one value`,
		"limits: 5\n":                                            `countersign.yaml:1:9: limits is a mapping of keys to values`,
		"data: x\ndata: y\n":                                     `countersign.yaml:2:1: "data" stands twice`,
		"data: 5\n":                                              `countersign.yaml:1:7: data is a text; put it in quotes`,
		"data:\n":                                                `countersign.yaml:1:6: data has no value; leave the key out instead`,
		"data: &a x\nlisten: *a\n":                               `anchors and aliases are not read`,
		"data: x\n---\ndata: y\n":                                `the file holds one document`,
		"data: x\n  listen: [\n":                                 `this is not YAML`,
		"- data\n":                                               `countersign.yaml:1:1: the file is a mapping of keys to values`,
		"lissten: x\nmail: {sender: y}\n":                        `countersign.yaml:2:8: "sender" is not a key of mail`,
		"source_credentials: {changes: [x]}\n":                   `source_credentials.changes is a text`,
		"listen: nonsense\n":                                     `not an address`,
		"tls_certificate: nowhere.pem\ntls_key: nowhere.pem\n":   `the TLS files cannot be used`,
		"address: desk.example.org\n":                            `not where others reach the house`,
		"address: https://desk.example.org/path\n":               `without a path`,
		"behind_proxy: 10.0.0.1\n":                               `not a network`,
		"mail: {server: localhost:25}\n":                         `the sender of mail`,
		"webhook: {url: 'http://example.org/'}\n":                `https`,
		"source_credentials: {changes: /nowhere/credential}\n":   `source_credentials.changes cannot be read`,
		"listen: 0.0.0.0:8740\n":                                 `can be reached from other machines`,
		"database: postgres://x\n":                               `--key-file`,
		"organisation: nowhere\n":                                `is not a folder`,
		"mail: {server: 'localhost:25', password_file: /no/x}\n": `mail.password_file cannot be read`,
	} {
		if code, got := checked(t, text); code != exitInvalid || !strings.Contains(got, says) {
			t.Errorf("%q exits with %d and says %s, want %s", text, code, got, says)
		}
	}
}

func TestAGoodConfigurationIsReadAsItIs(t *testing.T) {
	for _, text := range []string{"", "# nothing is set\n", "listen: 127.0.0.1:8740\ndata: house\nlimits: {submit: {caller: 5/h}, sign_in: off}\n"} {
		if code, got := checked(t, text); code != 0 || !strings.Contains(got, "is good") {
			t.Errorf("%q exits with %d: %s", text, code, got)
		}
	}
	var read configuration
	if err := readSettings("x", []byte("limits: {submit: {caller: 5/h, address: off}, sign_in: off}\nsource_credentials: {a: b}\nmail: {server: s}\n"), &read); err != nil {
		t.Fatal(err)
	}
	limits := read.Limits.limits()
	if limits.Submit != (httpapi.Bound{Caller: httpapi.Rate{Count: 5, Per: time.Hour}}) || limits.SignIn.Count != 0 || read.Mail.Server != "s" || read.SourceCredentials["a"] != "b" {
		t.Errorf("read %+v", read)
	}
	if limits.Upload.Caller.Count == 0 || limits.Upload.Address.Count < limits.Upload.Caller.Count || limits.Evaluate.Caller.Count < 10000 {
		t.Errorf("what is not set is %+v", limits)
	}
}

// Every key must be one that the reader can take, and have a name.
func TestEveryKeyOfTheConfigurationCanBeRead(t *testing.T) {
	var keys func(at reflect.Type, name string) int
	keys = func(at reflect.Type, name string) int {
		if at.Kind() != reflect.Struct || reflect.PointerTo(at).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()) {
			return 1
		}
		count := 0
		for field := range at.Fields() {
			tag := field.Tag.Get("yaml")
			if tag == "" || tag != strings.ToLower(tag) {
				t.Errorf("%s.%s has the key %q", name, field.Name, tag)
			}
			count += keys(field.Type, name+"."+tag)
		}
		return count
	}
	if count := keys(reflect.TypeFor[configuration](), ""); count < 20 {
		t.Errorf("the configuration has %d keys", count)
	}
}
