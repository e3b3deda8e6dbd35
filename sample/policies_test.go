package sample_test

import (
	"regexp"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/countersign/countersign/directory"
	"github.com/countersign/countersign/policy"
	"github.com/countersign/countersign/sample"
)

// loaded is the set of Meridian, with what stands beside it where targets are real.
func loaded(t *testing.T, beside ...string) *policy.Set {
	t.Helper()
	files, _ := meridian(t)
	for _, name := range beside {
		more, err := directory.ReadOrganisation(sample.Targets(name))
		if err != nil {
			t.Fatal(err)
		}
		files.Policies = append(files.Policies, more.Policies...)
	}
	var given []policy.File
	for _, file := range files.Policies {
		given = append(given, policy.File(file))
	}
	set, problems := policy.Load(given, time.LoadLocation)
	for _, problem := range problems {
		t.Error(problem)
	}
	if set == nil {
		t.FailNow()
	}
	return set
}

func TestThePoliciesLoadAndPassTheirOwnTests(t *testing.T) {
	set := loaded(t, "postgres", "redis", "ldap", "ssh")
	tests := map[string]int{}
	for _, result := range set.Test() {
		tests[result.Type]++
		for _, failure := range result.Failures {
			t.Errorf("%s:%d: %s: %s: %s", result.File, result.Line, result.Type, result.Name, failure)
		}
	}
	for _, info := range set.Types() {
		if tests[info.Name] < 3 {
			t.Errorf("%s has %d tests", info.Name, tests[info.Name])
		}
	}
}

// A rule that names nobody loads, and would find nobody at the first request.
func TestWhomThePoliciesNameExists(t *testing.T) {
	files, organisation := meridian(t)
	known := map[string]bool{}
	for _, identity := range organisation.Identities {
		known["person("+identity.Login+")"] = true
	}
	members := map[string]bool{}
	for _, group := range organisation.Groups {
		known["group("+group.Name+")"] = true
		members[group.Name] = len(group.Members)+len(group.Groups) > 0
	}
	named := 0
	for _, file := range files.Policies {
		for _, rule := range regexp.MustCompile(`(?:person|group)\([^)]*\)`).FindAllString(string(file.Bytes), -1) {
			named++
			if !known[rule] {
				t.Errorf("%s names %s, who is not in the directory", file.Path, rule)
			}
		}
	}
	if named == 0 {
		t.Error("the policies name nobody at all")
	}
}

func TestEveryRightCanBeAskedForAndNoPolicyNamesWhatIsNotThere(t *testing.T) {
	set := loaded(t)
	_, organisation := meridian(t)
	used := map[string]bool{}
	for _, system := range organisation.Systems {
		used[system.Name] = true
		for _, resource := range system.Resources {
			used[resource.Name] = true
			for _, entitlement := range resource.Entitlements {
				used[entitlement.Name] = true
				offered := slices.ContainsFunc(set.Types(), func(info policy.TypeInfo) bool {
					allows := func(names []string, name string) bool { return len(names) == 0 || slices.Contains(names, name) }
					return info.Grants.Kind == entitlement.Kind && allows(info.Grants.Systems, system.Name) &&
						allows(info.Grants.Resources, resource.Name) && allows(info.Grants.Entitlements, entitlement.Name) &&
						info.Fulfil[0].Connector == system.Connector
				})
				if !offered {
					t.Errorf("nobody can ask for %s on %s/%s", entitlement.Name, system.Name, resource.Name)
				}
			}
		}
	}
	for _, info := range set.Types() {
		for _, name := range slices.Concat(info.Grants.Systems, info.Grants.Resources, info.Grants.Entitlements) {
			if !used[name] {
				t.Errorf("%s grants %s, which is not there", info.Name, name)
			}
		}
	}
}
