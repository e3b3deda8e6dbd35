package house_test

import (
	"testing"

	"github.com/countersign/countersign/desk"
)

func TestAHouseWithoutAdministratorsIsRecoveredByTwoPeopleOnTheRecord(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""))
		// One administrator leaves; the other alone can change nothing that takes two.
		w.edit("{login: adam, name: Adam Admin, email: adam@test.example, manager: bea}", "{login: adam, name: Adam Admin, email: adam@test.example, manager: bea, status: departed}",
			"administrator: [adam, alma]", "administrator: [bea, alma]")
		_, err := w.house.Desk.ApplyDirectory(w.ctx, w.as("adam"), w.files())
		w.must(err)
		w.settle()
		recover := func(reason string, people ...string) error {
			return w.house.Desk.Recover(w.ctx, desk.Recovery{People: people, Reason: reason, OperatingSystemUser: "root"})
		}
		w.refused(recover("Adam left", "bea"), "two-people")
		w.refused(recover("Adam left", "bea", "bea"), "two-people")
		w.refused(recover("Adam left", "bea", "svc"), "not-an-active-person")
		w.refused(recover("Adam left", "bea", "adam"), "not-an-active-person")
		w.refused(recover("", "bea", "max"), "reason-missing")
		w.must(recover("Adam left", "bea", "alma"))
		w.restart()
		w.settle()
		for _, who := range []string{"bea", "alma"} {
			if powers, err := w.house.Desk.Powers(w.as(who).Identity); err != nil || len(powers) != 1 || powers[0] != desk.PowerAdministrator {
				t.Fatalf("%s has the powers %v", who, powers)
			}
		}
		w.verified()
	})
}
