package house_test

import (
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/desk"
)

const toxic = `
separation:
  - name: read-and-call
    title: Reading the books and calling the keys
    combination:
      - {system: ledger, entitlement: read}
      - {system: keys, entitlement: call}
    because: Whoever reads the books must not call the interface.
    waivable: true
`

const keysPolicy = `
request: keys
title: Key for the interface
grants: {system: keys, kind: credential}
beneficiary: [service, person]
limits: {duration: {default: 10d, max: 30d}}
stages: [{name: boss, approvers: [person(bea)], within: 2 business days}]
fulfil: [vault.issue-key]
`

const exceptionsFile = `
exceptions:
  longest: 20d
  stage: {name: exception, approvers: [group(security)], need: 2, within: 2 business days}
`

func call(beneficiary string) desk.Asking {
	return desk.Asking{Beneficiary: beneficiary, Entitlements: []string{"keys/api/call"}, Reason: "the interface is needed"}
}

func TestAToxicCombinationIsFoundAtSubmitAlsoWhenAServiceOfTheSamePersonHoldsTheOtherHalf(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), keysPolicy, toxic)
	w.active(managerStage) // Ana reads the books.
	for _, who := range []string{"ana", "svc-ana"} {
		_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, call(who))
		w.refused(err, "toxic-combination")
	}
	w.submit("olga", call("svc"))
}

func TestTheTwoHalvesOfAToxicCombinationApprovedAtTheSameInstantAreNeverBothGiven(t *testing.T) {
	for name, other := range map[string]string{"one person": "ana", "a person and her service": "svc-ana"} {
		t.Run(name, func(t *testing.T) {
			everyDatabase(t, func(t *testing.T, open database) {
				w := found(t, open, policyFor(managerStage, ""), keysPolicy, toxic)
				first, second := w.submit("ana", asking()), w.submit("ana", call(other))
				approved := 0
				for _, err := range race(w.approval("max", first), w.approval("bea", second)) {
					if err == nil {
						approved++
					} else if reason := countersign.ReasonOf(err); reason != "toxic-combination" && reason != "changed-meanwhile" {
						t.Errorf("one half was answered with %v", err)
					}
				}
				w.settle()
				live := 0
				for _, id := range []countersign.RequestID{first, second} {
					if w.view(id).State == countersign.RequestActive {
						live++
					}
				}
				if approved > 1 || live != approved {
					t.Fatalf("%d halves were approved, %d are live", approved, live)
				}
				w.verified()
			})
		})
	}
}

func TestARefusalIsWaivedByAnExceptionWithControlOwnerAndEndOneStageStricter(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), keysPolicy, toxic, exceptionsFile)
	w.active(managerStage)
	asked := call("ana")
	asked.Exception = &desk.AskedException{Control: "otto reads the log of the interface each evening", Owner: "otto", Until: countersign.InstantOf(w.clock.Now()).Add(5 * countersign.Day)}
	id := w.submit("ana", asked)
	view := w.view(id)
	if len(view.Stages) != 2 || view.Stages[1].Name != "exception" || view.Stages[1].Need != 2 || view.Exception == nil || view.Exception.Owner.Login != "otto" {
		t.Fatalf("the request is %+v", view)
	}
	for who, want := range map[string]int{"aud": 1, "otto": 1, "olga": 0} {
		register, err := w.house.Desk.Requests(w.ctx, w.as(who), desk.RequestFilter{Exceptions: true})
		w.must(err)
		if len(register) != want {
			t.Errorf("%s finds %d exceptions in the register, want %d", who, len(register), want)
		}
	}
	w.must(w.approve("bea", id))
	w.must(w.approve("syd", id))
	w.settle()
	w.state(id, countersign.RequestDeciding)
	w.must(w.approve("sam", id))
	w.settle()
	w.state(id, countersign.RequestActive)
	if until := w.grant(id).Until; until != asked.Exception.Until {
		t.Fatalf("the access outlives its exception: %s", until)
	}
	w.pass(5 * 24 * time.Hour)
	w.state(id, countersign.RequestClosed)
	for reason, wrong := range map[string]desk.AskedException{
		"no-control":                {Control: "none", Owner: "otto", Until: asked.Exception.Until.Add(5 * countersign.Day)},
		"exception-end-not-offered": {Control: asked.Exception.Control, Owner: "otto", Until: asked.Exception.Until.Add(90 * countersign.Day)},
		"no-such-identity":          {Control: asked.Exception.Control, Owner: "nobody", Until: asked.Exception.Until.Add(5 * countersign.Day)},
	} {
		again := call("ana")
		again.Exception = &wrong
		_, err := w.house.Desk.Submit(w.ctx, w.as("ana"), desk.Key{}, again)
		w.refused(err, reason)
	}
	w.verified()
}
