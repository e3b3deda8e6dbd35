// Package redis is the connector for users of a Redis server's access control
// list, from version 7 on: logins of their own, with exactly the rules that the
// settings of the system have for an entitlement, and a password that lies sealed
// in the vault.
//
// It never imports desk, and reaches the vault only to deposit, to move an end
// and to revoke. Each credential is one user with the credential's id as its
// name, made in one command together with a mark; nothing without that mark is
// changed or removed. After Apply returns nil the user was read back with exactly
// those rules and one password; after Revoke returns nil the user is gone, its
// connections are closed, and a restart does not bring it back.
package redis

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/connector"
	vaulthands "github.com/countersign/countersign/connector/vault"
	"github.com/countersign/countersign/connector/wire"
)

// Persistence is how the server keeps its users over a restart.
type Persistence string

const (
	// ACLFile is a file of the server's own, written after each change.
	ACLFile Persistence = "aclfile"
	// None keeps nothing: after a restart what was given is lost.
	None Persistence = "none"
)

// Options are what a connector is made of.
type Options struct {
	// Name is the connector's name in the house.
	Name string
	// URL is that of the connector's own user on the server.
	URL countersign.Secret
	// Roots are who may have signed the server's certificate; nil is whom the system
	// trusts.
	Roots       *x509.CertPool
	Persistence Persistence
	Vault       vaulthands.Deposits
	Clock       connector.Clock
	// Random is cryptographically strong and safe for many callers at once.
	Random io.Reader
}

// Connector implements connector.Connector on a Redis server.
type Connector struct {
	Options
	config *goredis.Options
	apart  connector.Apart
}

// New returns the connector. It connects for each operation and never before, so
// a server that is down keeps no house from starting.
func New(options Options) (*Connector, error) {
	config, err := goredis.ParseURL(options.URL.Reveal())
	if err != nil || config.Username == "" || config.Password == "" {
		// The parser's own message repeats parts of the URL.
		return nil, countersign.Errorf(countersign.Invalid, "malformed-url", "the URL of the connector %s is not one of a user on a Redis server: write rediss://user:password@host:port, or unix://user:password@/path", options.Name)
	}
	if config.Network == "tcp" && config.TLSConfig == nil && !loopback(config.Addr) {
		return nil, countersign.Errorf(countersign.Invalid, "no-tls", "the URL of the connector %s would send passwords in clear: write rediss:// for a server that is not on loopback", options.Name)
	}
	if options.Roots != nil {
		if config.TLSConfig == nil {
			return nil, countersign.Errorf(countersign.Invalid, "no-tls", "the connector %s has a ca_file and no certificate to judge by it: write rediss:// in its URL", options.Name)
		}
		config.TLSConfig.RootCAs = options.Roots
	}
	// An operation is one connection, that gives up after the first failure: whether
	// to try again is the engine's to say. What a client would tell of itself takes
	// rights that the connector's user need not have.
	config.DB, config.Protocol, config.PoolSize, config.MaxRetries, config.DialerRetries = 0, 2, 1, -1, 1
	config.ContextTimeoutEnabled, config.DisableIdentity = true, true
	config.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return &Connector{Options: options, config: config}, nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && wire.Loopback(host)
}

// connect is the way to the server for one operation.
func (c *Connector) connect() (server *goredis.Client, hangUp func()) {
	config := *c.config
	server = goredis.NewClient(&config)
	// An answer to a good-bye changes nothing.
	return server, func() { _ = server.Close() }
}

// Describe implements connector.Connector.
func (c *Connector) Describe() connector.Description {
	return connector.Description{
		Name: c.Name, Actions: []string{"create-login"}, Kind: countersign.CredentialKind,
		// A user of Redis has no end.
		EnforcesExpiryItself: false,
		Rotates:              true, Extends: true, EndsSessions: true, IdempotentRevoke: true,
	}
}

// Plan implements connector.Connector.
func (c *Connector) Plan(ctx context.Context, task connector.Task) (connector.Plan, error) {
	how, right, err := c.check(task)
	if err != nil {
		return connector.Plan{}, err
	}
	server, hangUp := c.connect()
	defer hangUp()
	if err := c.offered(ctx, server, task, right); err != nil {
		return connector.Plan{}, err
	}
	effect := fmt.Sprintf("A new user on %s with %s on %s, which is %q and nothing else, for %s (%s)", task.SystemName, task.Entitlement, task.Resource, right, task.HolderName, task.Holder)
	if task.Until != 0 {
		effect += ", until " + task.Until.String() + " at the latest"
	}
	effect += ". Its password lies in the vault; " + how.Describe() + ". When it ends, its connections are closed."
	if c.Persistence == None {
		effect += " The server keeps no users: a restart loses it."
	}
	return connector.Plan{Effect: effect}, nil
}

// Apply implements connector.Connector. The password is deposited before the user
// is made: what is there can be read, and what was deposited without a user is
// replaced at the next try.
func (c *Connector) Apply(ctx context.Context, task connector.Task) error {
	if err := task.CheckComplete(c.Describe()); err != nil {
		return err
	}
	how, right, err := c.check(task)
	if err != nil {
		return err
	}
	defer c.apart.Alone(string(task.Credential))()
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	if err := vaulthands.CheckGiving(ctx, c.Vault, c.Clock, task); err != nil {
		return err
	}
	server, hangUp := c.connect()
	defer hangUp()
	if err := c.offered(ctx, server, task, right); err != nil {
		return err
	}
	held, err := read(ctx, server, string(task.Credential))
	if err != nil {
		return err
	}
	if held != nil {
		return c.move(ctx, server, task, how, right, held)
	}
	// A server that cannot keep the user is not given one.
	if err := c.save(ctx, server, task); err != nil {
		return err
	}
	return c.create(ctx, server, task, how, right)
}

// create makes the user, reads it back and has it kept. The server is given a
// hash: neither its log nor its memory ever has the password.
func (c *Connector) create(ctx context.Context, server *goredis.Client, task connector.Task, how vaulthands.Reading, right rules) error {
	password, err := vaulthands.NewPassword(c.Random)
	if err != nil {
		return err
	}
	if err := c.Vault.Deposit(ctx, vaulthands.OrderOf(task, how), password); err != nil {
		return connector.FailureOf(err)
	}
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(password.Reveal()))
	made := mark{Mark: connector.MarkOf(task), Credential: task.Credential, Password: hex.EncodeToString(hash[:])}
	arguments := []any{"acl", "setuser", string(task.Credential), "reset", "on", "#" + made.Password}
	for _, rule := range right.all() {
		arguments = append(arguments, rule)
	}
	if err := failed(server.Do(ctx, append(arguments, made.selector())...).Err()); err != nil {
		return err
	}
	held, err := read(ctx, server, string(task.Credential))
	if err != nil {
		return err
	}
	if held == nil {
		return &connector.Failure{Kind: connector.Transient, Message: "the user was removed while it was made"}
	}
	wrong, err := held.differs(ctx, server, task, right)
	if err != nil {
		return err
	}
	if wrong != "" {
		if err := failed(server.Do(ctx, "acl", "deluser", string(task.Credential)).Err()); err != nil {
			return err
		}
		return rejected("the Redis server made something else of the rules %q, so the user was removed again: %s", right, wrong)
	}
	return c.save(ctx, server, task)
}

// move gives a user that is there the task's end, unless the task is an older
// attempt or changes nothing. That end is the house's: the server has none.
func (c *Connector) move(ctx context.Context, server *goredis.Client, task connector.Task, how vaulthands.Reading, right rules, held *user) error {
	wrong, err := held.differs(ctx, server, task, right)
	if err != nil {
		return err
	}
	if wrong != "" {
		return rejected("there is a user %s on %s already, which is not touched: %s", held.name, task.SystemName, wrong)
	}
	if !held.made.Stays(task) {
		if err := c.Vault.MoveEnd(ctx, vaulthands.OrderOf(task, how)); err != nil {
			return connector.FailureOf(err)
		}
		if err := task.CheckDeadline(ctx, c.Clock); err != nil {
			return err
		}
		made := *held.made
		made.Mark = made.Moved(task)
		if err := failed(server.Do(ctx, "acl", "setuser", held.name, "clearselectors", made.selector()).Err()); err != nil {
			return err
		}
	}
	return c.save(ctx, server, task)
}

// Verify implements connector.Connector: all that the server has of the user.
func (c *Connector) Verify(ctx context.Context, task connector.Task) (connector.Reading, error) {
	server, hangUp := c.connect()
	defer hangUp()
	held, reading, err := lookUp(ctx, server, task)
	if held == nil || err != nil {
		return reading, err
	}
	_, right, refused := c.check(task)
	wrong := ""
	if refused != nil {
		wrong = refused.Error()
	} else if wrong, err = held.differs(ctx, server, task, right); err != nil {
		return connector.Reading{}, err
	}
	if wrong != "" {
		reading.Present = false
		reading.How += ", which is not what was asked for: " + wrong
	}
	return reading, nil
}

// VerifyGone implements connector.Connector. A user that was switched off by hand
// is not gone: whoever did that can switch it on.
func (c *Connector) VerifyGone(ctx context.Context, task connector.Task) (connector.Reading, error) {
	server, hangUp := c.connect()
	defer hangUp()
	_, reading, err := lookUp(ctx, server, task)
	return reading, err
}

func lookUp(ctx context.Context, server *goredis.Client, task connector.Task) (*user, connector.Reading, error) {
	held, err := read(ctx, server, string(task.Credential))
	if err != nil {
		return nil, connector.Reading{}, err
	}
	reading := connector.Reading{How: fmt.Sprintf("ACL GETUSER %s", task.Credential)}
	if held == nil {
		reading.How += ": no such user"
		return nil, reading, nil
	}
	reading.Present, reading.Reference = true, string(task.Credential)
	if held.made != nil {
		reading.Until = held.made.Until
	}
	reading.How += ": " + held.describe()
	return held, reading, nil
}

// Revoke implements connector.Connector. Removing a user closes its connections
// in the same step. The list is kept also where the user is gone: the try before
// this one may have failed between the two.
func (c *Connector) Revoke(ctx context.Context, task connector.Task) error {
	if err := countersign.CheckID("crd", string(task.Credential)); err != nil {
		return rejected("the task is incomplete: %v", err)
	}
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	if err := c.Vault.Revoke(ctx, task.Credential, task.Deadline); err != nil {
		return connector.FailureOf(err)
	}
	defer c.apart.Alone(string(task.Credential))()
	server, hangUp := c.connect()
	defer hangUp()
	held, err := read(ctx, server, string(task.Credential))
	if err != nil {
		return err
	}
	if held != nil {
		if held.made == nil {
			return rejected("the user %s on %s does not say that countersign made it for this credential, so it is not touched: look who made it, and remove it by hand", held.name, task.SystemName)
		}
		if err := task.CheckDeadline(ctx, c.Clock); err != nil {
			return err
		}
		if err := failed(server.Do(ctx, "acl", "deluser", held.name).Err()); err != nil {
			return err
		}
	}
	if err := c.save(ctx, server, task); !noFile(err) {
		return err
	}
	// Without a file there is nothing that a restart would bring back.
	return nil
}

// save has the server write its users to its file.
func (c *Connector) save(ctx context.Context, server *goredis.Client, task connector.Task) error {
	if c.Persistence == None {
		return nil
	}
	if err := task.CheckDeadline(ctx, c.Clock); err != nil {
		return err
	}
	return failed(server.Do(ctx, "acl", "save").Err())
}
