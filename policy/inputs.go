package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign"
)

// blank is a request of the type about which nothing is known.
func (t *requestType) blank() *evaluation {
	e := &evaluation{
		kind: t, requester: &party{variable: "requester", Active: true}, beneficiary: &party{variable: "beneficiary", Active: true},
		resource: &resource{}, entitlement: &entitlement{}, request: &asking{Type: t.name}, answers: t.form.view(nil), now: types.Timestamp{Time: midday},
	}
	e.variables = &variableFields{e, make([]ref.Val, len(t.variables)), make([]error, len(t.variables))}
	return e
}

// set gives an attribute a value; nil leaves it absent.
func set(e *evaluation, name string, value any) {
	owner, field, _ := strings.Cut(name, ".")
	if owner == answersType {
		delete(e.answers.values, field)
		if value != nil {
			e.answers.values[field] = value
		}
		return
	}
	if value == nil {
		return
	}
	switch owner {
	case "requester":
		e.requester.set(field, value)
	case "beneficiary":
		e.beneficiary.set(field, value)
	case "now":
		e.now = types.Timestamp{Time: value.(time.Time)}
	case "request":
		switch field {
		case "reason":
			e.request.Reason = value.(string)
		case "duration":
			e.request.Duration = value.(time.Duration)
		}
	case "resource":
		*map[string]*string{"name": &e.resource.Name, "system": &e.resource.System, "connector": &e.resource.Connector,
			"environment": &e.resource.Environment, "risk": &e.resource.Risk}[field] = value.(string)
	case "entitlement":
		if field == "max_duration" {
			e.entitlement.MaxDuration = value.(time.Duration)
			return
		}
		*map[string]*string{"name": &e.entitlement.Name, "kind": &e.entitlement.Kind, "risk": &e.entitlement.Risk}[field] = value.(string)
	}
}

func (p *party) set(field string, value any) {
	switch field {
	case "active":
		p.Active = value.(bool)
	case "teams":
		p.Teams = value.([]string)
	case "groups":
		p.Groups = value.([]string)
	case "contract_end":
		p.ContractEnd = value.(time.Time)
	case "last_confirmed":
		p.Confirmed = value.(time.Time)
	default:
		*map[string]*string{"id": &p.ID, "kind": &p.Kind, "name": &p.Name, "affiliation": &p.Affiliation, "environment": &p.Environment,
			"owner": &p.Owner, "sponsor": &p.Sponsor, "purpose": &p.Purpose, "record": &p.Record}[field] = value.(string)
	}
}

// described names inputs in words, in the order of their names.
func described(example map[string]any) string {
	var texts []string
	for _, name := range slices.SortedFunc(maps.Keys(example), cmp.Compare[string]) {
		switch value := example[name].(type) {
		case nil:
			texts = append(texts, "no "+name)
		case string:
			texts = append(texts, fmt.Sprintf("%s %q", name, value))
		case []string:
			texts = append(texts, fmt.Sprintf("%s [%s]", name, strings.Join(value, ", ")))
		case time.Time:
			texts = append(texts, fmt.Sprintf("%s %s", name, value.Format(time.RFC3339)))
		case time.Duration:
			texts = append(texts, fmt.Sprintf("%s %s", name, countersign.Seconds(value/time.Second)))
		default:
			texts = append(texts, fmt.Sprintf("%s %v", name, value))
		}
	}
	if len(texts) == 0 {
		return "in any way"
	}
	return "with " + strings.Join(texts, ", ")
}
