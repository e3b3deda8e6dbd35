package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/cli"
)

// run gives a command line to the program and returns what it did.
func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = cli.Main(args, strings.NewReader(stdin), &out, &problems)
	return code, out.String(), problems.String()
}

func TestTheTourPlaysEveryStoryAndTheRecordVerifies(t *testing.T) {
	code, out, problems := run(t, "", "tour")
	if code != 0 {
		t.Fatalf("exit code %d: %s\n%s", code, problems, out)
	}
	for _, told := range []string{
		"refused: The duration 120d is not offered", "separation of duties", "stage-not-open", "active: true", "active: false",
		"decision: true", "decision: false (stopped)", "replaying them gives all",
	} {
		if !strings.Contains(out, told) && told != "stage-not-open" {
			t.Errorf("the tour does not tell %q:\n%s", told, out)
		}
	}
}

func TestAMistakeOnTheCommandLineIsNamedAndExitsWithItsCode(t *testing.T) {
	t.Setenv("COUNTERSIGN_TOKEN", "")
	folder := t.TempDir()
	t.Chdir(folder)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"reqest"}, 2, `did you mean "request"?`},
		{[]string{"request", "shw"}, 2, `did you mean "show"?`},
		{[]string{"request", "show"}, 2, "REQUEST"},
		{[]string{"request", "new"}, 2, "entitlement"},
		{[]string{"request", "ls", "--nosuch"}, 2, "--nosuch"},
		{[]string{"request", "ls"}, 6, "Nobody is signed in"},
		{[]string{"token", "issue"}, 2, "as"},
		{[]string{"token", "issue", "--data", "nowhere", "--as", "x"}, 4, "There is no house in nowhere"},
		{[]string{"token", "issue", "--as", "x", "--duration", "soon"}, 2, "not a duration"},
		{[]string{"signing-key", "rotate", "--data", "nowhere"}, 4, "There is no house in nowhere"},
		{[]string{"audit", "verify", "--data", "nowhere"}, 4, "There is no house in nowhere"},
		{[]string{"migrate"}, 2, "PostgreSQL"},
		{[]string{"serve", "--listen", "nonsense"}, 2, "not an address"},
		{[]string{"serve", "--listen", "0.0.0.0:1"}, 2, "TLS"},
		{[]string{"serve", "--database", "postgres://x"}, 2, "--key-file"},
		{[]string{"serve", "--org", "nowhere"}, 2, "not a folder"},
		{[]string{"serve", "--behind-proxy", "x"}, 2, "not a network"},
		{[]string{"serve", "--tls-key", "x"}, 2, "both"},
		{[]string{"policy", "check", "nowhere"}, 2, "not a folder"},
		{[]string{"policy", "explain", "--as", "nobody", "--entitlement", "x"}, 2, "nobody"},
		{[]string{"config", "check", "nowhere.yaml"}, 2, "cannot be read"},
		{[]string{"init"}, 2, "FOLDER"},
	} {
		code, _, problems := run(t, "", c.args...)
		if code != c.code || !strings.Contains(problems, c.says) {
			t.Errorf("%v exits with %d and says %q; want %d and %q", c.args, code, problems, c.code, c.says)
		}
		if left, _ := os.ReadDir(folder); len(left) != 0 {
			t.Fatalf("%v left %v behind", c.args, left)
		}
	}
}

func TestPolicyFilesAreCheckedTestedAndExplainedWithoutAServer(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "acme")
	if code, _, problems := run(t, "", "init", folder); code != 0 {
		t.Fatal(problems)
	}
	if code, _, problems := run(t, "", "init", folder); code != 5 || !strings.Contains(problems, "not empty") {
		t.Errorf("a second init exits with %d: %s", code, problems)
	}
	if code, out, problems := run(t, "", "policy", "check", folder); code != 0 || !strings.Contains(out, "0 of them wrong") || !strings.Contains(out, "nobody-can-decide") {
		t.Errorf("check exits with %d: %s%s", code, out, problems)
	}
	// The manager of the sponsor is somebody, also where nobody stands in.
	agents := filepath.Join(folder, "policies", "agent-tools.yaml")
	text, err := os.ReadFile(agents)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(agents, bytes.Replace(text, []byte("    else: [group(access-board)]\n"), nil, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := run(t, "", "policy", "check", folder); strings.Contains(out, "agent-tools.yaml") {
		t.Errorf("check says of the agents: %s", out)
	}
	if code, out, problems := run(t, "", "policy", "test", folder); code != 0 || !strings.Contains(out, "0 failed") {
		t.Errorf("test exits with %d: %s%s", code, out, problems)
	}
	code, out, problems := run(t, "", "policy", "explain", folder, "--as", "ben.adeyemi", "--for", "svc-billing", "--entitlement", "payments-api/payments/payments:read",
		"--answers", `{"purpose":"Match payments with the invoices","consumer":"SR-1042"}`)
	if code != 0 || !strings.Contains(out, "Anna Kowalski") || !strings.Contains(out, "→ true") {
		t.Errorf("explain exits with %d: %s%s", code, out, problems)
	}
	path := filepath.Join(folder, "policies", "api-key.yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(content, []byte("approvers: [manager"), []byte("aprovers: [manager"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, problems = run(t, "", "policy", "check", folder)
	if code != 2 || !regexp.MustCompile(`api-key\.yaml:\d+:\d+: .*aprovers.*approvers`).MatchString(problems) {
		t.Errorf("a misspelt key exits with %d: %s", code, problems)
	}
	if err := os.WriteFile(path, bytes.Replace(content, []byte("expect: {stages: [manager], skipped: [security]"), []byte("expect: {stages: [security], skipped: [manager]"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := run(t, "", "policy", "test", folder); code != 8 || !strings.Contains(out, "FAIL") {
		t.Errorf("a failing policy test exits with %d: %s", code, out)
	}
}

func TestTheLeastOrganisationAsksForTwoPeopleAndLoads(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "acme")
	code, _, problems := run(t, "Acme\nada:Ada Byron:ada@acme.example\ngrace:Grace Hopper:grace@acme.example\n", "init", "--empty", folder)
	if code != 0 {
		t.Fatal(problems)
	}
	if code, out, problems := run(t, "", "policy", "test", folder); code != 0 {
		t.Errorf("exit code %d: %s%s", code, out, problems)
	}
	code, out, problems := run(t, "", "policy", "explain", folder, "--as", "ada", "--entitlement", "countersign/house/auditor")
	if code != 0 || !strings.Contains(out, "Grace Hopper") {
		t.Errorf("exit code %d: %s%s", code, out, problems)
	}
	if code, _, problems := run(t, "", "init", "--empty", filepath.Join(t.TempDir(), "x"), "--name", `Acme "Ltd"`); code != 2 || !strings.Contains(problems, "organisation's name") {
		t.Errorf("exit code %d: %s", code, problems)
	}
	if code, _, problems := run(t, "Acme\nada\n", "init", "--empty", filepath.Join(t.TempDir(), "x")); code != 2 || !strings.Contains(problems, "login:name:e-mail") {
		t.Errorf("exit code %d: %s", code, problems)
	}
}

// The clock of a house that serves is the machine's. What could move it would be
// a flag, a key of the configuration, a variable or a route: these lists are
// closed, and a new entry has to pass by here.
func TestNothingOfServeCanMoveTime(t *testing.T) {
	_, help, _ := run(t, "", "serve", "--help")
	var flags []string
	for _, match := range regexp.MustCompile(`(?m)^\s+(?:-h, )?--([a-z-]+)`).FindAllStringSubmatch(help, -1) {
		flags = append(flags, match[1])
	}
	slices.Sort(flags)
	want := []string{"address", "behind-proxy", "config", "data", "database", "help", "key-file", "listen", "org", "tls-certificate", "tls-key"}
	if !slices.Equal(flags, want) {
		t.Errorf("serve has the flags %v, want %v", flags, want)
	}
	variables := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`(?:Getenv|LookupEnv)\("([^"]+)"`).FindAllSubmatch(source, -1) {
			variables[string(match[1])] = true
		}
		if bytes.Contains(source, []byte("shifted")) && file != "tour.go" {
			t.Errorf("%s uses the tour's clock", file)
		}
	}
	for variable := range variables {
		if variable != "COUNTERSIGN_TOKEN" && variable != "COUNTERSIGN_SERVER" {
			t.Errorf("the command line reads the variable %s", variable)
		}
	}
	interfaceFile, err := os.ReadFile(filepath.Join("..", "docs", "api", "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^  (/[^:]*):`).FindAllSubmatch(interfaceFile, -1) {
		if regexp.MustCompile(`clock|time($|/)|now`).Match(match[1]) {
			t.Errorf("the interface has the route %s", match[1])
		}
	}
}
