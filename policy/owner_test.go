package policy

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

func TestASetSaysHowOftenOwnersConfirm(t *testing.T) {
	load := func(text string) (*Set, []Problem) {
		return Load([]File{{Path: "owners.yaml", Bytes: []byte(text)}}, nil)
	}
	set, problems := load("owners: {confirm_every: 200d, kinds: {agent: 30d}, risks: {high: 60d}, grace: 3d}")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	terms := set.Owners()
	for name, days := range map[string][2]countersign.Seconds{
		"a service":           {terms.OfMachine(countersign.Service, 0), 200},
		"an agent":            {terms.OfMachine(countersign.Agent, 0), 30},
		"one with its own":    {terms.OfMachine(countersign.Agent, 9*countersign.Day), 9},
		"a plain system":      {terms.OfSystem(countersign.LowRisk, 0), 200},
		"a system of risk":    {terms.OfSystem(countersign.HighRisk, 0), 60},
		"a system of its own": {terms.OfSystem(countersign.HighRisk, 400*countersign.Day), 400},
		"the reminder":        {terms.Remind, 14},
		"the grace":           {terms.Grace, 3},
	} {
		if days[0] != days[1]*countersign.Day {
			t.Errorf("%s: %s, want %d days", name, days[0], days[1])
		}
	}
	if plain, _ := Load(nil, nil); plain.Owners().ConfirmEvery != 180*countersign.Day {
		t.Error("a set that says nothing asks nobody")
	}
	for text, problem := range map[string]string{
		"owners: {confirm_every: 1d}":         "`confirm_every` is 1d, and must be from 7d to 1100d",
		"owners: {confirm_every: 4000d}":      "must be from",
		"owners: {risks: {hihg: 60d}}":        "high",
		"owners: {kinds: {person: 60d}}":      "person",
		"owners: {grace: 1h}":                 "`grace` is 1h, and must be from 1d to 90d",
		"owners: {remind: 91d}":               "`remind` is 91d, and must be from 1d to 90d",
		"owners: {confirm: 60d}":              "confirm_every",
		"owners: [180d]":                      "mapping",
		"owners: {confirm_every: 60}":         "60",
		"owners: {confirm_every: {days: 60}}": "text",
	} {
		if _, problems := load(text); len(problems) != 1 || !strings.Contains(problems[0].Message, problem) {
			t.Errorf("%s: %v, want %q", text, problems, problem)
		}
	}
	if _, problems := Load([]File{{"a.yaml", []byte("owners: {grace: 3d}")}, {"b.yaml", []byte("owners: {grace: 4d}")}}, nil); len(problems) != 1 || !strings.Contains(problems[0].Message, "given twice") {
		t.Errorf("two files: %v", problems)
	}
}
