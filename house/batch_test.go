package house_test

import (
	"errors"
	"testing"

	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/store"
)

const starterPackage = `
packages:
  - {name: starter, title: What everybody needs, entitlements: [ledger/books/read, keys/api/call]}
`

func (w *world) many(who string, asking desk.ManyAsking) (*desk.BatchView, error) {
	w.t.Helper()
	id, err := w.house.Desk.SubmitMany(w.ctx, w.as(who), desk.Key{}, asking)
	if err != nil {
		return nil, err
	}
	w.settle()
	view, err := w.house.Desk.Batch(w.ctx, w.as(who), id)
	w.must(err)
	return view, nil
}

func TestOneAskingForManyGivesEachItsOwnResult(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""), keysPolicy, starterPackage)
		w.active(managerStage) // Ana has one half of it already.
		view, err := w.many("max", desk.ManyAsking{Beneficiaries: []string{"ana", "otto", "svc", "nomad"}, Package: "starter", Reason: "they begin on Monday"})
		w.must(err)
		if !view.Done || len(view.Items) != 8 || view.Opened+view.Refused != 8 {
			t.Fatalf("the batch is %+v", view)
		}
		for _, item := range view.Items {
			holds := item.Beneficiary.Login == "ana" && item.Entitlement.Name == "ledger/books/read"
			if holds != (item.Refused == "already-held") || holds == (item.Request != "") {
				t.Errorf("%s for %s: %+v", item.Entitlement.Name, item.Beneficiary.Login, item)
			}
		}
		w.refused(func() error {
			_, err := w.house.Desk.Batch(w.ctx, w.as("olga"), view.ID)
			return err
		}(), "no-such-batch")
		w.verified()
	})
}

func TestABatchIsOpenedOnceThoughAStepIsTakenTwice(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""))
	id, err := w.house.Desk.SubmitMany(w.ctx, w.as("max"), desk.Key{}, desk.ManyAsking{Beneficiaries: []string{"ana", "otto", "olga"}, Entitlements: []string{"ledger/books/read"}, Reason: "the course begins"})
	w.must(err)
	work := store.Work{Key: string(id), Kind: store.BatchWork, Ref: string(id)}
	steps := func() error { return w.house.Desk.StepBatches(w.ctx, []store.Work{work}) }
	for _, err := range race(steps, steps) {
		var changed *store.Changed
		if err != nil && !errors.As(err, &changed) {
			t.Errorf("one step was answered with %v", err)
		}
	}
	w.restart()
	w.settle()
	view, err := w.house.Desk.Batch(w.ctx, w.as("max"), id)
	w.must(err)
	requests, err := w.house.Desk.Requests(w.ctx, w.as("aud"), desk.RequestFilter{})
	w.must(err)
	if !view.Done || view.Opened != 3 || len(requests) != 3 {
		t.Fatalf("%d of 3 were opened, as %d requests", view.Opened, len(requests))
	}
	w.verified()
}

func TestABatchWithAMisspeltNameOrTooManyOpensNothing(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), keysPolicy, starterPackage)
	crowd := make([]string, 501)
	for i := range crowd {
		crowd[i] = "ana"
	}
	for reason, asking := range map[string]desk.ManyAsking{
		"no-such-identity":         {Beneficiaries: []string{"ana", "anna"}, Entitlements: []string{"ledger/books/read"}},
		"no-such-entitlement":      {Beneficiaries: []string{"ana"}, Entitlements: []string{"ledger/books/raed"}},
		"item-twice":               {Beneficiaries: []string{"ana", "ana@test.example"}, Entitlements: []string{"ledger/books/read"}},
		"no-package":               {Beneficiaries: []string{"ana"}, Package: "startr"},
		"package-and-entitlements": {Beneficiaries: []string{"ana"}, Package: "starter", Entitlements: []string{"ledger/books/read"}},
		"batch-size":               {Beneficiaries: crowd, Entitlements: []string{"ledger/books/read"}},
	} {
		asking.Reason = "they begin on Monday"
		_, err := w.many("max", asking)
		w.refused(err, reason)
	}
	if requests, err := w.house.Desk.Requests(w.ctx, w.as("aud"), desk.RequestFilter{}); err != nil || len(requests) != 0 {
		t.Fatalf("something was opened: %v, %v", requests, err)
	}
}
