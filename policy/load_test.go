package policy

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

// A correct file; each case below spoils one line of it.
const rightFile = `request: api-key
title: API key
priority: 1
grants: {system: any, kind: credential}
beneficiary: [service]
ask:
  purpose: {type: string, minLength: 20}
  size: {type: string, enum: [small, large], optional: true}
variables:
  risky: resource.risk == "high"
limits: {duration: {default: 30d, max: 90d}, open_per_holder: 1}
evidence:
  - {name: note, kind: text, due: at-request}
refuse:
  - when: resource.environment == "prod"
    because: '"No keys for " + beneficiary.name'
stages:
  - name: manager
    when: variables.risky
    approvers: [manager-of(requester)]
    need: 1
    within: 2 business days
    then: {escalate_to: [owner-of(resource)], within: 1 business day, then: deny}
fulfil: [vault.issue-key]
grant: {ends: revoke, ends_when: [owner-left, unused(30d)]}
close: {when: [gone]}
`

func TestWhatIsWrongIsNamedAtItsPlaceWithTheNearestWord(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":              {"    approvers: [", "    aprovers: [", "p.yaml:20:5: unknown key `aprovers`: did you mean `approvers`?"},
		"unknown top key":          {"limits:", "limit:", "p.yaml:11:1: unknown key `limit`: did you mean `limits`?"},
		"missing key":              {"title: API key\n", "", "p.yaml:1:1: the key `title` is missing"},
		"duplicate key":            {"title: API key", "request: again", "p.yaml:2:1: the key `request` stands twice, first in line 1"},
		"name":                     {"request: api-key", "request: API key", "p.yaml:1:10: `API key` is not a name: write it in lower case with hyphens, as in api-key"},
		"kind of entitlement":      {"kind: credential", "kind: credentials", "p.yaml:4:29: unknown kind of entitlement `credentials`: did you mean `credential`?"},
		"beneficiary":              {"[service]", "[servise]", "p.yaml:5:15: unknown kind `servise`: did you mean `service`?"},
		"type of a field":          {"type: string, minLength", "type: strng, minLength", "p.yaml:7:19: unknown type `strng`: did you mean `string`?"},
		"key of another type":      {"minLength: 20", "maximum: 20", "p.yaml:7:27: `maximum` does not belong to the type string"},
		"name of a field":          {"  purpose:", "  the-purpose:", "p.yaml:7:3: `the-purpose` cannot be the name of a field: write it as in purpose or data_class"},
		"duration":                 {"max: 90d", "max: 90x", "p.yaml:11:40: \"90x\" is not a duration: write a whole number with a unit, as in 30d, 8h, 1d12h or 45m"},
		"default beyond max":       {"default: 30d", "default: 91d", "p.yaml:11:30: the default duration is longer than the longest, 90d"},
		"kind of evidence":         {"kind: text", "kind: txt", "p.yaml:13:24: unknown kind of evidence `txt`: did you mean `text`?"},
		"closure without within":   {"due: at-request", "due: at-closure", "p.yaml:13:5: evidence that is due at closure needs `within`, the time after the end of access"},
		"verified without record":  {"kind: text,", "kind: record, verified_by: directory,", "p.yaml:13:5: no field of `ask` has the format `system-record`, so there is no record to verify"},
		"attribute":                {"resource.environment ==", "resource.enviroment ==", "p.yaml:15:19: unknown attribute `enviroment`: did you mean `environment`?"},
		"name in a condition":      {"resource.environment ==", "resorce.environment ==", "p.yaml:15:11: unknown name `resorce`: did you mean `resource`?"},
		"function":                 {`resource.environment == "prod"`, `siz(resource.environment) > 2`, "p.yaml:15:14: unknown name `siz`: did you mean `size`?"},
		"value of a closed list":   {`risk == "high"`, `risk == "hihg"`, "p.yaml:10:27: unknown value `hihg`: did you mean `high`?"},
		"value on the left":        {`resource.risk == "high"`, `'"hihg" != resource.risk'`, "p.yaml:10:11: unknown value `hihg`: did you mean `high`?"},
		"value in a list":          {`risk == "high"`, `risk in ["low", "midium"]`, "p.yaml:10:35: unknown value `midium`: did you mean `medium`?"},
		"value through a variable": {"variables.risky", `'(true ? beneficiary : requester).kind == "robot"'`, "p.yaml:19:53: unknown value `robot`: use `person`, `service`, `workload` or `agent`"},
		"value of an answer":       {`resource.environment == "prod"`, `answers.size == "larg"`, "p.yaml:15:27: unknown value `larg`: did you mean `large`?"},
		"misspelt answer":          {`resource.environment == "prod"`, `answers.sise == "large"`, "p.yaml:15:18: unknown attribute `sise`: did you mean `size`?"},
		"misspelt variable":        {"variables.risky", "variables.risk", "p.yaml:19:20: unknown attribute `risk`: did you mean `risky`?"},
		"no condition":             {"variables.risky", "resource.risk", "p.yaml:19:11: `when` must be a condition (bool), and `resource.risk` is a text (string)"},
		"a number as condition":    {"variables.risky", "7", "p.yaml:19:11: `when` must be a condition (bool), and `7` is of type int"},
		"because is no text":       {`'"No keys for " + beneficiary.name'`, `now`, "p.yaml:16:14: `because` must be a text (string), and `now` is a moment (timestamp)"},
		"syntax":                   {"variables.risky", "variables.risky &&", "p.yaml:19:29: Syntax error: mismatched input '<EOF>'"},
		"duration literal":         {"variables.risky", `request.duration > duration("30x")`, "p.yaml:19:39: invalid duration argument"},
		"dynamic value":            {"variables.risky", `dyn(resource).foo == 1`, "p.yaml:19:14: `dyn()` is not allowed: every value has a known type"},
		"time zone by name":        {"variables.risky", `now.getHours("Europe/Berlin") > 8`, "p.yaml:19:23: `getHours` takes no time zone by name: use \"UTC\" or a fixed offset such as \"+02:00\""},
		"cost":                     {"variables.risky", `requester.groups.all(a, requester.groups.all(b, requester.groups.all(c, a + b + c != "x")))`, "p.yaml:19:11: `when` could cost too much to judge"},
		"approver rule":            {"manager-of(requester)", "manger-of(requester)", "p.yaml:20:17: unknown approver rule `manger-of`: did you mean `manager-of`?"},
		"subject of a rule":        {"manager-of(requester)", "manager-of(resource)", "p.yaml:20:17: unknown subject of `manager-of` `resource`: use `requester`, `beneficiary` or `sponsor`"},
		"on-call":                  {"manager-of(requester)", "on-call()", "p.yaml:20:17: `on-call()` cannot be used: no on-call source is configured"},
		"no brackets":              {"manager-of(requester)", "manager-of", "p.yaml:20:17: `manager-of` is not an approver rule: write `manager-of(…)`"},
		"parameter":                {"fulfil: [vault.issue-key]", "fulfil: [vault.issue-key]\nparameters: [purposes]", "p.yaml:25:14: unknown field of `ask` to give to the connector `purposes`: did you mean `purpose`?"},
		"covers without a record":  {"kind: text,", "kind: text, covers: true,", "p.yaml:13:30: `covers` belongs to evidence with `verified_by: directory`"},
		"parameter twice":          {"fulfil: [vault.issue-key]", "fulfil: [vault.issue-key]\nparameters: [size, size]", "p.yaml:25:20: `size` stands twice"},
		"need 0":                   {"need: 1", "need: 0", "p.yaml:21:11: `need` is 0, and must be from 1 to 100"},
		"need negative":            {"need: 1", "need: -1", "p.yaml:21:11: `need` is -1, and must be from 1 to 100"},
		"need beyond supply":       {"[manager-of(requester)]\n    need: 1", "[person(mara), person(Mara ), group(x)]\n    need: 2", "p.yaml:20:31: the rule `person(mara)` stands twice"},
		"need two of one":          {"[manager-of(requester)]\n    need: 1", "[person(mara)]\n    need: 2", "p.yaml:18:5: this stage can never be decided: `person(mara)` must find 2 different people, and can find 1"},
		"need two managers":        {"need: 1", "need: 2", "p.yaml:18:5: this stage can never be decided: `manager-of(requester)` must find 2 different people, and can find 1"},
		"within":                   {"2 business days", "2 busines days", "p.yaml:22:13: `2 busines days` is not a time to act in: write it as in `2 business days`, `4 business hours`, `3d` or `8h`"},
		"consequence":              {"then: deny}", "then: dney}", "p.yaml:23:77: unknown consequence `dney`: did you mean `deny`?"},
		"calendar":                 {"within: 2 business days", "calendar: berlin", "p.yaml:22:15: unknown calendar `berlin`: use `default`"},
		"earlier stage":            {"need: 1", "distinct_from: [security]", "p.yaml:21:21: unknown earlier stage `security`: use `requester` or `beneficiary`"},
		"several steps":            {"[vault.issue-key]", "[vault.issue-key, mail.send]", "p.yaml:24:9: `fulfil` has 2 steps, and a request is carried out by exactly one today"},
		"end condition":            {"owner-left", "owner-lest", "p.yaml:25:35: unknown end condition `owner-lest`: did you mean `owner-left`?"},
		"anchor":                   {"title: API key", "title: &a API key", "p.yaml:2:8: anchors and aliases are not allowed: write the value out"},
		"tag":                      {"title: API key", "title: !!str API key", "p.yaml:2:8: the tag !!str is not allowed: write the plain value"},
		"yaml":                     {"[service]", "[service", "p.yaml:5:1: not YAML: did not find expected ',' or ']'"},
		"two documents":            {"close: {when: [gone]}\n", "close: {when: [gone]}\n---\nrequest: b\n", "p.yaml:27:1: a policy file holds one document"},
	} {
		t.Run(name, func(t *testing.T) {
			content := strings.Replace(rightFile, c.from, c.to, 1)
			if content == rightFile {
				t.Fatalf("%q is not in the file", c.from)
			}
			set, problems := Load([]File{{"p.yaml", []byte(content)}}, nil)
			if set != nil || len(problems) == 0 {
				t.Fatal("it loads")
			}
			for _, problem := range problems {
				if strings.HasPrefix(problem.String(), c.want) {
					return
				}
			}
			t.Errorf("got  %v\nwant %s", problems, c.want)
		})
	}
}

func TestTheRightFileLoads(t *testing.T) { load(t, File{"p.yaml", []byte(rightFile)}) }

func TestEveryProblemIsReportedAtOnceInOrder(t *testing.T) {
	content := strings.NewReplacer("minLength", "minLenght", `risk == "high"`, `risk == "hihg"`, "need: 1", "need: 0", "unused(30d)", "unused").Replace(rightFile)
	_, problems := Load([]File{{"p.yaml", []byte(content)}, {"a.yaml", nil}}, nil)
	var places []string
	for _, problem := range problems {
		places = append(places, problem.File+":"+strings.SplitN(problem.String(), ":", 3)[1])
	}
	if got := strings.Join(places, " "); got != "a.yaml:1 p.yaml:7 p.yaml:10 p.yaml:21 p.yaml:25" {
		t.Errorf("the problems stand at %s: %v", got, problems)
	}
}

func TestThePlaceInsideABlockOfConditionIsExact(t *testing.T) {
	content := strings.Replace(rightFile, "when: variables.risky", "when: |\n      variables.risky &&\n      resource.risk != \"hi\"", 1)
	_, problems := Load([]File{{"p.yaml", []byte(content)}}, nil)
	if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), "p.yaml:21:24: unknown value `hi`") {
		t.Errorf("the problems are %v", problems)
	}
}

func TestFilesThatAreNoPolicyAreRefused(t *testing.T) {
	deep := "request: " + strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for name, c := range map[string]struct{ content, want string }{
		"empty":         {"", "x:1:1: the file is empty"},
		"a list":        {"- a", "x:1:1: the file should begin"},
		"misspelt":      {"requst: a", "x:1:1: unknown key `requst`: did you mean `request`?"},
		"too large":     {"#" + strings.Repeat("x", maxFileSize), "x:1:1: the file has 1048577 bytes"},
		"too deep":      {deep, "x:1:42: nested deeper than 32"},
		"invalid UTF-8": {"request: \xff", "x:1:1: the file is not valid UTF-8"},
		"alias bomb":    {"a: &a [x, x]\nb: &b [*a, *a]\n", "x:1:4: anchors and aliases are not allowed"},
		"no calendars":  {"calendars:", "x:1:11: `calendars` should be a mapping"},
		"a bad zone":    {"calendars: {default: {timezone: Europe/Berlim, days: [mon], from: \"09:00\", to: \"17:00\"}}", "x:1:33: unknown time zone `Europe/Berlim`"},
		"a bad day":     {"calendars: {default: {timezone: UTC, days: [mon, thi], from: \"09:00\", to: \"17:00\"}}", "x:1:50: unknown day `thi`"},
		"a night shift": {"calendars: {default: {timezone: UTC, days: [mon], from: \"22:00\", to: \"06:00\"}}", "x:1:70: the working day ends before it begins"},
		"a bad hour":    {"calendars: {default: {timezone: UTC, days: [mon], from: \"9\", to: \"17:00\"}}", "x:1:57: `9` is not a time of the day"},
	} {
		_, problems := Load([]File{{"x", []byte(c.content)}}, time.LoadLocation)
		if len(problems) == 0 || !strings.HasPrefix(problems[0].String(), c.want) {
			t.Errorf("%s: got %v, want %s", name, problems, c.want)
		}
	}
}

func TestTwoTypesThatMatchOneRequestNeedDifferentPriorities(t *testing.T) {
	other := strings.Replace(rightFile, "request: api-key", "request: other-key", 1)
	_, problems := Load([]File{{"a.yaml", []byte(rightFile)}, {"b.yaml", []byte(other)}}, nil)
	if len(problems) != 1 || !strings.Contains(problems[0].String(), "b.yaml:1:1: `other-key` and `api-key` (a.yaml) could match the same request") {
		t.Fatalf("the problems are %v", problems)
	}
	set := load(t, File{"a.yaml", []byte(rightFile)}, File{"b.yaml", []byte(strings.Replace(other, "priority: 1", "priority: 2", 1))})
	if found, err := set.Find("", facts()); err != nil || found != "other-key" {
		t.Errorf("found %q, %v; want the higher priority", found, err)
	}
	if found, err := set.Find("api-key", facts()); err != nil || found != "api-key" {
		t.Errorf("found %q, %v; want the one that was named", found, err)
	}
	for _, change := range [][2]string{{"system: any", "system: elsewhere"}, {"kind: credential", "kind: role"}, {"[service]", "[person]"}, {"kind: credential", "kind: credential, resource: one"}} {
		narrowed := strings.Replace(other, change[0], change[1], 1)
		first := strings.NewReplacer("system: any", "system: here", "kind: credential", "kind: credential, resource: two").Replace(rightFile)
		load(t, File{"a.yaml", []byte(first)}, File{"b.yaml", []byte(narrowed)})
	}
}

func TestFindSaysWhyATypeDoesNotMatch(t *testing.T) {
	set := sample(t)
	f := facts()
	for name, c := range map[string]struct {
		name, reason, words string
		change              func(*Facts)
	}{
		"unknown":     {"api-kez", ReasonNoRequestType, "did you mean `api-key`?", func(*Facts) {}},
		"beneficiary": {"api-key", ReasonWrongRequestType, "dana is of the kind person", func(f *Facts) { f.Beneficiary = f.Requester }},
		"system":      {"database-role", ReasonWrongRequestType, "for the kinds `person`", func(*Facts) {}},
		"kind":        {"api-key", ReasonWrongRequestType, "has the kind `role`", func(f *Facts) { f.Items = []Item{{Entitlement: EntitlementFact{Name: "e", Kind: "role"}}} }},
		"nothing":     {"", ReasonNoRequestType, "no request type offers this", func(f *Facts) { f.Beneficiary = f.Requester }},
		"no items":    {"", ReasonNothingIsAskedFor, "name at least one", func(f *Facts) { f.Items = nil }},
	} {
		changed := f
		c.change(&changed)
		_, err := set.Find(c.name, changed)
		if countersign.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v (%s), want %s", name, err, countersign.ReasonOf(err), c.reason)
		}
	}
}

func TestNeedsNamesEveryRuleAndRecord(t *testing.T) {
	queries, err := sample(t).Needs("api-key", facts())
	if err != nil {
		t.Fatal(err)
	}
	want := []Query{{Approvers: "manager-of(requester)"}, {Approvers: "second-owner-of(resource)"}, {Approvers: "group(platform-leads)"},
		{Approvers: "group(security)"}, {Record: "SR-1042"}, {OpenRequests: true}}
	if len(queries) != len(want) {
		t.Fatalf("it needs %v", queries)
	}
	for i := range want {
		if queries[i] != want[i] {
			t.Errorf("query %d is %v, want %v", i, queries[i], want[i])
		}
	}
}

func TestTheKeptFormOfASetGivesTheSameDigest(t *testing.T) {
	files := sampleFiles(t)
	set := load(t, files...)
	// Golden: the encoding of a policy set enters every event of its requests.
	const golden = "sha256:6b5beb6ca42f35a8e5f29002a0913cec4defb4d41dd712859b8a365b769102c5"
	if set.Digest() != golden {
		t.Errorf("the digest is %s, want %s", set.Digest(), golden)
	}
	files[0], files[1] = files[1], files[0]
	if other := load(t, files...); other.Digest() != set.Digest() {
		t.Error("the order of the files changes the digest")
	}
	again, err := Parse(set.Bytes(), time.LoadLocation)
	if err != nil || again.Digest() != set.Digest() || !bytes.Equal(again.Bytes(), set.Bytes()) {
		t.Errorf("read back: %v, %v", again, err)
	}
	files[0].Path = "renamed.yaml"
	if other := load(t, files...); other.Digest() == set.Digest() {
		t.Error("the path of a file does not enter the digest")
	}
	for _, spoiled := range []string{"", "{}", "{\"files\": []}", `{"files":[],"x":1}`, `{"files":[{"path":"a","content":"b: 1"}]}`, string(set.Bytes()) + " "} {
		if _, err := Parse([]byte(spoiled), time.LoadLocation); countersign.KindOf(err) != countersign.Invalid {
			t.Errorf("%.40q is read as a set: %v", spoiled, err)
		}
	}
}

func TestTheCatalogueShowsEachType(t *testing.T) {
	types := sample(t).Types()
	if len(types) != 3 || types[0].Name != "api-key" || types[1].Name != "database-role" || types[2].Name != "wiki-reader" {
		t.Fatalf("the catalogue is %+v", types)
	}
	key := types[0]
	if strings.Join(key.Fields, " ") != "purpose consumer data_class" || key.DefaultDuration != 30*countersign.Day || key.MaxDuration != 90*countersign.Day {
		t.Errorf("%+v", key)
	}
	for _, part := range []string{`"$schema":"https://json-schema.org/draft/2020-12/schema"`, `"additionalProperties":false`, `"required":["purpose","consumer"]`, `"minLength":20`} {
		if !strings.Contains(string(key.Ask), part) {
			t.Errorf("the schema %s has no %s", key.Ask, part)
		}
	}
}
