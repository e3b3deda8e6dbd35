package storetest

import (
	"fmt"
	"slices"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

var queryStories = []story{
	{"RequestsAreFoundByEveryField", tellRequests},
	{"GrantsAreFoundByEveryField", tellGrants},
	{"WhoMustDecideFollowsTheRequest", tellAwaiting},
	{"TheDirectoryTellsWhatChanged", tellDirectory},
	{"TheDirectoryMovesOneRevisionAtATime", func(h *house) {
		change := func(revision int64) store.Change {
			return store.Change{Writes: writes(h.person("P")), DirectoryRevision: revision}
		}
		h.changed(store.GuardDirectory, change(2))
		h.commit(change(1))
		h.changed(store.GuardDirectory, change(1))
		left, right := change(2), change(2)
		results := together(
			func() error { return h.Commit(background, left) },
			func() error { return h.Commit(background, right) })
		if won := h.wins(results, isChanged); won != 1 {
			h.Fatalf("%d changes made revision 2", won)
		}
	}},
	{"RowsAreVisitedWithTheirStreams", tellRows},
}

func tellRequests(h *house) {
	a, b, c, d := h.request("idn_ada", "ent_a"), h.request("idn_bob", "ent_a", "ent_b"), h.request("idn_cy", "ent_c"), h.request("idn_ada", "ent_d")
	b.Type, b.State = "break-glass", countersign.RequestActive
	c.Requester, c.SamePerson = "idn_ada", []countersign.IdentityID{"idn_ada", "idn_cy", "idn_owner"}
	c.State = countersign.RequestCollecting
	c.Consent = countersign.Consent{Of: "idn_owner"}
	d.Stages = []countersign.Stage{{Name: "one", State: countersign.StagePassed, Asked: []countersign.Asked{{Person: "idn_early"}},
		Decisions: []countersign.Decision{{By: "idn_early", Outcome: countersign.Approve}}},
		{Name: "two", State: countersign.StageOpen, Asked: []countersign.Asked{{Person: "idn_late"}, {Person: "idn_late", Rule: "again"}}}}
	b.Exception = &countersign.Exception{Waives: []countersign.Waived{{Reason: "toxic-combination"}}, Owner: "idn_keeper"}
	c.Ticket = &countersign.TicketRef{System: "helpdesk", ID: "7", Key: "HD-7"}
	h.commit(store.Change{Writes: writes(d, c, b, a)})
	for _, test := range []struct {
		name  string
		query store.RequestQuery
		want  []*countersign.Request
	}{
		{"all, newest first", store.RequestQuery{}, []*countersign.Request{d, c, b, a}},
		{"limit", store.RequestQuery{Limit: 2}, []*countersign.Request{d, c}},
		{"next page", store.RequestQuery{Limit: 2, Before: c.ID}, []*countersign.Request{b, a}},
		{"requester, beneficiary", store.RequestQuery{Party: "idn_ada"}, []*countersign.Request{d, c, a}},
		{"accountable", store.RequestQuery{Party: "idn_owner"}, []*countersign.Request{c}},
		{"asked now", store.RequestQuery{Party: "idn_late"}, []*countersign.Request{d}},
		{"asked before", store.RequestQuery{Party: "idn_early"}, []*countersign.Request{d}},
		{"ticket", store.RequestQuery{Ticket: "helpdesk/7"}, []*countersign.Request{c}},
		{"another ticket", store.RequestQuery{Ticket: "helpdesk/8"}, nil},
		{"a stranger", store.RequestQuery{Party: "idn_zoe"}, nil},
		{"awaiting a decision", store.RequestQuery{AwaitingDecisionOf: "idn_late"}, []*countersign.Request{d}},
		{"decided already", store.RequestQuery{AwaitingDecisionOf: "idn_early"}, nil},
		{"awaiting consent", store.RequestQuery{AwaitingDecisionOf: "idn_owner"}, []*countersign.Request{c}},
		{"a party's page", store.RequestQuery{Party: "idn_ada", Before: d.ID, Limit: 1}, []*countersign.Request{c}},
		{"awaited before the only one", store.RequestQuery{AwaitingDecisionOf: "idn_late", Before: d.ID, Limit: 1}, nil},
		{"a party's in a state, behind newer ones", store.RequestQuery{Party: "idn_ada", States: []countersign.RequestState{countersign.RequestCollecting}, Limit: 1}, []*countersign.Request{c}},
		{"a party's and awaited, behind newer ones", store.RequestQuery{Party: "idn_ada", AwaitingDecisionOf: "idn_owner", Limit: 1}, []*countersign.Request{c}},
		{"holder", store.RequestQuery{Holder: "idn_ada"}, []*countersign.Request{d, a}},
		{"entitlement", store.RequestQuery{Entitlement: "ent_a"}, []*countersign.Request{b, a}},
		{"the open one of a holder", store.RequestQuery{Holder: "idn_ada", Entitlement: "ent_d", States: []countersign.RequestState{countersign.RequestDeciding}}, []*countersign.Request{d}},
		{"none that is open", store.RequestQuery{Holder: "idn_bob", Entitlement: "ent_a", States: []countersign.RequestState{countersign.RequestDeciding}}, nil},
		{"a refusal was waived", store.RequestQuery{Excepted: true}, []*countersign.Request{b}},
		{"answers for an exception", store.RequestQuery{Party: "idn_keeper"}, []*countersign.Request{b}},
		{"type", store.RequestQuery{Type: "break-glass"}, []*countersign.Request{b}},
		{"states", store.RequestQuery{States: []countersign.RequestState{countersign.RequestActive, countersign.RequestCollecting}}, []*countersign.Request{c, b}},
		{"states, page", store.RequestQuery{States: []countersign.RequestState{countersign.RequestActive, countersign.RequestCollecting, countersign.RequestDeciding}, Before: d.ID, Limit: 2}, []*countersign.Request{c, b}},
		{"states of a type", store.RequestQuery{Type: "break-glass", States: []countersign.RequestState{countersign.RequestActive, countersign.RequestCollecting}}, []*countersign.Request{b}},
		{"together", store.RequestQuery{Party: "idn_ada", States: []countersign.RequestState{countersign.RequestDeciding}, Before: d.ID, Limit: 5}, []*countersign.Request{a}},
	} {
		if got := must(h.Requests(background, test.query))(h); ids(got) != ids(test.want) {
			h.Errorf("%s: got %s, want %s", test.name, ids(got), ids(test.want))
		}
	}
}

func tellGrants(h *house) {
	a, b, c, d := h.grant("idn_ada", "ent_a"), h.grant("idn_bob", "ent_a"), h.grant("idn_ada", "ent_c"), h.grant("idn_cy", "ent_d")
	b.Request, b.State = "req_b", countersign.GrantProvisioning
	c.State, c.System = countersign.GrantGone, a.System
	b.Requester = "idn_ada"
	h.commit(store.Change{Writes: writes(d, c, b, a)})
	for _, test := range []struct {
		name  string
		query store.GrantQuery
		want  []*countersign.Grant
	}{
		{"all, newest first", store.GrantQuery{}, []*countersign.Grant{d, c, b, a}},
		{"page", store.GrantQuery{Before: d.ID, Limit: 2}, []*countersign.Grant{c, b}},
		{"one holder", store.GrantQuery{Holders: []countersign.IdentityID{"idn_ada"}}, []*countersign.Grant{c, a}},
		{"holders", store.GrantQuery{Holders: []countersign.IdentityID{"idn_ada", "idn_cy", "idn_no"}}, []*countersign.Grant{d, c, a}},
		{"system", store.GrantQuery{System: a.System}, []*countersign.Grant{c, a}},
		{"system, page", store.GrantQuery{System: a.System, Before: c.ID, Limit: 2}, []*countersign.Grant{a}},
		{"system, the newest", store.GrantQuery{System: a.System, Limit: 1}, []*countersign.Grant{c}},
		{"entitlement", store.GrantQuery{Entitlement: "ent_a"}, []*countersign.Grant{b, a}},
		{"entitlement, in states", store.GrantQuery{Entitlement: "ent_a", States: []countersign.GrantState{countersign.GrantLive, countersign.GrantLive, countersign.GrantGone}}, []*countersign.Grant{a}},
		{"requester", store.GrantQuery{Requester: "idn_ada"}, []*countersign.Grant{b}},
		{"held or asked for", store.GrantQuery{Holders: []countersign.IdentityID{"idn_ada"}, Requester: "idn_ada"}, []*countersign.Grant{c, b, a}},
		{"request", store.GrantQuery{Request: "req_b"}, []*countersign.Grant{b}},
		{"states", store.GrantQuery{States: []countersign.GrantState{countersign.GrantGone, countersign.GrantProvisioning}}, []*countersign.Grant{c, b}},
		{"states, page", store.GrantQuery{States: []countersign.GrantState{countersign.GrantLive, countersign.GrantProvisioning}, Before: d.ID, Limit: 1}, []*countersign.Grant{b}},
		{"together", store.GrantQuery{System: a.System, Holders: []countersign.IdentityID{"idn_ada"}, States: []countersign.GrantState{countersign.GrantLive}}, []*countersign.Grant{a}},
	} {
		if got := must(h.Grants(background, test.query))(h); ids(got) != ids(test.want) {
			h.Errorf("%s: got %s, want %s", test.name, ids(got), ids(test.want))
		}
		var wanted []countersign.GrantID
		for _, grant := range test.want {
			wanted = append(wanted, grant.ID)
		}
		if got := must(h.GrantIDs(background, test.query))(h); !slices.Equal(got, wanted) {
			h.Errorf("%s: got the ids %v, want %v", test.name, got, wanted)
		}
		if got := must(h.CountGrants(background, test.query))(h); got != len(wanted) {
			h.Errorf("%s: counted %d, want %d", test.name, got, len(wanted))
		}
	}
}

func tellAwaiting(h *house) {
	request := h.request("idn_ada", "ent_a")
	stage := countersign.Stage{Name: "both", State: countersign.StageOpen, Asked: []countersign.Asked{{Person: "idn_bob"}, {Person: "idn_cy"}}}
	request.Stages = []countersign.Stage{stage}
	h.commit(store.Change{Writes: writes(request)})
	expect := func(when string, waiting ...countersign.IdentityID) {
		h.Helper()
		for _, person := range []countersign.IdentityID{"idn_ada", "idn_bob", "idn_cy", "idn_dee"} {
			got := must(h.Requests(background, store.RequestQuery{AwaitingDecisionOf: person}))(h)
			if want := slices.Contains(waiting, person); (len(got) == 1) != want {
				h.Fatalf("%s: waits for %s: %t, want %t", when, person, len(got) == 1, want)
			}
		}
	}
	update := func() {
		h.Helper()
		request.Version++
		h.commit(store.Change{Writes: []store.Write{write(request.Version-1, request)}})
	}
	expect("at first", "idn_bob", "idn_cy")
	request.Stages[0].Decisions = []countersign.Decision{{By: "idn_bob", Outcome: countersign.Approve}}
	update()
	expect("after one decision", "idn_cy")
	request.Stages[0].Decisions = nil
	request.Stages[0].Asked = []countersign.Asked{{Person: "idn_bob"}, {Person: "idn_dee"}}
	update()
	expect("after it was voided and the stage escalated", "idn_bob", "idn_dee")
	if got := must(h.Requests(background, store.RequestQuery{Party: "idn_cy"}))(h); len(got) != 0 {
		h.Fatal("somebody who is asked no more is still a party")
	}
	request.State = countersign.RequestCancelled
	update()
	expect("after the end")
}

func tellDirectory(h *house) {
	ada, bob := h.person("Ada"), h.person("Bob")
	group := &countersign.Group{ID: h.mint().Group(), Version: 1, Name: "security", Members: []countersign.Member{{Identity: ada.ID, Version: 1}}}
	system := &countersign.System{ID: h.mint().System(), Version: 1, Name: "billing"}
	entitlement := &countersign.Entitlement{ID: h.mint().Entitlement(), Version: 1, System: system.ID, Name: "read"}
	record := &countersign.Record{ID: h.mint().Record(), Version: 1, Key: "SR-1042"}
	if empty := must(h.Directory(background, 0))(h); empty.Revision != 0 || len(empty.Identities) != 0 {
		h.Fatalf("an empty directory has %+v", empty)
	}
	h.commit(store.Change{DirectoryRevision: 1, Writes: writes(ada, group, system)})
	h.commit(store.Change{DirectoryRevision: 2, Writes: writes(bob, entitlement, record)})
	ada.Version, ada.Status = 2, countersign.IdentitySuspended
	h.commit(store.Change{DirectoryRevision: 3, Writes: []store.Write{write(1, ada)}})
	for since, want := range []store.Directory{
		{Revision: 3, Identities: []*countersign.Identity{ada, bob}, Groups: []*countersign.Group{group}, Systems: []*countersign.System{system},
			Entitlements: []*countersign.Entitlement{entitlement}, Records: []*countersign.Record{record}},
		{Revision: 3, Identities: []*countersign.Identity{ada, bob}, Entitlements: []*countersign.Entitlement{entitlement}, Records: []*countersign.Record{record}},
		{Revision: 3, Identities: []*countersign.Identity{ada}},
		{Revision: 3},
	} {
		h.same(must(h.Directory(background, int64(since)))(h), want)
	}
}

func tellRows(h *house) {
	// More requests than are read at a time.
	const many = 1100
	var all []countersign.Row
	for n := range many {
		all = append(all, h.request("idn_ada", countersign.EntitlementID(fmt.Sprintf("ent_%d", n)), "ent_x"))
	}
	for _, row := range all[1:] {
		row.(*countersign.Request).State = countersign.RequestClosed
	}
	system := &countersign.System{ID: h.mint().System(), Version: 1, Name: "billing"}
	all = append(all, h.grant("idn_ada", "ent_a"), h.person("Ada"), system,
		&countersign.Entitlement{ID: h.mint().Entitlement(), Version: 1, System: system.ID, Name: "read"},
		&countersign.Group{ID: h.mint().Group(), Version: 1}, &countersign.Record{ID: h.mint().Record(), Version: 1},
		&countersign.PolicyRow{Version: 1}, &countersign.House{Version: 1, Name: "Example"})
	h.commit(store.Change{DirectoryRevision: 1, Writes: writes(all...)})
	left := map[string]countersign.Row{}
	for _, row := range all {
		left[row.RowKey()] = row
	}
	err := h.Rows(background, func(stream countersign.Stream, row countersign.Row, wrong string) error {
		if wrong != "" {
			h.Errorf("%s: %s is wrong", row.RowKey(), wrong)
		}
		want := left[row.RowKey()]
		delete(left, row.RowKey())
		if want == nil {
			return fmt.Errorf("%s is visited twice, or was never stored", row.RowKey())
		}
		if stream != want.RowStream() {
			h.Errorf("%s has the stream %s", row.RowKey(), stream)
		}
		h.same(row, want)
		return nil
	})
	if err != nil {
		h.Fatal(err)
	}
	if len(left) != 0 {
		h.Fatalf("%d rows were not visited", len(left))
	}
	stop := fmt.Errorf("enough")
	if err := h.Rows(background, func(countersign.Stream, countersign.Row, string) error { return stop }); err == nil || err.Error() != stop.Error() {
		h.Fatalf("got the error %v, want that of the visit", err)
	}
}
