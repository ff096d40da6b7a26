package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/price"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// pricesCommand is `ccproxy prices`.
func pricesCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prices",
		Short: "Show the prices requests are billed at, and take over prices from a file",
		Long: `The price book is a dated snapshot of list prices built into this program; the section prices of the configuration
overrides it. Nothing is ever fetched.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(pricesListCommand(a), pricesShowCommand(a), pricesDiffCommand(), pricesImportCommand())
	return cmd
}

func pricesListCommand(a *app) *cobra.Command {
	var provider string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the models with a price, in USD per million tokens",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			book, err := price.Embedded()
			if err != nil {
				return err
			}
			if provider != "" && !slices.Contains(book.Vendors(), provider) {
				return usage(fmt.Errorf("no prices of a provider %q; there are %s", provider, strings.Join(book.Vendors(), ", ")))
			}
			var list []*price.Entry
			for e := range book.Entries() {
				if provider == "" || e.Vendor == provider {
					list = append(list, e)
				}
			}
			if asJSON {
				return printPricesJSON(a.out, book, list)
			}
			return printPrices(a.out, book, list)
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "only this `provider`'s")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printPrices(w io.Writer, book *price.Book, list []*price.Entry) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "INPUT\tCACHE READ\tCACHE WRITE\tOUTPUT\tCONTEXT\t  MODEL\n")
	for _, e := range list {
		r := e.Standard()
		for _, c := range []gateway.CostClass{gateway.CostInput, gateway.CostCacheRead, gateway.CostCacheWrite, gateway.CostOutput} {
			fmt.Fprintf(t, "%s\t", price.FormatRate(c, r[c]))
		}
		context := "-"
		if e.Context > 0 {
			context = formatCount(e.Context)
		}
		more := ""
		if len(e.Schedules)+len(e.Factors) > 1 {
			more = " +" // tiers: see show
		}
		fmt.Fprintf(t, "%s\t  %s%s\n", context, e.Name(), more)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d models, USD per million tokens, price book %s; + has further tiers: ccproxy prices show MODEL\n", len(list), book.Version)
	return err
}

// priceJSON is an entry as `prices list --json` and `prices show --json` print it. Prices are decimal strings: no float is exact.
type priceJSON struct {
	Provider  string         `json:"provider"`
	Model     string         `json:"model"`
	Aliases   []string       `json:"aliases,omitempty"`
	Context   int64          `json:"context,omitempty"`
	MaxOutput int64          `json:"max_output,omitempty"`
	Prices    []scheduleJSON `json:"prices"`
	Factors   []factorJSON   `json:"factors,omitempty"`
}

type scheduleJSON struct {
	Service string            `json:"service_tier,omitempty"`
	Above   int64             `json:"above_prompt_tokens,omitempty"`
	USD     map[string]string `json:"usd_per_million_tokens"`
}

type factorJSON struct {
	Name string `json:"name"`
	Num  int64  `json:"numerator"`
	Den  int64  `json:"denominator"`
}

func toPriceJSON(book *price.Book, e *price.Entry) priceJSON {
	out := priceJSON{Provider: e.Vendor, Model: e.Model, Aliases: book.Aliases(e), Context: e.Context, MaxOutput: e.MaxOutput}
	for _, s := range e.Schedules {
		usd := map[string]string{}
		for i, name := range price.ClassNames() {
			usd[name] = price.FormatRate(gateway.CostClass(i), s.Rates[i])
		}
		out.Prices = append(out.Prices, scheduleJSON{s.Service, s.Above, usd})
	}
	for _, f := range e.Factors {
		out.Factors = append(out.Factors, factorJSON{f.Name, f.Num, f.Den})
	}
	return out
}

func printPricesJSON(w io.Writer, book *price.Book, list []*price.Entry) error {
	out := struct {
		Version string      `json:"version"`
		Models  []priceJSON `json:"models"`
	}{Version: book.Version, Models: []priceJSON{}}
	for _, e := range list {
		out.Models = append(out.Models, toPriceJSON(book, e))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func pricesShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show MODEL",
		Short: "Show what a model costs under the configuration, and how its price is found",
		Example: `  ccproxy prices show claude-sonnet-5
  ccproxy prices show openai/gpt-5.5`,
		Args: func(cmd *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, _, _, err := a.load()
			if err != nil {
				return err
			}
			return showPrice(a.out, cfg, args[0])
		},
	}
}

func showPrice(w io.Writer, cfg *config.Config, model string) error {
	book, err := price.Embedded()
	if err != nil {
		return err
	}
	wired := newWiring(nil, nil)
	defer wired.close()
	providers, err := wired.providers(cfg)
	if err != nil {
		return err
	}
	pricer, err := newPricer(book, cfg, providers, nil)
	if err != nil {
		return err
	}
	shown := 0
	show := func(provider *gateway.Provider, name string) {
		e, status := pricer.Look(provider, name)
		if e == nil {
			return
		}
		if shown > 0 {
			fmt.Fprintln(w)
		}
		shown++
		printPrice(w, provider, name, e, status)
	}
	if name, rest, ok := strings.Cut(model, "/"); ok {
		if i := slices.IndexFunc(providers, func(p *gateway.Provider) bool { return p.Name == name }); i >= 0 {
			show(providers[i], rest)
		} else {
			show(&gateway.Provider{Name: name, GenAI: name}, rest)
		}
	}
	for _, p := range providers {
		if _, status := pricer.Look(p, model); status != names.PriceStatusUnknown && shown == 0 {
			show(p, model)
		}
	}
	if shown == 0 {
		for _, vendor := range book.Vendors() {
			show(&gateway.Provider{Name: vendor, GenAI: vendor}, model)
		}
	}
	if shown == 0 {
		return &exitError{1, fmt.Errorf("no price of %q: its cost is not known; say one under prices, or ask ccproxy prices list", model)}
	}
	_, err = fmt.Fprintf(w, "\nprices %s\n", pricer.Version())
	return err
}

// foundBy says in words how a price was found.
var foundBy = map[string]string{
	names.PriceStatusExact: "price book", names.PriceStatusAlias: "price book, by another name", names.PriceStatusOverride: "configuration",
	names.PriceStatusAssumed: "assumed: the model has no price, and this is the dearest of its family",
}

func printPrice(w io.Writer, provider *gateway.Provider, model string, e *price.Entry, status string) {
	fmt.Fprintf(w, "%s/%s\n", provider.Name, model)
	row := func(name, value string) { fmt.Fprintf(w, "  %-16s %s\n", name, value) }
	row("found", foundBy[status])
	if e.Vendor != "" && e.Model != model {
		row("priced as", e.Name())
	}
	if provider.Billing != "" && provider.Billing != names.CostBillingMetered {
		row("billing", provider.Billing)
	}
	if e.Context > 0 {
		row("context", formatCount(e.Context)+" tokens")
	}
	if e.MaxOutput > 0 {
		row("most output", formatCount(e.MaxOutput)+" tokens")
	}
	for _, s := range e.Schedules {
		tier := "standard"
		if s.Service != "" {
			tier = s.Service
		}
		if s.Above > 0 {
			tier += fmt.Sprintf(", prompts over %s tokens: the whole request", formatCount(s.Above))
		}
		fmt.Fprintf(w, "  %s (USD per million tokens)\n", tier)
		for i, name := range price.ClassNames() {
			c := gateway.CostClass(i)
			if !s.Given.Has(c) && s.Rates[i] == 0 {
				continue
			}
			value := price.FormatRate(c, s.Rates[i])
			if c == gateway.CostWebSearch {
				value += " a call"
			} else if !s.Given.Has(c) {
				value += "  (derived)"
			}
			fmt.Fprintf(w, "    %-16s %s\n", name, value)
		}
	}
	for _, f := range e.Factors {
		fmt.Fprintf(w, "  %s: × %d/%d on all tokens\n", f.Name, f.Num, f.Den)
	}
}

func pricesDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff FILE",
		Short: "Compare a list of LiteLLM's or models.dev's, or a price book, with the built-in prices",
		Args:  func(cmd *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			book, err := price.Embedded()
			if err != nil {
				return err
			}
			other, err := importPrices("file", args)
			if err != nil {
				return err
			}
			for _, d := range book.Diff(other) {
				if d.Old != nil {
					fmt.Fprintf(cmd.OutOrStdout(), "- %s\n", d.Old)
				}
				if d.New != nil {
					fmt.Fprintf(cmd.OutOrStdout(), "+ %s\n", d.New)
				}
			}
			return nil
		},
	}
}

func pricesImportCommand() *cobra.Command {
	var format, version, provider string
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Turn a list of LiteLLM's or models.dev's into the configuration's prices, or a price book",
		Long: `Reads LiteLLM's model_prices_and_context_window.json, models.dev's api.json, or price books, and prints the prices as a
section of ccproxy.yaml, or as a price book. Of a model in several files the first one's prices hold, and later files fill
in what it leaves out.`,
		Example: `  ccproxy prices import --provider openai model_prices_and_context_window.json >> ccproxy.yaml`,
		Args:    func(cmd *cobra.Command, args []string) error { return usage(cobra.MinimumNArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			book, err := importPrices(version, args)
			if err != nil {
				return err
			}
			switch format {
			case "book":
				_, err = cmd.OutOrStdout().Write(book.Format())
				return err
			case "yaml":
				return printPricesYAML(cmd.OutOrStdout(), book, provider)
			}
			return usage(fmt.Errorf("unknown format %q; want yaml or book", format))
		},
	}
	cmd.Flags().StringVar(&format, "format", "yaml", "yaml: a section of ccproxy.yaml; book: the price book's own `format`")
	cmd.Flags().StringVar(&version, "version", "imported", "the book's `version`, such as the date of the lists")
	cmd.Flags().StringVar(&provider, "provider", "", "only this `provider`'s, for yaml")
	return cmd
}

func importPrices(version string, files []string) (*price.Book, error) {
	if version == "" || strings.ContainsAny(version, " \t\n#") {
		return nil, usage(errors.New("want a version of one word"))
	}
	var texts [][]byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return price.Import(version, texts...)
}

// printPricesYAML prints a section of the configuration. It has no tiers: their models say so.
func printPricesYAML(w io.Writer, book *price.Book, provider string) error {
	var b strings.Builder
	b.WriteString("prices:   # USD per million tokens\n")
	n := 0
	for e := range book.Entries() {
		if provider != "" && e.Vendor != provider {
			continue
		}
		n++
		var fields []string
		dear := false
		s := &e.Schedules[0]
		for i, name := range price.ClassNames() {
			c := gateway.CostClass(i)
			if !s.Given.Has(c) {
				continue
			}
			if c == gateway.CostWebSearch {
				fields = append(fields, "tools: { web_search: "+price.FormatRate(c, s.Rates[i])+" }")
				continue
			}
			dear = dear || s.Rates[i] > 1000*1e6
			fields = append(fields, name+": "+price.FormatRate(c, s.Rates[i]))
		}
		if dear {
			fields = append(fields, "confirm: true")
		}
		fmt.Fprintf(&b, "  %q: { %s }", e.Name(), strings.Join(fields, ", "))
		if len(e.Schedules)+len(e.Factors) > 1 {
			b.WriteString("   # without its tiers")
		}
		b.WriteString("\n")
	}
	if n == 0 {
		return errors.New("the files have no prices of that provider")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// newPricer makes the pricer of a configuration. counter nil: one of its own.
func newPricer(book *price.Book, cfg *config.Config, providers []*gateway.Provider, counter *tokens.Counter) (*price.Pricer, error) {
	pc := price.Config{
		Book: book, Overrides: map[string]price.Override{}, Providers: providers,
		Assume: assumedPrice(cfg), AssumeOutputTokens: cfg.Budgets.AssumeOutputTokens, Counter: counter,
	}
	for key, p := range cfg.Prices {
		pc.Overrides[key] = priceOverride(p)
	}
	return price.New(pc)
}

func priceOverride(p config.Price) price.Override {
	o := price.Override{Inherit: p.Inherit}
	for c, v := range map[gateway.CostClass]*config.PerMillion{
		gateway.CostInput: p.Input, gateway.CostOutput: p.Output, gateway.CostCacheRead: p.CacheRead, gateway.CostCacheWrite: p.CacheWrite,
		gateway.CostCacheWrite1h: p.CacheWrite1h, gateway.CostReasoning: p.Reasoning, gateway.CostAudioIn: p.AudioIn, gateway.CostAudioOut: p.AudioOut,
		gateway.CostImageIn: p.ImageIn, gateway.CostImageOut: p.ImageOut,
	} {
		if v != nil {
			o.Rates[c], o.Given = int64(*v), o.Given.With(c)
		}
	}
	if v, ok := p.Tools["web_search"]; ok {
		o.Rates[gateway.CostWebSearch], o.Given = int64(v)*1000, o.Given.With(gateway.CostWebSearch) // nano- to pico-dollars
	}
	return o
}

// knownModel returns a model's name as metrics may carry it: one the router knows, or that has a price.
func knownModel(s *gateway.Snapshot, model string) string {
	name := s.Router.(*route.Router).Known(model)
	if name != names.ErrorOther {
		return name
	}
	return s.Pricer.(*price.Pricer).Known(model)
}
