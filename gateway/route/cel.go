package route

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
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
	if !counter && strings.Contains(src, "input_tokens") {
		return nil, errors.New("when: call.input_tokens needs a token counter")
	}
	p, err := e.env.Program(tree, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost), cel.InterruptCheckFrequency(checkEvery))
	if err != nil {
		return nil, fmt.Errorf("when: %w", err)
	}
	return when{p, src}, nil
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
}

func (w when) match(f *facts, why *string) (bool, error) {
	ctx := f.ctx
	if ctx == nil {
		ctx = context.Background()
	}
	out, _, err := w.program.ContextEval(ctx, f)
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

func evalError(err error) error {
	var c interpreter.EvalCancelledError
	if errors.As(err, &c) && c.Cause == interpreter.CostLimitExceeded {
		return fmt.Errorf("stopped: the expression costs more than %d operations on this request", maxCost)
	}
	return err
}
