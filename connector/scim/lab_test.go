package scim_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/scim"
	"github.com/countersign/countersign/connector/scim/scimtest"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/shelftest"
)

// lab is a connector on a real SCIM server.
type lab struct {
	t      testing.TB
	server *scimtest.Server
	line   *connectortest.Line
	shelf  *shelftest.Shelf
	hands  *scim.Connector
	clock  *connectortest.Clock
	mint   *countersign.Mint
	// groups are SCIM ids by RESOURCE/ENTITLEMENT.
	groups map[string]string
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, server: scimtest.New(t), clock: connectortest.NewClock(), shelf: shelftest.New(scim.ShelfName), groups: map[string]string{}}
	l.mint = countersign.NewMint([32]byte{3}, l.clock.Instant())
	for _, right := range []string{"invoices/reader", "invoices/auditor", "invoices/admin", "ledger/reader"} {
		l.groups[right] = l.server.AddGroup(right)
	}
	where, err := url.Parse(l.server.URL)
	l.ok(err)
	l.line = connectortest.NewLine(t, "tcp", where.Host)
	l.hands = l.connector(func(*scim.Options) {})
	return l
}

// connector is one more on the same server and shelf.
func (l *lab) connector(change func(*scim.Options)) *scim.Connector {
	l.t.Helper()
	// Each question has a connection of its own, so that a line that is cut is seen.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	options := scim.Options{
		Name: "apps", URL: "http://" + l.line.Address() + "/v2/", Token: countersign.NewSecret(scimtest.Token), HTTP: client,
		HolderAttribute: "externalId", Marks: l.shelf, Clock: l.clock,
	}
	change(&options)
	hands, err := scim.New(options)
	l.ok(err)
	return hands
}

func (l *lab) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) fails(err error, kind connector.FailureKind, says string) *connector.Failure {
	l.t.Helper()
	return connectortest.Fails(l.t, err, kind, says, scimtest.Token)
}

// person is the user of a holder, made by hand; its SCIM id.
func (l *lab) person(holder countersign.IdentityID) string {
	if id := l.server.UserOf(string(holder)); id != "" {
		return id
	}
	return l.server.AddUser(string(holder)+"@example.org", string(holder))
}

// settings are those of the system of the lab.
func (l *lab) settings() map[string]string {
	settings := map[string]string{}
	for right, id := range l.groups {
		settings["group."+right] = id
	}
	return settings
}

func (l *lab) task() connector.Task {
	task := connectortest.NewTask(l.mint, l.clock.Instant(), "add-member")
	task.Settings = l.settings()
	l.person(task.Holder)
	return task
}

// account is a task for the account itself, of a holder who may have none.
func (l *lab) account(parameters map[string]string) connector.Task {
	task := l.task()
	task.Holder = l.mint.Identity()
	task.Action, task.Parameters, task.Settings["account"] = "activate-account", parameters, "crm/account"
	task.Resource, task.Entitlement = "crm", "account"
	return task
}

func (l *lab) member(task connector.Task) bool {
	return l.server.Member(l.groups[task.Resource+"/"+task.Entitlement], l.server.UserOf(string(task.Holder)))
}

func (l *lab) active(task connector.Task) bool {
	user := l.server.User(l.server.UserOf(string(task.Holder)))
	return user != nil && user["active"] == true
}

// marked says that a mark of the credential gives something.
func (l *lab) marked(task connector.Task) bool {
	item, err := l.shelf.Item(context.Background(), string(task.Credential))
	return err == nil && strings.Contains(string(item.Body), string(task.Grant)) && !strings.Contains(string(item.Body), "revoked_at")
}

// works says that the holder is a member, and not by another credential alone.
func (l *lab) works(task connector.Task) bool {
	items, err := l.shelf.Items(context.Background(), "", "", 1000)
	l.ok(err)
	others := slices.ContainsFunc(items, func(item store.Item) bool {
		return item.Key != string(task.Credential) && strings.Contains(string(item.Body), string(task.Holder)) && !strings.Contains(string(item.Body), "revoked_at")
	})
	return l.member(task) && (l.marked(task) || !others)
}

func (l *lab) read(what string, read func(context.Context, connector.Task) (connector.Reading, error), task connector.Task, present bool) string {
	l.t.Helper()
	reading, err := read(l.t.Context(), task)
	if err != nil || reading.Present != present {
		l.t.Errorf("%s: %+v, %v; want present: %v", what, reading, err, present)
	}
	return reading.How
}

func (l *lab) list(of connector.Task) []connector.Item {
	l.t.Helper()
	var items []connector.Item
	l.ok(l.hands.List(l.t.Context(), connector.Scope{System: of.System, SystemName: of.SystemName, Settings: of.Settings}, func(item connector.Item) error {
		items = append(items, item)
		return item.Check()
	}))
	return items
}

// known is a connector whose system has settings, and whose holders have a user.
type known struct {
	*scim.Connector
	lab *lab
}

func (k known) meet(task connector.Task) connector.Task {
	if countersign.CheckID("idn", string(task.Holder)) == nil {
		k.lab.person(task.Holder)
	}
	return k.set(task)
}

func (k known) set(task connector.Task) connector.Task {
	task.Settings = k.lab.settings()
	return task
}

func (k known) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	return k.Connector.Plan(ctx, k.meet(task))
}

func (k known) Apply(ctx context.Context, task connector.Task) error {
	return k.Connector.Apply(ctx, k.meet(task))
}

func (k known) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	return k.Connector.Verify(ctx, k.set(task))
}

func (k known) List(ctx context.Context, of connector.Scope, found func(connector.Item) error) error {
	of.Settings = k.lab.settings()
	return k.Connector.List(ctx, of, found)
}

func TestConformance(t *testing.T) {
	for name, change := range map[string]func(*scimtest.Behaviour){
		"PATCH and versions": func(*scimtest.Behaviour) {},
		"PUT and versions":   func(b *scimtest.Behaviour) { b.NoPatch = true },
		"PATCH alone, small pages, no filters": func(b *scimtest.Behaviour) {
			b.NoVersions, b.NoFilter, b.Cap = true, true, 2
		},
	} {
		t.Run(name, func(t *testing.T) {
			connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
				l := newLab(t)
				l.server.Set(change)
				hands := known{l.hands, l}
				return &connectortest.Bench{
					Connector: hands, Clock: l.clock,
					Works: func(_ *testing.T, task connector.Task) bool { return l.works(task) },
					Plant: func(_ *testing.T, task connector.Task) { l.ok(hands.Apply(t.Context(), task)) },
					Writes: func(_ *testing.T, task connector.Task) int {
						return l.server.Writes(l.server.UserOf(string(task.Holder)))
					},
				}
			})
		})
	}
}
