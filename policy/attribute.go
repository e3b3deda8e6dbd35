package policy

import (
	"reflect"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"github.com/countersign/countersign"
)

// What conditions can name. Each struct knows under which variable it stands,
// so that a missing attribute is reported by the name that the policy uses.

type party struct {
	variable    string
	ID          string    `cel:"id"`
	Kind        string    `cel:"kind"`
	Name        string    `cel:"name"`
	Active      bool      `cel:"active"`
	Affiliation string    `cel:"affiliation"`
	Environment string    `cel:"environment"`
	Teams       []string  `cel:"teams"`
	Groups      []string  `cel:"groups"`
	ContractEnd time.Time `cel:"contract_end"`
	Confirmed   time.Time `cel:"last_confirmed"`
	Owner       string    `cel:"owner"`
	Sponsor     string    `cel:"sponsor"`
	Purpose     string    `cel:"purpose"`
	Record      string    `cel:"record"`
}

type resource struct {
	Name        string `cel:"name"`
	System      string `cel:"system"`
	Connector   string `cel:"connector"`
	Environment string `cel:"environment"`
	Risk        string `cel:"risk"`
}

type entitlement struct {
	Name        string        `cel:"name"`
	Kind        string        `cel:"kind"`
	Risk        string        `cel:"risk"`
	MaxDuration time.Duration `cel:"max_duration"`
}

type asking struct {
	Type     string        `cel:"type"`
	Reason   string        `cel:"reason"`
	Duration time.Duration `cel:"duration"`
}

// optionalAttributes may be absent. Reading one that is absent is an error and
// never an empty text: `beneficiary.environment != "prod"` must not be true of
// something that has no environment.
var optionalAttributes = map[string]bool{
	"affiliation": true, "environment": true, "contract_end": true, "last_confirmed": true, "owner": true,
	"sponsor": true, "purpose": true, "record": true, "max_duration": true, "risk": true,
}

// closedAttributes have a closed list of values; a comparison with any other
// text does not load.
var closedAttributes = map[string][]string{
	"policy.party.kind":        words(identityKinds),
	"policy.party.affiliation": words(affiliations),
	"policy.resource.risk":     words(risks),
	"policy.entitlement.risk":  words(risks),
	"policy.entitlement.kind":  words(entitlementKinds),
}

var (
	identityKinds    = []countersign.IdentityKind{countersign.Person, countersign.Service, countersign.Workload, countersign.Agent}
	affiliations     = []countersign.Affiliation{countersign.Employee, countersign.Contractor, countersign.Vendor, countersign.Partner}
	risks            = []countersign.Risk{countersign.LowRisk, countersign.MediumRisk, countersign.HighRisk}
	entitlementKinds = []countersign.EntitlementKind{countersign.CredentialKind, countersign.RoleKind}
)

func viewParty(variable string, p Party) *party {
	return &party{
		variable: variable, ID: string(p.ID), Kind: string(p.Kind), Name: p.Name, Active: p.Active,
		Affiliation: string(p.Affiliation), Environment: p.Environment, Teams: p.Teams, Groups: p.Groups,
		ContractEnd: p.ContractEnd.Time(), Confirmed: p.LastConfirmed.Time(), Owner: string(p.Owner), Sponsor: string(p.Sponsor),
		Purpose: p.Purpose, Record: p.Record,
	}
}

func viewItem(item Item) (*resource, *entitlement) {
	return &resource{item.Resource.Name, item.Resource.System, item.Resource.Connector, item.Resource.Environment, string(item.Resource.Risk)},
		&entitlement{item.Entitlement.Name, string(item.Entitlement.Kind), string(item.Entitlement.Risk), item.Entitlement.MaxDuration.Duration()}
}

// missing is the error of a condition that names what this request lacks.
type missing struct{ attribute string }

func (m *missing) Error() string { return "this request has no " + m.attribute }

// answerFields are the answers of one request under the fields that its type
// asks for.
type answerFields struct{ values map[string]any }

// variableFields computes the variables of one request, each at most once.
type variableFields struct {
	evaluation *evaluation
	values     []ref.Val
	failed     []error
}

func (v *variableFields) value(i int) (any, error) {
	if v.values[i] == nil && v.failed[i] == nil {
		v.values[i], v.failed[i] = v.evaluation.run(v.evaluation.kind.variables[i].expression)
	}
	if v.failed[i] != nil {
		return nil, v.failed[i]
	}
	return v.values[i], nil
}

const (
	answersType   = "answers"
	variablesType = "variables"
)

// provider adds the answers and variables of one request type to the typed
// structs above, and turns reading an absent attribute into an error.
type provider struct {
	types.Provider
	fields map[string]map[string]*types.FieldType
	// names are what conditions can begin with.
	names []string
}

func (p *provider) FindStructType(name string) (*types.Type, bool) {
	if _, ours := p.fields[name]; ours {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

func (p *provider) FindStructFieldNames(name string) ([]string, bool) {
	fields, ours := p.fields[name]
	if !ours {
		return p.Provider.FindStructFieldNames(name)
	}
	var names []string
	for field := range fields {
		names = append(names, field)
	}
	return names, true
}

func (p *provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if fields, ours := p.fields[name]; ours {
		found, ok := fields[field]
		return found, ok
	}
	found, ok := p.Provider.FindStructFieldType(name, field)
	if !ok || !optionalAttributes[field] {
		return found, ok
	}
	return &types.FieldType{Type: found.Type, IsSet: found.IsSet, GetFrom: func(target any) (any, error) {
		if !found.IsSet(target) {
			return nil, &missing{variableOf(target) + "." + field}
		}
		return found.GetFrom(target)
	}}, true
}

func variableOf(target any) string {
	switch target := target.(type) {
	case *party:
		return target.variable
	case *resource:
		return "resource"
	case *entitlement:
		return "entitlement"
	}
	return "request"
}

func (p *provider) addAnswer(name string, of *types.Type) {
	p.fields[answersType][name] = &types.FieldType{
		Type: of,
		IsSet: func(target any) bool {
			_, set := target.(*answerFields).values[name]
			return set
		},
		GetFrom: func(target any) (any, error) {
			value, set := target.(*answerFields).values[name]
			if !set {
				return nil, &missing{"answers." + name}
			}
			return value, nil
		},
	}
}

func (p *provider) addVariable(name string, i int, of *types.Type) {
	p.fields[variablesType][name] = &types.FieldType{
		Type:    of,
		IsSet:   func(target any) bool { return true },
		GetFrom: func(target any) (any, error) { return target.(*variableFields).value(i) },
	}
}

// variableNames are what the conditions of request types can begin with.
var variableNames = []string{"requester", "beneficiary", "resource", "entitlement", "request", "answers", "variables", "now"}

var variableTypes = map[string]*cel.Type{
	"requester":   cel.ObjectType("policy.party"),
	"beneficiary": cel.ObjectType("policy.party"),
	"identity":    cel.ObjectType("policy.party"),
	"resource":    cel.ObjectType("policy.resource"),
	"entitlement": cel.ObjectType("policy.entitlement"),
	"request":     cel.ObjectType("policy.asking"),
	"answers":     cel.ObjectType(answersType),
	"variables":   cel.ObjectType(variablesType),
	"now":         cel.TimestampType,
}

// newEnvironment is the language of conditions over the given names; answers and
// variables have no fields as yet.
func newEnvironment(names []string) (*cel.Env, *provider, error) {
	base, err := cel.NewEnv(
		ext.NativeTypes(ext.ParseStructTags(true), reflect.TypeFor[party](), reflect.TypeFor[resource](), reflect.TypeFor[entitlement](), reflect.TypeFor[asking]()),
		cel.ExtendedValidations(),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(64),
	)
	if err != nil {
		return nil, nil, err
	}
	p := &provider{base.CELTypeProvider(), map[string]map[string]*types.FieldType{}, names}
	options := []cel.EnvOption{cel.CustomTypeProvider(p)}
	for _, name := range names {
		if name == answersType || name == variablesType {
			p.fields[name] = map[string]*types.FieldType{}
		}
		options = append(options, cel.Variable(name, variableTypes[name]))
	}
	env, err := base.Extend(options...)
	return env, p, err
}
