package sqlstore

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/countersign/countersign"
	"github.com/countersign/countersign/store"
)

func notFound(noun, key string) error {
	return countersign.Errorf(countersign.NotFound, "not-found", "there is no %s %q", noun, key)
}

// most is a limit as SQL wants it; 0 asks for everything.
func most(limit int) int64 {
	if limit <= 0 {
		return math.MaxInt64
	}
	return int64(limit)
}

// nouns reads rows whose first column is a noun's bytes.
func nouns[P countersign.Row](ctx context.Context, s *Store, t *table, query string, args ...any) ([]P, error) {
	var found []P
	err := s.database.query(ctx, query, nounsInto(t, &found), args...)
	return found, err
}

// nounsInto collects what rows say whose first column is a noun's bytes.
func nounsInto[P countersign.Row](t *table, found *[]P) func(row) error {
	return func(row row) error {
		var body []byte
		if err := row.Scan(&body); err != nil {
			return err
		}
		noun, err := decodeRow[P](t, body)
		*found = append(*found, noun)
		return err
	}
}

func noun[P countersign.Row](ctx context.Context, s *Store, t *table, name, key string) (P, error) {
	var none P
	var found []P
	err := s.database.ask(ctx, []question{{`SELECT body FROM ` + t.name + ` WHERE id = ?`, []any{key}, nounsInto(t, &found)}})
	if err == nil && len(found) == 0 {
		err = notFound(name, key)
	}
	if err != nil {
		return none, err
	}
	return found[0], nil
}

func (s *Store) Request(ctx context.Context, id countersign.RequestID) (*countersign.Request, error) {
	return noun[*countersign.Request](ctx, s, requestTable, "request", string(id))
}

func (s *Store) Grant(ctx context.Context, id countersign.GrantID) (*countersign.Grant, error) {
	return noun[*countersign.Grant](ctx, s, grantTable, "grant", string(id))
}

// Policy returns the row of the active policy set.
func (s *Store) Policy(ctx context.Context) (*countersign.PolicyRow, error) {
	return noun[*countersign.PolicyRow](ctx, s, policyTable, "active policy", "policy")
}

// House returns the house's own row.
func (s *Store) House(ctx context.Context) (*countersign.House, error) {
	return noun[*countersign.House](ctx, s, houseTable, "row of the", "house")
}

// conditions are parts of a WHERE that must all hold.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) add(part string, args ...any) {
	c.parts = append(c.parts, part)
	c.args = append(c.args, args...)
}

// text adds the condition unless the value is empty, which asks nothing.
func (c *conditions) text(part, value string) {
	if value != "" {
		c.add(part, value)
	}
}

// where is the conditions as a clause.
func (c *conditions) where() string {
	if len(c.parts) == 0 {
		return ""
	}
	return ` WHERE ` + strings.Join(c.parts, ` AND `)
}

// states adds the states, where there are any; found says that other conditions find
// the rows.
func (c *conditions) states(states list, found bool) {
	switch {
	case len(states) == 0:
	case found:
		c.add(`{state} {any}`, states)
	default:
		c.add(`state {any}`, states)
	}
}

// newestFirst selects bodies of the table by the conditions.
func (c *conditions) newestFirst(t *table, limit int) (string, []any) {
	return `SELECT body FROM ` + t.name + c.where() + ` ORDER BY id DESC LIMIT ?`, append(c.args, most(limit))
}

// newestInStates is newestFirst over rows in any of the states. Each state is looked
// up by itself, in the order that only an index that begins with it keeps: asked for
// all of them at once, PostgreSQL passes over every newer row in other states, which
// may be all that there are. The order, a mark of the dialect, says which indexes those
// are.
func newestInStates[S ~string](c *conditions, t *table, order string, states []S, before string, limit int) (string, []any) {
	var each []string
	var args []any
	for i, state := range slices.Compact(slices.Sorted(slices.Values(states))) {
		one := conditions{slices.Clone(c.parts), slices.Clone(c.args)}
		one.add(`state = ?`, string(state))
		one.text(`id `+order+` < ?`, before)
		each = append(each, `SELECT * FROM (SELECT id, body FROM `+t.name+one.where()+` ORDER BY id `+order+` DESC LIMIT ?) AS in_`+strconv.Itoa(i))
		args = append(append(args, one.args...), most(limit))
	}
	return `SELECT body FROM (` + strings.Join(each, ` UNION ALL `) + `) AS found ORDER BY id DESC LIMIT ?`, append(args, most(limit))
}

// Requests returns the requests that the query asks for, newest first.
func (s *Store) Requests(ctx context.Context, query store.RequestQuery) ([]*countersign.Request, error) {
	text, args := requestsText(query)
	return nouns[*countersign.Request](ctx, s, requestTable, text, args...)
}

func requestsText(query store.RequestQuery) (string, []any) {
	var where conditions
	// With a holder and open requests only, the unique index finds them.
	open := query.Holder != "" && len(query.States) > 0 && !slices.ContainsFunc(query.States, func(state countersign.RequestState) bool { return !state.Open() })
	switch {
	case query.Entitlement != "" && open:
		where.add(`id IN (SELECT request FROM request_entitlement WHERE holder = ? AND entitlement = ? AND open)`, string(query.Holder), string(query.Entitlement))
	case open:
		where.add(`id IN (SELECT request FROM request_entitlement WHERE holder = ? AND open)`, string(query.Holder))
	default:
		where.text(`beneficiary = ?`, string(query.Holder))
		where.text(`id IN (SELECT request FROM request_entitlement WHERE entitlement = ?)`, string(query.Entitlement))
	}
	where.text(`type = ?`, query.Type)
	if query.Ticket != "" {
		// As in the index, which holds what came from a ticket and nothing else.
		where.add(`ticket <> '' AND ticket = ?`, query.Ticket)
	}
	if query.Excepted {
		where.add(`excepted`)
	}
	if len(query.States) > 0 && query.Party == "" && query.AwaitingDecisionOf == "" && query.Holder == "" && query.Entitlement == "" {
		return newestInStates(&where, requestTable, `{in state}`, query.States, string(query.Before), query.Limit)
	}
	where.states(texts(query.States), query.Holder != "" || query.Party != "" || query.AwaitingDecisionOf != "")
	narrowed := len(where.parts) > 0 || query.Party != "" && query.AwaitingDecisionOf != ""
	for _, party := range []struct {
		who     countersign.IdentityID
		awaited string
	}{{query.Party, ``}, {query.AwaitingDecisionOf, ` AND awaited`}} {
		if party.who == "" {
			continue
		}
		of, args := `SELECT request FROM request_party WHERE identity = ?`+party.awaited, []any{string(party.who)}
		if !narrowed {
			// The index has the newest in order: the others are not looked up.
			if query.Before != "" {
				of, args = of+` AND request < ?`, append(args, string(query.Before))
			}
			of, args = of+` ORDER BY request DESC LIMIT ?`, append(args, most(query.Limit))
		}
		where.add(`id IN (`+of+`)`, args...)
	}
	where.text(`id < ?`, string(query.Before))
	return where.newestFirst(requestTable, query.Limit)
}

// Grants returns the grants that the query asks for, newest first.
func (s *Store) Grants(ctx context.Context, query store.GrantQuery) ([]*countersign.Grant, error) {
	text, args := grantsText(query)
	return nouns[*countersign.Grant](ctx, s, grantTable, text, args...)
}

// GrantIDs returns the ids of the grants that the query asks for, newest first.
func (s *Store) GrantIDs(ctx context.Context, query store.GrantQuery) ([]countersign.GrantID, error) {
	text, args := grantsText(query)
	var ids []countersign.GrantID
	err := s.database.query(ctx, withoutBodies.Replace(text), func(row row) error {
		var id countersign.GrantID
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	}, args...)
	return ids, err
}

// CountGrants returns how many grants the query asks for, up to its limit.
func (s *Store) CountGrants(ctx context.Context, query store.GrantQuery) (count int, err error) {
	text, args := grantsText(query)
	return count, one(ctx, s.database, "count", `SELECT count(*) FROM (`+withoutBodies.Replace(text)+`) AS counted`, args, &count)
}

var withoutBodies = strings.NewReplacer(`SELECT body`, `SELECT id`, `SELECT id, body`, `SELECT id`)

func grantsText(query store.GrantQuery) (string, []any) {
	var where conditions
	switch {
	case len(query.Holders) > 0 && query.Requester != "":
		where.add(`(holder {any} OR requester = ?)`, texts(query.Holders), string(query.Requester))
	case len(query.Holders) == 1:
		where.add(`holder = ?`, string(query.Holders[0]))
	case len(query.Holders) > 0:
		where.add(`holder {any}`, texts(query.Holders))
	case query.Requester != "":
		where.add(`requester = ?`, string(query.Requester))
	}
	where.text(`system = ?`, string(query.System))
	where.text(`entitlement = ?`, string(query.Entitlement))
	where.text(`request = ?`, string(query.Request))
	states := query.States
	if len(query.Holders) == 0 && query.Requester == "" && query.Request == "" {
		// Of a system or an entitlement, or of none: these can be very many.
		order := `{in state}`
		if query.System != "" || query.Entitlement != "" {
			order = `{of one}`
			if len(states) == 0 {
				states = countersign.GrantStates
			}
		}
		if len(states) > 0 {
			return newestInStates(&where, grantTable, order, states, string(query.Before), query.Limit)
		}
	}
	where.states(texts(states), true)
	where.text(`id < ?`, string(query.Before))
	// Of one holder and entitlement, one grant has not ended: the unique index finds it.
	ended := func(state countersign.GrantState) bool { return state.Ended() }
	if len(query.Holders) == 1 && query.Requester == "" && query.Entitlement != "" && len(query.States) > 0 && !slices.ContainsFunc(query.States, ended) {
		where.add(`live`)
		return `SELECT body FROM access_grant WHERE ` + strings.Join(where.parts, ` AND `), where.args
	}
	return where.newestFirst(grantTable, query.Limit)
}

func (s *Store) Proposal(ctx context.Context, id countersign.ProposalID) (*countersign.Proposal, error) {
	return noun[*countersign.Proposal](ctx, s, proposalTable, "proposal", string(id))
}

func (s *Store) Proposals(ctx context.Context, states []countersign.ProposalState, before countersign.ProposalID, limit int) ([]*countersign.Proposal, error) {
	var where conditions
	if len(states) > 0 {
		where.add(`state {any}`, texts(states))
	}
	where.text(`id < ?`, string(before))
	text, args := where.newestFirst(proposalTable, limit)
	return nouns[*countersign.Proposal](ctx, s, proposalTable, text, args...)
}

func (s *Store) Hold(ctx context.Context, id countersign.HoldID) (*countersign.Hold, error) {
	return noun[*countersign.Hold](ctx, s, holdTable, "hold", string(id))
}

func (s *Store) Batch(ctx context.Context, id countersign.BatchID) (*countersign.Batch, error) {
	return noun[*countersign.Batch](ctx, s, batchTable, "batch", string(id))
}

func (s *Store) Finding(ctx context.Context, id countersign.FindingID) (*countersign.Finding, error) {
	return noun[*countersign.Finding](ctx, s, findingTable, "finding", string(id))
}

func (s *Store) Findings(ctx context.Context, query store.FindingQuery) ([]*countersign.Finding, error) {
	var where conditions
	if len(query.Systems) > 0 {
		where.add(`system {any}`, texts(query.Systems))
	}
	if !query.All {
		where.add(`open`)
	}
	where.text(`id < ?`, string(query.Before))
	text, args := where.newestFirst(findingTable, query.Limit)
	return nouns[*countersign.Finding](ctx, s, findingTable, text, args...)
}

func (s *Store) Reconciliations(ctx context.Context) ([]*countersign.Reconciliation, error) {
	var where conditions
	text, args := where.newestFirst(reconciliationTable, 0)
	return nouns[*countersign.Reconciliation](ctx, s, reconciliationTable, text, args...)
}

func (s *Store) Holds(ctx context.Context, all bool, before countersign.HoldID, limit int) ([]*countersign.Hold, error) {
	text, args := holdsText(all, before, limit)
	return nouns[*countersign.Hold](ctx, s, holdTable, text, args...)
}

func holdsText(all bool, before countersign.HoldID, limit int) (string, []any) {
	var where conditions
	if !all {
		where.add(`active`)
	}
	where.text(`id < ?`, string(before))
	return where.newestFirst(holdTable, limit)
}

// Directory returns every directory row that was written after the revision,
// and the revision now. It is one query, so that both are of one state.
func (s *Store) Directory(ctx context.Context, since int64) (store.Directory, error) {
	directory := store.Directory{Revision: 0}
	var parts []string
	var args []any
	for _, t := range tables {
		if t.directory {
			parts = append(parts, `SELECT '`+t.name+`' AS noun, id, body, revision FROM `+t.name+` WHERE revision > ?`)
			args = append(args, since)
		}
	}
	parts = append(parts, `SELECT 'revision', key, '', version FROM guard WHERE key = ?`)
	args = append(args, store.GuardDirectory)
	err := s.database.query(ctx, strings.Join(parts, ` UNION ALL `)+` ORDER BY 1, 2`, func(row row) error {
		var noun, id string
		var body []byte
		var revision int64
		if err := row.Scan(&noun, &id, &body, &revision); err != nil {
			return err
		}
		if noun == "revision" {
			directory.Revision = revision
			return nil
		}
		return directoryRow(&directory, noun, body)
	}, args...)
	return directory, err
}

func directoryRow(directory *store.Directory, noun string, body []byte) error {
	for _, t := range tables {
		if t.name != noun {
			continue
		}
		decoded, err := t.decode(body)
		if err != nil {
			return err
		}
		directory.Add(decoded)
	}
	return nil
}

// Guards returns the versions of the guards; 0 for one that was never written.
func (s *Store) Guards(ctx context.Context, keys []string) (map[string]int64, error) {
	versions, q := guardsQuestion(keys)
	return versions, s.database.ask(ctx, []question{q})
}

func guardsQuestion(keys []string) (map[string]int64, question) {
	versions := make(map[string]int64, len(keys))
	for _, key := range keys {
		versions[key] = 0
	}
	return versions, question{`SELECT key, version FROM guard WHERE key {any}`, []any{list(keys)}, func(row row) error {
		var key string
		var version int64
		err := row.Scan(&key, &version)
		versions[key] = version
		return err
	}}
}

// PolicySet returns the bytes of a set that was ever active.
func (s *Store) PolicySet(ctx context.Context, digest countersign.Digest) ([]byte, error) {
	return s.bytes(ctx, "policy set", `SELECT bytes FROM policy_set WHERE digest = ?`, digest)
}

// Content returns evidence by digest.
func (s *Store) Content(ctx context.Context, digest countersign.Digest) ([]byte, error) {
	return s.bytes(ctx, "content", `SELECT bytes FROM content WHERE digest = ?`, digest)
}

func (s *Store) bytes(ctx context.Context, what, query string, digest countersign.Digest) ([]byte, error) {
	var content []byte
	err := one(ctx, s.database, what+" "+string(digest), query, []any{string(digest)}, &content)
	return content, err
}

// Idempotency returns what was recorded under (caller, route, key).
func (s *Store) Idempotency(ctx context.Context, caller, route, key string) (store.Idempotency, error) {
	found := store.Idempotency{Caller: caller, Route: route, Key: key}
	err := one(ctx, s.database, "answer under this idempotency key",
		`SELECT body, object, at FROM idempotency WHERE caller = ? AND route = ? AND key = ?`,
		[]any{caller, route, key}, &found.Body, &found.Object, &found.At)
	if err != nil {
		return store.Idempotency{}, err
	}
	return found, nil
}
