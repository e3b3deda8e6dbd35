package sqlstore

import (
	"encoding/json"
	"slices"

	"github.com/countersign/countersign"
)

// table is how one noun is kept.
type table struct {
	name string
	// columns are what queries and indexes need beside id, version and body;
	// derive computes them from the noun alone.
	columns []string
	derive  func(row countersign.Row) []any
	decode  func(body []byte) (countersign.Row, error)
	// directory says that rows carry the directory revision that wrote them.
	directory bool

	// at is the place of the table in the order of writes.
	at             int
	insert, update *form
}

func newTable[T any, P interface {
	*T
	countersign.Row
}](name string, directory bool, columns []string, derive func(P) []any) *table {
	written := append([]string{"version", "body"}, columns...)
	if directory {
		written = append(written, "revision")
	}
	return &table{
		name: name, columns: columns, directory: directory,
		derive: func(row countersign.Row) []any {
			if derive == nil {
				return nil
			}
			return derive(row.(P))
		},
		decode: func(body []byte) (countersign.Row, error) {
			noun := P(new(T))
			if err := json.Unmarshal(body, noun); err != nil {
				return nil, internal("damaged-row", "a row of the table %s cannot be read: %v", name, err)
			}
			return noun, nil
		},
		insert: &form{table: name, columns: append(slices.Clone(written), "id")},
		update: &form{does: updateRow, table: name, columns: append(slices.Clone(written), "id", "was")},
	}
}

var (
	requestTable = newTable("request", false, []string{"beneficiary", "type", "state", "excepted", "overdue", "ticket"}, func(r *countersign.Request) []any {
		return []any{string(r.Beneficiary), r.Type, string(r.State), r.Exception != nil, r.Overdue(), r.Ticket.Name()}
	})
	grantTable = newTable("access_grant", false, []string{"holder", "entitlement", "system", "request", "requester", "state", "live", "ending_since"}, func(g *countersign.Grant) []any {
		return []any{string(g.Holder), string(g.Entitlement), string(g.System), string(g.Request), string(g.Requester), string(g.State), !g.State.Ended(), int64(g.EndingSince())}
	})
	identityTable    = newTable[countersign.Identity]("identity", true, nil, nil)
	groupTable       = newTable[countersign.Group]("access_group", true, nil, nil)
	systemTable      = newTable[countersign.System]("system", true, nil, nil)
	entitlementTable = newTable("entitlement", true, []string{"system"}, func(e *countersign.Entitlement) []any {
		return []any{string(e.System)}
	})
	proposalTable = newTable("proposal", false, []string{"state"}, func(p *countersign.Proposal) []any { return []any{string(p.State)} })
	holdTable     = newTable("hold", false, []string{"active"}, func(h *countersign.Hold) []any { return []any{h.State() == countersign.HoldActive} })
	recordTable   = newTable[countersign.Record]("record", true, nil, nil)
	batchTable    = newTable[countersign.Batch]("batch", false, nil, nil)
	findingTable  = newTable("finding", false, []string{"system", "open"}, func(f *countersign.Finding) []any {
		return []any{string(f.System), f.State == countersign.FindingOpen}
	})
	reconciliationTable = newTable[countersign.Reconciliation]("reconciliation", false, nil, nil)
	delegationTable     = newTable[countersign.Delegation]("delegation", true, nil, nil)
	policyTable         = newTable[countersign.PolicyRow]("policy", false, nil, nil)
	houseTable          = newTable[countersign.House]("house", false, nil, nil)
)

// tables lists every noun's table by name, which is the order of writes.
var tables = []*table{grantTable, groupTable, batchTable, delegationTable, entitlementTable, findingTable, holdTable, houseTable, identityTable, policyTable, proposalTable, reconciliationTable, recordTable, requestTable, systemTable}

func init() {
	for i, t := range tables {
		t.at = i
	}
}

func tableOf(row countersign.Row) (*table, error) {
	switch row.(type) {
	case *countersign.Request:
		return requestTable, nil
	case *countersign.Grant:
		return grantTable, nil
	case *countersign.Identity:
		return identityTable, nil
	case *countersign.Group:
		return groupTable, nil
	case *countersign.System:
		return systemTable, nil
	case *countersign.Entitlement:
		return entitlementTable, nil
	case *countersign.Record:
		return recordTable, nil
	case *countersign.Batch:
		return batchTable, nil
	case *countersign.Finding:
		return findingTable, nil
	case *countersign.Reconciliation:
		return reconciliationTable, nil
	case *countersign.Delegation:
		return delegationTable, nil
	case *countersign.PolicyRow:
		return policyTable, nil
	case *countersign.House:
		return houseTable, nil
	case *countersign.Hold:
		return holdTable, nil
	case *countersign.Proposal:
		return proposalTable, nil
	}
	return nil, internal("unknown-row", "a store keeps no rows of the type %T", row)
}

// decodeRow reads a noun of a known type.
func decodeRow[P countersign.Row](t *table, body []byte) (P, error) {
	row, err := t.decode(body)
	if err != nil {
		var none P
		return none, err
	}
	return row.(P), nil
}

// parties returns, sorted, who may find the request as their own, and which of
// them it waits for: by an open stage that asks them and that they have not
// decided, or by a consent that only they can give.
func parties(r *countersign.Request) (all, awaited []countersign.IdentityID) {
	all = append(all, r.Requester, r.Beneficiary, r.Consent.Of)
	all = append(all, r.SamePerson...)
	all = append(all, r.Told...)
	if r.Exception != nil {
		all = append(all, r.Exception.Owner)
	}
	for i := range r.Stages {
		stage := &r.Stages[i]
		for _, decision := range stage.Decisions {
			all = append(all, decision.By)
		}
		for _, asked := range stage.Asked {
			all = append(all, asked.Person)
			decided := slices.ContainsFunc(stage.Decisions, func(d countersign.Decision) bool { return d.By == asked.Person })
			if stage.State == countersign.StageOpen && !r.State.Final() && !decided {
				awaited = append(awaited, asked.Person)
			}
		}
	}
	if r.Consent.Missing() && !r.State.Final() {
		awaited = append(awaited, r.Consent.Of)
	}
	for _, set := range []*[]countersign.IdentityID{&all, &awaited} {
		slices.Sort(*set)
		*set = slices.DeleteFunc(slices.Compact(*set), func(id countersign.IdentityID) bool { return id == "" })
	}
	return all, awaited
}

// wanted returns the entitlements of the request, each once, sorted.
func wanted(r *countersign.Request) []countersign.EntitlementID {
	sorted := slices.Clone(r.Entitlements)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
