package countersign_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room is one package of the module, without its tests.
type room struct {
	ImportPath string
	Name       string
	Dir        string
	GoFiles    []string
	Imports    []string
}

const module = "github.com/countersign/countersign"

// path is the room's folder within the module, "." for the root.
func (r room) path() string {
	if r.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(r.ImportPath, module+"/")
}

func short(importPath string) string {
	if importPath == module || strings.HasPrefix(importPath, module+"/") {
		return room{ImportPath: importPath}.path()
	}
	return importPath
}

// rooms lists the packages of the module.
func rooms(t *testing.T) []room {
	t.Helper()
	command := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Dir,GoFiles,Imports", "./...")
	var problems bytes.Buffer
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, problems.String())
	}
	var all []room
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var next room
		if err := decoder.Decode(&next); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, next)
	}
	if len(all) < 10 {
		t.Fatalf("the module has %d packages", len(all))
	}
	return all
}

// The rooms that several prohibitions are about; a pattern matches whole paths.
const (
	pure   = `\.|workflow|policy|audit|reconcile|attest`
	doors  = `httpapi|mcp|web|cli`
	hands  = `connector(/.*)?`
	target = `target(/.*)?|pdp`
	world  = `os|os/.*|io/fs|io/ioutil|net|net/http.*|net/netip|net/smtp|net/rpc|syscall|crypto/rand|math/rand.*|database/sql.*|plugin|unsafe`
	ours   = `\.|[a-z]+(/[a-z]+)*`
)

// prohibition says what rooms must not import, and why.
type prohibition struct {
	rooms, except      string
	imports, allowed   string
	because            string
	example, forbidden string
}

var prohibitions = []prohibition{
	{rooms: pure, imports: world, because: "a law that reads the world cannot be replayed", example: "policy", forbidden: "net/http"},
	{rooms: `\.`, imports: ours, because: "the nouns know no room", example: ".", forbidden: module + "/store"},
	{rooms: `workflow|audit`, imports: ours, allowed: `\.`, because: "the law and the proof stand on the nouns alone", example: "workflow", forbidden: module + "/policy"},
	{rooms: `attest`, imports: ours, allowed: `\.`, because: "what a signature says depends on the bytes, the keys and the time alone", example: "attest", forbidden: module + "/store"},
	{rooms: `policy`, imports: ours, allowed: `\.|attest`, because: "a judge who looks things up cannot be simulated", example: "policy", forbidden: module + "/store"},
	{rooms: `reconcile`, imports: ours, allowed: `\.|connector`, because: "a comparison of two lists knows neither storage nor targets", example: "reconcile", forbidden: module + "/store"},
	{rooms: `store`, imports: ours, allowed: `\.`, because: "storage compares versions and never judges", example: "store", forbidden: module + "/workflow"},
	{rooms: `store/.*`, imports: `desk|engine|workflow|policy|audit|` + doors, because: "storage compares versions and never judges", example: "store/sqlstore", forbidden: module + "/workflow"},
	{rooms: doors, imports: `store(/.*)?|workflow`, because: "rules would be bypassed: doors go through desk", example: "httpapi", forbidden: module + "/store"},
	{rooms: `httpapi|mcp|web`, imports: doors + `|engine|house`, because: "one feature, one rule, in desk: doors do not call each other", example: "httpapi", forbidden: module + "/cli"},
	{rooms: `.*`, except: `cmd/.*`, imports: `cli|cmd/.*`, because: "the command line is where it all begins, and nothing leads back to it", example: "desk", forbidden: module + "/cli"},
	{rooms: `.*`, except: `cli`, imports: `httpapi|mcp|web`, because: "rooms do not know the doors; only the command line opens them", example: "house", forbidden: module + "/httpapi"},
	{rooms: `cmd/.*`, imports: ours, allowed: `cli`, because: "main only starts the command line", example: "cmd/countersign", forbidden: module + "/desk"},
	{rooms: hands, imports: `desk|engine|workflow|policy|store/.*|` + doors, because: "hands do not decide", example: "connector/role", forbidden: module + "/desk"},
	{rooms: target, imports: `desk|engine|workflow|policy|connector(/.*)?|store/.*|` + doors, because: "a target that reads our record would confirm us to ourselves", example: "target/vault", forbidden: module + "/workflow"},
	{rooms: `auth|notify|keys|directory|source(/.*)?`, imports: `desk|engine|workflow|policy|store/.*|` + doors, because: "a side room is asked and asks nobody", example: "auth", forbidden: module + "/desk"},
	{rooms: `source`, imports: ours, allowed: `\.`, because: "a source is asked what a ticket says, and knows nothing of who asks", example: "source", forbidden: module + "/target/tickets"},
	{rooms: `ticketing`, imports: ours, allowed: `\.|source`, because: "what speaks to a ticket system is told what to write, and decides nothing", example: "ticketing", forbidden: module + "/desk"},
	{rooms: `source/tickets`, imports: ours, allowed: `\.|source|target/tickets`, because: "a source reaches a built-in register only through what a remote one would offer", example: "source/tickets", forbidden: module + "/store"},
	{rooms: `desk`, imports: `engine|house|metrics|store/.*|connector/.*|target(/.*)?|auth|notify|` + doors, because: "the clerk writes and calls nobody", example: "desk", forbidden: module + "/store/sqlstore"},
	{rooms: `metrics`, imports: `store(/.*)?|workflow|policy|house|connector/.*|target(/.*)?|` + doors, because: "figures are what the rooms say of themselves, and a scrape can do nothing else", example: "metrics", forbidden: module + "/store"},
	{rooms: `engine`, imports: `house|store/.*|workflow|policy|target(/.*)?|connector/.*|` + doors, because: "the heartbeat judges nothing and writes through desk only", example: "engine", forbidden: module + "/workflow"},
	{rooms: `.*`, except: `store/sqlstore|store/pgtest|connector/postgres`, imports: `database/sql.*|github.com/jackc/pgx/.*|modernc.org/sqlite.*|github.com/pressly/goose/.*`, because: "one room speaks to databases, so that one text per query can be proved; a connector whose target is a PostgreSQL server speaks to that one", example: "desk", forbidden: "database/sql"},
	{rooms: `connector/postgres`, imports: `database/sql.*|github.com/jackc/pgx/v5/(pgxpool|stdlib)|modernc.org/sqlite.*|github.com/pressly/goose/.*`, because: "a connector speaks to its target, one connection for each operation, and never to the house's own database", example: "connector/postgres", forbidden: "database/sql"},
	{rooms: `backup`, imports: ours, allowed: `\.`, because: "an archive is a form of rows, whatever they mean and wherever they lie", example: "backup", forbidden: module + "/store"},
	{rooms: `backup`, imports: world, because: "an archive is bytes: who opens files and databases is above it", example: "backup", forbidden: "os"},
	{rooms: `client|verify`, imports: ours, allowed: `\.|client|verify`, because: "what others import brings nothing of the house along", example: "client", forbidden: module + "/desk"},
	{rooms: `.*`, except: `.*test`, imports: `testing|pgregory.net/rapid`, because: "no feature is there for tests", example: "desk", forbidden: "testing"},
}

func matches(pattern, path string) bool {
	return pattern != "" && regexp.MustCompile(`^(`+pattern+`)$`).MatchString(path)
}

// broken lists every import that a prohibition forbids.
func broken(law prohibition, all []room) []string {
	var found []string
	for _, room := range all {
		if !matches(law.rooms, room.path()) || matches(law.except, room.path()) {
			continue
		}
		for _, imported := range room.Imports {
			inside := imported == module || strings.HasPrefix(imported, module+"/")
			if law.imports == ours && !inside {
				continue
			}
			if matches(law.imports, short(imported)) && !matches(law.allowed, short(imported)) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", room.path(), short(imported), law.because))
			}
		}
	}
	return found
}

func TestRoomsImportOnlyWhatTheLawAllows(t *testing.T) {
	all := rooms(t)
	for _, law := range prohibitions {
		for _, finding := range broken(law, all) {
			t.Error(finding)
		}
	}
}

func TestEveryProhibitionCanFail(t *testing.T) {
	for _, law := range prohibitions {
		path := module + "/" + law.example
		if law.example == "." {
			path = module
		}
		if len(broken(law, []room{{ImportPath: path, Imports: []string{law.forbidden}}})) != 1 {
			t.Errorf("%s may import %s, although %s", law.example, short(law.forbidden), law.because)
		}
	}
}

// calls says which functions of imported packages rooms must not mention.
var calls = []struct {
	rooms, except string
	importPath    string
	names         string
	because       string
}{
	{rooms: `.*`, except: `cli`, importPath: "time", names: `Now|Since|Until`, because: "no other room reads a clock: time is an argument"},
	{rooms: pure, importPath: "time", names: `Now|Since|Until|After|AfterFunc|Tick|NewTimer|NewTicker|Sleep|LoadLocation|Local`, because: "a law that reads the world cannot be replayed"},
	{rooms: pure, importPath: "log/slog", names: `Info.*|Warn.*|Error.*|Debug.*|Log|Default|New.*Handler`, because: "a law that writes to the world cannot be replayed"},
	{rooms: `.*`, except: `workflow|desk`, importPath: module + "/workflow", names: `Decide.*|Submit.*|OpenGenesisGrant|Apply.*`, because: "only desk decides"},
	{rooms: target, importPath: module, names: `Request|Grant|Intent|Observation`, because: "a target that reads our record would confirm us to ourselves"},
	{rooms: `.*`, except: `desk|store/.*|workflow|auth|pdp|target(/.*)?`, importPath: module + "/audit", names: `Seal`, because: "only who commits chains events"},
}

func TestRoomsCallOnlyWhatTheLawAllows(t *testing.T) {
	for _, room := range rooms(t) {
		for _, file := range room.GoFiles {
			for _, finding := range forbiddenCalls(t, room.path(), filepath.Join(room.Dir, file)) {
				t.Error(finding)
			}
		}
	}
}

// forbiddenCalls reads one file and lists what it mentions of a package and must
// not.
func forbiddenCalls(t *testing.T, path, file string) []string {
	t.Helper()
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	imported := map[string]string{}
	for _, spec := range parsed.Imports {
		importPath, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		name := importPath[strings.LastIndex(importPath, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imported[name] = importPath
	}
	var found []string
	ast.Inspect(parsed, func(node ast.Node) bool {
		selector, is := node.(*ast.SelectorExpr)
		if !is {
			return true
		}
		name, is := selector.X.(*ast.Ident)
		if !is || name.Obj != nil {
			return true
		}
		for _, law := range calls {
			if imported[name.Name] == law.importPath && matches(law.names, selector.Sel.Name) && matches(law.rooms, path) && !matches(law.except, path) {
				found = append(found, fmt.Sprintf("%s: %s uses %s.%s: %s", set.Position(selector.Pos()), path, name.Name, selector.Sel.Name, law.because))
			}
		}
		return true
	})
	return found
}

func TestAForbiddenCallIsFound(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.go")
	text := "package a\nimport (\n\tclock \"time\"\n\t\"" + module + "/workflow\"\n)\nvar now = clock.Now\nfunc a() { workflow.DecideGrant(workflow.Occasion{}, nil, workflow.GrantCommand{}, workflow.GrantVerdict{}) }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := forbiddenCalls(t, "httpapi", file); len(found) != 2 {
		t.Errorf("found %v", found)
	}
	if found := forbiddenCalls(t, "cli", file); len(found) != 1 {
		t.Errorf("found %v", found)
	}
}

func TestPackagesAreNamedAfterWhatTheyDo(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "impl", "misc", "shared", "base", "core"}
	for _, room := range rooms(t) {
		for _, part := range append(strings.Split(room.path(), "/"), room.Name) {
			if slices.Contains(empty, part) {
				t.Errorf("the package %s has a name that says nothing: %s", room.path(), part)
			}
		}
	}
}

func TestMainOnlyStartsTheCommandLine(t *testing.T) {
	text, err := os.ReadFile("cmd/countersign/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(text, []byte("\n")); lines >= 30 {
		t.Errorf("main.go has %d lines; what it does belongs in cli", lines)
	}
}

func TestNoFileIsLongerThanOneCanKeepInMind(t *testing.T) {
	const most = 500
	for _, room := range rooms(t) {
		for _, name := range room.GoFiles {
			text, err := os.ReadFile(filepath.Join(room.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if generated := bytes.Contains(text[:min(len(text), 400)], []byte("DO NOT EDIT")); !generated && bytes.Count(text, []byte("\n")) > most {
				t.Errorf("%s/%s has more than %d lines: it is about more than one thing", room.path(), name, most)
			}
		}
	}
}
