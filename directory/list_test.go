package directory

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

func listed(t *testing.T, lines string, mapping Mapping) (*Listing, string) {
	t.Helper()
	listing, problems := ReadList("list", strings.NewReader(lines), mapping, countersign.RoleKind, nil)
	var texts []string
	for _, problem := range problems {
		texts = append(texts, problem.String())
	}
	return listing, strings.Join(texts, "\n")
}

func TestAPlainListBecomesACatalogueThatADirectoryTakes(t *testing.T) {
	_, wrong := listed(t, `{"name":"reader","version":3}
{"name":"admin: \"all\"","title":"","risk":"high","version":"v1","more":[1.5]}

{"name":"writer","title":"Reads # and 'writes'","risk":"medium"}`, PlainMapping())
	if wrong != `list:2:1: the name "admin: \"all\"" has at most 128 bytes and no spaces, commas, brackets, slashes or stars` {
		t.Fatal(wrong)
	}
	listing, mistake := listed(t, `{"name":"reader","version":3}
{"name":"admin:all","title":"","risk":"high","version":"v1","more":[1.5]}

{"name":"writer","title":"Reads # and 'writes' \"it\" \u2028 {all}","risk":"medium"}`, PlainMapping())
	if mistake != "" {
		t.Fatal(mistake)
	}
	listing.System = "billing"
	content, err := listing.Catalogue("a: list\nof mine")
	if err != nil {
		t.Fatal(err)
	}
	organisation, problems := Parse([]File{{"a.yaml", content}, {"b.yaml", []byte(`
people: [{login: olga, name: Olga}]
systems: [{name: billing, owner: olga, environment: prod, risk: low, connector: role, resources: [{name: invoices, entitlements: [{name: reader, kind: role}]}]}]
`)}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	resources := organisation.Systems[0].Resources
	if len(resources) != 2 || resources[1].Name != "catalogue" || len(resources[1].Entitlements) != 3 || len(organisation.Catalogues) != 0 {
		t.Fatalf("the system has %+v", resources)
	}
	reader, admin, writer := resources[1].Entitlements[0], resources[1].Entitlements[1], resources[1].Entitlements[2]
	if reader.Version != "3" || reader.Risk != "" || admin.Risk != countersign.HighRisk || admin.Version != "v1" || writer.Title != "Reads # and 'writes' \"it\" \u2028 {all}" {
		t.Errorf("they are %+v, %+v, %+v", reader, admin, writer)
	}
}

func TestWhatIsWrongWithAListIsNamedByItsLine(t *testing.T) {
	for name, test := range map[string]struct{ lines, want string }{
		"nothing":           {"", "list:1:1: there is no entitlement in the list: 0 line(s), of which the mapping leaves out 0"},
		"no JSON":           {`{"name":"a"}` + "\nreader\n", "list:2:1: this is not one JSON object"},
		"a list":            {`["a"]`, "list:1:1: this is not one JSON object"},
		"two on a line":     {`{"name":"a"} {"name":"b"}`, "list:1:1: this is not one JSON object"},
		"null":              {"null", "list:1:1: this is not one JSON object"},
		"no name":           {`{"title":"a"}`, `list:1:1: "name" is missing, or empty`},
		"an empty name":     {`{"name":""}`, `list:1:1: "name" is missing, or empty`},
		"a name of a list":  {`{"name":["a"]}`, `list:1:1: "name" is not a text`},
		"a wildcard":        {`{"name":"a"}` + "\n" + `{"name":"s3:*"}`, `list:2:1: the name "s3:*" has`},
		"a path":            {`{"name":"a/b"}`, `list:1:1: the name "a/b" has`},
		"twice":             {`{"name":"a"}` + "\n\n" + `{"name":"a"}`, `list:3:1: "a" stands in line 1 already`},
		"an unknown risk":   {`{"name":"a","risk":"hihg"}`, `list:1:1: "risk" is low, medium or high, unlike "hihg"`},
		"a risk of a thing": {`{"name":"a","risk":{}}`, `list:1:1: "risk" is low, medium or high, unlike "map[]"`},
		"a version of two":  {`{"name":"a","version":"1, 2"}`, `list:1:1: the version "1, 2" has`},
		"a long line":       {`{"name":"a"}` + "\n" + `{"name":"` + strings.Repeat("x", maxListLine) + `"}`, "list:2:1: the line has more than 1048576 bytes"},
		"two problems":      {`{"name":"a b","version":[]}`, `list:1:1: the name "a b" has at most 128 bytes and no spaces, commas, brackets, slashes or stars` + "\n" + `"version" is not a text`},
	} {
		t.Run(name, func(t *testing.T) {
			_, wrong := listed(t, test.lines, PlainMapping())
			if !strings.HasPrefix(wrong, test.want) {
				t.Errorf("got  %s\nwant %s", wrong, test.want)
			}
		})
	}
	if _, wrong := listed(t, strings.Repeat("x\n", 1000), PlainMapping()); strings.Count(wrong, "\n") != maxProblems-1 {
		t.Errorf("%d problems are told", strings.Count(wrong, "\n")+1)
	}
	var many bytes.Buffer
	for range MaxListed + 1 {
		many.WriteString("\n")
	}
	many.WriteString(`{"name":"a"}`)
	if _, wrong := listed(t, many.String(), PlainMapping()); !strings.Contains(wrong, "at most 20000 lines") {
		t.Error(wrong)
	}
}

func TestAMappingSaysWhatTheMembersOfALineAre(t *testing.T) {
	mapping, problems := ParseMapping(File{"m", []byte(`
name: id
version: digest
with: app
without: old
resource: rights
risk: {high: [app.level >= 3, flags has root, app.level absent], medium: [app.writes]}
`)})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	listing, wrong := listed(t, strings.Join([]string{
		`{"id":"three","app":{"level":3}}`, `{"id":"two","app":{"level":2.9,"writes":true}}`, `{"id":"root","app":{"level":0},"flags":["x","root"]}`,
		`{"id":"unknown","app":{}}`, `{"id":"low","app":{"level":1,"writes":false},"flags":[]}`, `{"id":"gone","app":{"level":3},"old":true}`, `{"id":"no-app"}`,
	}, "\n"), mapping)
	if wrong != "" {
		t.Fatal(wrong)
	}
	var got []string
	for _, e := range listing.Entitlements {
		got = append(got, e.Name+" "+string(e.Risk))
	}
	if text := strings.Join(got, ", "); text != "three high, two medium, root high, unknown high, low low" || listing.LeftOut != 2 || listing.Resource != "rights" {
		t.Errorf("%s; %d left out, on %s", text, listing.LeftOut, listing.Resource)
	}
	same, _ := listed(t, `{"app":{"level":3},"id":"three"}`, mapping)
	other, _ := listed(t, `{"app":{"level":4},"id":"three"}`, mapping)
	if first := listing.Entitlements[0].Version; first != same.Entitlements[0].Version || first == other.Entitlements[0].Version {
		t.Errorf("the versions are %s, %s, %s", first, same.Entitlements[0].Version, other.Entitlements[0].Version)
	}
	if _, wrong := listed(t, `{"id":"a","app":{"level":"3"}}`, mapping); wrong != `list:1:1: "app.level" is not a number` {
		t.Error(wrong)
	}
	for text, want := range map[string]string{
		"risk: severity":                         `a mapping needs the key "name"`,
		"name: a\nrisk: {hihg: [a]}":             `"hihg" is not a key`,
		"name: a\nrisk: {high: [a > 3]}":         `"a > 3" is not a condition`,
		"name: a\nrisk: {high: [a >= many]}":     `"many" is not a number`,
		"name: a\nrisk: {high: [a..b]}":          `"a..b" is not a condition`,
		"name: a, b\nrisk: r":                    `names a member of the lines`,
		"name: a\nrisk: r\nversion: [a]":         "m:3:",
		"name: a\nrisk: r\nlevel: three\nx: y\n": `"level" is not a key`,
	} {
		_, problems := ParseMapping(File{"m", []byte(text)})
		if len(problems) == 0 || !strings.Contains(problems[0].String(), want) {
			t.Errorf("%q: %v, want %s", text, problems, want)
		}
	}
	if _, err := KnownMapping("aws-managed-policie"); err == nil || !strings.Contains(err.Error(), `did you mean "aws-managed-policies"?`) {
		t.Errorf("%v", err)
	}
}

func TestACatalogueOfASystemThatIsNotThereIsNamed(t *testing.T) {
	const billing = "people: [{login: olga, name: Olga}]\nsystems: [{name: billing, owner: olga, environment: prod, risk: low, connector: role, resources: [{name: rights, entitlements: [{name: reader, kind: role}]}]}]\n"
	for text, want := range map[string]string{
		"catalogues: [{system: biling, resource: {name: more}}]":    `there is no system "biling" that this catalogue could belong to; did you mean "billing"?`,
		"catalogues: [{system: billing, resource: {name: rights}}]": `there is another resource of this system "rights" already`,
		"catalogues: [{system: billing}]":                           `a catalogue needs the key "resource"`,
	} {
		_, problems := Parse([]File{{"a.yaml", []byte(billing)}, {"b.yaml", []byte(text)}})
		if len(problems) == 0 || !strings.Contains(problems[0].String(), want) || problems[0].File != "b.yaml" {
			t.Errorf("%s: %v", text, problems)
		}
	}
}

// Lists that Amazon and Microsoft publish.
func TestPublishedListsAreReadWithTheirMappings(t *testing.T) {
	folder := os.Getenv("COUNTERSIGN_TEST_DATA")
	for name, test := range map[string]struct {
		file              string
		count, high, left int
	}{
		"aws-managed-policies":        {"aws-managed-policies.jsonl", 1567, 609, 74},
		"microsoft-graph-application": {"ms-graph-permissions.jsonl", 703, 86, 214},
		"microsoft-graph-delegated":   {"ms-graph-permissions.jsonl", 739, 36, 178},
	} {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join(folder, test.file))
			if folder == "" || err != nil {
				t.Skipf("COUNTERSIGN_TEST_DATA names no folder with %s: %v", test.file, err)
			}
			mapping, err := KnownMapping(name)
			if err != nil {
				t.Fatal(err)
			}
			listing, problems := ReadList(test.file, bytes.NewReader(content), mapping, countersign.RoleKind, nil)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			if len(listing.Entitlements) != test.count || listing.Risks()[countersign.HighRisk] != test.high || listing.LeftOut != test.left {
				t.Errorf("%d entitlements, %v, %d left out", len(listing.Entitlements), listing.Risks(), listing.LeftOut)
			}
			listing.System = "cloud"
			if _, err := listing.Catalogue(test.file); err != nil {
				t.Error(err)
			}
		})
	}
}
