package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
	gossh "golang.org/x/crypto/ssh"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/ldap"
	"github.com/countersign/countersign/connector/redis"
	"github.com/countersign/countersign/house"
	"github.com/countersign/countersign/pgserver"
	"github.com/countersign/countersign/sample"
	"github.com/countersign/countersign/servers"
)

// tourSystem is a real system that the tour plays on.
type tourSystem struct {
	// folder is its files beside the sample organisation.
	folder string
	// connector is its name in the house, which hands opens; "" is a built-in one.
	connector string
	hands     func(targets house.Targets, clock connector.Clock) (connector.Connector, error)
	// founded is told the house once it is there; nil for nothing.
	founded func(*house.House) error
	show    func(*sample.Stage)
	close   func() error
}

// openTourSystems starts what is installed, and says what is not.
func openTourSystems(ctx context.Context, says io.Writer) (systems []tourSystem, err error) {
	for _, open := range []func(context.Context) (tourSystem, error){openTourHost, openTourPostgres, openTourCache, openTourGroups} {
		system, err := open(ctx)
		var noPostgres *pgserver.Missing
		var missing *servers.Missing
		switch {
		case errors.As(err, &noPostgres) || errors.As(err, &missing):
			fmt.Fprintf(says, "not played: %s\n", err)
		case err != nil:
			return nil, errors.Join(err, closeTourSystems(systems))
		default:
			systems = append(systems, system)
		}
	}
	return systems, nil
}

func closeTourSystems(systems []tourSystem) error {
	var failed error
	for _, system := range systems {
		failed = errors.Join(failed, system.close())
	}
	return failed
}

func openTourPostgres(ctx context.Context) (tourSystem, error) {
	database, err := openTourDatabase(ctx)
	if err != nil {
		return tourSystem{}, err
	}
	return tourSystem{
		folder: "postgres", connector: "orders-server", hands: database.postgres, show: func(stage *sample.Stage) { stage.Database = database }, close: database.server.Close,
	}, nil
}

// tourCache is a Redis server that runs for the tour.
type tourCache struct{ server *servers.Redis }

func openTourCache(ctx context.Context) (tourSystem, error) {
	password := rand.Text()
	server, err := servers.StartRedis(servers.RedisConfig{
		Users: "user countersign on >" + password + " +acl|getuser +acl|setuser +acl|deluser +acl|users +acl|save +acl|cat +acl|dryrun +command|info\n", Keeps: true,
	})
	if err != nil {
		return tourSystem{}, err
	}
	cache := &tourCache{server}
	root := server.Open(servers.Root, servers.Root)
	defer root.Close()
	if err := root.MSet(ctx, "orders:1", "a blue kettle", "prices:1", "29").Err(); err != nil {
		return tourSystem{}, errors.Join(err, server.Close())
	}
	account := url.URL{Scheme: "unix", User: url.UserPassword("countersign", password), Path: server.Socket}
	return tourSystem{
		folder: "redis", connector: "orders-cache", show: func(stage *sample.Stage) { stage.Cache = cache }, close: server.Close,
		hands: func(targets house.Targets, clock connector.Clock) (connector.Connector, error) {
			return redis.New(redis.Options{Name: "orders-cache", URL: countersign.NewSecret(account.String()), Persistence: redis.ACLFile, Vault: targets.Vault, Clock: clock, Random: rand.Reader})
		},
	}, nil
}

func (c *tourCache) Ask(user string, password countersign.Secret, command ...string) (string, error) {
	session := c.server.Open(user, password.Reveal())
	defer session.Close()
	words := make([]any, len(command))
	for i, word := range command {
		words[i] = word
	}
	return session.Do(context.Background(), words...).Text()
}

func (c *tourCache) Users() ([]string, error) {
	root := c.server.Open(servers.Root, servers.Root)
	defer root.Close()
	return root.Do(context.Background(), "ACL", "USERS").StringSlice()
}

// tourGroups is an LDAP server that runs for the tour.
type tourGroups struct{ server *servers.Slapd }

const (
	tourSuffix = "dc=meridian,dc=example"
	tourPeople = "ou=people," + tourSuffix
	tourGroup  = "ou=groups," + tourSuffix
	tourMarks  = "ou=countersign," + tourSuffix
	tourBind   = "cn=countersign," + tourSuffix
)

func openTourGroups(context.Context) (tourSystem, error) {
	server, err := servers.StartSlapd(servers.SlapdConfig{Suffix: tourSuffix, Access: fmt.Sprintf(`
access to dn.subtree="%[1]s" attrs=member by dn.exact="%[2]s" write by users read
access to dn.subtree="%[3]s" by dn.exact="%[2]s" write by users read`, tourGroup, tourBind, tourMarks)})
	if err != nil {
		return tourSystem{}, err
	}
	password := rand.Text()
	for _, entry := range [][]string{
		{tourSuffix, "organization", "dc", "meridian", "o", "Meridian", "objectClass", "dcObject"},
		{tourPeople, "organizationalUnit"}, {tourGroup, "organizationalUnit"}, {tourMarks, "organizationalUnit"}, {"ou=reports," + tourGroup, "organizationalUnit"},
		{tourBind, "person", "sn", "Countersign", "userPassword", password},
		{"cn=analysts,ou=reports," + tourGroup, "groupOfNames", "member", "uid=keiko.mori," + tourPeople},
	} {
		if err := server.Add(entry[0], entry[1], entry[2:]...); err != nil {
			return tourSystem{}, errors.Join(err, server.Close())
		}
	}
	groups := &tourGroups{server}
	return tourSystem{
		folder: "ldap", connector: "staff-groups", founded: groups.meet, show: func(stage *sample.Stage) { stage.Groups = groups }, close: server.Close,
		hands: func(targets house.Targets, clock connector.Clock) (connector.Connector, error) {
			return ldap.New(ldap.Options{
				Name: "staff-groups", URL: "ldapi://" + server.Socket, BindDN: tourBind, Password: countersign.NewSecret(password), People: tourPeople, Groups: tourGroup, Marks: tourMarks,
				HolderAttribute: "employeeNumber", MemberAttribute: "member", Vault: targets.Vault, Clock: clock,
			})
		},
	}, nil
}

// meet makes George's entry, with the id that he has in the house.
func (g *tourGroups) meet(h *house.House) error {
	george, known := h.Desk.Resolve("george.hall")
	if !known {
		return errors.New("the sample organisation has no george.hall")
	}
	return g.server.Add("uid=george.hall,"+tourPeople, "inetOrgPerson", "cn", "George Hall", "sn", "Hall", "employeeNumber", string(george))
}

func (g *tourGroups) Members(group string) ([]string, error) {
	found, err := g.server.Root.Search(goldap.NewSearchRequest("cn="+group+",ou=reports,"+tourGroup, goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false, "(objectClass=*)", []string{"member"}, nil))
	if err != nil {
		return nil, err
	}
	return found.Entries[0].GetAttributeValues("member"), nil
}

// tourHost is an sshd that runs for the tour once it trusts somebody.
type tourHost struct{ server *servers.SSHD }

func openTourHost(context.Context) (tourSystem, error) {
	host := &tourHost{}
	return tourSystem{folder: "ssh", show: func(stage *sample.Stage) { stage.Host = host }, close: host.close}, servers.FindSSHD()
}

func (h *tourHost) Trust(authority []byte, principal string, revoked []byte) (err error) {
	h.server, err = servers.StartSSHD(authority, principal, revoked, nil)
	return err
}

func (h *tourHost) Revoked(list []byte) error { return h.server.Revoked(list) }

func (h *tourHost) Login(key gossh.Signer, certificate *gossh.Certificate, command string) (string, error) {
	said, err := h.server.Login(key, certificate, command)
	if err != nil {
		for line := range strings.Lines(h.server.Said()) {
			// Where its list lies is nobody's matter.
			if why, _, revoked := strings.Cut(line, " by file "); revoked {
				err = errors.New(why)
			}
		}
	}
	return said, err
}

func (h *tourHost) close() error {
	if h.server == nil {
		return nil
	}
	return h.server.Close()
}
