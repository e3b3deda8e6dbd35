package storetest

import (
	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

var lookStories = []story{
	{"WhatIsLookedAtTogetherIsWhatEachReadGives", tellLook},
	{"WhatStandsBesideARequestFollowsFromBothStates", tellBefore},
}

func tellLook(h *house) {
	request, other := h.request("idn_ada", "ent_a"), h.request("idn_bob", "ent_b")
	grant := h.grant("idn_ada", "ent_c")
	grant.Request = other.ID
	hold := &countersign.Hold{ID: h.mint().Hold(), Version: 1, On: "idn_ada"}
	work := store.Work{Key: "int_1", Kind: store.DeliverWork, Ref: string(grant.ID), DueAt: noon}
	event := h.event(request.RowStream(), store.Head{}, "request.submitted@1")
	h.commit(store.Change{
		Writes: writes(grant, hold, other, request), Events: []countersign.SealedEvent{event},
		Guards: []store.Guard{{Key: "a", Next: 3}}, Work: []store.WorkWrite{{Work: work, Attempt: store.AnyAttempt}},
	})
	questions := store.Questions{
		Guards: []string{"a", "b"}, Holds: 10, GrantIDs: []countersign.GrantID{grant.ID, "grt_none"},
		RequestIDs: []countersign.RequestID{request.ID}, RequestsOf: []countersign.GrantID{grant.ID}, Works: []string{"int_1", "int_none"},
		Requests: []store.RequestQuery{{Holder: "idn_bob"}, {Holder: "idn_nobody"}, {Holder: "idn_ada"}}, Grants: []store.GrantQuery{{Holders: []countersign.IdentityID{"idn_ada"}}},
		Heads: []countersign.Stream{request.RowStream(), "req_none"},
	}
	answers := must(h.Look(background, questions))(h)
	h.same(answers.Guards, must(h.Guards(background, questions.Guards))(h))
	h.same(answers.Holds, []*countersign.Hold{hold})
	h.same(answers.GrantsByID, []*countersign.Grant{grant})
	h.same(ids(answers.RequestsByID), ids([]*countersign.Request{request, other}))
	if len(answers.Works) != 1 || answers.Works[0] != work {
		h.Errorf("the work is %+v, not %+v", answers.Works, work)
	}
	if len(answers.Requests) != 3 || len(answers.Grants) != 1 {
		h.Fatalf("%d lists of requests and %d of grants are answered, of 3 and 1", len(answers.Requests), len(answers.Grants))
	}
	h.same(ids(answers.Requests[0])+"/"+ids(answers.Requests[1])+"/"+ids(answers.Requests[2]), string(other.ID)+"//"+string(request.ID))
	h.same(ids(answers.Grants[0]), string(grant.ID))
	if answers.Heads[request.RowStream()] != headOf(event) || answers.Heads["req_none"] != (store.Head{}) {
		h.Errorf("the heads are %v", answers.Heads)
	}
	nothing := must(h.Look(background, store.Questions{}))(h)
	if nothing.Guards != nil || len(nothing.Requests) != 0 {
		h.Errorf("nothing was asked, and the answer is %+v", nothing)
	}
}

// tellBefore changes a request in every way that the rows beside it follow from,
// with and without what it was before: the database must find each right.
func tellBefore(h *house) {
	steps := []func(*countersign.Request){
		func(r *countersign.Request) {
			r.Stages = []countersign.Stage{{State: countersign.StageOpen, Asked: []countersign.Asked{{Person: "idn_late"}}}}
		},
		func(r *countersign.Request) {
			r.Stages[0].Decisions = []countersign.Decision{{By: "idn_late", Outcome: countersign.Approve}}
		},
		func(r *countersign.Request) { r.Reason = "for another reason" },
		func(r *countersign.Request) { r.Entitlements = []countersign.EntitlementID{"ent_b", "ent_c"} },
		func(r *countersign.Request) { r.SamePerson = []countersign.IdentityID{"idn_ada"}; r.Stages = nil },
		func(r *countersign.Request) { r.State = countersign.RequestDenied },
	}
	for _, told := range []bool{true, false} {
		request := h.request("idn_ada", "ent_a")
		request.SamePerson = []countersign.IdentityID{"idn_ada", "idn_owner"}
		h.commit(store.Change{Writes: writes(request)})
		for _, step := range steps {
			next := *request
			next.Stages = append([]countersign.Stage(nil), request.Stages...)
			next.Version++
			step(&next)
			write := write(request.Version, &next)
			if told {
				write.Before = request
			}
			h.commit(store.Change{Writes: []store.Write{write}})
			request = &next
			if err := h.Rows(background, func(_ countersign.Stream, row countersign.Row, wrong string) error {
				if wrong != "" {
					h.Errorf("version %d of %s: %s does not follow from the row", row.RowVersion(), row.RowKey(), wrong)
				}
				return nil
			}); err != nil {
				h.Fatal(err)
			}
		}
		stale := *request
		stale.Version++
		err := h.Commit(background, store.Change{Now: noon, Writes: []store.Write{{Was: request.Version, Row: &stale, Before: &stale}}})
		if countersign.ReasonOf(err) != "malformed-write" {
			h.Errorf("another version as what was before is answered with %v", err)
		}
	}
}
