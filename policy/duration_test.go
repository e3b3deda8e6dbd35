package policy

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

func TestTheStrictestOfAllLimitsWins(t *testing.T) {
	set := sample(t)
	day := countersign.Day
	for name, c := range map[string]struct {
		change    func(*Facts)
		duration  countersign.Seconds
		latestEnd countersign.Instant
		strictest string
	}{
		"the default":             {func(*Facts) {}, 30 * day, 0, "the longest duration of api-key"},
		"what was asked":          {func(f *Facts) { f.Duration = 5 * day }, 5 * day, 0, "the longest duration of api-key"},
		"exactly the longest":     {func(f *Facts) { f.Duration = 90 * day }, 90 * day, 0, "the longest duration of api-key"},
		"exactly the shortest":    {func(f *Facts) { f.Duration = countersign.Hour }, countersign.Hour, 0, "the longest duration of api-key"},
		"the entitlement's limit": {func(f *Facts) { f.Items[0].Entitlement.MaxDuration = 7 * day }, 7 * day, 0, "the longest duration of call on payments"},
		"an end that was asked":   {func(f *Facts) { f.Until = monday.Add(3 * day) }, 3 * day, monday.Add(3 * day), "the end that was asked for"},
		"an end and the entitlement's limit": {func(f *Facts) {
			f.Until, f.Items[0].Entitlement.MaxDuration = monday.Add(8*day), 7*day
		}, 7 * day, monday.Add(8 * day), "the longest duration of call on payments"},
		"the requester's contract": {func(f *Facts) {
			f.Requester.Affiliation, f.Requester.ContractEnd = countersign.Contractor, monday.Add(2*day)
		}, 30 * day, monday.Add(2 * day), "the end of the contract of dana"},
		"the beneficiary's contract": {func(f *Facts) { f.Beneficiary.ContractEnd = monday.Add(2 * day) }, 30 * day, monday.Add(2 * day), "the end of the contract of svc-billing"},
		"the earlier of two contracts": {func(f *Facts) {
			f.Requester.Affiliation, f.Requester.ContractEnd, f.Beneficiary.ContractEnd = countersign.Vendor, monday.Add(4*day), monday.Add(2*day)
		}, 30 * day, monday.Add(2 * day), "the end of the contract of svc-billing"},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.change(&f)
			plan := judge(t, set, "api-key", f)
			if len(plan.Refusals) > 0 {
				t.Fatal(plan.Refusals)
			}
			if plan.Duration != c.duration || plan.LatestEnd != c.latestEnd || plan.Limits[0].Source != c.strictest {
				t.Errorf("duration %s, latest end %s, limits %v", plan.Duration, plan.LatestEnd, plan.Limits)
			}
		})
	}
}

func TestADurationThatIsNotOfferedIsRefusedSayingWhichAre(t *testing.T) {
	set := sample(t)
	for name, c := range map[string]struct {
		change  func(*Facts)
		reason  string
		field   string
		because string
	}{
		"too long":         {func(f *Facts) { f.Duration = 90*countersign.Day + 1 }, ReasonNotOffered, "/duration", "durations from 1h to 90d are offered"},
		"too short":        {func(f *Facts) { f.Duration = countersign.Hour - 1 }, ReasonNotOffered, "/duration", "durations from 1h to 90d are offered"},
		"negative":         {func(f *Facts) { f.Duration = -5 }, ReasonNotOffered, "/duration", "durations from 1h to 90d are offered"},
		"end too far":      {func(f *Facts) { f.Until = monday.Add(91 * countersign.Day) }, ReasonNotOffered, "/until", "durations from 1h to 90d are offered"},
		"end in a blink":   {func(f *Facts) { f.Until = monday + 500 }, ReasonNotOffered, "/until", "durations from 1h to 90d are offered"},
		"end now":          {func(f *Facts) { f.Until = monday }, ReasonEndInThePast, "/until", "is in the past"},
		"end in the past":  {func(f *Facts) { f.Until = monday - 1 }, ReasonEndInThePast, "/until", "is in the past"},
		"end and duration": {func(f *Facts) { f.Until, f.Duration = monday.Add(countersign.Day), countersign.Day }, ReasonEndAndDuration, "/until", "give one of them"},
		"contract ended":   {func(f *Facts) { f.Beneficiary.ContractEnd = monday }, ReasonContractEnded, "", "The contract of svc-billing ended"},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.change(&f)
			wantRefusal(t, judge(t, set, "api-key", f).Refusals, c.reason, c.because)
			if got := judge(t, set, "api-key", f).Refusals[0].Field; got != c.field {
				t.Errorf("the field is %q, want %q", got, c.field)
			}
		})
	}
}

func TestExplainSaysWhatWasJudgedAndWhy(t *testing.T) {
	f := facts()
	f.Items[0].Resource.Risk = countersign.HighRisk
	f.Approvers["manager-of(requester)"] = people("dana")
	text, err := sample(t).Explain("", f)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"API key for a service (api-key)", "matches with the highest priority, 0", "Nothing refuses it",
		"refusal 1: variables.crosses → false", `stage security (when): variables.risk == "high" → true`,
		"Duration 30d", "the longest duration of api-key: 90d",
		"1 must approve, found by manager-of(requester), else second-owner-of(resource), else group(platform-leads)",
		"sven (second-owner-of(resource))", "kept out: dana (the requester)",
		"within 2 business days (until 2026-03-04T09:30:00.000Z)",
		"then owner-of(resource) is asked too, within 1 business day (until 2026-03-05T09:30:00.000Z)",
		"2 must approve, found by group(security)", "then denied", "Carried out by vault.issue-key",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the explanation has no %q:\n%s", part, text)
		}
	}
	f.Answers = []byte(`{"purpose":"short","consumer":"SR-1042"}`)
	if text, _ = sample(t).Explain("api-key", f); !strings.Contains(text, "it was named") || !strings.Contains(text, "invalid-answer: `purpose` must have at least 20 characters") {
		t.Errorf("the explanation of a refusal is:\n%s", text)
	}
}

func TestTheRouteIsMovedByWhoStandsAndNotByTheLatestEnd(t *testing.T) {
	set := sample(t)
	before := judge(t, set, "api-key", facts()).Route()
	f := facts()
	f.Beneficiary.ContractEnd = monday.Add(countersign.Day)
	if judge(t, set, "api-key", f).Route() != before {
		t.Error("the latest end moves the route")
	}
	for name, change := range map[string]func(*Facts){
		"another manager": func(f *Facts) { f.Approvers["manager-of(requester)"] = people("max") },
		"another stage":   func(f *Facts) { f.Items[0].Resource.Risk = countersign.HighRisk },
		"a duration":      func(f *Facts) { f.Duration = countersign.Day },
	} {
		f := facts()
		change(&f)
		if judge(t, set, "api-key", f).Route() == before {
			t.Errorf("%s does not move the route", name)
		}
	}
}
