package price

import (
	_ "embed"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

//go:embed prices.txt
var embedded []byte

// Book is a list of prices. It is immutable and safe for concurrent use.
type Book struct {
	Version  string // names the snapshot, such as "2026-07-02"
	models   map[string]map[string]found
	families []family
}

// found is an entry under one of its names.
type found struct {
	entry *Entry
	alias bool
}

// family is a group of a vendor's models that go by one pattern.
type family struct {
	vendor, pattern string
	dearest         *Entry // nil: no member has a price
}

// Embedded returns the snapshot this program was built with.
func Embedded() (*Book, error) {
	b, err := Parse(embedded)
	if err != nil {
		return nil, fmt.Errorf("embedded price book: %w", err)
	}
	return b, nil
}

// vendorNames are gen_ai.provider.name and other words for vendors, by which the book goes by its own. Read-only.
var vendorNames = map[string]string{
	"gcp.gemini": "gemini", "google": "gemini", "gcp.vertex_ai": "vertex_ai", "mistral_ai": "mistral", "x_ai": "xai", "moonshot_ai": "moonshot",
	"azure.ai.openai": "azure", "azure.ai.inference": "azure",
}

// vendorOf returns the book's word for a vendor.
func vendorOf(name string) string {
	if v, ok := vendorNames[name]; ok {
		return v
	}
	return name
}

// Look finds the entry for a vendor's model: by its name, by an alias, or by its name without a date at the end; else the
// dearest model of its family. vendor may be a gen_ai.provider.name. status is names.PriceStatus…; with unknown the entry is
// nil.
func (b *Book) Look(vendor, model string) (e *Entry, status string) {
	vendor = vendorOf(vendor)
	list, ok := b.models[vendor]
	if !ok {
		return nil, names.PriceStatusUnknown
	}
	model = strings.TrimPrefix(model, "models/") // Gemini's resource name
	if f, ok := list[model]; ok {
		if f.alias {
			return f.entry, names.PriceStatusAlias
		}
		return f.entry, names.PriceStatusExact
	}
	if short := undated(model); short != model {
		if f, ok := list[short]; ok {
			return f.entry, names.PriceStatusAlias
		}
	}
	for i := range b.families {
		if f := &b.families[i]; f.vendor == vendor && f.dearest != nil && f.holds(model) {
			return f.dearest, names.PriceStatusAssumed
		}
	}
	return nil, names.PriceStatusUnknown
}

// Entries yields all entries, sorted by name.
func (b *Book) Entries() iter.Seq[*Entry] {
	return func(yield func(*Entry) bool) {
		for _, vendor := range b.Vendors() {
			list := b.models[vendor]
			for _, model := range slices.Sorted(maps.Keys(list)) {
				if f := list[model]; !f.alias && !yield(f.entry) {
					return
				}
			}
		}
	}
}

// Vendors returns the vendors with prices, sorted.
func (b *Book) Vendors() []string { return slices.Sorted(maps.Keys(b.models)) }

// Aliases returns the other names of e, sorted.
func (b *Book) Aliases(e *Entry) []string {
	var out []string
	for name, f := range b.models[e.Vendor] {
		if f.alias && f.entry == e {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// add puts an entry in the book, and reports whether its name was free.
func (b *Book) add(e *Entry) bool {
	list := b.models[e.Vendor]
	if list == nil {
		list = map[string]found{}
		b.models[e.Vendor] = list
	}
	if _, taken := list[e.Model]; taken {
		return false
	}
	list[e.Model] = found{entry: e}
	return true
}

// settleFamilies finds the dearest member of each family. A model belongs to the first pattern that fits; a family left with
// none takes all that fit.
func (b *Book) settleFamilies() {
	for e := range b.Entries() {
		for i := range b.families {
			f := &b.families[i]
			if f.vendor != e.Vendor || !f.holds(e.Model) {
				continue
			}
			if f.dearest == nil || dearer(e, f.dearest) {
				f.dearest = e
			}
			break
		}
	}
	for i := range b.families {
		f := &b.families[i]
		if f.dearest != nil {
			continue
		}
		for _, found := range b.models[f.vendor] {
			if e := found.entry; f.holds(e.Model) && (f.dearest == nil || dearer(e, f.dearest)) {
				f.dearest = e
			}
		}
	}
}

func (f *family) holds(model string) bool {
	ok, err := path.Match(f.pattern, model)
	return ok && err == nil
}

// dearer compares by the price of output, then of input: what an answer is made of. Equals go by name, so that the same book
// always assumes the same.
func dearer(a, b *Entry) bool {
	x, y := a.Standard(), b.Standard()
	if x[gateway.CostOutput] != y[gateway.CostOutput] {
		return x[gateway.CostOutput] > y[gateway.CostOutput]
	}
	if x[gateway.CostInput] != y[gateway.CostInput] {
		return x[gateway.CostInput] > y[gateway.CostInput]
	}
	return a.Model < b.Model
}

// undated returns a model's name without what vendors append to name a version of it: a date (-20250929, -2025-09-29,
// @20250929), @default or -latest, and without a client's option ([1m]).
func undated(model string) string {
	if i := strings.IndexByte(model, '['); i > 0 && model[len(model)-1] == ']' {
		model = model[:i]
	}
	if i := strings.IndexByte(model, '@'); i > 0 {
		return model[:i]
	}
	if s, ok := strings.CutSuffix(model, "-latest"); ok {
		return s
	}
	n := len(model)
	switch {
	case n > 11 && model[n-11] == '-' && digits(model[n-10:n-6]) && model[n-6] == '-' && digits(model[n-5:n-3]) && model[n-3] == '-' && digits(model[n-2:]):
		return model[:n-11]
	case n > 9 && model[n-9] == '-' && digits(model[n-8:]):
		return model[:n-9]
	}
	return model
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
