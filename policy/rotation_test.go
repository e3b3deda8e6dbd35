package policy

import (
	"strings"
	"testing"
)

const rotating = `request: renewal
title: Another key
grants: {system: any, kind: credential}
rotates: {overlap: 1d}
beneficiary: [service]
limits: {duration: {default: 30d, max: 90d}}
stages: [{name: owner, approvers: [owner-of(resource)], within: 2d}]
fulfil: [vault.issue-key]
`

func TestARotationStandsBesideTheTypeThatGivesTheAccessWithoutAPriority(t *testing.T) {
	giving := strings.NewReplacer("request: renewal", "request: key", "rotates: {overlap: 1d}\n", "").Replace(rotating)
	set, problems := Load([]File{{"renewal.yaml", []byte(rotating)}, {"key.yaml", []byte(giving)}}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if !set.Rotates("renewal") || set.Rotates("key") || set.Rotates("nothing") {
		t.Error("the wrong type rotates")
	}
}

func TestWhatBelongsToTypesThatGiveAccessIsNoPartOfARotation(t *testing.T) {
	for change, says := range map[string]string{
		"rotates: {}":                                   "`overlap`",
		"rotates: {overlap: 91d}":                       "at most 90d",
		"rotates: {overlap: 1d, laps: 2}":               "`laps`",
		"rotates: {overlap: 1d}\ngrant: {ends: revoke}": "`grant` belongs to types that give access",
		"rotates: {overlap: 1d}\nclose: {when: [gone]}": "`close` belongs to types that give access",
		"rotates: {overlap: 1d}\nevidence: [{name: report, kind: text, due: at-closure, within: 1d}]": "due at-closure",
	} {
		_, problems := Load([]File{{"renewal.yaml", []byte(strings.Replace(rotating, "rotates: {overlap: 1d}", change, 1))}}, nil)
		if len(problems) != 1 || !strings.Contains(problems[0].Message, says) {
			t.Errorf("%s: got %v", change, problems)
		}
	}
}
