package house_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/desk"
)

func TestEveryMachineAnswersWhoOwnsItWhatForSinceWhenAndWhatItHolds(t *testing.T) {
	everyDatabase(t, func(t *testing.T, open database) {
		w := found(t, open, policyFor(managerStage, ""), strings.NewReplacer("max: 30d", "max: 200d", "person(bea)", "person(max)").Replace(keysPolicy))
		list := func(who string, filter desk.MachineFilter) ([]desk.MachineView, countersign.IdentityID) {
			t.Helper()
			views, next, err := w.house.Desk.Machines(w.ctx, w.as(who), filter)
			w.must(err)
			return views, next
		}
		names := func(views []desk.MachineView) (logins []string) {
			for _, view := range views {
				logins = append(logins, view.Identity.Login)
			}
			return logins
		}
		flags := func(login string) []desk.MachineFlag {
			t.Helper()
			views, _ := list("aud", desk.MachineFilter{})
			i := slices.IndexFunc(views, func(view desk.MachineView) bool { return view.Identity.Login == login })
			return views[i].Flags
		}
		// In pages of one, each once, and in the order in which they were recorded.
		var all []string
		for after, more := countersign.IdentityID(""), true; more; more = after != "" {
			var views []desk.MachineView
			views, after = list("aud", desk.MachineFilter{After: after, Limit: 1})
			all = append(all, names(views)...)
		}
		if whole, next := list("adam", desk.MachineFilter{}); next != "" || !slices.Equal(names(whole), all) || len(all) != 4 {
			t.Fatalf("page by page %v, at once %v (next %q)", all, names(whole), next)
		}
		// An owner sees what is his or hers, a manager what the team answers for.
		for who, want := range map[string][]string{"olga": {"svc", "svc-b"}, "max": {"agent", "svc", "svc-ana", "svc-b"}, "otto": nil} {
			views, _ := list(who, desk.MachineFilter{})
			if found := names(views); !slices.Equal(slices.Sorted(slices.Values(found)), want) {
				t.Errorf("%s sees %v, want %v", who, found, want)
			}
		}
		if views, _ := list("aud", desk.MachineFilter{Kind: countersign.Agent, Owner: "ana"}); !slices.Equal(names(views), []string{"agent"}) {
			t.Errorf("the agents of Ana are %v", names(views))
		}
		_, _, err := w.house.Desk.Machines(w.ctx, w.as("aud"), desk.MachineFilter{Owner: "nobody-at-all"})
		w.refused(err, "no-such-identity")

		asked := call("svc")
		asked.Duration = 200 * countersign.Day
		id := w.submit("olga", asked)
		w.must(w.approve("max", id))
		w.settle()
		if found := flags("svc"); len(found) != 0 {
			t.Fatalf("flagged on the first day: %v", found)
		}
		credential := w.grant(id).Credentials[0].ID
		w.pass(31 * aDay)
		if found := flags("svc"); !slices.Equal(found, []desk.MachineFlag{desk.MachineNeverUsed}) {
			t.Fatalf("unused for a month, it is flagged %v", found)
		}
		secret, err := w.house.Vault.Read(w.ctx, w.as("svc").Identity, credential)
		w.must(err)
		_, _ = w.house.Authenticate(w.ctx, secret) // shown to another system, and so used
		used := countersign.InstantOf(w.clock.Now())
		w.pass(60 * aDay)
		views, _ := list("aud", desk.MachineFilter{Flag: desk.MachineLongLived})
		if len(views) != 1 || views[0].Identity.Login != "svc" || !slices.Equal(views[0].Flags, []desk.MachineFlag{desk.MachineLongLived}) {
			t.Fatalf("long-lived: %+v", views)
		}
		view := views[0]
		if view.Identity.Owner.Login != "olga" || view.Identity.Purpose == "" || view.Identity.Record != "SR-1" || view.RecordedAt != countersign.InstantOf(monday) || view.LastUsed != used {
			t.Errorf("it answers %+v", view)
		}
		if len(view.Holds) != 1 || view.Holds[0].Entitlement.Name != "keys/api/call" || view.Holds[0].Until == 0 || len(view.Holds[0].Credentials) != 1 || view.Holds[0].Credentials[0].Age != 91*countersign.Day {
			t.Errorf("it holds %+v", view.Holds)
		}
		w.apply("{login: olga, name: Olga Owner, email: olga@test.example, manager: max}", "{login: olga, name: Olga Owner, email: olga@test.example, manager: max, status: departed}")
		if found := flags("svc-b"); !slices.Equal(found, []desk.MachineFlag{desk.MachineUnowned, desk.MachineOwnerLeft}) {
			t.Errorf("without its owner it is flagged %v", found)
		}
		w.pass(90 * aDay)
		if found := flags("svc-ana"); !slices.Equal(found, []desk.MachineFlag{desk.MachineOverdue}) {
			t.Errorf("after half a year it is flagged %v", found)
		}
	})
}

// logged is a target that tells of use by a log.
type logged struct {
	connector.Planner
	used, since *countersign.Instant
}

func (l logged) LastUsed(context.Context, countersign.CredentialID) (countersign.Instant, error) {
	return max(*l.used, *l.since), nil
}

func (l logged) LoggedUse(context.Context, countersign.CredentialID) (used, since countersign.Instant, err error) {
	return *l.used, *l.since, nil
}

func TestWhereALogBeginsIsNoUse(t *testing.T) {
	w := found(t, onSQLite(t), policyFor(managerStage, ""), strings.NewReplacer("max: 30d", "max: 200d", "person(bea)", "person(max)").Replace(keysPolicy))
	asked := call("svc")
	asked.Duration = 200 * countersign.Day
	id := w.submit("olga", asked)
	w.must(w.approve("max", id))
	w.settle()
	given := w.grant(id).From
	w.pass(31 * aDay)
	name := w.stored(w.grant(id).ID).Step.Connector
	var used, since countersign.Instant
	w.house.Desk.Connectors[name] = logged{w.house.Desk.Connectors[name], &used, &since}
	for _, c := range []struct {
		used, since countersign.Instant
		known, idle bool
	}{
		{0, given.Add(-countersign.Hour), true, true},
		{0, given.Add(countersign.Day), false, false},
		{given.Add(2 * countersign.Day), given.Add(countersign.Day), true, false},
	} {
		used, since = c.used, c.since
		views, _, err := w.house.Desk.Machines(w.ctx, w.as("aud"), desk.MachineFilter{})
		w.must(err)
		view := views[slices.IndexFunc(views, func(view desk.MachineView) bool { return view.Identity.Login == "svc" })]
		if view.LastUsed != c.used || view.Holds[0].UseKnown != c.known || slices.Contains(view.Flags, desk.MachineNeverUsed) != c.idle {
			t.Errorf("a log from %s on with the use %q is shown as %+v", c.since, c.used, view)
		}
	}
}
