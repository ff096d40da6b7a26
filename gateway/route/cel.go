package route

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

// Bounds of an expression (reliability H-08). The cost limit stands for a few
// milliseconds: it is in CEL's units, roughly one for each operation and each
// ten characters.
const (
	maxExpression = 4096 // code points
	maxNodes      = 2000
	maxNesting    = 50
	maxRegexp     = 1000 // instructions
	maxCost       = 50_000
	checkEvery    = 64 // loop steps between looks at the context
)

// environment is what expressions are compiled in.
type environment struct{ env *cel.Env }

func newEnvironment() (*environment, error) {
	opts := []cel.EnvOption{
		ext.Strings(ext.StringsVersion(4)),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxExpression), cel.ExpressionNodeLimit(maxNodes),
		cel.ParserRecursionLimit(maxNesting), cel.RegexProgramSizeLimit(maxRegexp),
	}
	for i := range variables {
		v := &variables[i]
		opts = append(opts, cel.VariableWithDoc(v.name, v.typ, v.doc))
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, fmt.Errorf("make CEL environment: %w", err)
	}
	return &environment{env}, nil
}

// compile makes a matcher of an expression. Errors carry line and column.
func (e *environment) compile(src string, counter bool) (matcher, error) {
	tree, issues := e.env.Compile(src)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("when: %s%w", hint(err), err)
	}
	if !tree.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("when: gives %s, but a condition must give bool: compare it with something", cel.FormatCELType(tree.OutputType()))
	}
	if f := unbounded(tree); f != "" {
		return nil, fmt.Errorf("when: %s is not available: it can make text without bound", f)
	}
	if !counter && strings.Contains(src, "input_tokens") {
		return nil, errors.New("when: call.input_tokens needs a token counter")
	}
	opts := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	plain := cheap(tree)
	if !plain {
		opts = append(opts, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(checkEvery))
	}
	p, err := e.env.Program(tree, opts...)
	if err != nil {
		return nil, fmt.Errorf("when: %w", err)
	}
	return when{p, src, plain}, nil
}

// unbounded returns the name of a function in tree whose result can be far
// larger than its arguments, or "". CEL checks the cost of a call when it has
// been made, too late for those.
func unbounded(tree *cel.Ast) string {
	calls := ast.MatchDescendants(ast.NavigateAST(tree.NativeRep()), ast.KindMatcher(ast.CallKind))
	for _, c := range calls {
		switch f := c.AsCall().FunctionName(); f {
		case "replace", "format", "join":
			return f
		}
	}
	return ""
}

// cheapCalls take one look at each argument and make nothing of its size.
var cheapCalls = set(`
_==_ _!=_ _<_ _<=_ _>_ _>=_ _&&_ _||_ !_ _?_:_ _[_] @in size contains startsWith endsWith
`)

// cheap reports whether tree is bounded by its own size: no loop, and cheap
// calls only. Most rules are, and metering would double their cost.
func cheap(tree *cel.Ast) bool {
	costly := ast.MatchDescendants(ast.NavigateAST(tree.NativeRep()), func(e ast.NavigableExpr) bool {
		return e.Kind() == ast.ComprehensionKind || e.Kind() == ast.CallKind && !cheapCalls[e.AsCall().FunctionName()]
	})
	return len(costly) == 0
}

// hint helps with a name the checker cannot place: it says which there are.
func hint(err error) string {
	for _, group := range []string{"call", "caller"} {
		if !strings.Contains(err.Error(), "undeclared reference to '"+group+"'") && !strings.Contains(err.Error(), "undeclared reference to '"+group+".") {
			continue
		}
		var fields []string
		for _, v := range variables {
			if f, ok := strings.CutPrefix(v.name, group+"."); ok {
				fields = append(fields, f)
			}
		}
		return fmt.Sprintf("%s has the fields %s: ", group, strings.Join(fields, ", "))
	}
	return ""
}

// when is a compiled expression.
type when struct {
	program cel.Program
	src     string
	cheap   bool // runs without meter
}

func (w when) match(f *facts, why *string) (bool, error) {
	out, err := w.eval(f)
	if err != nil {
		return false, evalError(err)
	}
	matched, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("gave %s, not bool", out.Type().TypeName())
	}
	if why != nil {
		*why = fmt.Sprintf("%s is %t", w.src, matched)
	}
	return matched, nil
}

func (w when) eval(f *facts) (ref.Val, error) {
	if w.cheap {
		out, _, err := w.program.Eval(f)
		return out, err
	}
	out, _, err := w.program.ContextEval(f.ctx, f)
	return out, err
}

func evalError(err error) error {
	var c interpreter.EvalCancelledError
	if errors.As(err, &c) && c.Cause == interpreter.CostLimitExceeded {
		return fmt.Errorf("stopped: the expression costs more than %d operations on this request", maxCost)
	}
	return err
}
