package price

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// Import makes a book of files in LiteLLM's format (model_prices_and_context_window.json), models.dev's (api.json, or one
// mapping "models" with keys vendor/model) or the book's own. Of a model that several files have, the first file's prices
// hold; a later one fills in what the first leaves out, if both agree on input and output. Prices that are zero for both
// are no prices, unless the model's name ends in ":free". Vendors the book does not know are left out.
func Import(version string, files ...[]byte) (*Book, error) {
	m := merger{entries: map[string]*Entry{}, taken: map[string]bool{}}
	for i, text := range files {
		if err := m.file(text); err != nil {
			return nil, fmt.Errorf("file %d: %w", i+1, err)
		}
	}
	b := &Book{Version: version, models: map[string]map[string]found{}, families: m.families}
	for _, name := range slices.Sorted(maps.Keys(m.entries)) {
		e := m.entries[name]
		e.finish()
		b.add(e)
	}
	p := parser{book: b}
	for _, a := range m.aliases {
		if err := p.alias(a[0], a[1]); err != nil {
			return nil, err
		}
	}
	b.settleFamilies()
	return b, nil
}

type merger struct {
	entries  map[string]*Entry // :: vendor/model → entry, not finished
	taken    map[string]bool   // :: vendor/alias
	aliases  [][2]string
	families []family
}

func (m *merger) file(text []byte) error {
	var entries []*Entry
	var err error
	if t := strings.TrimSpace(string(text[:min(len(text), 512)])); strings.HasPrefix(t, "{") {
		entries, err = importJSON(text)
	} else {
		entries, err = m.book(text)
	}
	if err != nil {
		return err
	}
	// Undated names first: a dated one with the same price is found by stripping the date.
	slices.SortFunc(entries, func(a, b *Entry) int {
		if x, y := a.Model != undated(a.Model), b.Model != undated(b.Model); x != y {
			if y {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name(), b.Name())
	})
	for _, e := range entries {
		m.add(e)
	}
	return nil
}

// book reads the book's own format; a version line may be missing.
func (m *merger) book(text []byte) ([]*Entry, error) {
	var out []*Entry
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		p := parser{book: &Book{models: map[string]map[string]found{}}}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for e := range p.book.Entries() {
			// Derived schedules are made again when all files are read.
			e.Schedules = slices.DeleteFunc(e.Schedules, func(s Schedule) bool { return s.Given == 0 })
			out = append(out, e)
		}
		for _, a := range p.aliases {
			vendor, _, _ := strings.Cut(a[0], "/")
			m.taken[vendor+"/"+a[1]] = true
			m.aliases = append(m.aliases, a)
		}
		m.families = append(m.families, p.book.families...)
	}
	return out, nil
}

func (m *merger) add(e *Entry) {
	name := e.Name()
	if m.taken[name] {
		return
	}
	if have := m.entries[name]; have != nil {
		have.fill(e)
		return
	}
	if short := m.entries[e.Vendor+"/"+undated(e.Model)]; short != nil && e.Model != undated(e.Model) && short.agrees(e) {
		short.fill(e)
		return
	}
	m.entries[name] = e
}

// agrees reports whether both say the same of plain input and output.
func (e *Entry) agrees(o *Entry) bool {
	a, b := e.Standard(), o.Standard()
	return a[gateway.CostInput] == b[gateway.CostInput] && a[gateway.CostOutput] == b[gateway.CostOutput]
}

// fill takes from o what e does not say.
func (e *Entry) fill(o *Entry) {
	if e.Context == 0 {
		e.Context = o.Context
	}
	if e.MaxOutput == 0 {
		e.MaxOutput = o.MaxOutput
	}
	if !e.agrees(o) {
		return
	}
	base := &e.Schedules[0]
	missing := o.Schedules[0].Given &^ base.Given
	base.Rates = base.Rates.over(o.Schedules[0].Rates, missing)
	base.Given |= missing
	if missing.Has(gateway.CostWebSearch) {
		e.SearchOnce = o.SearchOnce
	}
	had := Entry{Schedules: slices.Clone(e.Schedules), Factors: slices.Clone(e.Factors)}
	for _, s := range o.Schedules[1:] {
		switch {
		case s.Above > 0 && e.Context > s.Above && !had.long():
			// The first list knows the long window, and no surcharge for it.
		case s.Service != serviceStandard && had.offers(s.Service), had.at(s.Service, s.Above) != nil:
		default:
			e.Schedules = append(e.Schedules, s)
		}
	}
	for _, f := range o.Factors {
		if !had.offers(f.Name) {
			e.Factors = append(e.Factors, f)
		}
	}
}

func (e *Entry) long() bool {
	return slices.ContainsFunc(e.Schedules, func(s Schedule) bool { return s.Above > 0 })
}

// importVendors are the words of both lists for vendors of the book. Read-only.
var importVendors = map[string]string{
	"anthropic": "anthropic", "openai": "openai", "text-completion-openai": "openai", "gemini": "gemini", "google": "gemini",
	"mistral": "mistral", "deepseek": "deepseek", "groq": "groq", "xai": "xai", "cohere": "cohere", "cohere_chat": "cohere",
	"together_ai": "together_ai", "togetherai": "together_ai", "fireworks_ai": "fireworks_ai", "fireworks-ai": "fireworks_ai",
	"fireworks_ai-embedding-models": "fireworks_ai", "perplexity": "perplexity", "moonshot": "moonshot", "moonshotai": "moonshot",
	"cerebras": "cerebras", "openrouter": "openrouter", "azure": "azure", "google-vertex": "vertex_ai", "google-vertex-anthropic": "vertex_ai",
}

// importJSON reads LiteLLM's or models.dev's list.
func importJSON(text []byte) ([]*Entry, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, fmt.Errorf("want JSON or a book: %w", err)
	}
	var out []*Entry
	if flat, ok := top["models"]; ok {
		var models map[string]devModel
		if err := json.Unmarshal(flat, &models); err != nil {
			return nil, fmt.Errorf("models: %w", err)
		}
		for name, m := range models {
			vendor, model, _ := strings.Cut(name, "/")
			out = m.entry(out, vendor, model)
		}
		return out, nil
	}
	for name, raw := range top {
		var v struct {
			Models map[string]devModel `json:"models"`
		}
		if json.Unmarshal(raw, &v) == nil && v.Models != nil {
			for model, m := range v.Models {
				out = m.entry(out, name, model)
			}
			continue
		}
		var l map[string]any
		if json.Unmarshal(raw, &l) == nil {
			out = liteEntry(out, name, l)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no prices of a known vendor")
	}
	return out, nil
}

// draft gathers what an imported list says of a model.
type draft struct {
	Entry
	broken bool
}

// price notes a price in dollars; per is how many pico-dollars per token one unit is.
func (d *draft) price(service string, above int64, c gateway.CostClass, v, per float64) {
	if v == 0 && c != gateway.CostInput && c != gateway.CostOutput {
		return // "not stated": billed as the class it stands for
	}
	pico := math.Round(v * per)
	if !(v >= 0) || pico > maxPico {
		d.broken = true
		return
	}
	if s := d.at(service, above); s == nil || !s.Given.Has(c) {
		d.broken = d.set(Schedule{Service: service, Above: above}, c, int64(pico)) != nil || d.broken
	}
}

// done appends the entry to out if it has a price.
func (d *draft) done(out []*Entry, vendor, model string) []*Entry {
	d.Vendor, d.Model = vendor, model
	if model == "" || strings.ContainsAny(model, " \t#*=") || d.broken || len(d.Schedules) == 0 {
		return out
	}
	base := d.Schedules[0]
	if base.Service != "" || base.Above != 0 || !base.Given.Has(gateway.CostInput) || !base.Given.Has(gateway.CostOutput) {
		return out
	}
	if base.Rates[gateway.CostInput] == 0 && base.Rates[gateway.CostOutput] == 0 && !strings.HasSuffix(model, ":free") {
		return out
	}
	d.tidy()
	d.ground()
	return append(out, &d.Entry)
}

// ground adds what Gemini's grounding with Google Search costs, which neither list has (ai.google.dev/gemini-api/docs/pricing,
// as others quote it, 2026-10): 14 USD for 1,000 queries from Gemini 3 on, 35 USD for 1,000 prompts before.
func (d *draft) ground() {
	base := &d.Schedules[0]
	if d.Vendor != "gemini" || !strings.HasPrefix(d.Model, "gemini-") || strings.Contains(d.Model, "embedding") || base.Given.Has(gateway.CostWebSearch) {
		return
	}
	pico := int64(14e9)
	if d.SearchOnce = !strings.HasPrefix(d.Model, "gemini-3"); d.SearchOnce {
		pico = 35e9
	}
	base.Rates[gateway.CostWebSearch], base.Given = pico, base.Given.With(gateway.CostWebSearch)
}

// tidy drops tiers that say half of what they cost, and writes those that are exactly half price as a factor, which then
// holds for long prompts too.
func (d *draft) tidy() {
	base := d.Schedules[0]
	d.Schedules = slices.DeleteFunc(d.Schedules, func(s Schedule) bool {
		return s.Service != serviceStandard && !(s.Given.Has(gateway.CostInput) && s.Given.Has(gateway.CostOutput))
	})
	for _, tier := range []string{serviceBatch, serviceFlex} {
		s := d.at(tier, 0)
		if s == nil {
			continue
		}
		half := true
		for c := range classCount {
			if s.Given.Has(gateway.CostClass(c)) {
				half = half && base.Given.Has(gateway.CostClass(c)) && 2*s.Rates[c] == base.Rates[c]
			}
		}
		if half {
			d.Schedules = slices.DeleteFunc(d.Schedules, func(s Schedule) bool { return s.Service == tier })
			d.Factors = append(d.Factors, Factor{tier, 1, 2})
		}
	}
}

// devModel is a model of models.dev; prices are USD per million tokens.
type devModel struct {
	Cost *struct {
		devPrices
		Tiers []struct {
			devPrices
			Tier struct {
				Size int64 `json:"size"`
			} `json:"tier"`
		} `json:"tiers"`
		Over200k *devPrices `json:"context_over_200k"`
	} `json:"cost"`
	Limit struct {
		Context int64 `json:"context"`
		Output  int64 `json:"output"`
	} `json:"limit"`
}

type devPrices struct {
	Input       *float64 `json:"input"`
	Output      *float64 `json:"output"`
	Reasoning   *float64 `json:"reasoning"`
	CacheRead   *float64 `json:"cache_read"`
	CachedInput *float64 `json:"cached_input"`
	CacheWrite  *float64 `json:"cache_write"`
	InputAudio  *float64 `json:"input_audio"`
	OutputAudio *float64 `json:"output_audio"`
}

func (p *devPrices) into(d *draft, above int64) {
	for _, v := range []struct {
		class gateway.CostClass
		price *float64
	}{
		{gateway.CostInput, p.Input}, {gateway.CostOutput, p.Output}, {gateway.CostReasoning, p.Reasoning}, {gateway.CostCacheRead, p.CacheRead},
		{gateway.CostCacheRead, p.CachedInput}, {gateway.CostCacheWrite, p.CacheWrite}, {gateway.CostAudioIn, p.InputAudio}, {gateway.CostAudioOut, p.OutputAudio},
	} {
		if v.price != nil {
			d.price("", above, v.class, *v.price, 1e6)
		}
	}
}

func (m *devModel) entry(out []*Entry, vendor, model string) []*Entry {
	vendor, ok := importVendors[vendor]
	if !ok || m.Cost == nil {
		return out
	}
	var d draft
	m.Cost.into(&d, 0)
	for i := range m.Cost.Tiers {
		if t := &m.Cost.Tiers[i]; t.Tier.Size > 0 {
			t.into(&d, t.Tier.Size)
		}
	}
	if m.Cost.Over200k != nil && len(m.Cost.Tiers) == 0 {
		m.Cost.Over200k.into(&d, 200_000)
	}
	d.Context, d.MaxOutput = max(m.Limit.Context, 0), max(m.Limit.Output, 0)
	return d.done(out, vendor, strings.TrimSuffix(model, "@default"))
}

// liteClasses are LiteLLM's names of prices, USD per token. Read-only.
var liteClasses = []struct {
	name  string
	class gateway.CostClass
}{
	{"input_cost_per_token", gateway.CostInput}, {"output_cost_per_token", gateway.CostOutput},
	{"output_cost_per_reasoning_token", gateway.CostReasoning}, {"cache_read_input_token_cost", gateway.CostCacheRead},
	{"cache_creation_input_token_cost_above_1hr", gateway.CostCacheWrite1h}, {"cache_creation_input_token_cost", gateway.CostCacheWrite},
	{"input_cost_per_audio_token", gateway.CostAudioIn}, {"output_cost_per_audio_token", gateway.CostAudioOut},
	{"input_cost_per_image_token", gateway.CostImageIn}, {"output_cost_per_image_token", gateway.CostImageOut},
}

var liteSuffix = regexp.MustCompile(`^(?:_above_(\d+)k_tokens)?(?:_(priority|flex|batches))?$`)

func liteEntry(out []*Entry, name string, l map[string]any) []*Entry {
	provider, _ := l["litellm_provider"].(string)
	vendor, ok := importVendors[provider]
	if !ok || vendor == "azure" { // Azure's names carry regions here
		return out
	}
	model := strings.TrimPrefix(name, strings.TrimSuffix(provider, "-embedding-models")+"/")
	if vendor != "openrouter" && vendor != "together_ai" && vendor != "fireworks_ai" && vendor != "groq" && strings.Contains(model, "/") || strings.HasPrefix(model, "ft:") {
		return out // sizes and qualities of images, regions, prices of one's own models
	}
	var d draft
	for _, key := range slices.Sorted(maps.Keys(l)) {
		v, ok := l[key].(float64)
		if !ok {
			continue
		}
		for _, c := range liteClasses {
			suffix, ok := strings.CutPrefix(key, c.name)
			if !ok {
				continue
			}
			m := liteSuffix.FindStringSubmatch(suffix)
			if m == nil {
				continue
			}
			above, _ := strconv.ParseInt(m[1], 10, 32) // "" is 0
			d.price(map[string]string{"batches": serviceBatch}[m[2]]+strings.TrimPrefix(m[2], "batches"), above*1000, c.class, v, 1e12)
			break
		}
	}
	d.liteExtras(l)
	slices.SortStableFunc(d.Schedules, func(a, b Schedule) int {
		return strings.Compare(fmt.Sprintf("%s>%012d", a.Service, a.Above), fmt.Sprintf("%s>%012d", b.Service, b.Above))
	})
	return d.done(out, vendor, model)
}

func (d *draft) liteExtras(l map[string]any) {
	if context, ok := l["max_input_tokens"].(float64); ok && context >= 1 && context < 1e12 {
		d.Context = int64(context)
	}
	if output, ok := l["max_output_tokens"].(float64); ok && output >= 1 && output < 1e12 {
		d.MaxOutput = int64(output)
	}
	if search, ok := l["search_context_cost_per_query"].(map[string]any); ok {
		if v, ok := search["search_context_size_medium"].(float64); ok {
			d.price("", 0, gateway.CostWebSearch, v, 1e12)
		}
	}
	special, _ := l["provider_specific_entry"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(special)) {
		v, ok := special[name].(float64)
		if !ok || v <= 0 || v > 100 {
			continue
		}
		if name != serviceFast {
			name = geoPrefix + name
		}
		d.Factors = append(d.Factors, Factor{name, int64(math.Round(v * 100)), 100})
	}
}
