package price

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/ccproxy/ccproxy/gateway"
)

// FormatRate returns a price as the book and the configuration have it: USD per million tokens, for web_search per call.
func FormatRate(c gateway.CostClass, pico int64) string {
	places := 6
	if c == gateway.CostWebSearch {
		places = 12
	}
	s := strconv.FormatInt(pico, 10)
	if len(s) <= places {
		s = strings.Repeat("0", places+1-len(s)) + s
	}
	return strings.TrimSuffix(strings.TrimRight(s[:len(s)-places]+"."+s[len(s)-places:], "0"), ".")
}

// String returns the entry as a line of a book, without its end. Signs that a book's names do not have are replaced.
func (e *Entry) String() string {
	if e.text == "" {
		return e.write()
	}
	return e.text
}

func (e *Entry) write() string {
	var b strings.Builder
	b.WriteString(strings.Map(func(r rune) rune {
		if r <= ' ' || strings.ContainsRune("#*=", r) || !unicode.IsGraphic(r) {
			return '_'
		}
		return r
	}, e.Name()))
	if e.Context > 0 {
		fmt.Fprintf(&b, " context=%d", e.Context)
	}
	if e.MaxOutput > 0 {
		fmt.Fprintf(&b, " max_output=%d", e.MaxOutput)
	}
	for i := range e.Schedules {
		s := &e.Schedules[i]
		prefix := s.name()
		if prefix != "" {
			prefix += ":"
		}
		for c := range classCount {
			if class := gateway.CostClass(c); s.Given.Has(class) {
				b.WriteString(" " + prefix + classNames[c] + "=" + FormatRate(class, s.Rates[c]))
				if i == 0 && e.SearchOnce && class == gateway.CostWebSearch {
					b.WriteString(onceSuffix)
				}
			}
		}
	}
	for _, f := range e.Factors {
		fmt.Fprintf(&b, " %s*%d/%d", f.Name, f.Num, f.Den)
	}
	return b.String()
}

// Format returns the book as text that Parse reads.
func (b *Book) Format() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "version %s\n", b.Version)
	for e := range b.Entries() {
		out.WriteString(e.String() + "\n")
	}
	for e := range b.Entries() {
		if others := b.Aliases(e); len(others) > 0 {
			out.WriteString("alias " + e.Name() + " " + strings.Join(others, " ") + "\n")
		}
	}
	for _, f := range b.families {
		out.WriteString("family " + f.vendor + "/" + f.pattern + "\n")
	}
	return []byte(out.String())
}

// Difference is a model that two books price differently.
type Difference struct {
	Old, New *Entry // nil: not in that book
}

// Diff lists the models that b and other do not price alike, sorted by name.
func (b *Book) Diff(other *Book) []Difference {
	var out []Difference
	for e := range b.Entries() {
		switch f, ok := other.models[e.Vendor][e.Model]; {
		case !ok:
			out = append(out, Difference{Old: e})
		case f.entry.String() != e.String():
			out = append(out, Difference{e, f.entry})
		}
	}
	for e := range other.Entries() {
		if _, ok := b.models[e.Vendor][e.Model]; !ok {
			out = append(out, Difference{New: e})
		}
	}
	slices.SortStableFunc(out, func(a, b Difference) int { return strings.Compare(a.name(), b.name()) })
	return out
}

func (d Difference) name() string {
	if d.New != nil {
		return d.New.Name()
	}
	return d.Old.Name()
}
