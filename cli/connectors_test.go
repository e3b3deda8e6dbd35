package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheConnectorsOfTheConfigurationAreCheckedBeforeAnythingIsOpened(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.url", "postgres://hands:s3cret-word@db.example/orders\n", 0o600)
	open := write("open.url", "postgres://hands:s3cret-word@db.example/orders\n", 0o644)
	bad := write("bad.url", "postgres://hands:s3cret-word@db.example:port/orders\n", 0o600)
	for _, c := range []struct{ text, says string }{
		{"connectors: {orders-pg: {kind: postgres, url_file: " + good + "}}", ""},
		{"connectors: {orders-pg: {kind: postgres, gives: login, url_file: " + good + "}}", ""},
		{"connectors:\n  orders-pg: {kind: postgers}", "line 2: a connector has a kind, one of postgres"},
		{"connectors:\n  orders-pg: {kind: postgres, url: x}", "line 2: the connector of the kind postgres: field url not found"},
		{"connectors: {orders-pg: {kind: postgres, gives: all, url_file: " + good + "}}", "membership or login"},
		{"connectors: {orders-pg: {kind: postgres}}", "connectors.orders-pg.url_file is missing"},
		{"connectors: {orders-pg: {kind: postgres, url_file: " + folder + "/nowhere}}", "cannot be read"},
		{"connectors: {orders-pg: {kind: postgres, url_file: " + open + "}}", "chmod 600"},
		{"connectors: {orders-pg: {kind: postgres, url_file: " + bad + "}}", "not one of a PostgreSQL server"},
		{"connectors: {vault: {kind: postgres, url_file: " + good + "}}", "built in"},
		{"connectors: {Orders.PG: {kind: postgres, url_file: " + good + "}}", "not the name of a connector"},
		{"connectors: {orders-pg: }", "has no value"},
	} {
		path := write("countersign.yaml", c.text+"\n", 0o600)
		code, out, problems := run(t, "", "config", "check", path)
		if strings.Contains(out+problems, "s3cret-word") {
			t.Errorf("%s: the password stands in %q", c.text, problems)
		}
		if want := map[bool]int{true: 0, false: 2}[c.says == ""]; code != want || !strings.Contains(problems, c.says) {
			t.Errorf("%s: exit code %d: %s%s", c.text, code, out, problems)
		}
	}
}
