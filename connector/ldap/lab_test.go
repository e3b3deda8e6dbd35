package ldap_test

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"sync"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/connectortest"
	"github.com/countersign/countersign/connector/ldap"
	"github.com/countersign/countersign/connector/ldap/ldaptest"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/store/shelftest"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/vault"
)

const (
	people          = ldaptest.People
	groups          = ldaptest.Groups
	marks           = ldaptest.Marks
	account         = ldaptest.Account
	accountPassword = ldaptest.AccountPassword
	nobody          = ldaptest.Nobody
)

// lab is a connector on a real slapd in a folder of its own.
type lab struct {
	t      testing.TB
	lock   sync.Mutex
	server *ldaptest.Server
	admin  *goldap.Conn
	line   *connectortest.Line
	vault  *vault.Vault
	hands  *ldap.Connector
	clock  *connectortest.Clock
	mint   *countersign.Mint
}

func newLab(t testing.TB) *lab {
	t.Helper()
	server := ldaptest.New(t)
	l := &lab{t: t, server: server, admin: server.Admin, clock: connectortest.NewClock()}
	l.mint = countersign.NewMint([32]byte{3}, l.clock.Instant())
	l.line = connectortest.NewLine(t, "unix", server.Socket)
	master, err := keys.Create(filepath.Join(t.TempDir(), "master.key"), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l.vault = vault.New(shelftest.New(vault.ShelfName), master, target.NewStops(), l.clock, rand.Reader, "https://desk.example")
	l.hands, err = ldap.New(ldap.Options{
		Name: "directory", URL: "ldap://" + l.line.Address(), BindDN: account, Password: countersign.NewSecret(accountPassword),
		People: people, Groups: groups, Marks: marks, HolderAttribute: "employeeNumber", MemberAttribute: "member", Vault: l.vault, Clock: l.clock,
	})
	l.ok(err)
	return l
}

func groupDN(name string) string { return ldaptest.GroupDN(name) }

func (l *lab) add(dn, class string, attributes ...string) {
	l.t.Helper()
	l.server.Add(l.t, dn, class, attributes...)
}

func personDN(holder countersign.IdentityID) string { return "uid=" + string(holder) + "," + people }

// person is the entry of a holder, made by hand with the holder's id; its entryUUID.
func (l *lab) person(holder countersign.IdentityID) string {
	l.t.Helper()
	l.lock.Lock()
	defer l.lock.Unlock()
	if uuid := l.value(personDN(holder), "entryUUID"); len(uuid) > 0 {
		return uuid[0]
	}
	l.add(personDN(holder), "inetOrgPerson", "cn", "Alex Kim", "sn", "Kim", "employeeNumber", string(holder))
	return l.value(personDN(holder), "entryUUID")[0]
}

func (l *lab) value(dn, attribute string) []string {
	l.t.Helper()
	answer, err := l.admin.Search(goldap.NewSearchRequest(dn, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{attribute}, nil))
	if goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) {
		return nil
	}
	l.ok(err)
	return answer.Entries[0].GetAttributeValues(attribute)
}

func (l *lab) member(group, person string) bool {
	l.t.Helper()
	return l.server.Member(l.t, group, person)
}

func (l *lab) change(group string, change func(*goldap.ModifyRequest)) {
	l.t.Helper()
	request := goldap.NewModifyRequest(group, nil)
	change(request)
	l.ok(l.admin.Modify(request))
}

func (l *lab) put(group, person string) {
	l.t.Helper()
	l.change(group, func(r *goldap.ModifyRequest) { r.Add("member", []string{person}) })
}

func (l *lab) take(group, person string) {
	l.t.Helper()
	l.change(group, func(r *goldap.ModifyRequest) { r.Delete("member", []string{person}) })
}

// may says that the holder is a member, and that the credential is a reason for it.
func (l *lab) may(task connector.Task) bool {
	l.t.Helper()
	return l.member(groupDN(task.Entitlement), personDN(task.Holder)) && l.value("cn="+string(task.Credential)+","+marks, "cn") != nil
}

// plant makes the credential's entry and the membership by hand.
func (l *lab) plant(task connector.Task) {
	l.t.Helper()
	l.person(task.Holder)
	l.add("cn="+string(task.Credential)+","+marks, "device")
	l.put(groupDN(task.Entitlement), personDN(task.Holder))
}

func (l *lab) ok(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) fails(err error, kind connector.FailureKind, says string) {
	l.t.Helper()
	connectortest.Fails(l.t, err, kind, says, accountPassword)
}

// task is one for a holder who is known.
func (l *lab) task() connector.Task {
	task := connectortest.NewTask(l.mint, l.clock.Instant(), "add-member")
	l.person(task.Holder)
	return task
}

// known is a connector whose holders all have an entry.
type known struct {
	*ldap.Connector
	lab *lab
}

func (k known) meet(task connector.Task) {
	if countersign.CheckID("idn", string(task.Holder)) == nil {
		k.lab.person(task.Holder)
	}
}

func (k known) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	k.meet(task)
	return k.Connector.Plan(ctx, task)
}

func (k known) Apply(ctx context.Context, task connector.Task) error {
	k.meet(task)
	return k.Connector.Apply(ctx, task)
}

func TestConformance(t *testing.T) {
	connectortest.Run(t, func(t *testing.T) *connectortest.Bench {
		l := newLab(t)
		return &connectortest.Bench{
			Connector: known{l.hands, l}, Clock: l.clock,
			Works:  func(_ *testing.T, task connector.Task) bool { l.person(task.Holder); return l.may(task) },
			Plant:  func(_ *testing.T, task connector.Task) { l.plant(task) },
			Writes: func(_ *testing.T, task connector.Task) int { return l.line.Asked("device", string(task.Credential)) },
			ByHand: func(_ *testing.T, task connector.Task) connector.Item {
				uuid := l.person(task.Holder)
				l.put(groupDN(task.Entitlement), personDN(task.Holder))
				return connector.Item{Principal: uuid, Resource: task.Resource, Entitlement: task.Entitlement}
			},
		}
	})
}
