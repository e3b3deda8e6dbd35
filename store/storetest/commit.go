package storetest

import (
	"context"
	"errors"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

var commitStories = []story{
	{"AChangeIsReadBackWhole", func(h *house) {
		request, grant := h.request("idn_ada", "ent_a"), h.grant("idn_ada", "ent_a")
		policy := &countersign.PolicyRow{Version: 1, Active: "sha256:11", ActivatedAt: noon}
		founded := &countersign.House{Version: 1, Name: "Example", Founded: noon, Sample: true}
		h.commit(store.Change{
			Writes:     writes(request, grant, policy, founded),
			Contents:   []store.Content{{Digest: "sha256:aa", Bytes: []byte{0, 1, 255}}, {Digest: "sha256:bb"}},
			PolicySets: []store.Content{{Digest: "sha256:11", Bytes: []byte("set")}},
		})
		h.same(must(h.Request(background, request.ID))(h), request)
		h.same(must(h.Grant(background, grant.ID))(h), grant)
		h.same(must(h.Policy(background))(h), policy)
		h.same(must(h.House(background))(h), founded)
		if content := must(h.Content(background, "sha256:aa"))(h); string(content) != "\x00\x01\xff" {
			h.Fatalf("got the content %q", content)
		}
		if content := must(h.PolicySet(background, "sha256:11"))(h); string(content) != "set" {
			h.Fatalf("got the policy set %q", content)
		}
		// The same bytes may arrive again under their digest.
		h.commit(store.Change{Contents: []store.Content{{Digest: "sha256:aa", Bytes: []byte{0, 1, 255}}}})
	}},
	{"WhatIsNotThereIsNotFound", func(h *house) {
		for _, read := range []func() error{
			func() error { _, err := h.Request(background, "req_none"); return err },
			func() error { _, err := h.Grant(background, "grt_none"); return err },
			func() error { _, err := h.Work(background, "none"); return err },
			func() error { _, err := h.Policy(background); return err },
			func() error { _, err := h.House(background); return err },
			func() error { _, err := h.PolicySet(background, "sha256:00"); return err },
			func() error { _, err := h.Content(background, "sha256:00"); return err },
			func() error { _, err := h.Idempotency(background, "c", "r", "k"); return err },
			func() error { _, err := h.Shelf("vault").Item(background, "none"); return err },
		} {
			h.absent(read())
		}
	}},
	{"ARowIsWrittenOnlyOverTheVersionThatWasRead", func(h *house) {
		request := h.request("idn_ada", "ent_a")
		h.commit(store.Change{Writes: writes(request)})
		h.changed(string(request.ID), store.Change{Writes: writes(request)})
		request.Version, request.State = 2, countersign.RequestDenied
		h.commit(store.Change{Writes: []store.Write{write(1, request)}})
		request.Version = 3
		h.changed(string(request.ID), store.Change{Writes: []store.Write{write(1, request)}})
		missing := h.request("idn_ada", "ent_b")
		missing.Version = 2
		h.changed(string(missing.ID), store.Change{Writes: []store.Write{write(1, missing)}})
		if read := must(h.Request(background, request.ID))(h); read.Version != 2 || read.State != countersign.RequestDenied {
			h.Fatalf("got version %d, state %s", read.Version, read.State)
		}
	}},
	{"AGuardHoldsOrNothingIsWritten", func(h *house) {
		check := func(version int64) store.Change {
			return store.Change{Guards: []store.Guard{{Key: "idn_ada", Version: version}}}
		}
		h.commit(check(0))
		h.changed("idn_ada", check(1))
		h.commit(store.Change{Guards: []store.Guard{{Key: "idn_ada", Version: 0, Next: 7}, {Key: "zed"}}})
		h.changed("idn_ada", check(0))
		h.commit(check(7))
		request := h.request("idn_ada", "ent_a")
		h.changed("idn_ada", store.Change{Guards: []store.Guard{{Key: "zed", Next: 1}, {Key: "idn_ada", Version: 6, Next: 8}}, Writes: writes(request)})
		_, err := h.Request(background, request.ID)
		h.absent(err)
		versions := must(h.Guards(background, []string{"zed", "idn_ada", "never"}))(h)
		if len(versions) != 3 || versions["idn_ada"] != 7 || versions["zed"] != 0 || versions["never"] != 0 {
			h.Fatalf("got the guards %v", versions)
		}
		// The same guard twice is one; read at two versions it has changed.
		h.commit(store.Change{Guards: []store.Guard{{Key: "zed"}, {Key: "zed", Next: 1}}})
		h.changed("zed", store.Change{Guards: []store.Guard{{Key: "zed", Version: 1}, {Key: "zed", Version: 2}}})
		if err := h.Commit(background, store.Change{Guards: []store.Guard{{Key: "zed", Version: 1, Next: 1}}}); countersign.KindOf(err) != countersign.Internal {
			h.Fatalf("a guard that stands still was taken: %v", err)
		}
	}},
	{"AFailureAnywhereLeavesNothingBehind", func(h *house) {
		taken := h.request("idn_ada", "ent_a")
		h.commit(store.Change{Writes: writes(taken)})
		grant, other := h.grant("idn_bob", "ent_b"), h.request("idn_ada", "ent_a")
		h.duplicate(store.OneOpenRequest, store.Change{
			Guards:      []store.Guard{{Key: "holder:idn_bob", Next: 1}},
			Writes:      writes(grant, other),
			Events:      []countersign.SealedEvent{h.event("req_x", store.Head{}, "request.submitted@1")},
			Work:        []store.WorkWrite{{Work: store.Work{Key: "int_x", Kind: store.DeliverWork, DueAt: noon}, Attempt: store.AnyAttempt}},
			Contents:    []store.Content{{Digest: "sha256:cc", Bytes: []byte("c")}},
			Idempotency: &store.Idempotency{Caller: "c", Route: "r", Key: "k", At: noon},
		})
		_, err := h.Grant(background, grant.ID)
		h.absent(err)
		_, err = h.Work(background, "int_x")
		h.absent(err)
		_, err = h.Content(background, "sha256:cc")
		h.absent(err)
		_, err = h.Idempotency(background, "c", "r", "k")
		h.absent(err)
		if heads := must(h.Heads(background, []countersign.Stream{"req_x"}))(h); heads["req_x"].Seq != 0 {
			h.Fatalf("an event stayed: %v", heads)
		}
		if guards := must(h.Guards(background, []string{"holder:idn_bob"}))(h); guards["holder:idn_bob"] != 0 {
			h.Fatalf("a guard moved: %v", guards)
		}
	}},
	{"OneRequestIsOpenForHolderEntitlementAndType", func(h *house) {
		// The second has the lower id, so that the order of keys does not help.
		second, first := h.request("idn_ada", "ent_b"), h.request("idn_ada", "ent_a", "ent_b")
		h.commit(store.Change{Writes: writes(first)})
		h.duplicate(store.OneOpenRequest, store.Change{Writes: writes(h.request("idn_ada", "ent_c", "ent_b"))})
		another := h.request("idn_ada", "ent_b")
		another.Type = "break-glass"
		h.commit(store.Change{Writes: writes(another, h.request("idn_bob", "ent_b"))})
		// What ends in a change frees its place for what begins in it.
		first.Version, first.State = 2, countersign.RequestCancelled
		h.commit(store.Change{Writes: []store.Write{write(0, second), write(1, first)}})
		// A request that is widened meets others too.
		third := h.request("idn_ada", "ent_z")
		h.commit(store.Change{Writes: writes(third)})
		third.Version, third.Entitlements = 2, []countersign.EntitlementID{"ent_z", "ent_b"}
		h.duplicate(store.OneOpenRequest, store.Change{Writes: []store.Write{write(1, third)}})
		// One that has become access does not stand in the way.
		second.Version, second.State = 2, countersign.RequestActive
		h.commit(store.Change{Writes: []store.Write{write(1, second), write(1, third)}})
	}},
	{"ATicketOpensOneRequestForEver", func(h *house) {
		first, second, other := h.request("idn_ada", "ent_a"), h.request("idn_bob", "ent_b"), h.request("idn_cy", "ent_c")
		first.Ticket = &countersign.TicketRef{System: "helpdesk", ID: "7"}
		first.State = countersign.RequestCancelled
		second.Ticket = first.Ticket
		other.Ticket = &countersign.TicketRef{System: "another", ID: "7"}
		h.commit(store.Change{Writes: writes(first, other)})
		h.duplicate(store.OneTicket, store.Change{Writes: writes(second)})
	}},
	{"OneGrantLivesForHolderAndEntitlement", func(h *house) {
		first := h.grant("idn_ada", "ent_a")
		h.commit(store.Change{Writes: writes(first)})
		h.duplicate(store.OneLiveGrant, store.Change{Writes: writes(h.grant("idn_ada", "ent_a"))})
		h.commit(store.Change{Writes: writes(h.grant("idn_ada", "ent_b"), h.grant("idn_bob", "ent_a"))})
		for version, state := range []countersign.GrantState{countersign.GrantRevoking, countersign.GrantRevoked} {
			first.Version, first.State = int64(version)+2, state
			h.commit(store.Change{Writes: []store.Write{write(first.Version-1, first)}})
			h.duplicate(store.OneLiveGrant, store.Change{Writes: writes(h.grant("idn_ada", "ent_a"))})
		}
		first.Version, first.State = 4, countersign.GrantGone
		h.commit(store.Change{Writes: []store.Write{write(3, first)}})
		h.commit(store.Change{Writes: writes(h.grant("idn_ada", "ent_a"))})
	}},
	{"AHandleIsNeverGivenToAnotherIdentity", func(h *house) {
		mail := countersign.Handle{Kind: countersign.Email, Value: "ada@example.org"}
		give := func(to countersign.IdentityID, removed bool) store.Change {
			return store.Change{Handles: []store.HandleWrite{{Handle: mail, Identity: to, Removed: removed}}}
		}
		h.commit(give("idn_ada", false))
		h.duplicate(store.OneHandle, give("idn_bob", false))
		h.commit(give("idn_ada", true))
		h.duplicate(store.OneHandle, give("idn_bob", false))
		h.duplicate(store.OneHandle, give("idn_bob", true))
		h.commit(give("idn_ada", false))
		other := store.HandleWrite{Handle: countersign.Handle{Kind: countersign.Login, Value: "ada@example.org"}, Identity: "idn_bob"}
		h.commit(store.Change{Handles: []store.HandleWrite{other}})
	}},
	{"AnIdempotencyKeyIsTakenFor48Hours", func(h *house) {
		answer := store.Idempotency{Caller: "idn_ada", Route: "POST /requests", Key: "k1", Body: "sha256:aa", Object: "req_1", At: noon}
		h.commit(store.Change{Idempotency: &answer})
		if read := must(h.Idempotency(background, "idn_ada", "POST /requests", "k1"))(h); read != answer {
			h.Fatalf("got %+v", read)
		}
		h.duplicate(store.OneIdempotencyKey, store.Change{Now: noon, Idempotency: &answer})
		h.duplicate(store.OneIdempotencyKey, store.Change{Now: noon.Add(2 * countersign.Day), Idempotency: &answer})
		for _, other := range []store.Idempotency{
			{Caller: "idn_bob", Route: answer.Route, Key: "k1", At: noon},
			{Caller: answer.Caller, Route: "POST /grants", Key: "k1", At: noon},
			{Caller: answer.Caller, Route: answer.Route, Key: "k2", At: noon},
		} {
			h.commit(store.Change{Idempotency: &other})
		}
		// After its time the key is free, and others go with it.
		later := noon.Add(2*countersign.Day) + 1
		again := answer
		again.At, again.Object = later, "req_2"
		h.commit(store.Change{Now: later, Idempotency: &again})
		if read := must(h.Idempotency(background, "idn_ada", "POST /requests", "k1"))(h); read != again {
			h.Fatalf("got %+v", read)
		}
		_, err := h.Idempotency(background, "idn_ada", "POST /requests", "k2")
		h.absent(err)
	}},
	{"AMalformedChangeIsRefused", func(h *house) {
		still := h.request("idn_ada", "ent_a")
		damaged := h.request("idn_ada", "ent_a")
		damaged.Reason = "\xff"
		for name, change := range map[string]store.Change{
			"a version that does not rise":  {Writes: []store.Write{write(1, still)}},
			"no revision of the directory":  {Writes: writes(h.person("Ada"))},
			"text that is not UTF-8":        {Writes: writes(damaged)},
			"an event without a stream":     {Events: []countersign.SealedEvent{h.event("", store.Head{}, "x.y@1")}},
			"an event that names no parent": {Events: []countersign.SealedEvent{h.event("req_x", store.Head{Seq: 1}, "x.y@1")}},
			"work without a key":            {Work: []store.WorkWrite{{Attempt: store.AnyAttempt}}},
		} {
			if err := h.Commit(background, change); countersign.KindOf(err) != countersign.Internal {
				h.Fatalf("%s was taken: %v", name, err)
			}
		}
	}},
	{"AChangeWhoseCallerHasGoneIsNotWritten", func(h *house) {
		gone, cancel := context.WithCancel(background)
		cancel()
		request := h.request("idn_ada", "ent_a")
		if err := h.Commit(gone, store.Change{Writes: writes(request)}); !errors.Is(err, context.Canceled) {
			h.Fatalf("got the error %v", err)
		}
		_, err := h.Request(background, request.ID)
		h.absent(err)
	}},
	{"WhatWasCommittedIsThereAfterReopening", func(h *house) {
		request := h.request("idn_ada", "ent_a")
		event := h.event(request.RowStream(), store.Head{}, "request.submitted@1")
		h.commit(store.Change{
			Guards: []store.Guard{{Key: "holder:idn_ada", Next: 3}},
			Writes: writes(request), Events: []countersign.SealedEvent{event},
			Work: []store.WorkWrite{{Work: store.Work{Key: string(request.ID), Kind: store.RequestWork, DueAt: noon}, Attempt: store.AnyAttempt}},
		})
		if err := h.Shelf("vault").Commit(background, store.ShelfChange{Puts: []store.Item{{Key: "a", Version: 1, Body: []byte("b")}}}); err != nil {
			h.Fatal(err)
		}
		h.Store = h.reopen()
		h.same(must(h.Request(background, request.ID))(h), request)
		h.same(must(h.Events(background, request.RowStream(), 0, 10))(h), []countersign.SealedEvent{event})
		must(h.Work(background, string(request.ID)))(h)
		must(h.Shelf("vault").Item(background, "a"))(h)
		h.changed("holder:idn_ada", store.Change{Guards: []store.Guard{{Key: "holder:idn_ada", Version: 0}}})
	}},
}
