package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign"
)

const (
	maxExpression = 8192
	// maxCost bounds the work of one condition, in CEL's units, for texts and
	// lists of the sizes below. It keeps a judgement of a whole set within
	// milliseconds whatever a policy says.
	maxCost       = 100_000
	assumedText   = 4096
	assumedLength = 200
)

// expression is one compiled piece of CEL.
type expression struct {
	text string
	// line is where it stands in its file.
	line    int
	checked *ast.AST
	program cel.Program
	of      *cel.Type
	// vocabulary is the closed list that the value comes from; nil for any.
	vocabulary []string
}

// compiler compiles the expressions of one file.
type compiler struct {
	*source
	env      *cel.Env
	provider *provider
	// answers holds the closed lists of answers, variables those of variables.
	answers, variables map[string][]string
	// broken names the variables that did not compile; using one is no second
	// problem.
	broken map[string]bool
}

// compile reads the CEL text of a node. Want is the type that it must have; nil
// allows every value that another expression can use.
func (c *compiler) compile(node *yaml.Node, what string, want *cel.Type) *expression {
	text := c.scalar(node, what)
	if text == "" {
		return nil
	}
	parsed, issues := c.env.Parse(text)
	if issues.Err() != nil {
		c.report(node, text, nil, issues)
		return nil
	}
	before := len(c.problems)
	c.checkUse(node, text, parsed.NativeRep())
	checked, issues := c.env.Check(parsed)
	if issues.Err() != nil {
		c.report(node, text, parsed.NativeRep(), issues)
		return nil
	}
	of := checked.OutputType()
	if want != nil && !of.IsExactType(want) {
		c.problem(node, "%s must be %s, and `%s` is %s", what, typeName(want), countersign.Clip(text), typeName(of))
	} else if want == nil && !usable(of) {
		c.problem(node, "%s is %s, which no condition can use", what, typeName(of))
	}
	c.checkVocabularies(node, text, checked.NativeRep())
	if len(c.problems) > before {
		return nil
	}
	estimate, err := c.env.EstimateCost(checked, sizes{})
	if err != nil || estimate.Max > maxCost {
		c.problem(node, "%s could cost too much to judge (%d units, at most %d): make it simpler", what, estimate.Max, maxCost)
		return nil
	}
	program, err := c.env.Program(checked, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		c.problem(node, "%s cannot be used: %s", what, err)
		return nil
	}
	return &expression{text: text, line: node.Line, checked: checked.NativeRep(), program: program, of: of, vocabulary: c.vocabulary(checked.NativeRep(), checked.NativeRep().Expr())}
}

// sizes says how long texts and lists are taken to be for the static cost.
type sizes struct{}

func (sizes) EstimateSize(element cost.AstNode) *cost.SizeEstimate {
	kind := element.Type().Kind()
	if kind == types.StringKind {
		return &cost.SizeEstimate{Max: assumedText}
	}
	if kind == types.ListKind || kind == types.MapKind {
		return &cost.SizeEstimate{Max: assumedLength}
	}
	return nil
}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// Types in the words of the reference; the others go by their name in CEL.
var typeNames = map[types.Kind]string{
	types.BoolKind:      "a condition (bool)",
	types.StringKind:    "a text (string)",
	types.TimestampKind: "a moment (timestamp)",
	types.DurationKind:  "a length of time (duration)",
}

func typeName(of *cel.Type) string {
	if name, known := typeNames[of.Kind()]; known {
		return name
	}
	return "of type " + of.String()
}

var plainKinds = []types.Kind{types.BoolKind, types.IntKind, types.UintKind, types.DoubleKind, types.StringKind, types.BytesKind, types.DurationKind, types.TimestampKind}

// usable reports whether other expressions can use a variable of the type.
func usable(of *cel.Type) bool {
	if of.Kind() == types.ListKind || of.Kind() == types.MapKind {
		return !slices.ContainsFunc(of.Parameters(), func(p *cel.Type) bool { return !usable(p) })
	}
	return slices.Contains(plainKinds, of.Kind())
}

var (
	undefinedField = regexp.MustCompile(`^undefined field '([^']*)'`)
	undeclared     = regexp.MustCompile(`^undeclared reference to '([^']*)'`)
)

// report turns CEL's issues into problems at their place in the file.
func (c *compiler) report(node *yaml.Node, text string, parsed *ast.AST, issues *cel.Issues) {
	for _, issue := range issues.Errors() {
		message := issue.Message
		if match := undefinedField.FindStringSubmatch(message); match != nil {
			if c.broken[match[1]] {
				continue
			}
			message = unknown("attribute", match[1], c.fieldsAt(parsed, issue.ExprID))
		} else if match := undeclared.FindStringSubmatch(message); match != nil {
			message = unknown("name", match[1], c.namesLike(match[1]))
		}
		line, column := c.place(node, text, issue.Location.Line(), issue.Location.Column())
		c.problemAt(line, column, "%s", strings.ReplaceAll(message, "policy.", ""))
	}
}

// fieldsAt returns the attributes that could have been meant by the selection
// with the given id: those of its variable, or all.
func (c *compiler) fieldsAt(parsed *ast.AST, id int64) []string {
	owners := []string{"policy.party", "policy.resource", "policy.entitlement", "policy.asking", answersType, variablesType}
	if parsed != nil {
		for _, selection := range ast.MatchDescendants(ast.NavigateAST(parsed), ast.KindMatcher(ast.SelectKind)) {
			operand := selection.AsSelect().Operand()
			if selection.ID() != id || operand.Kind() != ast.IdentKind {
				continue
			}
			switch name := operand.AsIdent(); name {
			case "requester", "beneficiary", "identity":
				owners = []string{"policy.party"}
			case "resource", "entitlement":
				owners = []string{"policy." + name}
			case "request":
				owners = []string{"policy.asking"}
			case answersType, variablesType:
				owners = []string{name}
			}
		}
	}
	var fields []string
	for _, owner := range owners {
		names, _ := c.provider.FindStructFieldNames(owner)
		fields = append(fields, names...)
	}
	slices.Sort(fields)
	return slices.Compact(fields)
}

// namesLike returns the variables, and the functions that are near to a word.
func (c *compiler) namesLike(word string) []string {
	names := slices.Clone(c.provider.names)
	var functions []string
	for name := range c.env.Functions() {
		if kebab.MatchString(strings.ToLower(name)) {
			functions = append(functions, name)
		}
	}
	slices.Sort(functions)
	if countersign.Nearest(word, names) == "" && countersign.Nearest(word, functions) != "" {
		return functions
	}
	return names
}

// place finds line and column in the file of a place in an expression. Where
// the text cannot be found as it stands (an escape, a folded block), it is the
// place where the value begins.
func (c *compiler) place(node *yaml.Node, text string, line, column int) (int, int) {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return node.Line, node.Column
	}
	row := node.Line + line - 1
	literal := node.Style&yaml.LiteralStyle != 0
	if literal {
		row++
	}
	if row > len(c.lines) || !literal && len(lines) > 1 {
		return node.Line, node.Column
	}
	raw, start := c.lines[row-1], 0
	if !literal {
		start = len(string([]rune(raw)[:min(node.Column-1, utf8.RuneCountInString(raw))]))
	}
	at := strings.Index(raw[start:], lines[line-1])
	if at < 0 {
		return node.Line, node.Column
	}
	return row, utf8.RuneCountInString(raw[:start+at]) + column + 1
}

var fixedZone = regexp.MustCompile(`^(UTC|[+-]?[0-9]{2}:[0-9]{2})$`)

// checkUse refuses what the checker would accept and what would make a condition
// blind or impure: dynamic values, made-up objects, answers and variables as a
// whole, and time zones by name, whose data would be read from outside.
func (c *compiler) checkUse(node *yaml.Node, text string, parsed *ast.AST) {
	at := func(e ast.Expr, format string, args ...any) {
		location := parsed.SourceInfo().GetStartLocation(e.ID())
		line, column := c.place(node, text, location.Line(), location.Column())
		c.problemAt(line, column, format, args...)
	}
	for _, e := range ast.MatchDescendants(ast.NavigateAST(parsed), ast.AllMatcher()) {
		switch e.Kind() {
		case ast.StructKind:
			at(e, "a condition cannot make objects")
		case ast.IdentKind:
			parent, inside := e.Parent()
			if name := e.AsIdent(); (name == answersType || name == variablesType) && (!inside || parent.Kind() != ast.SelectKind) {
				at(e, "name one of the `%s`, as in `%s.field`", name, name)
			}
		case ast.CallKind:
			call := e.AsCall()
			if call.FunctionName() == "dyn" || call.FunctionName() == "type" {
				at(e, "`%s()` is not allowed: every value has a known type", call.FunctionName())
			}
			if call.IsMemberFunction() && strings.HasPrefix(call.FunctionName(), "get") && len(call.Args()) == 1 {
				if zone := call.Args()[0]; zone.Kind() != ast.LiteralKind || !fixedZone.MatchString(fmt.Sprint(zone.AsLiteral().Value())) {
					at(e, "`%s` takes no time zone by name: use \"UTC\" or a fixed offset such as \"+02:00\"", call.FunctionName())
				}
			}
		case ast.UnspecifiedExprKind, ast.ComprehensionKind, ast.ListKind, ast.LiteralKind, ast.MapKind, ast.SelectKind:
		}
	}
}

// checkVocabularies refuses comparisons of a closed attribute with a text that
// it can never have. CEL knows no enums.
func (c *compiler) checkVocabularies(node *yaml.Node, text string, checked *ast.AST) {
	for _, e := range ast.MatchDescendants(ast.NavigateAST(checked), ast.KindMatcher(ast.CallKind)) {
		call := e.AsCall()
		if len(call.Args()) != 2 {
			continue
		}
		left, right := call.Args()[0], call.Args()[1]
		switch call.FunctionName() {
		case operators.Equals, operators.NotEquals, operators.In:
			c.checkLiterals(node, text, checked, left, right)
			c.checkLiterals(node, text, checked, right, left)
		}
	}
}

func (c *compiler) checkLiterals(node *yaml.Node, text string, checked *ast.AST, closed, with ast.Expr) {
	vocabulary := c.vocabulary(checked, closed)
	if vocabulary == nil {
		return
	}
	literals := []ast.Expr{with}
	if with.Kind() == ast.ListKind {
		literals = with.AsList().Elements()
	}
	for _, literal := range literals {
		if literal.Kind() != ast.LiteralKind {
			continue
		}
		value, isText := literal.AsLiteral().(types.String)
		if isText && !slices.Contains(vocabulary, string(value)) {
			location := checked.SourceInfo().GetStartLocation(literal.ID())
			line, column := c.place(node, text, location.Line(), location.Column())
			c.problemAt(line, column, "%s", unknown("value", string(value), vocabulary))
		}
	}
}

// vocabulary returns the closed list that an expression's value (or each entry
// of its list) comes from, or nil.
func (c *compiler) vocabulary(checked *ast.AST, e ast.Expr) []string {
	switch e.Kind() {
	case ast.SelectKind:
		selection := e.AsSelect()
		if selection.IsTestOnly() {
			return nil
		}
		owner := checked.GetType(selection.Operand().ID()).TypeName()
		switch owner {
		case answersType:
			return c.answers[selection.FieldName()]
		case variablesType:
			return c.variables[selection.FieldName()]
		}
		return closedAttributes[owner+"."+selection.FieldName()]
	case ast.CallKind:
		if call := e.AsCall(); call.FunctionName() == operators.Conditional {
			left, right := c.vocabulary(checked, call.Args()[1]), c.vocabulary(checked, call.Args()[2])
			if left != nil && right != nil {
				return slices.Concat(left, right)
			}
		}
	case ast.UnspecifiedExprKind, ast.ComprehensionKind, ast.IdentKind, ast.ListKind, ast.LiteralKind, ast.MapKind, ast.StructKind:
	}
	return nil
}

// evaluation is one request as conditions see it, for one of its entitlements.
type evaluation struct {
	kind                   *requestType
	requester, beneficiary *party
	resource               *resource
	entitlement            *entitlement
	request                *asking
	answers                *answerFields
	variables              *variableFields
	now                    types.Timestamp
}

// ResolveName and Parent make the evaluation what CEL calls an activation.
func (e *evaluation) ResolveName(name string) (any, bool) {
	switch name {
	case "requester":
		return e.requester, true
	case "beneficiary":
		return e.beneficiary, true
	case "resource":
		return e.resource, true
	case "entitlement":
		return e.entitlement, true
	case "request":
		return e.request, true
	case "answers":
		return e.answers, true
	case "variables":
		return e.variables, true
	case "now":
		return e.now, true
	}
	return nil, false
}

func (e *evaluation) Parent() cel.Activation { return nil }

func (e *evaluation) run(x *expression) (ref.Val, error) {
	value, _, err := x.program.Eval(e)
	return value, err
}
