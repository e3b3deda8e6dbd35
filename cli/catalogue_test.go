package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAListIsImportedIntoAFileThatTheOrganisationTakes(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("../sample/org")); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(folder, "directory", "catalogue-wiki.yaml")
	list := `{"name":"moderator","risk":"high","version":"v1"}` + "\n" + `{"name":"guest","title":"Guest"}` + "\n"
	code, stdout, told := run(t, list, "catalogue", "import", "-", "--system", "wiki", "--resource", "spaces", "--out", out)
	if code != 0 || stdout != "" || !strings.Contains(told, "2 entitlements on wiki/spaces: 1 high, 0 medium, 0 low, 1 without a risk of their own; 0 left out.") {
		t.Fatalf("exit code %d: %s%s", code, stdout, told)
	}
	if code, _, problems := run(t, "", "policy", "check", folder); code != 0 {
		t.Errorf("the organisation with its catalogue: %s", problems)
	}
	code, stdout, _ = run(t, list, "catalogue", "import", "-", "--system", "wiki")
	if content, err := os.ReadFile(out); code != 0 || err != nil || strings.Replace(stdout, `"catalogue"`, `"spaces"`, 1) != string(content) {
		t.Errorf("on standard output it is %s: %v", stdout, err)
	}
	mapping := filepath.Join(folder, "mapping.yaml")
	if err := os.WriteFile(mapping, []byte("name: name\nrisk: {high: [version absnt]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []struct {
		args []string
		says string
	}{
		{[]string{"-"}, "system"},
		{[]string{"nowhere.jsonl", "--system", "wiki"}, "the list cannot be read"},
		{[]string{"-", "--system", "wiki", "--kind", "rule"}, `--kind is role or credential, not "rule"`},
		{[]string{"-", "--system", "wiki", "--mapping", "aws-managed-policie"}, `did you mean "aws-managed-policies"?`},
		{[]string{"-", "--system", "wiki", "--mapping", mapping}, "mapping.yaml:2:15:"},
		{[]string{"-", "--system", "The Wiki"}, "has lower-case letters"},
		{[]string{"-", "--system", "wiki", "--mapping", "aws-managed-policies", "--out", filepath.Join(folder, "no", "where")}, "cannot be written"},
	} {
		code, _, problems := run(t, list, append([]string{"catalogue", "import"}, wrong.args...)...)
		if code != 2 || !strings.Contains(problems, wrong.says) {
			t.Errorf("%v: exit code %d, %s", wrong.args, code, problems)
		}
	}
	if code, _, problems := run(t, `{"name":"a"}`+"\n"+`{"nam":"b"}`, "catalogue", "import", "-", "--system", "wiki"); code != 2 || !strings.Contains(problems, `standard input:2:1: "name" is missing, or empty`) {
		t.Errorf("exit code %d, %s", code, problems)
	}
}
