// Package store says what storage promises. It holds the contract and no code
// of any database; store/storetest proves the promises, store/sqlstore keeps
// them on SQLite and on PostgreSQL.
//
// It imports the root package only. Rules do not live here: a store compares
// versions and keeps uniqueness, and it never judges.
package store

import (
	"context"

	"github.com/countersign/countersign"
)

// Store is one house's storage.
type Store interface {
	Reader

	// Commit writes the whole change or nothing of it. When it returns nil the
	// change is durable: a crash of the process or of the machine after that
	// loses none of it. On a guard, row, event or work item that is not as the
	// change expects it returns a *Changed and nothing is written; on a second
	// open request or second live grant for the same thing it returns a
	// *Duplicate. Two changes that conflict are never both committed.
	// Commits are strictly serial: a commit that starts after another one
	// returned sees it, on every replica.
	Commit(ctx context.Context, change Change) error

	// Claim leases up to limit due work items, the longest due first, to owner:
	// each gets the attempt number after the last one, and nobody else gets it
	// before LeaseUntil. Parked items are never claimed. The returned items are
	// as they stand after the claim.
	Claim(ctx context.Context, claim Claim) ([]Work, error)

	// Shelf returns the storage of one target or side room: its own items and
	// the events of the named streams only.
	Shelf(name string) Shelf

	// Clock returns the database's own time, for measuring a replica's offset;
	// on SQLite, where there is no other clock, it returns zero.
	Clock(ctx context.Context) (countersign.Instant, error)

	Close() error
}

// Reader is the read-only half. Every read sees one committed state; two reads
// may see different ones, which is what guards are for. A row that is not
// there is a countersign.Error of kind NotFound.
type Reader interface {
	Request(ctx context.Context, id countersign.RequestID) (*countersign.Request, error)
	Requests(ctx context.Context, query RequestQuery) ([]*countersign.Request, error)
	Grant(ctx context.Context, id countersign.GrantID) (*countersign.Grant, error)
	Grants(ctx context.Context, query GrantQuery) ([]*countersign.Grant, error)
	// GrantIDs is Grants without what they say.
	GrantIDs(ctx context.Context, query GrantQuery) ([]countersign.GrantID, error)
	// CountGrants counts them, up to the query's limit.
	CountGrants(ctx context.Context, query GrantQuery) (int, error)
	Work(ctx context.Context, key string) (Work, error)
	// Parked returns up to limit parked items of the kind: those with trouble first, and
	// of them those parked longest.
	Parked(ctx context.Context, kind WorkKind, limit int) ([]Work, error)
	// Backlog says what waits at a time. It costs a few looks into partial indexes,
	// however much is stored that is well.
	Backlog(ctx context.Context, now countersign.Instant) (Backlog, error)

	// Directory returns every directory row that changed after the revision,
	// whole, and the revision now; since 0 returns everything.
	Directory(ctx context.Context, since int64) (Directory, error)

	// Guards returns the versions of the given guards; one that was never
	// written has version 0.
	Guards(ctx context.Context, keys []string) (map[string]int64, error)

	// Look answers several questions in one round trip, in the order of the fields
	// of Questions. Each answer is no older than the ones before it: a guard is read
	// before what it stands for.
	Look(ctx context.Context, questions Questions) (Answers, error)

	// Heads returns the last sequence number and hash of each stream; a stream
	// without events has the zero head.
	Heads(ctx context.Context, streams []countersign.Stream) (map[countersign.Stream]Head, error)
	// Events returns the events of one stream after a sequence number, in order.
	Events(ctx context.Context, stream countersign.Stream, after int64, limit int) ([]countersign.SealedEvent, error)
	// Streams returns the names of streams after the given one, in byte order.
	Streams(ctx context.Context, after countersign.Stream, limit int) ([]countersign.Stream, error)

	// Policy returns the row of the active policy set; PolicySet the bytes of any
	// set that was ever active.
	Policy(ctx context.Context) (*countersign.PolicyRow, error)
	PolicySet(ctx context.Context, digest countersign.Digest) ([]byte, error)

	Proposal(ctx context.Context, id countersign.ProposalID) (*countersign.Proposal, error)
	// Proposals returns proposals in the states (all of them if none is named),
	// newest first, with ids below before (where given) and at most limit.
	Proposals(ctx context.Context, states []countersign.ProposalState, before countersign.ProposalID, limit int) ([]*countersign.Proposal, error)

	Hold(ctx context.Context, id countersign.HoldID) (*countersign.Hold, error)
	// Holds returns the holds in force, or with all set every one, newest first,
	// with ids below before (where given) and at most limit.
	Holds(ctx context.Context, all bool, before countersign.HoldID, limit int) ([]*countersign.Hold, error)

	Batch(ctx context.Context, id countersign.BatchID) (*countersign.Batch, error)

	Finding(ctx context.Context, id countersign.FindingID) (*countersign.Finding, error)
	// Findings returns findings, newest first.
	Findings(ctx context.Context, query FindingQuery) ([]*countersign.Finding, error)
	// Reconciliations returns those of every system that was ever read.
	Reconciliations(ctx context.Context) ([]*countersign.Reconciliation, error)

	// House returns the house's own row.
	House(ctx context.Context) (*countersign.House, error)

	// Content returns evidence by digest.
	Content(ctx context.Context, digest countersign.Digest) ([]byte, error)

	// Idempotency returns what was recorded under (caller, route, key).
	Idempotency(ctx context.Context, caller, route, key string) (Idempotency, error)

	// Rows calls visit for every stored row of the nouns that streams are about,
	// with the columns that the database keeps beside its bytes checked: wrong
	// names the first column that does not follow from the row, or is "".
	Rows(ctx context.Context, visit func(stream countersign.Stream, row countersign.Row, wrong string) error) error
}

// Write is one row to store. Was is the version that was read, 0 for a row
// that must not exist yet. Before is that version as it was read, or nil: with it,
// what is kept beside the row is written only where it changes.
type Write struct {
	Was    int64
	Row    countersign.Row
	Before countersign.Row
}

// Guard is a fact that a verdict relied on: the commit succeeds only if the key
// still has the version. With Next set (above Version) the key moves on to it,
// so that everything else that relied on it must look again. Guards are taken
// in the order of their keys. A guard that only checks never holds up one that
// moves on for longer than one commit.
type Guard struct {
	Key     string
	Version int64
	Next    int64
}

// Change is one command's whole effect.
type Change struct {
	// Now is the time of the transaction.
	Now    countersign.Instant
	Guards []Guard
	Writes []Write
	Events []countersign.SealedEvent
	Work   []WorkWrite
	// Contents are evidence bytes, kept under their digests.
	Contents []Content
	// PolicySets are the bytes of policy sets, kept under their digests.
	PolicySets  []Content
	Idempotency *Idempotency
	// DirectoryRevision is set by a change that writes directory rows: the
	// revision that it makes, one above the one it read.
	DirectoryRevision int64
	// Handles that the change adds to and takes from identities. A handle that
	// was ever given cannot be given to another identity.
	Handles []HandleWrite
}

// Content is bytes under their digest.
type Content struct {
	Digest countersign.Digest
	Bytes  []byte
}

// HandleWrite gives a handle to an identity, or takes it from it (it stays
// reserved for that identity).
type HandleWrite struct {
	Handle   countersign.Handle
	Identity countersign.IdentityID
	Removed  bool
}

// Head is the end of a stream: its last event.
type Head struct {
	Seq  int64
	Hash countersign.Hash
	Time countersign.Instant
}

// WorkKind says which step function takes an item.
type WorkKind string

const (
	// DeliverWork is an intent for a connector; Ref is its grant, or the finding.
	DeliverWork WorkKind = "deliver"
	// RequestWork is the next timer of a request; its key is the request's id.
	RequestWork WorkKind = "request"
	// GrantWork is the next timer of a grant; its key is the grant's id.
	GrantWork WorkKind = "grant"
	// HoldWork revokes the next batch of what is under a hold; its key is the
	// hold's id.
	HoldWork WorkKind = "hold"
	// BatchWork opens the next requests of a batch; its key is the batch's id.
	BatchWork WorkKind = "batch"
	// IdentityWork looks anew at what an identity holds, or at what was given of a system
	// or an entitlement that was retired, which Ref names.
	IdentityWork WorkKind = "identity"
	// OpenWork looks anew at the next requests that wait for somebody, older than the
	// one that Ref names.
	OpenWork WorkKind = "open"
	// ProposalWork reminds of a proposal that nobody has decided, and lets it lapse; its
	// key is the proposal's id.
	ProposalWork WorkKind = "proposal"
	// ReconcileWork compares a target with the record; Ref is the system.
	ReconcileWork WorkKind = "reconcile"
	// NoticeWork tells one person one thing through one channel; Ref is the person.
	NoticeWork WorkKind = "notice"
	// TicketWork writes one thing into a ticket of somebody else's system; Ref is the
	// request, or the digest of why there is none.
	TicketWork WorkKind = "ticket"
)

// WorkKinds is the closed list.
var WorkKinds = []WorkKind{DeliverWork, RequestWork, GrantWork, HoldWork, BatchWork, IdentityWork, OpenWork, ProposalWork, ReconcileWork, NoticeWork, TicketWork}

// Work is one thing to do at a time.
type Work struct {
	Key  string
	Kind WorkKind
	Ref  string
	// DueAt is when the item may be claimed; while leased it is the lease's end.
	DueAt countersign.Instant
	// Attempt counts claims from 1; 0 was never claimed.
	Attempt int
	// ClaimedAt and LeaseUntil belong to the last claim.
	ClaimedAt  countersign.Instant
	LeaseUntil countersign.Instant
	LeasedBy   string
	// Reported is set when the holder of the last claim said that its attempt
	// ended with no operation of it under way; cleared by a claim.
	Reported bool
	// ParkedAt is set when nobody but a person can move the item on.
	ParkedAt countersign.Instant
	// Trouble is what went wrong with the last attempt, parked or not.
	Trouble string
}

// Backlog is what waits for the house, or for somebody. Counts stop at
// BacklogLimit; what is oldest is exact.
type Backlog struct {
	// Due waits to be claimed, and Parked for a person; kinds without any are absent.
	Due, Parked map[WorkKind]Queue
	// Ending are grants, and findings, whose end began and was not yet read back.
	Ending Queue
	// Overdue counts requests that owe evidence or a review whose time has passed.
	Overdue int
	// Findings are those that are open.
	Findings Queue
	// Untold is the notice that was tried most often and not taken; zero for none.
	// Unwritten is so of what is to be written into tickets.
	Untold, Unwritten Work
}

// Queue is how many things wait, and since when the oldest does; 0 for none.
type Queue struct {
	Count  int
	Oldest countersign.Instant
}

// BacklogLimit is up to where a Backlog counts.
const BacklogLimit = 10000

// WorkWrite stores or deletes an item. With Attempt set the item must exist
// with exactly that attempt (a late duplicate loses here); -1 asks nothing.
type WorkWrite struct {
	Work    Work
	Attempt int
	Delete  bool
}

// AnyAttempt is the WorkWrite.Attempt that asks nothing.
const AnyAttempt = -1

// Claim asks for due work.
type Claim struct {
	Now   countersign.Instant
	Owner string
	Kinds []WorkKind
	Limit int
	Lease countersign.Seconds
}

// KeepAnswers is how long the answer to a command is kept under its key. What is older
// may be read until it is removed, and stands in nobody's way.
const KeepAnswers = 48 * countersign.Hour

// Idempotency is what a door keeps of an answered command.
type Idempotency struct {
	Caller string
	Route  string
	Key    string
	// Body is the digest of what was sent.
	Body countersign.Digest
	// Object is the id of what the command made or changed.
	Object string
	At     countersign.Instant
}

// RequestQuery selects requests, newest first. Zero fields ask nothing.
type RequestQuery struct {
	// Party selects requests in which the identity is requester, beneficiary,
	// accountable for the beneficiary, or asked to decide or consent.
	Party countersign.IdentityID
	// AwaitingDecisionOf selects requests with an open stage that asks the person,
	// or that wait for the person's consent.
	AwaitingDecisionOf countersign.IdentityID
	Holder             countersign.IdentityID
	Entitlement        countersign.EntitlementID
	Type               string
	// Ticket selects the request that was opened from the ticket of this name.
	Ticket string
	// Excepted selects requests for which a refusal was waived.
	Excepted bool
	States   []countersign.RequestState
	// Before continues a list: requests with ids below it.
	Before countersign.RequestID
	Limit  int
}

// FindingQuery selects findings. Zero fields ask nothing.
type FindingQuery struct {
	Systems []countersign.SystemID
	// All selects closed ones, too.
	All bool
	// Before continues a list: findings with ids below it.
	Before countersign.FindingID
	Limit  int
}

// GrantQuery selects grants, newest first. Zero fields ask nothing.
type GrantQuery struct {
	// Holders selects grants of any of them; with Requester set also, grants that
	// the requester asked for.
	Holders     []countersign.IdentityID
	Requester   countersign.IdentityID
	System      countersign.SystemID
	Entitlement countersign.EntitlementID
	Request     countersign.RequestID
	States      []countersign.GrantState
	Before      countersign.GrantID
	Limit       int
}

// Questions are what is to be looked at together. Empty fields ask nothing.
type Questions struct {
	Guards []string
	// Holds asks for the holds in force, at most so many.
	Holds    int
	GrantIDs []countersign.GrantID
	// RequestIDs asks for requests, RequestsOf for those that grants came from.
	RequestIDs []countersign.RequestID
	RequestsOf []countersign.GrantID
	Works      []string
	Requests   []RequestQuery
	Grants     []GrantQuery
	Heads      []countersign.Stream
}

// Answers are what Look found. What is asked for by its id and is not there is
// missing; lists stand in the order of their queries.
type Answers struct {
	Guards       map[string]int64
	Holds        []*countersign.Hold
	GrantsByID   []*countersign.Grant
	RequestsByID []*countersign.Request
	Works        []Work
	Requests     [][]*countersign.Request
	Grants       [][]*countersign.Grant
	Heads        map[countersign.Stream]Head
}

// Directory is the directory, or what changed of it.
type Directory struct {
	Revision     int64
	Identities   []*countersign.Identity
	Groups       []*countersign.Group
	Systems      []*countersign.System
	Entitlements []*countersign.Entitlement
	Records      []*countersign.Record
	Delegations  []*countersign.Delegation
}

// Add puts a row among those of its noun; a row of another noun is no part of the
// directory and is left out.
func (d *Directory) Add(row countersign.Row) {
	switch row := row.(type) {
	case *countersign.Identity:
		d.Identities = append(d.Identities, row)
	case *countersign.Group:
		d.Groups = append(d.Groups, row)
	case *countersign.System:
		d.Systems = append(d.Systems, row)
	case *countersign.Entitlement:
		d.Entitlements = append(d.Entitlements, row)
	case *countersign.Record:
		d.Records = append(d.Records, row)
	case *countersign.Delegation:
		d.Delegations = append(d.Delegations, row)
	}
}

// Guard keys.

// GuardPolicy is moved on by every change of the active policy set.
const GuardPolicy = "policy"

// GuardDirectory is moved on by every directory change, one at a time. No
// verdict relies on it.
const GuardDirectory = "directory"

// GuardRow is moved on to a directory row's version by every change of it.
func GuardRow(key string) string { return key }

// GuardMember is moved on to the group's version when the member (an identity
// or a nested group) enters or leaves the group.
func GuardMember(group countersign.GroupID, member string) string {
	return string(group) + "/" + member
}

// GuardGroups is moved on when the identity or group enters or leaves any group:
// what a verdict relies on that asked which groups somebody is in, or is not.
func GuardGroups(member string) string { return "groups:" + member }

// GuardDelegations is moved on when the person delegates something, or takes it
// back: what a verdict relied on that asked who stands in for the person.
func GuardDelegations(from countersign.IdentityID) string { return "delegations:" + string(from) }

// GuardHold is moved on when a hold is put on the identity, system, entitlement or
// grant, or lifted from it.
func GuardHold(on string) string { return "hold:" + on }

// GuardHolder is moved on by every commit that opens, widens, decides or ends
// something for the identity.
func GuardHolder(id countersign.IdentityID) string { return "holder:" + string(id) }

// Changed says that something was not as a change expected.
type Changed struct {
	// Key is the guard key, row key, stream or work key.
	Key string
}

func (c *Changed) Error() string { return c.Key + " has changed meanwhile" }

// Duplicate says that a unique thing exists already.
type Duplicate struct {
	// Constraint is one of the constants below.
	Constraint string
}

func (d *Duplicate) Error() string { return "duplicate: " + d.Constraint }

// What is unique.
const (
	// OneOpenRequest per holder, entitlement and type.
	OneOpenRequest = "one-open-request"
	// OneLiveGrant per holder and entitlement (live: not gone and not failed).
	OneLiveGrant = "one-live-grant"
	// OneTicket: a ticket opens one request, for ever.
	OneTicket = "one-ticket"
	// OneHandle: a handle belongs to one identity, for ever.
	OneHandle = "one-handle"
	// OneIdempotencyKey per caller and route.
	OneIdempotencyKey = "one-idempotency-key"
)
