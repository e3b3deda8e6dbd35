package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

const packagesFile = `packages:
  - name: staff
    title: What everybody needs
    description: The wiki.
    entitlements: [wiki/pages/editor, payments-api/payments/payments:write]
    beneficiary: [person]
  - {name: machines, title: What machines need, entitlements: [logs/all/write]}
`

func TestWhatIsWrongWithAPackageIsNamed(t *testing.T) {
	many := "entitlements: [" + strings.TrimSuffix(strings.Repeat("a/b/c, ", 51), ", ") + "]"
	for i := range 51 {
		many = strings.Replace(many, "a/b/c,", "a/b/d"+strings.Repeat("x", i)+",", 1)
	}
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":      {"description:", "descripton:", "p.yaml:4:5: unknown key `descripton`: did you mean `description`?"},
		"two of one name":  {"machines", "staff", "p.yaml:7:12: the package `staff` is given twice, first in p.yaml:2"},
		"a name":           {"machines", "Machines", "p.yaml:7:12: `Machines` is not a name: write it in lower case with hyphens, as in api-key"},
		"no title":         {"    title: What everybody needs\n", "", "p.yaml:2:5: the key `title` is missing"},
		"no entitlements":  {"[logs/all/write]", "[]", "p.yaml:7:63: a package has from 1 to 50 entitlements, and this one has 0"},
		"too many":         {"entitlements: [logs/all/write]", many, "p.yaml:7:63: a package has from 1 to 50 entitlements, and this one has 51"},
		"no resource":      {"wiki/pages/editor", "wiki/editor", "p.yaml:5:20: `wiki/editor` is not an entitlement: write it as system/resource/entitlement"},
		"an empty part":    {"wiki/pages/editor", "wiki//editor", "p.yaml:5:20: `wiki//editor` is not an entitlement: write it as system/resource/entitlement"},
		"one that repeats": {"payments-api/payments/payments:write", "wiki/pages/editor", "p.yaml:5:39: `wiki/pages/editor` stands twice"},
		"beneficiary":      {"[person]", "[persn, service]", "p.yaml:6:19: unknown kind `persn`: did you mean `person`?"},
		"no beneficiary":   {"[person]", "[]", "p.yaml:6:18: `beneficiary` names no kind: use `person`, `service`, `workload` or `agent`"},
	} {
		t.Run(name, func(t *testing.T) { wantSpoiled(t, packagesFile, c.from, c.to, c.want) })
	}
}

func TestPackagesAreFoundByName(t *testing.T) {
	set := load(t, File{"p.yaml", []byte(packagesFile)})
	infos := set.Packages()
	if len(infos) != 2 || infos[0].Name != "machines" || infos[1].Name != "staff" || infos[1].Description != "The wiki." || infos[0].Beneficiary != nil || infos[0].Rule == "" {
		t.Fatalf("the packages are %+v", infos)
	}
	staff, err := set.Package("staff")
	if err != nil || !slices.Equal(staff.Entitlements, []string{"wiki/pages/editor", "payments-api/payments/payments:write"}) || !slices.Equal(staff.Beneficiary, []countersign.IdentityKind{countersign.Person}) {
		t.Errorf("%+v, %v", staff, err)
	}
	staff.Entitlements[0] = "changed"
	if again, _ := set.Package("staff"); again.Entitlements[0] != "wiki/pages/editor" {
		t.Error("a caller changed the set")
	}
	if _, err := set.Package("stuff"); countersign.KindOf(err) != countersign.NotFound || countersign.ReasonOf(err) != "no-package" || !strings.Contains(err.Error(), "unknown package `stuff`: did you mean `staff`?") {
		t.Errorf("the error is %v", err)
	}
}

const birthrightsFile = `birthrights:
  - {name: staff-basics, when: 'identity.affiliation == "employee"', package: staff, overlap: 14d}
  - {name: machine-basics, when: '"servers" in identity.groups && now < timestamp("2027-01-01T00:00:00Z")', package: machines}
`

func TestWhatIsWrongWithABirthrightIsNamed(t *testing.T) {
	packages := File{"q.yaml", []byte(packagesFile)}
	condition := `identity.affiliation == "employee"`
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":       {"overlap:", "overlop:", "p.yaml:2:86: unknown key `overlop`: did you mean `overlap`?"},
		"two of one name":   {"machine-basics", "staff-basics", "p.yaml:3:12: the birthright `staff-basics` is given twice, first in p.yaml:2"},
		"no condition":      {"when: '" + condition + "', ", "", "p.yaml:2:5: the key `when` is missing"},
		"unknown package":   {"package: staff", "package: stuff", "p.yaml:2:79: unknown package `stuff`: did you mean `staff`?"},
		"no overlap":        {"14d", "0", "p.yaml:2:95: \"0\" is not a duration: write a whole number with a unit, as in 30d, 8h, 1d12h or 45m"},
		"too long an one":   {"14d", "91d", "p.yaml:2:95: `overlap` is 91d, and must be from 0d to 90d"},
		"misspelt":          {"identity.affiliation", "identity.afiliation", "p.yaml:2:41: unknown attribute `afiliation`: did you mean `affiliation`?"},
		"another variable":  {"identity.affiliation", "requester.affiliation", "p.yaml:2:33: unknown name `requester`: use `identity` or `now`"},
		"closed list":       {`"employee"`, `"emploee"`, "p.yaml:2:57: unknown value `emploee`: did you mean `employee`?"},
		"no bool":           {condition, "identity.name", "p.yaml:2:32: `when` must be a condition (bool), and `identity.name` is a text (string)"},
		"too costly":        {condition, "identity.groups.all(a, identity.groups.all(b, identity.groups.all(c, a + b + c != identity.name)))", "p.yaml:2:32: `when` could cost too much to judge"},
		"a time zone":       {condition, `now.getHours("Europe/Berlin") > 1`, "p.yaml:2:45: `getHours` takes no time zone by name: use \"UTC\" or a fixed offset such as \"+02:00\""},
		"answers have none": {condition, "answers.x == 1", "p.yaml:2:33: unknown name `answers`: use `identity` or `now`"},
	} {
		t.Run(name, func(t *testing.T) {
			content := strings.Replace(birthrightsFile, c.from, c.to, 1)
			_, problems := Load([]File{{"p.yaml", []byte(content)}, packages}, nil)
			if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), c.want) {
				t.Errorf("got  %v\nwant %s", problems, c.want)
			}
		})
	}
}

func TestABirthrightHoldsForWhomItsConditionNames(t *testing.T) {
	// The packages stand in a file that comes later.
	set := load(t, File{"a.yaml", []byte(birthrightsFile)}, File{"p.yaml", []byte(packagesFile)})
	infos := set.Birthrights()
	if len(infos) != 2 || infos[0].Name != "machine-basics" || infos[0].Overlap != 7*countersign.Day || infos[1].Overlap != 14*countersign.Day || infos[1].When != `identity.affiliation == "employee"` {
		t.Fatalf("the birthrights are %+v", infos)
	}
	kept := load(t, File{"a.yaml", []byte(strings.Replace(birthrightsFile, "14d", "0d", 1))}, File{"p.yaml", []byte(packagesFile)})
	if overlap := kept.Birthrights()[1].Overlap; overlap != 0 {
		t.Errorf("the overlap is %s, want none", overlap)
	}
	for name, c := range map[string]struct {
		party   Party
		now     countersign.Instant
		want    string
		problem string
	}{
		"an employee":                 {Party{Kind: countersign.Person, Affiliation: countersign.Employee}, monday, "staff-basics staff", ""},
		"a vendor":                    {Party{Kind: countersign.Person, Affiliation: countersign.Vendor}, monday, "", ""},
		"somebody not known enough":   {Party{Name: "dana", Kind: countersign.Person}, monday, "", "The birthright staff-basics cannot be judged for dana, who has no identity.affiliation."},
		"both":                        {Party{Kind: countersign.Person, Affiliation: countersign.Employee, Groups: []string{"servers"}}, monday, "machine-basics machines, staff-basics staff", ""},
		"a service, by its kind only": {Party{Kind: countersign.Service, Groups: []string{"servers"}}, monday, "machine-basics machines", ""},
		"later":                       {Party{Kind: countersign.Service, Groups: []string{"servers"}}, mustInstant("2027-01-01T00:00:00Z"), "", ""},
	} {
		due, problems := set.Birthright(c.party, c.now)
		var got []string
		for _, one := range due {
			got = append(got, one.Rule+" "+one.Package)
			if one.Digest != infos[0].Rule {
				t.Errorf("the digest is %s", one.Digest)
			}
		}
		problem := ""
		for _, one := range problems {
			problem += one.Because
		}
		if strings.Join(got, ", ") != c.want || problem != c.problem {
			t.Errorf("%s: due %v, problems %v", name, got, problems)
		}
	}
}

func TestABirthrightThatFailsOnTheFactsIsNotJudged(t *testing.T) {
	file := strings.Replace(birthrightsFile, `identity.affiliation == "employee"`, "1 / identity.groups.size() == 1", 1)
	set := load(t, File{"a.yaml", []byte(file)}, File{"p.yaml", []byte(packagesFile)})
	due, problems := set.Birthright(Party{Name: "dana", Kind: countersign.Person}, monday)
	if len(due) > 0 || len(problems) != 1 || problems[0].Because != "The birthright staff-basics cannot be judged for dana: division by zero." {
		t.Errorf("due %v, problems %v", due, problems)
	}
}
