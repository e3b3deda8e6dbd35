package scim_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/scim"
	"github.com/countersign/countersign/connector/scim/scimtest"
)

func TestAListThatMovesWhileItIsReadIsNone(t *testing.T) {
	for name, move := range map[string]func(l *lab, users []string){
		"nobody goes":             func(*lab, []string) {},
		"one goes":                func(l *lab, users []string) { l.server.Delete(users[0]) },
		"one goes, and one comes": func(l *lab, users []string) { l.server.Delete(users[1]); l.server.AddUser("new", "") },
		"all who would follow go": func(l *lab, users []string) {
			for _, user := range users[2:] {
				l.server.Delete(user)
			}
		},
	} {
		l := newLab(t)
		l.server.Set(func(b *scimtest.Behaviour) { b.Cap = 3 })
		var users []string
		for i := range 9 {
			users = append(users, l.server.AddUser(fmt.Sprint("user-", i), ""))
		}
		listed := 0
		err := l.hands.List(t.Context(), connector.Scope{System: l.mint.System(), Settings: l.settings()}, func(connector.Item) error {
			if listed++; listed == 3 {
				move(l, users)
			}
			return nil
		})
		if name != "nobody goes" {
			l.fails(err, connector.Transient, "changed while it was read")
		} else if err != nil || listed != len(users) {
			t.Errorf("%d of %d are listed: %v", listed, len(users), err)
		}
	}
}

func TestAListHasWhatOthersGaveAndNamesGroupsThatNobodyNamed(t *testing.T) {
	l := newLab(t)
	task := l.task()
	user := l.person(task.Holder)
	other := l.server.AddGroup("Everybody")
	l.server.Put(other, user)
	l.server.Put(l.groups["ledger/reader"], user)
	want := []connector.Item{
		{Principal: user, Holder: task.Holder},
		{Principal: user, Holder: task.Holder, Resource: "ledger", Entitlement: "reader"},
		{Principal: user, Holder: task.Holder, Entitlement: "Everybody"},
	}
	if items := l.list(task); fmt.Sprint(items) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", items, want)
	}
	// A grant that is given while the list is read is no access of somebody else's.
	given := false
	l.ok(l.hands.List(t.Context(), connector.Scope{System: task.System, Settings: task.Settings}, func(item connector.Item) error {
		if !given {
			given = true
			l.ok(l.hands.Apply(t.Context(), task))
		}
		if item.Entitlement == "reader" && item.Resource == "invoices" && item.Credential != task.Credential {
			t.Errorf("the list has %+v", item)
		}
		return nil
	}))
}

func TestAListWithoutAGroupThatIsThereIsNone(t *testing.T) {
	l := newLab(t)
	hiding := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/Groups" {
			r.URL.RawQuery = url.Values{"filter": {`displayName eq "invoices/reader"`}}.Encode()
		}
		l.server.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(hiding.Close)
	hands := l.connector(func(o *scim.Options) { o.URL = hiding.URL + "/v2" })
	list := func() error {
		return hands.List(t.Context(), connector.Scope{System: l.mint.System(), Settings: l.settings()}, func(connector.Item) error { return nil })
	}
	l.fails(list(), connector.Transient, "does not list the group")
	for right, id := range l.groups {
		if right != "invoices/reader" {
			l.server.Delete(id)
		}
	}
	l.ok(list()) // a group that was deleted has no members
}
