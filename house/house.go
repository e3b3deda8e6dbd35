// Package house puts the rooms together: storage, desk, engine, decision point,
// vault, tickets and the connectors that reach them. The command line starts one, and so
// do tests and the tour.
//
// It holds no rule and no door. What Open returns has followed the database and
// refuses what is ending; nothing runs by itself until Run.
package house

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"time"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/auth"
	"github.com/countersign/countersign/connector"
	"github.com/countersign/countersign/connector/manual"
	pkihands "github.com/countersign/countersign/connector/pki"
	registryhands "github.com/countersign/countersign/connector/registry"
	"github.com/countersign/countersign/connector/role"
	"github.com/countersign/countersign/connector/scim"
	sshhands "github.com/countersign/countersign/connector/ssh"
	vaulthands "github.com/countersign/countersign/connector/vault"
	"github.com/countersign/countersign/desk"
	"github.com/countersign/countersign/engine"
	"github.com/countersign/countersign/keys"
	"github.com/countersign/countersign/notify"
	"github.com/countersign/countersign/pdp"
	ticketsource "github.com/countersign/countersign/source/tickets"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/target"
	"github.com/countersign/countersign/target/pki"
	"github.com/countersign/countersign/target/registry"
	"github.com/countersign/countersign/target/tickets"
	"github.com/countersign/countersign/target/vault"
)

// Options are what a house is made of.
type Options struct {
	Store  store.Store
	Master keys.Master
	Clock  connector.Clock
	// Entropy gives secret random bytes and is safe for many callers at once.
	Entropy io.Reader
	Log     *slog.Logger
	// Replica names this process among those that share the database.
	Replica string
	// Shared says that other processes can share the database.
	Shared bool
	// Issuer is the house's own address, as introspection names it.
	Issuer string
	// Connectors are added to the built-in ones, or stand in for them.
	Connectors connector.Set
	// OpenConnectors opens those that need a built-in target: to deposit secrets, or
	// to have certificates signed; nil for none.
	OpenConnectors func(Targets) (connector.Set, error)
	// Beside are organisation folders whose files a house is founded with beside those
	// of its organisation.
	Beside []fs.FS
	// SourceCredentials are what the sources of tickets take as Authorization, by the
	// name of the source.
	SourceCredentials map[string]countersign.Secret
	// TicketCredentials are what ticket systems that are written to take as
	// Authorization, by the name of the system.
	TicketCredentials map[string]countersign.Secret
	// Page returns where people are shown a request; nil for nowhere.
	Page func(id string) string
	// ReconcileEvery returns how often a system is read; nil or 0 for once a day.
	ReconcileEvery func(system string) countersign.Seconds
	// Channels bring what people are told out of the house.
	Channels []notify.Channel
	// DeliverByClaim makes the engine find its work by claiming it, as after a
	// restart; otherwise a commit hands new intents to this process at once.
	DeliverByClaim bool
}

// Targets are the built-in targets and shelves that configured connectors use.
type Targets struct {
	Vault *vault.Vault
	PKI   *pki.Authority
	// SCIM is the shelf for the marks of what is given over SCIM.
	SCIM store.Shelf
}

// House is everything behind the doors.
type House struct {
	Store   store.Store
	Desk    *desk.Desk
	Engine  *engine.Engine
	Point   *pdp.Point
	Vault   *vault.Vault
	Tickets *tickets.Register
	PKI     *pki.Authority
	// Registry gives tokens to service accounts.
	Registry *registry.Registry
	Auth     *auth.Tokens
	Stops    *target.Stops
}

// resolver lets the decision point name identities as the desk does.
type resolver struct{ desk **desk.Desk }

// Resolve takes the subject types that mean an identity, or its kind; an
// identity of another kind is not the one that was meant.
func (r resolver) Resolve(subjectType, id string) (countersign.IdentityID, bool) {
	return (*r.desk).ResolveAs(subjectType, id)
}

// Answering implements pdp.Directory.
func (r resolver) Answering(holder countersign.IdentityID) (pdp.Answering, bool) {
	owner, sponsor, active, agent := (*r.desk).Answering(holder)
	return pdp.Answering{Owner: owner, Sponsor: sponsor, Active: active}, agent
}

// Accountable implements registry.Directory.
func (r resolver) Accountable(holder countersign.IdentityID) bool {
	return (*r.desk).Accountable(holder)
}

// Tool implements pdp.Directory.
func (r resolver) Tool(name string) (resource string, scopes []string, known bool) {
	return (*r.desk).Tool(name)
}

// Open puts a house together over an open store and brings its memory up to date.
func Open(ctx context.Context, options Options) (*House, error) {
	if err := checkMaster(ctx, options); err != nil {
		return nil, err
	}
	h := &House{Store: options.Store, Stops: target.NewStops()}
	pointOptions, residual := pdp.Options{Directory: resolver{&h.Desk}}, countersign.Seconds(0)
	if options.Shared {
		pointOptions.Replica = options.Replica
		residual = countersign.Seconds(pdp.DefaultFreshness / time.Second)
	}
	h.Point = pdp.New(options.Store.Shelf(pdp.ShelfName), h.Stops, resolver{&h.Desk}, options.Clock, pointOptions)
	h.Stops.Rely(h.Point.Answers)
	h.Vault = vault.New(options.Store.Shelf(vault.ShelfName), options.Master, h.Stops, options.Clock, options.Entropy, options.Issuer)
	h.PKI = pki.New(options.Store.Shelf(pki.ShelfName), options.Master, h.Stops, options.Clock, options.Entropy, options.Issuer)
	h.Registry = registry.New(options.Store.Shelf(registry.ShelfName), options.Master, h.Stops, resolver{&h.Desk}, options.Clock, options.Entropy, options.Issuer)
	h.Tickets = tickets.New(options.Store.Shelf(tickets.ShelfName), options.Clock)
	h.Auth = auth.New(options.Store.Shelf(auth.ShelfName), options.Clock, options.Entropy)
	connectors := connector.Set{}
	tlsHands, err := pkihands.New(h.PKI, pkihands.Options{}, options.Clock)
	if err != nil {
		return nil, err
	}
	for _, hands := range []connector.Connector{
		role.New(h.Point, options.Clock, residual), role.NewTools(h.Point, options.Clock, residual), vaulthands.New(h.Vault, options.Clock), tlsHands, sshhands.New(h.PKI, options.Clock, nil),
		registryhands.New(h.Registry, h.Vault, options.Clock),
	} {
		connectors[hands.Describe().Name] = hands
	}
	maps.Copy(connectors, options.Connectors)
	if options.OpenConnectors != nil {
		opened, err := options.OpenConnectors(Targets{Vault: h.Vault, PKI: h.PKI, SCIM: options.Store.Shelf(scim.ShelfName)})
		if err != nil {
			return nil, err
		}
		maps.Copy(connectors, opened)
	}
	asked := sources{built: ticketsource.New(h.Tickets), credentials: options.SourceCredentials}
	h.Desk = desk.New(desk.Config{
		Store: options.Store, Clock: options.Clock, Entropy: options.Entropy, Zones: time.LoadLocation, Connectors: connectors.With(manual.Hands{}),
		Source: asked.find, Document: asked.document,
		TicketSystem: ticketSystems(options.TicketCredentials).open, Page: options.Page,
		HoldsPower: func(holder countersign.IdentityID, power string) (bool, error) {
			return h.Point.Allowed(holder, power, desk.SystemName+"/"+desk.ResourceName, countersign.InstantOf(options.Clock.Now()))
		},
		CatchUp:        h.Point.CatchUp,
		Answers:        h.Point.Answers,
		Stop:           func(hold bool, ids ...string) { each(ids, hold, h.Stops.Stop) },
		Forget:         func(hold bool, ids ...string) { each(ids, hold, h.Stops.Lift) },
		ReconcileEvery: options.ReconcileEvery,
		Channels:       channelNames(options.Channels), Shared: options.Shared, Replica: options.Replica, BornLeased: !options.DeliverByClaim,
	})
	h.Engine = engine.New(engine.Config{
		Desk: h.Desk, Store: options.Store, Clock: options.Clock, Connectors: connectors, Replica: options.Replica, Log: options.Log,
		Channels: options.Channels, Follow: h.Point.Follow, Keep: h.Point.KeepUses, Renew: h.Registry.Renew, SetUnfit: func(why string) { h.Stops.SetUnfit(why); h.Desk.SetUnfit(why) },
	})
	if err := h.Desk.Start(ctx); err != nil {
		return nil, err
	}
	return h, h.Point.Follow(ctx)
}

func channelNames(channels []notify.Channel) []string {
	names := make([]string, len(channels))
	for i, channel := range channels {
		names[i] = channel.Name()
	}
	return names
}

// each tells the stops of this process about identities, systems, entitlements and grants.
func each(ids []string, hold bool, tell func(target.ID, target.Cause)) {
	cause := target.Ended
	if hold {
		cause = target.Held
	}
	for _, id := range ids {
		var small target.ID
		var err error
		switch countersign.PrefixOf(id) {
		case "idn":
			small, err = target.ParseID(countersign.IdentityID(id))
		case "sys":
			small, err = target.ParseID(countersign.SystemID(id))
		case "ent":
			small, err = target.ParseID(countersign.EntitlementID(id))
		case "grt":
			small, err = target.ParseID(countersign.GrantID(id))
		default:
			err = errors.New("not the id of an identity, system, entitlement or grant")
		}
		if err != nil {
			// Every id here was minted by the house; to go on would leave access open.
			panic("house: cannot stop " + id + ": " + err.Error())
		}
		tell(small, cause)
	}
}

// Run keeps the house going until the context ends and its operations are done.
func (h *House) Run(ctx context.Context) { h.Engine.Run(ctx) }

// Settle lets the engine do what is due now, step by step, until nothing is: for
// a house whose clock is moved by hand. It reads no target; see Engine.Reconcile.
func (h *House) Settle(ctx context.Context) error {
	const rounds = 1000
	for range rounds {
		if err := h.Engine.Beat(ctx); err != nil {
			return err
		}
		if err := h.Engine.Sweep(ctx); err != nil {
			return err
		}
		done, err := h.Engine.Timers(ctx)
		if err != nil {
			return err
		}
		works, err := h.Engine.Claim(ctx, 50)
		if err != nil {
			return err
		}
		for _, work := range works {
			if err := h.Engine.Deliver(ctx, work); err != nil {
				return err
			}
		}
		told, err := h.Engine.Tell(ctx)
		if err != nil {
			return err
		}
		written, err := h.Engine.Write(ctx)
		if err != nil {
			return err
		}
		batches, err := h.Engine.Batches(ctx)
		if err != nil {
			return err
		}
		identities, err := h.Engine.Identities(ctx)
		if err != nil {
			return err
		}
		if done+len(works)+told+written+batches+identities == 0 {
			return nil
		}
	}
	return countersign.Errorf(countersign.Internal, "restless", "the engine does not come to rest after %d rounds", rounds)
}

// Ready reports why this process should get no requests now; nil if it should.
func (h *House) Ready(ctx context.Context) error {
	if err := h.Stops.Answers(); err != nil {
		return err
	}
	_, err := h.Store.House(ctx)
	return err
}

const keyShelf, keyItem, keyContext = "keys", "check", "keys/check"

// checkMaster makes sure that the key file is the one that the house was founded
// with: another one would fail only when a secret is read.
func checkMaster(ctx context.Context, options Options) error {
	shelf := options.Store.Shelf(keyShelf)
	item, err := shelf.Item(ctx, keyItem)
	if countersign.KindOf(err) == countersign.NotFound {
		sealed, err := keys.Seal(options.Master, options.Entropy, []byte("countersign"), keyContext)
		if err != nil {
			return err
		}
		body, err := json.Marshal(sealed)
		if err != nil {
			return err
		}
		err = shelf.Commit(ctx, store.ShelfChange{
			Now: countersign.InstantOf(options.Clock.Now()), Puts: []store.Item{{Key: keyItem, Version: 1, Body: body}},
		})
		var changed *store.Changed
		if errors.As(err, &changed) {
			return checkMaster(ctx, options)
		}
		return err
	}
	if err != nil {
		return err
	}
	var sealed keys.Sealed
	if err := json.Unmarshal(item.Body, &sealed); err != nil {
		return err
	}
	if _, err := keys.Unseal(options.Master, sealed, keyContext); err != nil {
		return countersign.Errorf(countersign.Refused, "wrong-key-file", "The key file is not the one of this house: %v", err).Because(err)
	}
	return nil
}
