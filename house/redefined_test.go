package house_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/directory"
)

const (
	managerThenOwner = "- {name: manager, approvers: [manager-of(requester)], within: 2 business days}\n- {name: owner, approvers: [owner-of(resource)], within: 2 business days}"
	plainRead        = "name: books\n        title: Books\n        entitlements:\n          - {name: read, kind: credential}"
)

// defined is the entitlement with a version of its definition.
func defined(version string) string {
	return strings.Replace(plainRead, "kind: credential}", "kind: credential, version: "+version+"}", 1)
}

func TestANewDefinitionVoidsWhatWasApprovedForTheOldOne(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerThenOwner, ""))
		w.apply(plainRead, defined("v1"))
		id := w.submit("ana", asking())
		other := w.submit("ana", desk.Asking{Entitlements: []string{"ledger/books/write"}, Reason: "the books of the month are due"})
		w.must(w.approve("max", id))
		w.must(w.approve("max", other))
		shown := w.shown(id)
		w.apply(defined("v1"), defined("v2"))
		// Whoever saw the page before decides on what is there no longer.
		err := w.house.Desk.Approve(w.ctx, w.as("otto"), desk.Key{}, id, desk.Decision{Shown: shown})
		if err == nil {
			t.Fatal("what was approved for the old definition went through")
		}
		w.refused(w.approve("otto", id), "redefined")
		w.settle()
		if stages := w.view(id).Stages; len(stages[0].Decisions) != 0 || stages[0].State != countersign.StageOpen || stages[1].State != countersign.StageWaiting {
			t.Fatalf("after the new definition the stages are %+v", stages)
		}
		if stages := w.view(other).Stages; len(stages[0].Decisions) != 1 || stages[1].State != countersign.StageOpen {
			t.Errorf("another entitlement's approvals are %+v", stages)
		}
		w.tells(id, "ledger/books/read, version v2; what was approved before is decided anew")
		w.must(w.approve("max", id))
		w.must(w.approve("otto", id))
		w.settle()
		w.state(id, countersign.RequestActive)
		if grant := w.grant(id); grant.Redefined != nil {
			t.Errorf("the grant is marked: %+v", grant.Redefined)
		}
		w.verified()
	})
}

func TestADefinitionThatChangesBeforeTheAccessIsGivenStopsIt(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.apply(plainRead, defined("v1"))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.apply(defined("v1"), defined("v2"))
	w.settle()
	w.state(id, countersign.RequestFailed)
	if grant := w.grant(id); w.holds(id) || !strings.Contains(grant.Ending, "means something else by now") {
		t.Errorf("the target holds it: %v; it ended because: %s", w.holds(id), grant.Ending)
	}
	w.verified()
}

func TestALiveGrantOfAnOldDefinitionIsMarkedAndItsPeopleAreTold(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		ear := &listener{}
		w := listening(t, open, ear, policyFor(managerStage, ""))
		w.apply(plainRead, defined("v1"))
		w.settle()
		id := w.submit("ana", asking())
		w.must(w.approve("max", id))
		w.settle()
		w.apply(defined("v1"), defined("v2"))
		w.settle()
		grant := w.grant(id)
		if grant.State != countersign.GrantLive || grant.Redefined == nil || grant.Redefined.Definition != "v2" || grant.Redefined.Since != countersign.InstantOf(w.clock.Now()) {
			t.Fatalf("the grant is %s, marked %+v", grant.State, grant.Redefined)
		}
		w.pass(15 * time.Minute)
		w.tell()
		for _, name := range []string{"Ana Asker", "Otto Other", "Pit Platform"} {
			if kinds := ear.kinds(name); !slices.Contains(kinds, desk.NoticeRedefined) {
				t.Errorf("%s was told of %v", name, kinds)
			}
		}
		if kinds := ear.kinds("Max Manager"); slices.Contains(kinds, desk.NoticeRedefined) {
			t.Errorf("Max was told of %v", kinds)
		}
		version := w.grant(id).Version
		w.apply("title: Books\n        entitlements:", "title: Books of all\n        entitlements:")
		w.settle()
		if w.grant(id).Version != version {
			t.Error("the grant is marked once more for the same definition")
		}
		// The old definition again is what was approved.
		w.apply("kind: credential, version: v2}", "kind: credential, version: v1}")
		w.settle()
		if grant := w.grant(id); grant.Redefined != nil {
			t.Errorf("the grant is still marked %+v", grant.Redefined)
		}
		w.verified()
	})
}

func TestALaterEndThatWasApprovedForTheNewDefinitionTakesTheMarkAway(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	w.apply(plainRead, defined("v1"))
	id := w.submit("ana", asking())
	w.must(w.approve("max", id))
	w.settle()
	w.apply(defined("v1"), defined("v2"))
	w.settle()
	extension := w.submit("ana", desk.Asking{Extends: w.grant(id).ID, Entitlements: []string{"ledger/books/read"}, Duration: 20 * countersign.Day, Reason: "the books of the next month are due"})
	w.must(w.approve("max", extension))
	w.settle()
	if grant := w.grant(id); grant.Redefined != nil || w.stored(grant.ID).Definition != "v2" {
		t.Errorf("after the extension: %+v", w.stored(grant.ID))
	}
	w.verified()
}

// realData is the folder of lists that targets publish.
func realData(t *testing.T, name string) []byte {
	t.Helper()
	folder := os.Getenv("COUNTERSIGN_TEST_DATA")
	if folder == "" {
		t.Skipf("COUNTERSIGN_TEST_DATA names no folder with %s", name)
	}
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// The managed policies of AWS as a catalogue: imported, applied, asked for by its
// risk, and voided when AWS publishes another version.
func TestAPublishedListBecomesACatalogueAndANewVersionOfItVoidsApprovals(t *testing.T) {
	list := realData(t, "aws-managed-policies.jsonl")
	catalogue := func(list []byte) directory.File {
		t.Helper()
		mapping, err := directory.KnownMapping("aws-managed-policies")
		if err != nil {
			t.Fatal(err)
		}
		listing, problems := directory.ReadList("aws", bytes.NewReader(list), mapping, countersign.CredentialKind, nil)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		listing.System = "ledger"
		content, err := listing.Catalogue("aws")
		if err != nil {
			t.Fatal(err)
		}
		return directory.File{Path: "directory/catalogue-aws.yaml", Bytes: content}
	}
	w := found(t, onSQLite(t), policyFor("- {name: manager, approvers: [manager-of(requester)]}\n- {name: security, when: entitlement.risk == \"high\", approvers: [group(security)]}\n- {name: owner, approvers: [owner-of(resource)]}", ""))
	apply := func(list []byte) int {
		t.Helper()
		applied, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), append(w.files(), catalogue(list)))
		w.must(err)
		if len(applied.Refused.Changes) != 0 {
			t.Fatalf("refused: %+v", applied.Refused)
		}
		return len(applied.Applied.Changes)
	}
	if changed := apply(list); changed != 1567+1 {
		t.Errorf("%d changes", changed)
	}
	ask := func(name string) countersign.RequestID {
		return w.submit("ana", desk.Asking{Entitlements: []string{"ledger/managed-policies/" + name}, Reason: "the cloud has to be set up"})
	}
	risky := ask("AIDevOpsAgentAccessPolicy")
	plain := ask("AIDevOpsAgentFullAccess")
	if a, b := w.view(risky).Stages[1].State, w.view(plain).Stages[1].State; a != countersign.StageWaiting || b != countersign.StageSkipped {
		t.Errorf("security decides what exposes credentials: %s, and else: %s", a, b)
	}
	w.must(w.approve("max", risky))
	w.must(w.approve("max", plain))
	if changed := apply(bytes.Replace(list, []byte(`"version":"v10","updated":"2026-08-12`), []byte(`"version":"v11","updated":"2026-08-12`), 1)); changed != 1 {
		t.Errorf("%d changes for one new version", changed)
	}
	w.settle()
	if a, b := w.view(risky).Stages[0].Decisions, w.view(plain).Stages[0].Decisions; len(a) != 0 || len(b) != 1 {
		t.Errorf("of the new version %d approvals stand, of the other %d", len(a), len(b))
	}
	w.verified()
}
