package policy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/countersign/countersign"
)

// What conditions can be is found out by trying them: each attribute that they
// read takes the values that they compare it with, the values next to those, one
// value that they do not name, and none where it may be absent. Two inputs that no
// comparison tells apart give the same answer, so these are all that matter, as
// long as the conditions only compare.

// reach says whether there are inputs at which something holds.
type reach int

const (
	// unsure: none was found, and not all could be tried.
	unsure reach = iota
	never
	sometimes
)

// maxInputs bounds how many inputs are tried for one question.
const maxInputs = 20_000

// attribute is one thing that conditions read, with the values to try; nil is
// absence.
type attribute struct {
	name   string
	of     *cel.Type
	closed []string
	class  *class
	values []any
}

// class are the attributes that are compared with each other, and the literals
// that any of them is compared with.
type class struct {
	joined     *class
	literals   []any
	attributes int
}

func (c *class) root() *class {
	for c.joined != nil {
		c = c.joined
	}
	return c
}

// readings are what some conditions of a type read.
type readings struct {
	kind       *requestType
	attributes map[string]*attribute
	// opaque says that something else than a comparison decides, so that trying
	// finds what can be and never what cannot.
	opaque bool
	// clock says that the hour or the day of the week decides.
	clock bool
}

// Functions that tell inputs apart by the literals beside them alone.
var comparing = []string{
	operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
	operators.In, operators.OldIn, "startsWith", "endsWith", "contains",
}

// Functions between conditions, and those that make the literals.
var joining = []string{operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional, operators.NotStrictlyFalse}
var making = []string{"duration", "timestamp", "size"}

func (t *requestType) read(conditions ...*expression) *readings {
	r := &readings{kind: t, attributes: map[string]*attribute{}}
	for _, condition := range conditions {
		r.logic(condition.checked, condition.checked.Expr())
	}
	for _, name := range slices.Sorted(maps.Keys(r.attributes)) {
		r.fill(r.attributes[name])
	}
	return r
}

// logic reads an expression that is a condition, or a part between conditions.
func (r *readings) logic(checked *ast.AST, e ast.Expr) {
	if e.Kind() == ast.CallKind && slices.Contains(joining, e.AsCall().FunctionName()) {
		for _, argument := range e.AsCall().Args() {
			r.logic(checked, argument)
		}
		return
	}
	r.compared(checked, e, &class{})
}

// compared reads an expression all of whose parts are compared with each other.
func (r *readings) compared(checked *ast.AST, e ast.Expr, with *class) {
	switch e.Kind() {
	case ast.LiteralKind:
		with.root().literals = append(with.root().literals, e.AsLiteral().Value())
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			r.compared(checked, element, with)
		}
	case ast.IdentKind:
		if e.AsIdent() == "now" {
			r.attribute("now", cel.TimestampType, nil, with)
		}
	case ast.SelectKind:
		r.selected(checked, e, with)
	case ast.CallKind:
		call := e.AsCall()
		name := call.FunctionName()
		switch {
		case slices.Contains(joining, name):
			r.logic(checked, e)
		case strings.HasPrefix(name, "get"):
			r.opaque, r.clock = true, true
		case !slices.Contains(comparing, name) && !slices.Contains(making, name):
			r.opaque = true
		}
		if (name == "duration" || name == "timestamp") && len(call.Args()) == 1 && call.Args()[0].Kind() == ast.LiteralKind {
			if made, ok := makeLiteral(name, call.Args()[0].AsLiteral()); ok {
				with.root().literals = append(with.root().literals, made)
				return
			}
		}
		if call.IsMemberFunction() {
			r.compared(checked, call.Target(), with)
		}
		for _, argument := range call.Args() {
			r.compared(checked, argument, with)
		}
	case ast.ComprehensionKind:
		loop := e.AsComprehension()
		for _, part := range []ast.Expr{loop.IterRange(), loop.LoopCondition(), loop.LoopStep(), loop.Result()} {
			r.compared(checked, part, with)
		}
	case ast.MapKind, ast.StructKind, ast.UnspecifiedExprKind:
		r.opaque = true
	}
}

func makeLiteral(name string, of ref.Val) (any, bool) {
	text, isText := of.(types.String)
	if !isText {
		return nil, false
	}
	if name == "duration" {
		length, err := time.ParseDuration(string(text))
		return length, err == nil
	}
	moment, err := time.Parse(time.RFC3339, string(text))
	return moment, err == nil
}

// selected reads an attribute, or the expression behind a variable.
func (r *readings) selected(checked *ast.AST, e ast.Expr, with *class) {
	selection := e.AsSelect()
	if selection.Operand().Kind() != ast.IdentKind {
		r.opaque = true
		return
	}
	owner, field := selection.Operand().AsIdent(), selection.FieldName()
	of := checked.GetType(e.ID())
	var closed []string
	switch owner {
	case variablesType:
		for _, variable := range r.kind.variables {
			if variable.name == field {
				r.logic(variable.checked, variable.checked.Expr())
				r.compared(variable.checked, variable.checked.Expr(), with)
			}
		}
		return
	case answersType:
		if asked, known := r.kind.form.find(field); known {
			of, closed = asked.celType(), asked.enum
		}
	default:
		typeName := variableTypes[owner].TypeName()
		closed = closedAttributes[typeName+"."+field]
		if selection.IsTestOnly() {
			of = attributeType(typeName, field)
		}
	}
	r.attribute(owner+"."+field, of, closed, with)
}

// attributeType is the type of what has() asks about.
func attributeType(owner, field string) *cel.Type {
	switch owner + "." + field {
	case "policy.party.contract_end", "policy.party.last_confirmed":
		return cel.TimestampType
	case "policy.entitlement.max_duration":
		return cel.DurationType
	}
	return cel.StringType
}

func (r *readings) attribute(name string, of *cel.Type, closed []string, with *class) {
	known := r.attributes[name]
	if known == nil {
		known = &attribute{name: name, of: of, closed: closed, class: &class{attributes: 1}}
		r.attributes[name] = known
	}
	from, to := known.class.root(), with.root()
	if from != to {
		to.literals = append(to.literals, from.literals...)
		to.attributes += from.attributes
		from.joined = to
	}
}

// Values that no policy names.
const (
	someText    = "something else"
	anotherText = "something else again"
)

// midday is when conditions are judged that do not ask for the time.
var midday = time.Date(2026, time.January, 7, 12, 0, 0, 0, time.UTC)

// fill settles the values to try for an attribute: those that can be in a request
// of the type.
func (r *readings) fill(a *attribute) {
	owner, field, _ := strings.Cut(a.name, ".")
	literals := a.class.root().literals
	if owner == answersType {
		asked, _ := r.kind.form.find(field)
		if asked.optional && asked.standard == nil {
			a.values = append(a.values, nil)
		}
		a.add(literals, asked.minimum, asked.maximum)
		return
	}
	if optionalAttributes[field] {
		a.values = append(a.values, nil)
	}
	if fixed := r.kind.fixed(owner, field); fixed != nil {
		a.values = append(a.values, fixed...)
		return
	}
	switch a.name {
	case "now":
		a.add(literals, 0, 0)
		for hour := 0; r.clock && hour < 7*24; hour++ {
			a.values = append(a.values, midday.Add(time.Duration(hour)*time.Hour))
		}
	case "request.duration":
		shortest, longest := r.kind.shortest.Duration(), r.kind.longest.Duration()
		if shortest == 0 {
			shortest = time.Second
		}
		a.values = append(a.values, shortest, longest, r.kind.standard.Duration())
		for _, length := range near(literals, time.Second) {
			if length >= shortest && length <= longest {
				a.values = append(a.values, length)
			}
		}
	default:
		a.add(literals, 0, 0)
	}
}

// fixed is what an attribute can be by what the type is for; nil for anything.
func (t *requestType) fixed(owner, field string) []any {
	list := func(names []string) (values []any) {
		for _, name := range names {
			values = append(values, name)
		}
		return values
	}
	switch owner + "." + field {
	case "request.type":
		return []any{t.name}
	case "beneficiary.kind":
		return list(words(t.beneficiary))
	case "beneficiary.affiliation":
		// An agent is refused what its owner would be, by the owner's affiliation.
		if !slices.Contains(t.beneficiary, countersign.Person) && !slices.Contains(t.beneficiary, countersign.Agent) {
			return []any{}
		}
	case "beneficiary.active", "requester.active":
		return []any{true}
	case "entitlement.kind":
		return []any{string(t.grants.Kind)}
	case "entitlement.name":
		return list(t.grants.Entitlements)
	case "resource.system":
		return list(t.grants.Systems)
	case "resource.name":
		return list(t.grants.Resources)
	case "resource.connector":
		return []any{t.fulfil[0].Connector}
	}
	return nil
}

// add adds what is to be tried for the attribute's type.
func (a *attribute) add(literals []any, least, most int64) {
	texts := a.closed
	if texts == nil {
		for _, literal := range literals {
			if text, isText := literal.(string); isText && !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
		texts = append(texts, someText)
		if a.class.root().attributes > 1 {
			texts = append(texts, anotherText)
		}
	}
	switch kind := a.of.Kind(); {
	case kind == types.BoolKind:
		a.values = append(a.values, false, true)
	case kind == types.StringKind:
		for _, text := range texts {
			a.values = append(a.values, text)
		}
	case kind == types.IntKind:
		for _, n := range append(near[int64](literals, 1), least, most) {
			if n >= least && n <= most && !slices.Contains(a.values, any(n)) {
				a.values = append(a.values, n)
			}
		}
	case kind == types.ListKind:
		a.values = append(a.values, []string{}, texts)
		for _, text := range texts {
			a.values = append(a.values, []string{text})
		}
		for _, n := range near[int64](literals, 1) {
			if n > 1 && n <= 64 {
				a.values = append(a.values, slices.Repeat([]string{texts[0]}, int(n)))
			}
		}
	case kind == types.DurationKind:
		for _, length := range append(near(literals, time.Second), 24*time.Hour) {
			a.values = append(a.values, max(length, 0))
		}
	case kind == types.TimestampKind:
		a.values = append(a.values, midday)
		if a.class.root().attributes > 1 {
			a.values = append(a.values, midday.Add(-time.Second), midday.Add(time.Second))
		}
		for _, literal := range literals {
			if moment, is := literal.(time.Time); is {
				a.values = append(a.values, moment.Add(-time.Second), moment, moment.Add(time.Second))
			}
		}
	default:
		a.values = append(a.values, nil)
	}
}

// near returns the literals of a type, and what is right beside each.
func near[T ~int64](literals []any, step T) (values []T) {
	for _, literal := range literals {
		if n, is := literal.(T); is {
			values = append(values, n-step, n, n+step)
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// try looks for inputs at which a question about the conditions that were read is
// answered with yes, and returns those that it read. A condition that cannot be
// judged there refuses the request, so such inputs do not count.
func (r *readings) try(holds func(*evaluation) (bool, error)) (map[string]any, reach) {
	names := slices.Sorted(maps.Keys(r.attributes))
	inputs := 1
	for _, name := range names {
		if inputs *= len(r.attributes[name].values); inputs > maxInputs {
			break
		}
	}
	at := make([]int, len(names))
	for range min(inputs, maxInputs) {
		e := r.kind.blank()
		for i, name := range names {
			set(e, name, r.attributes[name].values[at[i]])
		}
		if yes, err := holds(e); err == nil && yes {
			example := map[string]any{}
			for i, name := range names {
				example[name] = r.attributes[name].values[at[i]]
			}
			return example, sometimes
		}
		for i := range at {
			if at[i]++; at[i] < len(r.attributes[names[i]].values) {
				break
			}
			at[i] = 0
		}
	}
	if r.opaque || inputs > maxInputs {
		return nil, unsure
	}
	return nil, never
}
