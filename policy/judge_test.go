package policy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
)

func sampleFiles(t testing.TB) []File {
	t.Helper()
	paths, err := filepath.Glob("testdata/set/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no sample policies: %v", err)
	}
	var files []File
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{Path: filepath.Base(path), Bytes: data})
	}
	return files
}

func load(t testing.TB, files ...File) *Set {
	t.Helper()
	set, problems := Load(files, time.LoadLocation)
	for _, problem := range problems {
		t.Error(problem)
	}
	if set == nil {
		t.FailNow()
	}
	return set
}

func sample(t testing.TB) *Set { return load(t, sampleFiles(t)...) }

// withType loads a small set of one type, whose stages (and what follows them)
// are the given text.
func withType(t testing.TB, stages string) *Set {
	t.Helper()
	return load(t, File{Path: "t.yaml", Bytes: []byte(smallType + stages)})
}

const smallType = `request: small
title: Small
grants: {system: any, kind: credential}
beneficiary: [service]
ask: {size: {type: string, enum: [small, large], optional: true}, count: {type: integer, minimum: 1, default: 3}}
limits: {duration: {default: 30d, max: 90d, min: 1h}}
fulfil: [vault.issue-key]
`

var monday = mustInstant("2026-03-02T09:30:00Z")

func mustInstant(text string) countersign.Instant {
	var instant countersign.Instant
	if err := instant.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return instant
}

func people(names ...string) []Candidate {
	list := []Candidate{}
	for _, name := range names {
		list = append(list, Candidate{ID: countersign.IdentityID("idn_" + name), Name: name, Active: true, Human: true})
	}
	return list
}

// facts are those of an ordinary asking of dana for svc-billing.
func facts() Facts {
	return Facts{
		Now:       monday,
		Requester: Party{ID: "idn_dana", Kind: countersign.Person, Name: "dana", Active: true, Affiliation: countersign.Employee},
		Beneficiary: Party{ID: "idn_svc", Kind: countersign.Service, Name: "svc-billing", Active: true, Environment: "prod",
			Owner: "idn_olga", Groups: []string{"services"}},
		Items: []Item{{
			Entitlement: EntitlementFact{ID: "ent_1", Name: "call", Kind: countersign.CredentialKind, Risk: countersign.LowRisk},
			Resource:    ResourceFact{Name: "ledger", System: "payments", Connector: "vault", Environment: "prod", Risk: countersign.LowRisk},
		}},
		Reason:  "monthly report",
		Answers: json.RawMessage(`{"purpose":"monthly report of all payments","consumer":"SR-1042"}`),
		Approvers: map[string][]Candidate{
			"manager-of(requester)":     people("mara"),
			"second-owner-of(resource)": people("sven"),
			"owner-of(resource)":        people("otto"),
			"group(platform-leads)":     people("lea", "liam"),
			"group(security)":           people("sara", "simon"),
			"person(mara)":              people("mara"),
		},
		Records:    map[string]RecordFact{"SR-1042": {Key: "SR-1042", Found: true, Owner: "idn_olga"}},
		SamePerson: map[countersign.IdentityID]string{"idn_dana": "the requester", "idn_svc": "the beneficiary", "idn_olga": "the owner of svc-billing"},
	}
}

func smallFacts() Facts {
	f := facts()
	f.Answers = nil
	return f
}

func judge(t testing.TB, set *Set, name string, f Facts) Plan {
	t.Helper()
	plan, err := set.Judge(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// wantRefusal expects exactly one refusal, with the reason and all the words.
func wantRefusal(t testing.TB, refusals []Refusal, reason string, words ...string) {
	t.Helper()
	if len(refusals) != 1 || refusals[0].Reason != reason {
		t.Fatalf("refusals are %+v, want one with the reason %s", refusals, reason)
	}
	for _, word := range words {
		if !strings.Contains(refusals[0].Because, word) && refusals[0].Field != word {
			t.Errorf("the refusal %+v does not name %q", refusals[0], word)
		}
	}
}

func states(plan Plan) string {
	var texts []string
	for _, planned := range plan.Stages {
		texts = append(texts, planned.Stage.Name+" "+string(planned.Stage.State))
	}
	return strings.Join(texts, ", ")
}

func TestAnOrdinaryAskingGivesItsWholePath(t *testing.T) {
	plan := judge(t, sample(t), "api-key", facts())
	if len(plan.Refusals) > 0 || states(plan) != "manager waiting, security skipped" {
		t.Fatalf("refusals %v, stages %s", plan.Refusals, states(plan))
	}
	manager := plan.Stages[0]
	if want := []countersign.Asked{{Person: "idn_mara", Rule: "manager-of(requester)"}}; !slices.Equal(manager.Standing, want) {
		t.Errorf("standing is %v, want %v", manager.Standing, want)
	}
	if plan.Duration != 30*countersign.Day || plan.LatestEnd != 0 || plan.CollectWithin != "5 business days" {
		t.Errorf("duration %s, latest end %s, collect within %s", plan.Duration, plan.LatestEnd, plan.CollectWithin)
	}
	if len(manager.Stage.Ladder) != 1 || manager.Stage.Ladder[0].Within != "1 business day" {
		t.Errorf("the ladder is %+v", manager.Stage.Ladder)
	}
	if plan.Terms.Remind != 14*countersign.Day || len(plan.Terms.EndsWhen) != 2 || plan.Fulfil[0].String() != "vault.issue-key" || len(plan.Evidence) != 2 {
		t.Errorf("the plan is %+v", plan)
	}
}

func TestAStageWhoseConditionIsFalseIsSkippedWithTheReason(t *testing.T) {
	security := judge(t, sample(t), "api-key", facts()).Stages[1]
	if security.Stage.State != countersign.StageSkipped || !strings.Contains(security.Stage.Because, `variables.risk == "high"`) {
		t.Errorf("the stage is %+v", security.Stage)
	}
}

func TestAConditionIsJudgedForEveryEntitlement(t *testing.T) {
	f := facts()
	second := f.Items[0]
	second.Entitlement.Name, second.Resource.Risk = "refund", countersign.HighRisk
	f.Items = append(f.Items, second)
	if plan := judge(t, sample(t), "api-key", f); states(plan) != "manager waiting, security waiting" {
		t.Errorf("one of two has a high risk, and the stages are %s", states(plan))
	}
	f.Items[1].Resource.Risk = countersign.LowRisk
	f.Beneficiary.Environment, f.Items[0].Resource.Environment, f.Items[1].Resource.Environment = "dev", "dev", "prod"
	wantRefusal(t, judge(t, sample(t), "api-key", f).Refusals, ReasonRefusedByPolicy, "svc-billing is not one")
}

func TestAMissingAttributeIsANamedRefusal(t *testing.T) {
	for name, c := range map[string]struct {
		condition string
		change    func(*Facts)
		names     string
		field     string
	}{
		"an optional answer":         {`answers.size == "large"`, func(*Facts) {}, "answers.size", "/answers/size"},
		"a negated optional answer":  {`answers.size != "large"`, func(*Facts) {}, "answers.size", "/answers/size"},
		"no environment":             {`beneficiary.environment == "prod"`, func(f *Facts) { f.Beneficiary.Environment = "" }, "beneficiary.environment", ""},
		"the affiliation of an NHI":  {`beneficiary.affiliation != "employee"`, func(*Facts) {}, "beneficiary.affiliation", ""},
		"no contract end":            {`requester.contract_end < now`, func(*Facts) {}, "requester.contract_end", ""},
		"through a variable":         {`variables.big`, func(*Facts) {}, "answers.size", "/answers/size"},
		"in a list":                  {`[requester, beneficiary].exists(p, p.environment == "dev")`, func(*Facts) {}, "requester.environment", ""},
		"through a conditional":      {`(now > timestamp("2020-01-01T00:00:00Z") ? requester : beneficiary).sponsor == "x"`, func(*Facts) {}, "requester.sponsor", ""},
		"no limit of an entitlement": {`entitlement.max_duration < duration("1h")`, func(*Facts) {}, "entitlement.max_duration", ""},
	} {
		t.Run(name, func(t *testing.T) {
			set := withType(t, "variables: {big: 'answers.size == \"large\"'}\nstages: [{name: extra, when: '"+c.condition+"', approvers: [person(mara)]}]\n")
			f := smallFacts()
			c.change(&f)
			plan := judge(t, set, "small", f)
			wantRefusal(t, plan.Refusals, ReasonMissingAttribute, "stage extra (when)", c.names, c.field)
			if plan.Stages[0].Stage.State == countersign.StageSkipped {
				t.Error("the stage was skipped")
			}
		})
	}
}

func TestAnAttributeThatMayBeAbsentCanBeAskedFor(t *testing.T) {
	set := withType(t, `stages: [{name: extra, when: 'has(answers.size) && answers.size == "large"', approvers: [person(mara)]}]`)
	if plan := judge(t, set, "small", smallFacts()); states(plan) != "extra skipped" || len(plan.Refusals) > 0 {
		t.Errorf("stages %s, refusals %v", states(plan), plan.Refusals)
	}
	f := smallFacts()
	f.Answers = json.RawMessage(`{"size":"large"}`)
	if plan := judge(t, set, "small", f); states(plan) != "extra waiting" {
		t.Errorf("stages %s, refusals %v", states(plan), plan.Refusals)
	}
}

func TestAConditionThatFailsRefusesAndNeverCrashes(t *testing.T) {
	for _, condition := range []string{`1 / (answers.count - 3) == 1`, `beneficiary.teams[7] == "x"`, `timestamp(request.reason) < now`} {
		set := withType(t, "stages: [{name: extra, when: '"+condition+"', approvers: [person(mara)]}]")
		wantRefusal(t, judge(t, set, "small", smallFacts()).Refusals, ReasonConditionFailed, "stage extra")
	}
}

func TestAStageThatARulePassesSaysSoWithTheRuleAndItsDigest(t *testing.T) {
	f := facts()
	f.Beneficiary = Party{ID: "idn_pia", Kind: countersign.Person, Name: "pia", Active: true, Affiliation: countersign.Employee, Groups: []string{"staff"}}
	f.Answers = nil
	f.Items = []Item{{Entitlement: EntitlementFact{Name: "reader", Kind: countersign.RoleKind, Risk: countersign.LowRisk}, Resource: ResourceFact{Name: "pages", System: "wiki", Connector: "role", Risk: countersign.LowRisk}}}
	f.Approvers = nil
	plan := judge(t, sample(t), "wiki-reader", f)
	stage := plan.Stages[0].Stage
	if len(plan.Refusals) > 0 || stage.State != countersign.StagePassed {
		t.Fatalf("%v, %+v", plan.Refusals, stage)
	}
	for _, part := range []string{`by rule beneficiary.kind == "person"`, "of wiki-reader", string(plan.Rule), "sha256:"} {
		if !strings.Contains(stage.Because, part) {
			t.Errorf("%q does not name %q", stage.Because, part)
		}
	}
	f.Beneficiary.Groups = nil
	if _, err := sample(t).Judge("wiki-reader", f); countersign.ReasonOf(err) != ReasonIncompleteFacts {
		t.Errorf("a person must decide, nobody looked up who, and the error is %v", err)
	}
}

func TestAnApproverRuleThatFindsNobodyFollowsItsElse(t *testing.T) {
	f := facts()
	f.Approvers["manager-of(requester)"] = people("dana")
	manager := judge(t, sample(t), "api-key", f).Stages[0]
	if len(manager.Standing) != 1 || manager.Standing[0].Rule != "second-owner-of(resource)" {
		t.Errorf("standing is %v", manager.Standing)
	}
	if len(manager.Excluded) != 1 || manager.Excluded[0].Because != "the requester" {
		t.Errorf("excluded is %v", manager.Excluded)
	}
}

func TestAnEmptyApproverSetIsNamedAtSubmit(t *testing.T) {
	f := facts()
	f.Approvers["manager-of(requester)"] = people("dana")
	f.Approvers["second-owner-of(resource)"] = people("olga")
	f.Approvers["group(platform-leads)"] = []Candidate{{ID: "idn_lea", Name: "lea", Human: true}, {ID: "idn_bot", Name: "bot", Active: true}}
	wantRefusal(t, judge(t, sample(t), "api-key", f).Refusals, ReasonNoApprover,
		"stage manager", "manager-of(requester)", "second-owner-of(resource)", "dana (the requester)", "olga (the owner of svc-billing)", "lea (not active)", "bot (not a person)")
}

func TestTheSamePersonUnderSeveralRulesIsOneApprover(t *testing.T) {
	set := withType(t, `stages: [{name: both, approvers: [manager-of(requester), group(security)], need: 2}]`)
	f := smallFacts()
	f.Approvers["group(security)"] = people("mara", "mara")
	wantRefusal(t, judge(t, set, "small", f).Refusals, ReasonTooFewApprovers, "stage both", "2 different people", "find 1")
	f.Approvers["group(security)"] = people("mara", "sara")
	if plan := judge(t, set, "small", f); len(plan.Refusals) > 0 || len(plan.Stages[0].Standing) != 2 {
		t.Errorf("%v, %v", plan.Refusals, plan.Stages[0].Standing)
	}
}

func roleFacts() Facts {
	f := facts()
	f.Beneficiary = f.Requester
	f.Answers = nil
	f.Items = []Item{{Entitlement: EntitlementFact{Name: "reader", Kind: countersign.RoleKind, Risk: countersign.LowRisk},
		Resource: ResourceFact{Name: "ledger", System: "ledger-db", Connector: "postgres", Environment: "prod", Risk: countersign.MediumRisk}}}
	f.Approvers["group(risk)"] = people("rita")
	f.Approvers["group(dba)"] = people("dora", "dan")
	return f
}

func TestStagesSideBySideShareAStep(t *testing.T) {
	plan := judge(t, sample(t), "database-role", roleFacts())
	if states(plan) != "risk waiting, owner waiting, second waiting" || len(plan.Refusals) > 0 {
		t.Fatalf("stages %s, refusals %v", states(plan), plan.Refusals)
	}
	if steps := []int{plan.Stages[0].Stage.Step, plan.Stages[1].Stage.Step, plan.Stages[2].Stage.Step}; !slices.Equal(steps, []int{1, 1, 2}) {
		t.Errorf("the steps are %v", steps)
	}
	if second := plan.Stages[2].Stage; !slices.Equal(second.DistinctFrom, []string{"owner"}) || second.Within != "8h" {
		t.Errorf("the second stage is %+v", second)
	}
}

func TestTwoQuorumsNeedDifferentPeople(t *testing.T) {
	f := roleFacts()
	f.Approvers["group(dba)"], f.Approvers["group(security)"] = people("sara"), people("sara")
	wantRefusal(t, judge(t, sample(t), "database-role", f).Refusals, ReasonTooFewApprovers, "stage second", "no other quorum")
	f.Approvers["group(dba)"] = people("sara", "dan")
	if plan := judge(t, sample(t), "database-role", f); len(plan.Refusals) > 0 {
		t.Errorf("dan and sara can decide, and it is refused: %v", plan.Refusals)
	}
	f.Approvers["group(security)"] = people()
	if plan := judge(t, sample(t), "database-role", f); len(plan.Refusals) > 0 {
		t.Errorf("the else of the second quorum finds another, and it is refused: %v", plan.Refusals)
	}
}

func TestStagesThatMustDifferAreRefusedWhenOnePersonIsAllThereIs(t *testing.T) {
	f := roleFacts()
	f.Approvers["group(dba)"], f.Approvers["group(security)"], f.Approvers["owner-of(resource)"] = people("otto"), people("sara"), people("otto")
	wantRefusal(t, judge(t, sample(t), "database-role", f).Refusals, ReasonTooFewApprovers, "stage second", "other people than `owner`")
}

func TestAStageThatDiffersFromTwoOthersLetsThemShareTheirPeople(t *testing.T) {
	set := withType(t, `stages: [{name: boss, approvers: [manager-of(requester)]}, {name: owner, approvers: [owner-of(resource)]}, {name: last, approvers: [group(security)], distinct_from: [boss, owner]}]`)
	f := smallFacts()
	f.Approvers["owner-of(resource)"] = people("mara")
	if plan := judge(t, set, "small", f); len(plan.Refusals) > 0 {
		t.Errorf("mara may decide the first two, and it is refused: %v", plan.Refusals)
	}
	f.Approvers["group(security)"] = people("mara")
	wantRefusal(t, judge(t, set, "small", f).Refusals, ReasonTooFewApprovers, "stage last", "other people than `boss` and `owner`")
}

func TestPartiesThatMayNotHoldAccessAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Facts)
		reason string
	}{
		"an inactive requester":        {func(f *Facts) { f.Requester.Active = false }, ReasonInactive},
		"an inactive beneficiary":      {func(f *Facts) { f.Beneficiary.Active = false }, ReasonInactive},
		"a service without an owner":   {func(f *Facts) { f.Beneficiary.Owner, f.Records["SR-1042"] = "", RecordFact{Found: true} }, ReasonUnowned},
		"a person":                     {func(f *Facts) { f.Beneficiary = f.Requester }, ReasonWrongRequestType},
		"too many entitlements":        {func(f *Facts) { f.Items = append(f.Items, f.Items[0], f.Items[0]) }, ReasonTooManyItems},
		"too many open requests":       {func(f *Facts) { f.OpenRequests = 2 }, ReasonTooManyOpen},
		"an unknown record":            {func(f *Facts) { f.Records["SR-1042"] = RecordFact{} }, ReasonRecordNotFound},
		"a retired record":             {func(f *Facts) { f.Records["SR-1042"] = RecordFact{Found: true, Retired: true, Owner: "idn_olga"} }, ReasonRecordRetired},
		"a record of somebody else":    {func(f *Facts) { f.Records["SR-1042"] = RecordFact{Found: true, Owner: "idn_max"} }, ReasonRecordOfAnother},
		"production for a dev service": {func(f *Facts) { f.Beneficiary.Environment = "dev" }, ReasonRefusedByPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.change(&f)
			wantRefusal(t, judge(t, sample(t), "api-key", f).Refusals, c.reason)
			wantRefusal(t, sample(t).Recheck("api-key", f), c.reason)
		})
	}
}

func TestARecordThatMustCoverWhatIsAskedForRefusesWhatItDoesNot(t *testing.T) {
	covering := strings.Replace(string(sampleFiles(t)[0].Bytes), "verified_by: directory", "verified_by: directory, covers: true", 1)
	set := load(t, File{Path: "a.yaml", Bytes: []byte(covering)}, sampleFiles(t)[1])
	f := facts()
	record := f.Records["SR-1042"]
	record.Scopes = []string{"other"}
	f.Records["SR-1042"] = record
	name := f.Items[0].Entitlement.Name
	wantRefusal(t, judge(t, set, "api-key", f).Refusals, ReasonRecordTooNarrow, "covers other, and not "+name)
	wantRefusal(t, set.Recheck("api-key", f), ReasonRecordTooNarrow)
	record.Scopes = append(record.Scopes, name)
	f.Records["SR-1042"] = record
	if refusals := judge(t, set, "api-key", f).Refusals; len(refusals) > 0 {
		t.Errorf("a record that covers it refuses: %v", refusals)
	}
}

func TestARecheckJudgesByTheSetOfToday(t *testing.T) {
	f := facts()
	f.Approvers, f.Duration = nil, 5*countersign.Minute
	if refusals := sample(t).Recheck("api-key", f); len(refusals) > 0 {
		t.Errorf("an approver shortened the duration, and the recheck refuses: %v", refusals)
	}
	wantRefusal(t, sample(t).Recheck("api-keys", f), ReasonNoRequestType, "`api-keys` is not offered any more")
	stricter := load(t, File{Path: "a.yaml", Bytes: []byte(strings.Replace(string(sampleFiles(t)[0].Bytes), "variables.crosses\n", "\"true\"\n", 1))}, sampleFiles(t)[1])
	wantRefusal(t, stricter.Recheck("api-key", f), ReasonRefusedByPolicy)
}

func TestAnswersAreRefusedByFieldAndSentence(t *testing.T) {
	for answers, want := range map[string][2]string{
		`{"purpose":"short","consumer":"SR-1042"}`:                                               {"/answers/purpose", "`purpose` must have at least 20 characters; it has 5."},
		`{"consumer":"SR-1042"}`:                                                                 {"/answers/purpose", "`purpose` is missing: it must be answered."},
		`{"purpose":"monthly report of all payments","consumer":"S R"}`:                          {"/answers/consumer", "`consumer` must be the key of a system record, as in SR-1042."},
		`{"purpose":"monthly report of all payments","consumer":"SR-1042","data_clas":"x"}`:      {"/answers/data_clas", "There is no field for this: unknown answer `data_clas`: did you mean `data_class`?"},
		`{"purpose":"monthly report of all payments","consumer":"SR-1042","data_class":"pubic"}`: {"/answers/data_class", "`data_class` has an unknown value `pubic`: did you mean `public`?"},
		`{"purpose":7,"consumer":"SR-1042"}`:                                                     {"/answers/purpose", "`purpose` must be of the type string, not number."},
		`[]`:                                                                                     {"/answers", "The answers must be a JSON object with one member for each field."},
	} {
		f := facts()
		f.Answers = json.RawMessage(answers)
		f.Records["S R"] = RecordFact{Found: true, Owner: "idn_olga"}
		plan := judge(t, sample(t), "api-key", f)
		if !slices.ContainsFunc(plan.Refusals, func(r Refusal) bool {
			return r.Reason == ReasonInvalidAnswer && r.Field == want[0] && r.Because == want[1]
		}) {
			t.Errorf("%s gives %+v, want %q", answers, plan.Refusals, want)
		}
	}
}

func TestThePoliciesOwnTestsPass(t *testing.T) {
	results := sample(t).Test()
	if len(results) != 3 {
		t.Errorf("there are %d tests, want 3", len(results))
	}
	for _, result := range results {
		for _, failure := range result.Failures {
			t.Errorf("%s:%d %s: %s", result.File, result.Line, result.Name, failure)
		}
	}
}

func TestAPolicyTestThatIsWrongSaysWhatHappened(t *testing.T) {
	set := withType(t, `stages: [{name: boss, approvers: [manager-of(requester)]}, {name: extra, when: 'resource.risk == "high"', approvers: [group(security)]}]
tests:
  - {name: wrong stages, given: {}, expect: {stages: [boss, extra]}}
  - {name: no refusal, given: {}, expect: {refused: inactive}}
  - {name: a refusal, given: {requester: {active: false}}, expect: {stages: [boss]}}
  - {name: wrong duration, given: {duration: 2d}, expect: {duration: 3d}}
  - {name: nobody, given: {approvers: {manager-of(requester): [requester]}}, expect: {refused: no-approver}}
`)
	want := []string{"they are [boss]", "nothing was refused", "requester is not active", "it is 2d", ""}
	for i, result := range set.Test() {
		if got := strings.Join(result.Failures, " "); !strings.Contains(got, want[i]) || (got == "") != (want[i] == "") {
			t.Errorf("%s: %q, want %q", result.Name, got, want[i])
		}
	}
}
