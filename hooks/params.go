package hooks

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Params are the parameters of a hook, whose names and types only the hook knows.
type Params interface {
	// Decode fills the struct that into points to, by its yaml tags. Unknown keys and wrong types are errors; fields that
	// are not given keep their value.
	Decode(into any) error
}

// Map is Params made of plain values, as YAML and JSON decoders give them.
type Map map[string]any

// Decode implements Params.
func (m Map) Decode(into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return errors.New("parameters are decoded into a pointer to a struct")
	}
	v = v.Elem()
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		if key := v.Type().Field(i).Tag.Get("yaml"); key != "" {
			fields[key] = v.Field(i)
		}
	}
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(m)) {
		f, ok := fields[key]
		if !ok {
			problems = append(problems, fmt.Errorf("unknown parameter %q%s", key, suggest(key, slices.Sorted(maps.Keys(fields)))))
		} else if err := assign(f, m[key]); err != nil {
			problems = append(problems, fmt.Errorf("parameter %s: %w", key, err))
		}
	}
	return errors.Join(problems...)
}

// assign sets f to v if the types agree. Nothing is converted but what decoders cannot tell apart.
func assign(f reflect.Value, v any) error {
	if v == nil {
		return nil
	}
	switch p := f.Addr().Interface().(type) {
	case *string:
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("want a text, got %T", v)
		}
		*p = s
	case *bool:
		b, ok := v.(bool)
		if !ok {
			return fmt.Errorf("want true or false, got %T", v)
		}
		*p = b
	case *int64:
		return assignInt(p, v)
	case *time.Duration:
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			return errors.New(`want a duration such as "2s"`)
		}
		*p = d
	case *[]string:
		return assignList(p, v)
	case *map[string]string:
		return assignMap(p, v)
	default:
		return fmt.Errorf("no parameter can be a %T", f.Interface())
	}
	return nil
}

func assignInt(p *int64, v any) error {
	switch n := v.(type) {
	case int:
		*p = int64(n)
		return nil
	case int64:
		*p = n
		return nil
	case uint64:
		if n <= math.MaxInt64 {
			*p = int64(n)
			return nil
		}
	case float64:
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			*p = int64(n)
			return nil
		}
	}
	return fmt.Errorf("want a whole number, got %T", v)
}

func assignList(p *[]string, v any) error {
	switch list := v.(type) {
	case []string:
		*p = slices.Clone(list)
		return nil
	case []any:
		out := make([]string, len(list))
		for i, e := range list {
			s, ok := e.(string)
			if !ok {
				return fmt.Errorf("want a list of texts, got %T in it", e)
			}
			out[i] = s
		}
		*p = out
		return nil
	}
	return fmt.Errorf("want a list of texts, got %T", v)
}

func assignMap(p *map[string]string, v any) error {
	switch m := v.(type) {
	case map[string]string:
		*p = maps.Clone(m)
		return nil
	case map[string]any:
		out := make(map[string]string, len(m))
		for k, e := range m {
			s, ok := e.(string)
			if !ok {
				return fmt.Errorf("%s: want a text, got %T", k, e)
			}
			out[k] = s
		}
		*p = out
		return nil
	}
	return fmt.Errorf("want names and texts, got %T", v)
}

// decode is params.Decode for parameters that may be nil.
func decode(params Params, into any) error {
	if params == nil {
		return nil
	}
	return params.Decode(into)
}

// suggest is the end of a message about an unknown name: the nearest right one, or all of them.
func suggest(name string, known []string) string {
	best, bestAt := "", max(2, len(name)/3)+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < bestAt {
			best, bestAt = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("; did you mean %q?", best)
	case len(known) == 0:
		return "; there are none"
	}
	return "; known: " + strings.Join(known, ", ")
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
