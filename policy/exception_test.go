package policy

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

const exceptionsFile = `exceptions:
  longest: 90d
  stage: {name: exception, approvers: [group(access-board)], need: 2, within: 2 business days, then: deny}
`

func TestWhatIsWrongWithExceptionsIsNamed(t *testing.T) {
	load(t, File{"p.yaml", []byte(exceptionsFile)})
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":           {"need: 2", "ned: 1", "p.yaml:3:62: unknown key `ned`: did you mean `need`?"},
		"a list":                {exceptionsFile, "exceptions: []\n", "p.yaml:1:13: `exceptions` should be a mapping of keys to values"},
		"no stage":              {exceptionsFile, "exceptions: {longest: 90d}\n", "p.yaml:1:13: the key `stage` is missing"},
		"a duration":            {"90d", "90x", "p.yaml:2:12: \"90x\" is not a duration: write a whole number with a unit, as in 30d, 8h, 1d12h or 45m"},
		"a condition":           {"need: 2", "when: \"true\"", "p.yaml:3:62: the exception stage has no `when`: people decide every exception"},
		"automatic":             {"need: 2", "automatic: \"true\"", "p.yaml:3:62: the exception stage has no `automatic`: people decide every exception"},
		"no approvers":          {"approvers: [group(access-board)], ", "", "p.yaml:3:10: the exception stage needs `approvers` or `quorum`"},
		"too few":               {"group(access-board)", "person(mara)", "p.yaml:3:10: this stage can never be decided: `person(mara)` must find 2 different people, and can find 1"},
		"a calendar":            {"then: deny", "calendar: berlin", "p.yaml:3:106: unknown calendar `berlin`: use `default`"},
		"distinct from a stage": {"then: deny", "distinct_from: [manager]", "p.yaml:3:112: unknown earlier stage `manager`: use `requester` or `beneficiary`"},
		"no name":               {"name: exception, ", "", "p.yaml:3:10: the key `name` is missing"},
	} {
		t.Run(name, func(t *testing.T) { wantSpoiled(t, exceptionsFile, c.from, c.to, c.want) })
	}
	wantSpoiled(t, exceptionsFile, "90d", "80d", "q.yaml:1:1: the block `exceptions` is given twice, first in p.yaml:1", File{"q.yaml", []byte(exceptionsFile)})
	wantSpoiled(t, rightFile, "name: manager", "name: exception", "p.yaml:18:11: a stage cannot be named `exception`: the exception stage of q.yaml:3 is", File{"q.yaml", []byte(exceptionsFile)})
}

const control = "Every change is read by the owner on the next day."

// exceptional are facts that a waivable rule refuses, with an exception.
func exceptional() Facts {
	f := smallFacts()
	f.Items, f.Held = []Item{payments}, []HeldItem{held("olga", orders)}
	f.Approvers["group(access-board)"] = people("helena", "ines", "mara")
	f.Exception = &ExceptionFact{Control: control, Owner: "idn_olga", OwnerActive: true, Until: monday.Add(30 * countersign.Day)}
	return f
}

func withExceptions(t testing.TB) *Set {
	t.Helper()
	return separated(t, File{"e.yaml", []byte(exceptionsFile)})
}

func TestAnExceptionWaivesWhatIsWaivableAndAddsItsStage(t *testing.T) {
	plan := judge(t, withExceptions(t), "small", exceptional())
	if len(plan.Refusals) > 0 || states(plan) != "boss waiting, exception waiting" {
		t.Fatalf("refusals %v, stages %s", plan.Refusals, states(plan))
	}
	wantRefusal(t, plan.Waived, ReasonToxicCombination, "is held by olga")
	if until := monday.Add(30 * countersign.Day); plan.LatestEnd != until || plan.Limits[0] != (Limit{Source: "the end of the exception", End: until}) {
		t.Errorf("the latest end is %s by %+v", plan.LatestEnd, plan.Limits)
	}
	added := plan.Stages[1]
	if added.Stage.Step != 2 || !slices.Equal(added.Stage.DistinctFrom, []string{"boss"}) || added.Stage.Within != "2 business days" || len(added.Standing) != 3 {
		t.Errorf("the stage is %+v", added)
	}
	text, err := withExceptions(t).Explain("small", exceptional())
	for _, part := range []string{"Nothing refuses it", "Waived, if the exception is approved\n  toxic-combination: Collecting", "the end of the exception: 2026-04-01T09:30:00.000Z", "2. exception", "by other people than decide boss"} {
		if !strings.Contains(text, part) {
			t.Errorf("%v\n%s\nhas no %q", err, text, part)
		}
	}
}

func TestFactsWithAnExceptionAreKeptAndJudgedAgain(t *testing.T) {
	set, f := withExceptions(t), exceptional()
	f.Exception.Waived = judge(t, set, "small", f).Waived
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var kept Facts
	if err := json.Unmarshal(data, &kept); err != nil || !reflect.DeepEqual(kept, f) {
		t.Errorf("read back: %v\n%+v\n%+v", err, kept, f)
	}
	if first, again := judge(t, set, "small", f), judge(t, set, "small", kept); !reflect.DeepEqual(first, again) || first.Route() != again.Route() {
		t.Errorf("judged again:\n%+v\n%+v", first, again)
	}
}

func TestTheRouteCoversWhatIsWaived(t *testing.T) {
	plan := judge(t, withExceptions(t), "small", exceptional())
	route := plan.Route()
	for name, change := range map[string]func(*Plan){
		"another rule":   func(p *Plan) { p.Waived = []Refusal{{Reason: ReasonToxicCombination, Rule: "another"}} },
		"another reason": func(p *Plan) { p.Waived = []Refusal{{Reason: ReasonRefusedByPolicy, Rule: "pay-and-change"}} },
		"nothing":        func(p *Plan) { p.Waived = nil },
		"no stage":       func(p *Plan) { p.Stages = p.Stages[:1] },
	} {
		changed := plan
		change(&changed)
		if changed.Route() == route {
			t.Errorf("%s is the same route", name)
		}
	}
}

func TestAnExceptionThatIsNotCompleteIsRefusedByField(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Facts)
		reason string
		words  []string
	}{
		"a short control":   {func(f *Facts) { f.Exception.Control = "  we will be careful " }, ReasonNoControl, []string{"/exception/control", "at least 20 characters", "these are 18"}},
		"no owner":          {func(f *Facts) { f.Exception.Owner = "" }, ReasonNoExceptionOwner, []string{"/exception/owner", "names none"}},
		"an owner who left": {func(f *Facts) { f.Exception.OwnerActive = false }, ReasonNoExceptionOwner, []string{"/exception/owner", "not active"}},
		"no end":            {func(f *Facts) { f.Exception.Until = 0 }, ReasonExceptionEnd, []string{"/exception/until", "at 2026-05-31T09:30:00.000Z at the latest"}},
		"an end now":        {func(f *Facts) { f.Exception.Until = f.Now }, ReasonExceptionEnd, []string{"/exception/until", "in the past"}},
		"too late an end":   {func(f *Facts) { f.Exception.Until = f.Now.Add(90*countersign.Day) + 1 }, ReasonExceptionEnd, []string{"/exception/until", "exceptions last 90d"}},
		"nothing to waive":  {func(f *Facts) { f.Held = nil }, ReasonNothingToWaive, []string{"/exception"}},
		"too small a board": {func(f *Facts) { f.Approvers["group(access-board)"] = people("helena", "dana") }, ReasonTooFewApprovers, []string{"stage exception", "dana (the requester)"}},
		"an empty board":    {func(f *Facts) { f.Approvers["group(access-board)"] = people() }, ReasonNoApprover, []string{"stage exception"}},
		"the board is the boss": {func(f *Facts) { f.Approvers["group(access-board)"] = people("helena", "mara") }, ReasonTooFewApprovers,
			[]string{"stage exception", "other people than `boss`"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := exceptional()
			c.change(&f)
			wantRefusal(t, judge(t, withExceptions(t), "small", f).Refusals, c.reason, c.words...)
		})
	}
	f := exceptional()
	f.Exception.Until = f.Now.Add(90 * countersign.Day)
	if plan := judge(t, withExceptions(t), "small", f); len(plan.Refusals) > 0 {
		t.Errorf("the longest exception is refused: %v", plan.Refusals)
	}
}

func TestWithoutExceptionsNothingIsWaived(t *testing.T) {
	plan := judge(t, separated(t), "small", exceptional())
	if len(plan.Waived) > 0 || len(plan.Refusals) != 2 || plan.Refusals[0].Reason != ReasonToxicCombination || plan.Refusals[1].Reason != ReasonNoExceptions || plan.Refusals[1].Field != "/exception" {
		t.Errorf("refusals %v, waived %v", plan.Refusals, plan.Waived)
	}
}

func TestWhatIsNotWaivableStaysRefused(t *testing.T) {
	f := exceptional()
	f.Requester.Active = false
	plan := judge(t, withExceptions(t), "small", f)
	wantRefusal(t, plan.Refusals, ReasonInactive)
	wantRefusal(t, plan.Waived, ReasonToxicCombination)
	strict := load(t, File{"t.yaml", []byte(smallType + "stages: [{name: boss, approvers: [manager-of(requester)]}]\n")}, File{"e.yaml", []byte(exceptionsFile)},
		File{"separation.yaml", []byte(strings.Replace(separationFile, "waivable: true", "waivable: false", 1))})
	plan = judge(t, strict, "small", exceptional())
	if len(plan.Waived) > 0 || len(plan.Refusals) != 2 || plan.Refusals[0].Reason != ReasonToxicCombination || plan.Refusals[1].Reason != ReasonNothingToWaive {
		t.Errorf("refusals %v, waived %v", plan.Refusals, plan.Waived)
	}
}

func TestARecheckLiftsOnlyWhatTheExceptionWasApprovedFor(t *testing.T) {
	set := withExceptions(t)
	waived := []Refusal{{Reason: ReasonToxicCombination, Rule: "pay-and-change", Because: "as it was then"}}
	for name, c := range map[string]struct {
		change func(*Facts)
		want   int
	}{
		"the same":            {func(*Facts) {}, 0},
		"another rule":        {func(f *Facts) { f.Exception.Waived[0].Rule = "another" }, 1},
		"another reason":      {func(f *Facts) { f.Exception.Waived[0].Reason = ReasonRefusedByPolicy }, 1},
		"nothing":             {func(f *Facts) { f.Exception.Waived = nil }, 1},
		"it has ended":        {func(f *Facts) { f.Exception.Until = f.Now }, 1},
		"no exception at all": {func(f *Facts) { f.Exception = nil }, 1},
		"something else":      {func(f *Facts) { f.Beneficiary.Active = false }, 1},
	} {
		f := exceptional()
		f.Exception.Waived = slices.Clone(waived)
		c.change(&f)
		if refusals := set.Recheck("small", f); len(refusals) != c.want {
			t.Errorf("%s: refused %v, want %d", name, refusals, c.want)
		}
	}
	strict := load(t, File{"t.yaml", []byte(smallType + "stages: [{name: boss, approvers: [manager-of(requester)]}]\n")},
		File{"separation.yaml", []byte(strings.Replace(separationFile, "waivable: true", "waivable: false", 1))})
	f := exceptional()
	f.Exception.Waived = waived
	wantRefusal(t, strict.Recheck("small", f), ReasonToxicCombination)
}

func TestAnExceptionNeedsItsApproversLookedUp(t *testing.T) {
	set := withExceptions(t)
	f := exceptional()
	rule := Query{Approvers: "group(access-board)"}
	if queries, err := set.Needs("small", f); err != nil || !slices.Contains(queries, rule) {
		t.Errorf("it needs %v, %v", queries, err)
	}
	f.Exception = nil
	if queries, err := set.Needs("small", f); err != nil || slices.Contains(queries, rule) {
		t.Errorf("without an exception it needs %v, %v", queries, err)
	}
	f = exceptional()
	delete(f.Approvers, "group(access-board)")
	if _, err := set.Judge("small", f); countersign.ReasonOf(err) != ReasonIncompleteFacts {
		t.Errorf("the board was not looked up, and the error is %v", err)
	}
}

func TestStagesBeforeTheExceptionMayShareTheirPeople(t *testing.T) {
	kind := smallType + "stages: [{name: boss, approvers: [manager-of(requester)]}, {name: owner, approvers: [owner-of(resource)]}]\n"
	set := load(t, File{"t.yaml", []byte(kind)}, File{"separation.yaml", []byte(separationFile)}, File{"e.yaml", []byte(exceptionsFile)})
	for name, c := range map[string]struct {
		boss, owner, board []Candidate
		refused            bool
	}{
		"one person decides both":         {people("mara"), people("mara"), people("helena", "ines"), false},
		"the board takes the only owner":  {people("mara"), people("otto"), people("helena", "otto"), true},
		"the board takes boss and owner":  {people("mara"), people("otto"), people("mara", "otto"), true},
		"together they take all of them":  {people("a", "b"), people("c", "d"), people("a", "b", "c", "d"), false},
		"one of two and one of one share": {people("a", "b"), people("b"), people("a", "c"), false},
		"each can choose another":         {people("a", "b", "c"), people("b", "c", "d"), people("b", "c"), false},
		"no way round":                    {people("a", "b"), people("b", "c"), people("b", "a"), true},
	} {
		f := exceptional()
		f.Approvers["manager-of(requester)"], f.Approvers["owner-of(resource)"], f.Approvers["group(access-board)"] = c.boss, c.owner, c.board
		refusals := judge(t, set, "small", f).Refusals
		if len(refusals) > 0 != c.refused {
			t.Errorf("%s: refused %v", name, refusals)
		}
	}
}

func TestExceptionsAreListed(t *testing.T) {
	if separated(t).Exceptions() != nil {
		t.Error("a set without exceptions has some")
	}
	info := withExceptions(t).Exceptions()
	if info.Longest != 90*countersign.Day || info.Stage.Name != "exception" || info.Stage.Quorums[0].Need != 2 || info.Rule == "" {
		t.Errorf("exceptions are %+v", info)
	}
}

func TestAPolicyTestGivesWhatIsHeldAndAnException(t *testing.T) {
	tests := `stages: [{name: boss, approvers: [manager-of(requester)]}]
refuse: [{when: 'resource.environment == "prod"', because: '"not there"', waivable: true}]
tests:
  - {name: refused, given: {resource: {system: payments}, entitlement: {name: "payments:write"}, held: [{system: orders, resource: orders, entitlement: "orders:write"}]}, expect: {refused: is held by beneficiary, waived: []}}
  - {name: held by another, given: {resource: {system: payments}, entitlement: {name: "payments:write"}, held: [{system: orders, resource: orders, entitlement: "orders:write", risk: high, holder: olga}]}, expect: {refused: is held by olga}}
  - {name: waived, given: {exception: {}, resource: {system: payments}, entitlement: {name: "payments:write"}, held: [{system: orders, resource: orders, entitlement: "orders:write"}]}, expect: {stages: [boss, exception], waived: [pay-and-change]}}
  - {name: waived by reason, given: {exception: {control: somebody reads the whole log each day, owner: mara, until: 2026-02-01}, resource: {environment: prod}}, expect: {waived: [refused-by-policy]}}
  - {name: not active, given: {exception: {owner_active: false}, resource: {environment: prod}}, expect: {refused: no-exception-owner, waived: [refused-by-policy]}}
  - {name: the board is away, given: {exception: {}, resource: {environment: prod}, approvers: {group(access-board): []}}, expect: {refused: no-approver}}
  - {name: wrong, given: {exception: {}, resource: {environment: prod}}, expect: {waived: [pay-and-change]}}
  - {name: more than expected, given: {exception: {}, resource: {environment: prod}}, expect: {waived: []}}
`
	set := load(t, File{"t.yaml", []byte(smallType + tests)}, File{"separation.yaml", []byte(separationFile)}, File{"e.yaml", []byte(exceptionsFile)})
	for _, result := range set.Test() {
		want := map[string]string{
			"wrong":              "expected to waive [pay-and-change], and waived are [refused-by-policy resource.environment == \"prod\"]",
			"more than expected": "expected to waive [], and waived are [refused-by-policy resource.environment == \"prod\"]",
		}[result.Name]
		if got := strings.Join(result.Failures, " "); got != want {
			t.Errorf("%s: %q, want %q", result.Name, got, want)
		}
	}
	right := smallType + "stages: [{name: boss, approvers: [manager-of(requester)]}]\ntests:\n  - {name: a, given: {held: [{system: s, resource: r, entitlement: e}], exception: {owner: o}}, expect: {waived: [x]}}\n"
	for _, c := range [][3]string{
		{"entitlement: e", "entitlment: e", "p.yaml:10:55: unknown key `entitlment`: did you mean `entitlement`?"},
		{"resource: r, ", "risk: hihg, resource: r, ", "p.yaml:10:48: unknown risk `hihg`: did you mean `high`?"},
		{"resource: r, ", "", "p.yaml:10:30: the key `resource` is missing"},
		{"owner: o", "ownr: o", "p.yaml:10:85: unknown key `ownr`: did you mean `owner`?"},
		{"owner: o", "until: soon", "p.yaml:10:92: \"soon\" is not a time: write it as 2026-01-31T09:00:00Z"},
	} {
		content := strings.Replace(right, c[0], c[1], 1)
		_, problems := Load([]File{{"p.yaml", []byte(content)}}, nil)
		if !slices.ContainsFunc(problems, func(p Problem) bool { return p.String() == c[2] }) {
			t.Errorf("got %v, want %s", problems, c[2])
		}
	}
}
