package price

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// The book's format is text, a line for each fact; # begins a comment, fields are separated by blanks:
//
//	version 2026-07-02
//	anthropic/claude-sonnet-4-5 context=200000 max_output=64000 input=3 cache_read=0.3 output=15 >200000:input=6 batch*1/2 geo:us*11/10
//	alias anthropic/claude-sonnet-4-5 claude-sonnet-4-5-20250929
//	family anthropic/claude-sonnet-*
//
// A price is in USD per million tokens, for web_search in USD per call, or with /request behind it for a request that
// searches. Before it may stand a service tier, a threshold of the prompt's tokens, or both: priority>200000:input=7.2.
// Beyond the threshold (with >=: from it on) the whole request is at that price; with + before the sign only the tokens
// beyond are: +>200000:input=7.2. tier*N/D multiplies the prices of all tokens. A model belongs to the first family whose
// pattern fits it (as path.Match has it).

// maxPico bounds a price: a dollar a token, or a million dollars a call.
const maxPico = 1e12

// Parse reads a book. Errors name the line.
func Parse(text []byte) (*Book, error) {
	p := parser{book: &Book{models: map[string]map[string]found{}}}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if err := p.line(string(line)); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if p.book.Version == "" {
		return nil, errors.New("no line says the version")
	}
	for _, a := range p.aliases {
		if err := p.alias(a[0], a[1]); err != nil {
			return nil, err
		}
	}
	p.book.settleFamilies()
	return p.book, nil
}

type parser struct {
	book    *Book
	aliases [][2]string // vendor/model, other name
}

func (p *parser) line(line string) error {
	line, _, _ = strings.Cut(line, "#")
	f := strings.Fields(line)
	if len(f) == 0 {
		return nil
	}
	switch f[0] {
	case "version":
		if len(f) != 2 || p.book.Version != "" {
			return errors.New("want version and its name, once")
		}
		p.book.Version = f[1]
		return nil
	case "alias":
		if len(f) < 3 {
			return errors.New("want alias vendor/model and other names")
		}
		for _, other := range f[2:] {
			p.aliases = append(p.aliases, [2]string{f[1], other})
		}
		return nil
	case "family":
		vendor, pattern, ok := strings.Cut(strings.Join(f[1:], " "), "/")
		if _, err := path.Match(pattern, ""); !ok || len(f) != 2 || vendor == "" || err != nil {
			return errors.New("want family vendor/pattern")
		}
		p.book.families = append(p.book.families, family{vendor: vendor, pattern: pattern})
		return nil
	}
	e, err := parseEntry(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f[0], err)
	}
	if !p.book.add(e) {
		return fmt.Errorf("%s: a second time", f[0])
	}
	return nil
}

func (p *parser) alias(name, other string) error {
	vendor, model, _ := strings.Cut(name, "/")
	f, ok := p.book.models[vendor][model]
	if !ok {
		return fmt.Errorf("alias %s: there is no such model", name)
	}
	if _, taken := p.book.models[vendor][other]; taken {
		return fmt.Errorf("alias %s: %s is a model or an alias already", name, other)
	}
	p.book.models[vendor][other] = found{f.entry, true}
	return nil
}

func parseEntry(f []string) (*Entry, error) {
	vendor, model, ok := strings.Cut(f[0], "/")
	if !ok || vendor == "" || model == "" {
		return nil, errors.New("want vendor/model")
	}
	e := &Entry{Vendor: vendor, Model: model, Schedules: []Schedule{{}}}
	if err := e.parseFields(f[1:], maxPico); err != nil {
		return nil, err
	}
	if base := e.Schedules[0].Given; !base.Has(gateway.CostInput) || !base.Has(gateway.CostOutput) {
		return nil, errors.New("want input and output")
	}
	e.finish()
	return e, nil
}

// parseFields reads what follows the name. most bounds a price of a token in pico-dollars.
func (e *Entry) parseFields(fields []string, most int64) error {
	for _, field := range fields {
		if err := e.parse(field, most); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
	}
	return nil
}

// readEntry reads an entry that was written with a cost: one of a book or of the configuration, whose names are free and
// whose prices need not be complete.
func readEntry(text string) (*Entry, error) {
	f := strings.Fields(text)
	if len(f) == 0 {
		return nil, errors.New("no entry of a price book")
	}
	e := &Entry{Schedules: []Schedule{{}}}
	var ok bool
	if e.Vendor, e.Model, ok = strings.Cut(f[0], "/"); !ok {
		e.Vendor, e.Model = "", f[0]
	}
	if err := e.parseFields(f[1:], math.MaxInt64); err != nil {
		return nil, fmt.Errorf("%s: %w", f[0], err)
	}
	e.finish()
	return e, nil
}

// parse reads one field of an entry.
func (e *Entry) parse(field string, most int64) error {
	if name, frac, ok := strings.Cut(field, "*"); ok {
		return e.parseFactor(name, frac)
	}
	equals := strings.LastIndexByte(field, '=') // another may be part of >=
	if equals < 0 {
		return errors.New("want name=value or tier*N/D")
	}
	key, value := field[:equals], field[equals+1:]
	switch key {
	case "context", "max_output":
		n, err := strconv.ParseInt(value, 10, 48)
		if err != nil || n <= 0 {
			return errors.New("want a number of tokens")
		}
		if key == "context" {
			e.Context = n
		} else {
			e.MaxOutput = n
		}
		return nil
	}
	tier, class, ok := strings.Cut(key, ":")
	if !ok {
		tier, class = "", key
	}
	sch, err := parseTier(tier)
	if err != nil {
		return err
	}
	c := slices.Index(classNames[:], class)
	if c < 0 {
		return fmt.Errorf("no class %q", class)
	}
	if gateway.CostClass(c) == gateway.CostWebSearch && tier == "" {
		value, e.SearchOnce = strings.CutSuffix(value, onceSuffix)
	}
	pico, err := parsePrice(gateway.CostClass(c), value, most)
	if err != nil {
		return err
	}
	return e.set(sch, gateway.CostClass(c), pico)
}

// onceSuffix stands behind the price of web_search when it is that of a request, not of a search.
const onceSuffix = "/request"

// parseTier reads what stands before a price: [tier][[+]>N], or >=N.
func parseTier(text string) (s Schedule, err error) {
	service, threshold, long := strings.Cut(text, ">")
	if long {
		service, s.Marginal = strings.CutSuffix(service, "+")
		number, from := strings.CutPrefix(threshold, "=")
		n, err := strconv.ParseInt(number, 10, 48)
		if from {
			n--
		}
		if err != nil || n <= 0 {
			return s, errors.New("want a number of tokens after >")
		}
		s.Above = n
	}
	if !serviceKnown(service) {
		return s, fmt.Errorf("no service tier %q", service)
	}
	s.Service = service
	return s, nil
}

func parsePrice(c gateway.CostClass, text string, most int64) (int64, error) {
	places := 6
	if c == gateway.CostWebSearch {
		places = 12
		if most < math.MaxInt64 {
			most *= 1e6
		}
	}
	pico, exact, ok := gateway.Fixed([]byte(text), places)
	if !ok || !exact || pico > most {
		return 0, fmt.Errorf("want a price with at most %d decimals", places)
	}
	return pico, nil
}

func serviceKnown(s string) bool {
	switch s {
	case serviceStandard, serviceBatch, serviceFlex, servicePriority, serviceFast:
		return true
	}
	return false
}

// set notes a price of a tier, of which only the name and the threshold are read.
func (e *Entry) set(tier Schedule, c gateway.CostClass, pico int64) error {
	s := e.at(tier.Service, tier.Above)
	if s == nil {
		e.Schedules = append(e.Schedules, Schedule{Service: tier.Service, Above: tier.Above, Marginal: tier.Marginal})
		s = &e.Schedules[len(e.Schedules)-1]
	}
	if s.Given.Has(c) {
		return errors.New("a second time")
	}
	if s.Marginal != tier.Marginal {
		return errors.New("want + before all thresholds of that many tokens, or before none")
	}
	s.Rates[c], s.Given = pico, s.Given.With(c)
	return nil
}

func (e *Entry) parseFactor(name, frac string) error {
	if region, geo := strings.CutPrefix(name, geoPrefix); geo && region == "" || !geo && (name == serviceStandard || !serviceKnown(name)) {
		return fmt.Errorf("no service tier %q", name)
	}
	num, den, ok := strings.Cut(frac, "/")
	if !ok {
		den = "1"
	}
	n, err1 := strconv.ParseInt(num, 10, 32)
	d, err2 := strconv.ParseInt(den, 10, 32)
	if err := errors.Join(err1, err2); err != nil || n < 1 || d < 1 || n > 10_000 || d > 10_000 {
		return errors.New("want a fraction of numbers from 1 to 10,000")
	}
	if slices.ContainsFunc(e.Factors, func(f Factor) bool { return f.Name == name }) {
		return errors.New("a second time")
	}
	e.Factors = append(e.Factors, Factor{name, n, d})
	return nil
}
