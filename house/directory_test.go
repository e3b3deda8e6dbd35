package house_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign"
)

func TestADirectoryChangeThatGivesStandingIsRefusedByNameAndNothingOfItIsApplied(t *testing.T) {
	for _, test := range []struct{ name, old, new, says string }{
		{"himself as a manager", "{login: ana, name: Ana Asker, email: ana@test.example, manager: max}", "{login: ana, name: Ana Asker, email: ana@test.example, manager: adam}", "adam becomes the manager of ana"},
		{"a member of a group", "{name: reviewers, members: [both, pia]}", "{name: reviewers, members: [both, pia, adam]}", "adam becomes a member of reviewers"},
		{"a nested group", "{name: nobody, members: []}", "{name: nobody, members: [], groups: [reviewers]}", "Everybody in reviewers becomes a member of nobody"},
		{"an owner of a system", "title: Wiki\n    owner: otto", "title: Wiki\n    owner: adam", "adam becomes the owner of wiki"},
		{"an owner of a service", "{login: svc, name: Service A, owner: olga", "{login: svc, name: Service A, owner: adam", "adam becomes the owner of svc"},
		{"a lower risk", "name: write, kind: credential, risk: high", "name: write, kind: credential, risk: low", "falls from high to low"},
		{"a longer limit", "max_duration: 2d", "max_duration: 20d", "can last longer"},
		{"another sign-in", "email: bea@test.example}", "email: bea@test.example, handles: [{kind: login, value: adam2}]}", "adam2"},
		{"no more sponsor", "owner: ana, sponsor: max,", "owner: ana, sponsor: bea,", "max no longer answers for agent"},
		{"both taking and giving", "{name: reviewers, members: [both, pia]}", "{name: reviewers, members: [both, adam]}", "adam becomes a member of reviewers"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := found(t, onSQLite(t), policyFor(managerStage, ""))
			before, err := w.house.Store.Directory(w.ctx, 0)
			w.must(err)
			w.edit(test.old, test.new)
			applied, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
			w.must(err)
			if len(applied.Applied.Changes) != 0 || len(applied.Refused.Changes) != 1 || !strings.Contains(applied.Refused.Changes[0].Standing, test.says) {
				t.Fatalf("applied %+v, refused %+v", applied.Applied.Changes, applied.Refused.Changes)
			}
			after, err := w.house.Store.Directory(w.ctx, 0)
			w.must(err)
			if after.Revision != before.Revision {
				t.Error("the directory has changed")
			}
			w.verified()
		})
	}
}

func TestOfAMixedChangeWhatTakesAwayIsAppliedAndWhatGivesIsLeft(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(`- {name: reviewers, approvers: [group(reviewers)]}`, ""))
	id := w.submit("ana", asking())
	w.edit("{name: reviewers, members: [both, pia]}", "{name: reviewers, members: [both]}",
		"{name: platform-leads, members: [pia, pit, both]}", "{name: platform-leads, members: [pia, pit, both, adam]}",
		"records:\n", "  - name: fresh\n    title: Fresh\n    owner: adam\n    environment: dev\n    risk: low\n    connector: noop\n    resources: [{name: a, entitlements: [{name: b, kind: credential}]}]\nrecords:\n  - {key: SR-9, title: New, owner: adam, environment: prod, scopes: [all]}\n",
		"purpose: \"prints the invoices of the month\", record: SR-1", "purpose: \"prints the invoices of the month\", record: SR-9")
	applied, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	w.must(err)
	var did, left []string
	for _, change := range applied.Applied.Changes {
		did = append(did, change.Name)
	}
	for _, change := range applied.Refused.Changes {
		left = append(left, change.Name)
		if change.Standing == "" {
			t.Errorf("%s is left without a reason", change.Name)
		}
	}
	if len(did) != 1 || did[0] != "reviewers" || len(left) != 5 {
		t.Errorf("applied %v, left %v", did, left)
	}
	w.refused(w.approve("pia", id), "no-such-request")
	w.must(w.approve("both", id))
	// Nothing refers to what is not there.
	known, err := w.house.Store.Directory(w.ctx, 0)
	w.must(err)
	records, systems := map[countersign.RecordID]bool{"": true}, map[countersign.SystemID]bool{}
	for _, record := range known.Records {
		records[record.ID] = true
	}
	for _, system := range known.Systems {
		systems[system.ID] = true
	}
	for _, identity := range known.Identities {
		if !records[identity.Record] {
			t.Errorf("%s names a record that is not there", identity.Name)
		}
	}
	for _, entitlement := range known.Entitlements {
		if !systems[entitlement.System] {
			t.Errorf("%s belongs to a system that is not there", entitlement.Name)
		}
	}
	w.verified()
}

func TestOnlyAnAdministratorChangesTheDirectory(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.edit("{name: reviewers, members: [both, pia]}", "{name: reviewers, members: []}")
	for _, who := range []string{"ana", "bea", "aud", "svc"} {
		_, err := w.house.Desk.ApplyDirectory(w.ctx, w.as(who), w.files())
		w.refused(err, "needs-administrator")
		_, err = w.house.Desk.PlanDirectory(w.ctx, w.as(who), w.files())
		w.refused(err, "needs-administrator")
	}
}

func TestAPowerInTheFilesIsNamedAndNeverGiven(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.edit("administrator: [adam, alma]", "administrator: [adam, alma, otto]")
	applied, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
	w.must(err)
	if len(applied.Applied.Changes) != 0 || len(applied.Refused.Changes) != 1 || applied.Refused.Changes[0].Name != "power administrator" {
		t.Errorf("applied %v, refused %v", applied.Applied, applied.Refused)
	}
	w.settle()
	if powers, err := w.house.Desk.Powers(w.as("otto").Identity); err != nil || len(powers) != 0 {
		t.Errorf("Otto holds %v, %v", powers, err)
	}
}
