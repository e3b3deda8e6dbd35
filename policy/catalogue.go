package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

// Selector says which entitlements a request type grants. An empty list allows
// any.
type Selector struct {
	Systems      []string                    `json:"systems"`
	Kind         countersign.EntitlementKind `json:"kind"`
	Resources    []string                    `json:"resources"`
	Entitlements []string                    `json:"entitlements"`
}

// TypeInfo is a request type as the catalogue shows it.
type TypeInfo struct {
	Name        string                     `json:"name"`
	Title       string                     `json:"title"`
	Description string                     `json:"description,omitempty"`
	Rule        countersign.Digest         `json:"rule"`
	Priority    int                        `json:"priority"`
	Beneficiary []countersign.IdentityKind `json:"beneficiary"`
	Grants      Selector                   `json:"grants"`
	// Ask is the JSON Schema of the answers; Fields gives the order of the form.
	Ask    json.RawMessage `json:"ask"`
	Fields []string        `json:"fields"`
	// MinDuration is 0 where the file names none.
	DefaultDuration countersign.Seconds `json:"default_duration"`
	MaxDuration     countersign.Seconds `json:"max_duration"`
	MinDuration     countersign.Seconds `json:"min_duration"`
	// MaxEntitlements is how many one request may ask for.
	MaxEntitlements int                `json:"max_entitlements"`
	Evidence        []countersign.Slot `json:"evidence"`
	Fulfil          []countersign.Step `json:"fulfil"`
	// Parameters are the fields whose answers the connector is given.
	Parameters []string               `json:"parameters,omitempty"`
	Terms      countersign.GrantTerms `json:"terms"`
	// BreakGlass says that the access is taken at once, and reviewed afterwards.
	BreakGlass bool `json:"break_glass"`
	// Rotates is nil where new access is asked for.
	Rotates *Rotation `json:"rotates,omitempty"`
	// Tell are the rules that find who is told of it.
	Tell []string `json:"tell,omitempty"`
}

// Types returns the catalogue, in the order of names.
func (s *Set) Types() []TypeInfo {
	infos := make([]TypeInfo, 0, len(s.types))
	for _, t := range s.types {
		infos = append(infos, TypeInfo{
			Name: t.name, Title: t.title, Description: t.description, Rule: t.rule, Priority: t.priority,
			Beneficiary: slices.Clone(t.beneficiary), Grants: t.grants.clone(), Ask: slices.Clone(t.form.text), Fields: t.form.names(),
			DefaultDuration: t.standard, MaxDuration: t.longest, MinDuration: t.shortest, MaxEntitlements: t.entitlements,
			Evidence: t.slots(), Fulfil: slices.Clone(t.fulfil), Parameters: slices.Clone(t.parameters),
			Terms: countersign.GrantTerms{Remind: t.terms.Remind, EndsWhen: slices.Clone(t.terms.EndsWhen), BoundedBy: cloneBounds(t.terms.BoundedBy)},
		})
		if t.rotates != nil {
			rotation := *t.rotates
			infos[len(infos)-1].Rotates = &rotation
		}
		if t.breakGlass != nil {
			infos[len(infos)-1].BreakGlass, infos[len(infos)-1].Tell = true, slices.Clone(t.breakGlass.tell)
		}
	}
	return infos
}

// Stages returns the stages of a request type as they are written; nil if there
// is no such type.
func (s *Set) Stages(typeName string) []countersign.Stage {
	t := s.find(typeName)
	if t == nil {
		return nil
	}
	stages := make([]countersign.Stage, len(t.stages))
	for i, stage := range t.stages {
		stages[i] = stage.template
	}
	return stages
}

func (s Selector) clone() Selector {
	return Selector{slices.Clone(s.Systems), s.Kind, slices.Clone(s.Resources), slices.Clone(s.Entitlements)}
}

func (t *requestType) slots() []countersign.Slot {
	slots := make([]countersign.Slot, len(t.evidence))
	for i, slot := range t.evidence {
		slots[i] = slot.Slot
		slots[i].EscalateTo = slices.Clone(slot.EscalateTo)
	}
	return slots
}

const anySystem = "any"

func readSelector(s *source, node *yaml.Node) Selector {
	m := s.mapping(node, "`grants`", "system", "kind", "resource", "entitlement")
	m.require("system", "kind")
	selector := Selector{
		Systems: m.names("system"), Kind: word(m, "kind", "kind of entitlement", entitlementKinds),
		Resources: m.names("resource"), Entitlements: m.names("entitlement"),
	}
	if slices.Contains(selector.Systems, anySystem) {
		if len(selector.Systems) > 1 {
			s.problem(m.values["system"], "`any` stands alone")
		}
		selector.Systems = nil
	}
	return selector
}

// common reports whether two lists allow the same name; an empty one allows any.
func common(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}

// overlaps reports whether a request could match both types.
func (t *requestType) overlaps(other *requestType) bool {
	return t.grants.Kind == other.grants.Kind && (t.rotates == nil) == (other.rotates == nil) &&
		common(t.grants.Systems, other.grants.Systems) &&
		common(t.grants.Resources, other.grants.Resources) &&
		common(t.grants.Entitlements, other.grants.Entitlements) &&
		slices.ContainsFunc(t.beneficiary, func(kind countersign.IdentityKind) bool { return slices.Contains(other.beneficiary, kind) })
}

// mismatch says why a request is none of this type, or "".
func (t *requestType) mismatch(facts Facts) string {
	if !slices.Contains(t.beneficiary, facts.Beneficiary.Kind) {
		return fmt.Sprintf("`%s` is for the kinds %s, and %s is of the kind %s", t.name, enumerate(words(t.beneficiary), "and"), facts.Beneficiary.Name, facts.Beneficiary.Kind)
	}
	for _, item := range facts.Items {
		for _, part := range []struct {
			what    string
			allowed []string
			given   string
		}{
			{"system", t.grants.Systems, item.Resource.System},
			{"kind", []string{string(t.grants.Kind)}, string(item.Entitlement.Kind)},
			{"resource", t.grants.Resources, item.Resource.Name},
			{"entitlement", t.grants.Entitlements, item.Entitlement.Name},
		} {
			if len(part.allowed) > 0 && !slices.Contains(part.allowed, part.given) {
				return fmt.Sprintf("`%s` grants the %s %s, and `%s` on %s has the %s `%s`", t.name, part.what, enumerate(part.allowed, "and"),
					item.Entitlement.Name, item.Resource.System, part.what, part.given)
			}
		}
	}
	return t.mismatchRotation(facts)
}

// Find returns the request type for the facts' items and beneficiary. With a
// name, it must be a type that matches; without one, it is the matching type of
// the highest priority, and never a break-glass type. Errors: no-request-type, wrong-request-type.
func (s *Set) Find(name string, facts Facts) (string, error) {
	if len(facts.Items) == 0 {
		return "", countersign.Errorf(countersign.Invalid, "no-entitlement", "nothing is asked for: name at least one entitlement").At("/entitlements")
	}
	if name != "" {
		t, err := s.known(name)
		if err != nil {
			return "", err
		}
		if why := t.mismatch(facts); why != "" {
			return "", countersign.Errorf(countersign.Invalid, "wrong-request-type", "the request type does not match: %s", why).At("/type")
		}
		return name, nil
	}
	var found *requestType
	var reasons []string
	for _, t := range s.types {
		why := t.mismatch(facts)
		if why == "" && t.breakGlass != nil {
			why = fmt.Sprintf("`%s` is for emergencies and is named by who asks", t.name)
		}
		if why != "" {
			reasons = append(reasons, why)
		} else if found == nil || t.priority > found.priority {
			found = t
		}
	}
	if found == nil {
		const shown = 5
		more := ""
		if len(reasons) > shown {
			more, reasons = fmt.Sprintf("; and %d more", len(reasons)-shown), reasons[:shown]
		}
		return "", countersign.Errorf(countersign.NotFound, "no-request-type", "no request type offers this: %s%s", strings.Join(reasons, "; "), more).At("/type")
	}
	return found.name, nil
}

func (s *Set) known(name string) (*requestType, error) {
	if t := s.find(name); t != nil {
		return t, nil
	}
	names := make([]string, len(s.types))
	for i, t := range s.types {
		names[i] = t.name
	}
	return nil, countersign.Errorf(countersign.NotFound, "no-request-type", "%s", unknown("request type", name, names)).At("/type")
}

// Needs says what a judgement of the type must be told beyond the facts that
// are given: who each approver rule finds, the records that answers name, the
// holder's open requests, and what is held already.
func (s *Set) Needs(typeName string, facts Facts) ([]Query, error) {
	t, err := s.known(typeName)
	if err != nil {
		return nil, err
	}
	var queries []Query
	add := func(query Query) {
		if !slices.Contains(queries, query) {
			queries = append(queries, query)
		}
	}
	for _, stage := range t.stages {
		for _, quorum := range stage.template.Quorums {
			for _, rule := range slices.Concat(quorum.Approvers, quorum.Else) {
				add(Query{Approvers: rule})
			}
		}
	}
	if facts.Exception != nil && t.exceptions != nil {
		for _, rule := range StageRules(t.exceptions.stage.template) {
			add(Query{Approvers: rule})
		}
	}
	answers, _ := t.form.decode(facts.Answers)
	for _, key := range t.recordKeys(t.form.view(answers)) {
		add(Query{Record: key.key})
	}
	for _, ticket := range t.ticketQueries(t.form.view(answers)) {
		add(Query{Ticket: ticket})
	}
	if t.breakGlass != nil {
		add(Query{Eligible: true})
		for _, rule := range t.breakGlass.tell {
			add(Query{Approvers: rule})
		}
	}
	if t.openPerHolder > 0 {
		add(Query{OpenRequests: true})
	}
	if len(t.terms.BoundedBy) > 0 || slices.ContainsFunc(s.separations, func(rule SeparationInfo) bool { return rule.touches(facts.Items) }) {
		add(Query{Held: true})
	}
	return queries, nil
}

// recordKey is a record that an answer names and the directory must confirm.
type recordKey struct {
	slot, field, key string
	covers           bool
}

func (t *requestType) recordKeys(answers *answerFields) []recordKey {
	var keys []recordKey
	for _, slot := range t.evidence {
		if slot.VerifiedBy != directoryVerifier {
			continue
		}
		if key, given := answers.values[slot.from].(string); given && key != "" {
			keys = append(keys, recordKey{slot.Name, slot.from, key, slot.covers})
		}
	}
	return keys
}

// path is how an entitlement is written.
func (i Item) path() string {
	return i.Resource.System + "/" + i.Resource.Name + "/" + i.Entitlement.Name
}
