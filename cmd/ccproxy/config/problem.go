package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Place is where in which file something stands.
type Place struct {
	// File is the file's name without its directory. Empty: a default, in no file.
	File string
	// Line and Column start at 1.
	Line, Column int
}

// String returns "ccproxy.yaml:12:5".
func (p Place) String() string {
	if p.File == "" {
		return "default"
	}
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// compare orders places as they are read: ccproxy.yaml before config.yaml, from top to bottom.
func (p Place) compare(q Place) int {
	return cmp.Or(strings.Compare(p.File, q.File), p.Line-q.Line, p.Column-q.Column)
}

// Problem is one thing wrong with the file. Load returns them joined.
type Problem struct {
	Place
	// Key is the path of the key, "providers.anthropic.base_url". Empty: the whole file.
	Key string
	// Message says what is wrong and what to do.
	Message string
}

// Error implements error.
func (p *Problem) Error() string { return describe(p.Place, p.Key, p.Message) }

// Warning is a key that has no meaning here, or something that will not do what it says.
type Warning struct {
	Place
	Key     string
	Message string
}

// String returns the warning in the form of a Problem.
func (w Warning) String() string { return describe(w.Place, w.Key, w.Message) }

func describe(p Place, key, message string) string {
	if key != "" {
		message = key + ": " + message
	}
	return p.String() + ": " + message
}

// maxProblems keeps a hostile or binary file from printing a book.
const maxProblems = 100

// joinProblems returns nil when there is none.
func joinProblems(problems []*Problem) error {
	slices.SortStableFunc(problems, func(a, b *Problem) int {
		return cmp.Or(a.Place.compare(b.Place), strings.Compare(a.Message, b.Message))
	})
	var errs []error
	for i, p := range problems {
		if i == maxProblems {
			errs = append(errs, fmt.Errorf("and %d more", len(problems)-i))
			break
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// nearest returns the candidate closest to name, or "" when none is close enough to be a slip of the pen.
func nearest(name string, candidates []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance && d < len(c) {
			best, bestDistance = c, d
		}
	}
	return best
}

// suggestion is the end of a message about an unknown name: the nearest right one, else all of a few.
func suggestion(name string, candidates []string) string {
	if near := nearest(name, candidates); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(candidates) == 0 || len(candidates) > 30 {
		return ""
	}
	return "; known: " + strings.Join(candidates, ", ")
}

// distance is the number of insertions, deletions, changes and swaps of neighbours between a and b, of which only the
// first 64 bytes count.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
