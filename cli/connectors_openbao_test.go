package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/openbao/openbaotest"
)

func TestTheKeysOfAnOpenBaoServerAreCheckedBeforeItIsAsked(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, open := write("good.token", "s3cret-word\n", 0o600), write("open.token", "s3cret-word\n", 0o644)
	for keys, says := range map[string]string{
		"gives: lease, address: 'https://bao.example:8200', token_role: countersign":                                       "connectors.bao.token_file is missing",
		"gives: lease, address: 'https://bao.example:8200', token_role: countersign, token_file: " + open:                  "chmod 600",
		"gives: lease, address: 'http://bao.example:8200', token_role: countersign, token_file: " + good:                   "in clear",
		"gives: login, address: 'https://bao.example:8200', token_file: " + good:                                           "lease or secret-id",
		"gives: secret-id, residual: soon, address: 'https://bao.example:8200', token_file: " + good:                       "connectors.bao.residual",
		"gives: secret-id, residual: 20m, ca_file: " + good + ", address: 'https://bao.example:8200', token_file: " + good: "holds no certificate",
		"gives: lease, adress: 'https://bao.example:8200', token_role: countersign, token_file: " + good:                   "field adress not found",
	} {
		path := write("countersign.yaml", "connectors: {bao: {kind: openbao, "+keys+"}}\n", 0o600)
		code, out, problems := run(t, "", "config", "check", path)
		if code != 2 || !strings.Contains(problems, says) || strings.Contains(out+problems, "s3cret-word") {
			t.Errorf("%s: exit code %d: %s%s", keys, code, out, problems)
		}
	}
}

func TestAServerIsAskedWhatTheConnectorsTokenMay(t *testing.T) {
	server := openbaotest.New(t, connectortest.NewClock())
	page, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, policy, _ := strings.Cut(string(page), "# countersign-secret-ids\n")
	policy, _, _ = strings.Cut(policy, "```")
	server.SetPolicy(t, "hands", policy)
	folder := t.TempDir()
	for file, text := range map[string]string{
		"token":            "s3cret-word\n",
		"countersign.yaml": "connectors: {machines: {kind: openbao, gives: secret-id, residual: 20m, address: 'http://" + server.Address() + "', token_file: " + folder + "/token}}\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for policy, says := range map[string]string{"hands": "", "root": "the token is a root token", "none": "its policy lacks this path"} {
		server.AddToken(openbaotest.Token{ID: "s3cret-word", Policies: []string{policy}, Renewable: true})
		code, out, problems := run(t, "", "config", "check", filepath.Join(folder, "countersign.yaml"))
		if (code == 0) != (says == "") || !strings.Contains(problems, says) || strings.Contains(out+problems, "s3cret-word") {
			t.Errorf("%s: exit code %d: %s%s", policy, code, out, problems)
		}
	}
}
