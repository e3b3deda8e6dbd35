package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

const separationFile = `separation:
  - name: pay-and-change
    title: Collecting payments and changing orders
    combination:
      - {system: payments, entitlement: "payments:write"}
      - {system: [orders, shop], resource: orders, entitlement: ["orders:write"]}
    because: Whoever changes orders must not collect their payments.
    waivable: true
`

// wantSpoiled loads a correct file with one text replaced, beside the others,
// and expects the one problem.
func wantSpoiled(t *testing.T, right, from, to, want string, others ...File) {
	t.Helper()
	content := strings.Replace(right, from, to, 1)
	if content == right {
		t.Fatalf("%q is not in the file", from)
	}
	set, problems := Load(append([]File{{"p.yaml", []byte(content)}}, others...), nil)
	if set != nil || len(problems) != 1 || problems[0].String() != want {
		t.Errorf("got  %v\nwant %s", problems, want)
	}
}

func TestWhatIsWrongWithASeparationRuleIsNamed(t *testing.T) {
	load(t, File{"p.yaml", []byte(separationFile)})
	second := strings.TrimPrefix(separationFile, "separation:\n")
	for name, c := range map[string]struct{ from, to, want string }{
		"unknown key":        {"waivable:", "waiveable:", "p.yaml:8:5: unknown key `waiveable`: did you mean `waivable`?"},
		"no list":            {separationFile, "separation: {}\n", "p.yaml:1:13: `separation` should be a list"},
		"another key beside": {"separation:", "calendar: x\nseparation:", "p.yaml:1:1: unknown key `calendar`: use `separation`"},
		"no name":            {"  - name: pay-and-change\n    title", "  - title", "p.yaml:2:5: the key `name` is missing"},
		"a name":             {"pay-and-change", "Pay", "p.yaml:2:11: `Pay` is not a name: write it in lower case with hyphens, as in api-key"},
		"two of one name":    {second, second + second, "p.yaml:9:11: the separation rule `pay-and-change` is given twice, first in p.yaml:2"},
		"no title":           {"Collecting payments and changing orders", "\" \"", "p.yaml:3:12: `title` is empty: write a sentence for people"},
		"no because":         {"    because: Whoever changes orders must not collect their payments.\n", "", "p.yaml:2:5: the key `because` is missing"},
		"not waivable":       {"waivable: true", "waivable: yes", "p.yaml:8:15: `waivable` should be true or false"},
		"one side":           {"      - {system: payments, entitlement: \"payments:write\"}\n", "", "p.yaml:5:7: a combination has at least two sides, and this one has 1"},
		"no system":          {"{system: payments, ", "{", "p.yaml:5:9: the key `system` is missing"},
		"an empty system":    {"system: payments", "system: []", "p.yaml:5:18: `system` names nothing"},
		"any system":         {"system: payments", "system: any", "p.yaml:5:18: `any` is no system: a side names its systems"},
		"an empty list":      {`["orders:write"]`, "[]", "p.yaml:6:65: `entitlement` names nothing"},
		"an unknown side":    {"resource: orders", "kind: role", "p.yaml:6:34: unknown key `kind`: use `system`, `resource` or `entitlement`"},
		"overlapping sides":  {"system: payments, entitlement: \"payments:write\"", "system: [payments, shop], resource: [orders, baskets]", "p.yaml:6:9: sides 1 and 2 could be the same entitlement: keep them apart by system, resource or entitlement"},
	} {
		t.Run(name, func(t *testing.T) { wantSpoiled(t, separationFile, c.from, c.to, c.want) })
	}
	wantSpoiled(t, separationFile, "because: W", "because: w", "q.yaml:2:11: the separation rule `pay-and-change` is given twice, first in p.yaml:2", File{"q.yaml", []byte(separationFile)})
}

func item(system, resource, entitlement string) Item {
	return Item{
		Entitlement: EntitlementFact{Name: entitlement, Kind: countersign.CredentialKind, Risk: countersign.LowRisk},
		Resource:    ResourceFact{Name: resource, System: system, Connector: "vault", Environment: "prod", Risk: countersign.LowRisk},
	}
}

func held(who string, item Item) HeldItem {
	return HeldItem{Item: item, Holder: countersign.IdentityID("idn_" + who), HolderName: who, Grant: "grt_1"}
}

var (
	payments = item("payments", "payments", "payments:write")
	orders   = item("orders", "orders", "orders:write")
	reading  = item("orders", "orders", "orders:read")
)

func separated(t testing.TB, more ...File) *Set {
	t.Helper()
	kind := strings.Replace(smallType, "limits: {", "limits: {entitlements: 5, ", 1) + "stages: [{name: boss, approvers: [manager-of(requester)]}]\n"
	return load(t, append(more, File{"t.yaml", []byte(kind)}, File{"separation.yaml", []byte(separationFile)})...)
}

func TestACombinationIsRefusedWhateverHalfIsAskedForLast(t *testing.T) {
	set := separated(t)
	for name, c := range map[string]struct {
		items []Item
		held  []HeldItem
		words []string
	}{
		"the second half is held": {[]Item{payments}, []HeldItem{held("svc-billing", orders)},
			[]string{"Collecting payments and changing orders: payments/payments/payments:write is asked for, and orders/orders/orders:write is held by svc-billing. Whoever changes orders must not collect their payments."}},
		"the first half is held":               {[]Item{orders}, []HeldItem{held("olga", payments)}, []string{"payments/payments/payments:write is held by olga, and orders/orders/orders:write is asked for."}},
		"both are asked for":                   {[]Item{reading, orders, payments}, nil, []string{"payments:write is asked for, and", "orders:write is asked for."}},
		"several hold it":                      {[]Item{payments}, []HeldItem{held("a", orders), held("b", orders), held("c", orders), held("d", orders), held("", orders)}, []string{"held by a", "held by c, 2 more."}},
		"a holder without a name":              {[]Item{payments}, []HeldItem{held("", orders)}, []string{"held by idn_."}},
		"an own half that is held by two":      {[]Item{payments}, []HeldItem{held("olga", payments), held("olga", orders)}, []string{"payments:write is asked for, and orders/orders/orders:write is held by olga."}},
		"held on another system of the side":   {[]Item{payments}, []HeldItem{held("olga", item("shop", "orders", "orders:write"))}, []string{"shop/orders/orders:write is held by olga"}},
		"any resource where the side has none": {[]Item{item("payments", "refunds", "payments:write")}, []HeldItem{held("olga", orders)}, []string{"payments/refunds/payments:write"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := smallFacts()
			f.Items, f.Held = c.items, c.held
			refusals := judge(t, set, "small", f).Refusals
			wantRefusal(t, refusals, ReasonToxicCombination, append(c.words, "/entitlements")...)
			if refusals[0].Rule != "pay-and-change" || !refusals[0].Waivable {
				t.Errorf("the refusal is %+v", refusals[0])
			}
			if again := set.Recheck("small", f); !slices.Equal(again, refusals) {
				t.Errorf("judged again it is %+v", again)
			}
		})
	}
}

func TestHalfACombinationIsNotRefused(t *testing.T) {
	set := separated(t)
	for name, c := range map[string]struct {
		items []Item
		held  []HeldItem
	}{
		"nothing is held":              {[]Item{payments}, nil},
		"another right is held":        {[]Item{payments}, []HeldItem{held("olga", reading)}},
		"another resource":             {[]Item{payments}, []HeldItem{held("olga", item("orders", "archive", "orders:write"))}},
		"the same half is held":        {[]Item{payments}, []HeldItem{held("olga", payments)}},
		"both are held, neither asked": {[]Item{reading}, []HeldItem{held("olga", payments), held("olga", orders)}},
	} {
		f := smallFacts()
		f.Items, f.Held = c.items, c.held
		if refusals := append(judge(t, set, "small", f).Refusals, set.Recheck("small", f)...); len(refusals) > 0 {
			t.Errorf("%s: refused: %v", name, refusals)
		}
	}
}

func TestWhatIsHeldIsNeededWhereARuleTouchesWhatIsAskedFor(t *testing.T) {
	set := separated(t)
	for _, c := range []struct {
		items []Item
		want  bool
	}{{[]Item{payments}, true}, {[]Item{reading, orders}, true}, {[]Item{reading}, false}} {
		f := smallFacts()
		f.Items = c.items
		queries, err := set.Needs("small", f)
		if err != nil || slices.Contains(queries, Query{Held: true}) != c.want {
			t.Errorf("for %v it needs %v, %v", c.items, queries, err)
		}
	}
}

func TestExplainShowsEachSeparationRuleThatWasLookedAt(t *testing.T) {
	set := separated(t)
	f := smallFacts()
	for _, c := range []struct {
		item Item
		held []HeldItem
		want string
	}{
		{payments, nil, "separation pay-and-change: Collecting payments and changing orders → side 2 is neither asked for nor held"},
		{orders, []HeldItem{held("olga", payments)}, "separation pay-and-change: Collecting payments and changing orders → every side is asked for or held"},
		{reading, nil, ""},
	} {
		f.Items, f.Held = []Item{c.item}, c.held
		text, err := set.Explain("small", f)
		if err != nil || !strings.Contains(text, c.want) || strings.Contains(text, "separation") != (c.want != "") {
			t.Errorf("got %v\n%s\nwant %s", err, text, c.want)
		}
	}
}

func TestTheRulesOfSeparationAreListed(t *testing.T) {
	set := separated(t, File{"a.yaml", []byte(strings.Replace(separationFile, "pay-and-change", "another", 1))})
	rules := set.Separations()
	if len(rules) != 2 || rules[0].Name != "another" || rules[1].Name != "pay-and-change" || !rules[1].Waivable || rules[1].Rule == "" || rules[1].Rule == rules[0].Rule {
		t.Fatalf("the rules are %+v", rules)
	}
	if side := rules[1].Combination[1]; !slices.Equal(side.Systems, []string{"orders", "shop"}) || !slices.Equal(side.Resources, []string{"orders"}) || !slices.Equal(side.Entitlements, []string{"orders:write"}) {
		t.Errorf("the second side is %+v", side)
	}
	rules[0].Combination[0].Systems[0] = "changed"
	if set.Separations()[0].Combination[0].Systems[0] != "payments" {
		t.Error("a caller changed the set")
	}
}
