package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway/caller"
)

// keysCommand is `ccproxy keys`.
func keysCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, list and revoke the keys callers use",
		Long: `A key names the caller: whose money is spent, what may be used, and how much of it. A caller sends it in place of a
provider's key, which stays with the gateway. Once a key exists, nobody gets in without one, unless server.open says so.

The gateway keeps no secret of a key, only a digest of it: what create prints is printed once.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(keysCreateCommand(a), keysListCommand(a), keysRevokeCommand(a))
	return cmd
}

// keyFlags are those of keys create.
type keyFlags struct {
	in                                        keyInput
	expires, budget, window, timezone, action string
	asJSON                                    bool
}

func keysCreateCommand(a *app) *cobra.Command {
	var f keyFlags
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a key and print its secret, once",
		Example: `  ccproxy keys create alice
  ccproxy keys create ci --team build --models 'claude-haiku-*,background' --expires 90d --rpm 60
  ccproxy keys create intern --budget 20 --window week --action deny`,
		Args: func(cmd *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			f.in.Name = args[0]
			if err := f.finish(cmd, time.Now()); err != nil {
				return usage(err)
			}
			return a.withAPI(cmd.Context(), forKeys, func(c *api) error { return a.createKey(cmd.Context(), c, &f) })
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.in.Team, "team", "", "the `team` it belongs to, one of the configuration's")
	fl.StringSliceVar(&f.in.Models, "models", nil, "the models and labels it may use, with \"*\" as a wildcard: `a,b` (default all)")
	fl.StringVar(&f.expires, "expires", "", "when it stops working: a span such as 30d, or a `date`")
	fl.Int64Var(&f.in.RequestsPerMinute, "rpm", 0, "requests a minute")
	fl.Int64Var(&f.in.TokensPerMinute, "tpm", 0, "tokens a minute")
	fl.IntVar(&f.in.InFlight, "in-flight", 0, "requests at once (default limits.key_in_flight)")
	fl.StringVar(&f.budget, "budget", "", "what it may spend a window, in `dollars`; 0 blocks")
	fl.StringVar(&f.window, "window", "month", "the budget's `window`: minute, hour, day, week, month, none, or a span such as 30d")
	fl.StringVar(&f.timezone, "timezone", "", "where the window begins, such as Europe/Berlin (default UTC)")
	fl.StringVar(&f.action, "action", "deny", "when the budget is spent: deny, or `warn`")
	fl.BoolVar(&f.asJSON, "json", false, "print JSON")
	complete(cmd, "window", "minute", "hour", "day", "week", "month", "none")
	complete(cmd, "action", "deny", "warn")
	return cmd
}

// finish turns what was written into what is asked for.
func (f *keyFlags) finish(cmd *cobra.Command, now time.Time) error {
	if f.expires != "" {
		at, err := parseExpiry(f.expires, now)
		if err != nil {
			return fmt.Errorf("--expires: %w", err)
		}
		f.in.Expires = at
	}
	for name, n := range map[string]int64{"rpm": f.in.RequestsPerMinute, "tpm": f.in.TokensPerMinute, "in-flight": int64(f.in.InFlight)} {
		if cmd.Flags().Changed(name) && n <= 0 {
			return fmt.Errorf("--%s: want a number above 0", name)
		}
	}
	if f.budget == "" {
		for _, name := range []string{"window", "timezone", "action"} {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s belongs to --budget, which is not given", name)
			}
		}
		return nil
	}
	if _, err := config.ParseUSD(f.budget); err != nil {
		return fmt.Errorf("--budget: %w", err)
	}
	f.in.Budgets = []budgetInput{{Limit: f.budget, Window: f.window, Timezone: f.timezone, Action: f.action}}
	return nil
}

// parseExpiry reads a span from now, or a date, whose last moment is meant, or a time.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if d, err := config.ParseDuration(text); err == nil {
		if d == 0 {
			return time.Time{}, errors.New("want a span above 0")
		}
		return now.Add(d).UTC(), nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, now.Location()); err == nil {
		return day.AddDate(0, 0, 1).UTC(), nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at.UTC(), nil
	}
	return time.Time{}, fmt.Errorf("want a span such as 30d or 12h, a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z, got %q", text)
}

func (a *app) createKey(ctx context.Context, c *api, f *keyFlags) error {
	var made newKey
	if err := c.ask(ctx, http.MethodPost, "/api/keys", nil, f.in, &made); err != nil {
		return err
	}
	if f.asJSON {
		return printJSON(a.out, made)
	}
	url := ""
	if c.run != nil {
		url = c.run.URL
	} else if cfg, _, _, err := a.load(); err == nil {
		url = "http://" + cfg.Server.Listen
	}
	return printNewKey(a.out, made, url)
}

// printNewKey prints a key with its secret, and how to use it at url; "": somewhere.
func printNewKey(w io.Writer, made newKey, url string) error {
	k := made.Key
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", made.Secret)
	fmt.Fprintf(&b, "This is the secret of key %q (%s). It is shown this once, and kept nowhere: store it now.\n", k.Name, k.ID)
	if words := keyWords(k); words != "" {
		fmt.Fprintf(&b, "%s.\n", words)
	}
	url = orElse(url, "http://127.0.0.1:4000")
	fmt.Fprintf(&b, `
Claude Code, Anthropic's SDKs:  ANTHROPIC_BASE_URL=%[1]s ANTHROPIC_AUTH_TOKEN=%[2]s
OpenAI's SDKs:                  OPENAI_BASE_URL=%[1]s/v1 OPENAI_API_KEY=%[2]s
Beside a credential of your own, as a header:  X-CCProxy-Key: %[2]s
`, url, made.Secret)
	_, err := io.WriteString(w, b.String())
	return err
}

// keyWords says what limits a key; "": nothing.
func keyWords(k keyView) string {
	var parts []string
	if k.Team != "" {
		parts = append(parts, "team "+k.Team)
	}
	if len(k.Models) > 0 {
		parts = append(parts, "may use "+strings.Join(k.Models, ", "))
	}
	for _, b := range k.Budgets {
		parts = append(parts, budgetWords(b))
	}
	for _, l := range []struct {
		n    int64
		what string
	}{{k.RequestsPerMinute, "requests a minute"}, {k.TokensPerMinute, "tokens a minute"}, {int64(k.InFlightLimit), "requests at once"}} {
		if l.n > 0 {
			parts = append(parts, formatCount(l.n)+" "+l.what)
		}
	}
	if !k.Expires.IsZero() {
		parts = append(parts, "until "+k.Expires.Local().Format("2006-01-02 15:04"))
	}
	return strings.Join(parts, "; ")
}

func budgetWords(b budgetInput) string {
	s := "$" + b.Limit + " " + budgetWindow(b.Window)
	if b.Timezone != "" && b.Timezone != "UTC" {
		s += " (" + b.Timezone + ")"
	}
	if b.Action == "warn" {
		s += ", then a warning"
	}
	return s
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func keysListCommand(a *app) *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys, without their secrets",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withAPI(cmd.Context(), forKeys, func(c *api) error {
				var list struct {
					Keys []keyView `json:"keys"`
				}
				if err := c.ask(cmd.Context(), http.MethodGet, "/api/keys", nil, nil, &list); err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.out, list)
				}
				return printKeys(a.out, list.Keys, all, time.Now())
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, revoked keys included")
	cmd.Flags().BoolVar(&all, "all", false, "revoked keys as well")
	return cmd
}

func printKeys(out io.Writer, keys []keyView, all bool, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	hidden, shown := 0, 0
	for _, k := range keys {
		if k.State == "revoked" && !all {
			hidden++
			continue
		}
		if shown == 0 {
			_, _ = fmt.Fprintln(w, "NAME\tID\tSECRET\tSTATE\tTEAM\tLAST USED\tLIMITS") // the error comes with Flush
		}
		shown++
		limits := k
		limits.Team = ""
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Name, k.ID, k.Hint, keyState(k), orElse(k.Team, "-"), ago(k.LastUsed, now), orElse(keyWords(limits), "-"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if shown == 0 {
		_, _ = fmt.Fprintln(out, "no keys: callers need none; make one with `ccproxy keys create NAME`")
	}
	if hidden > 0 {
		_, err := fmt.Fprintf(out, "%d revoked: ccproxy keys list --all\n", hidden)
		return err
	}
	return nil
}

// keyState is a key's state, with where it comes from when that is the configuration.
func keyState(k keyView) string {
	s := k.State
	if k.InFlight > 0 {
		s += fmt.Sprintf(", %d running", k.InFlight)
	}
	if k.Source == caller.SourceFile {
		s += " (file)"
	}
	return s
}

// ago says how long ago t is; "never" for the zero time.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	default:
		return fmt.Sprintf("%d days ago", d/(24*time.Hour))
	}
}

func keysRevokeCommand(a *app) *cobra.Command {
	var in revokeInput
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "revoke NAME|ID",
		Short: "Make a key useless for ever",
		Long: `Nothing new is let in with the key. What runs ends in peace, unless --end-streams cuts it off. A key of the
configuration is removed there.`,
		Args: func(cmd *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withAPI(cmd.Context(), forKeys, func(c *api) error {
				var r revokedKey
				err := c.ask(cmd.Context(), http.MethodPost, "/api/keys/"+url.PathEscape(args[0])+"/revoke", nil, in, &r)
				var refused *apiError
				if errors.As(err, &refused) && refused.status == http.StatusNotFound {
					return fmt.Errorf("no key %q; see `ccproxy keys list`", args[0])
				}
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.out, r)
				}
				_, err = fmt.Fprintf(a.out, "revoked %s (%s)%s\n", r.Key.Name, r.Key.ID, endedWords(r, in.EndStreams))
				return err
			})
		},
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return a.keyNames(cmd.Context(), len(args) > 0), cobra.ShellCompDirectiveNoFileComp
	}
	cmd.Flags().BoolVar(&in.EndStreams, "end-streams", false, "end its running requests too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// keyNames are the keys that can be revoked, as far as the running gateway can be asked; none when one is named already.
func (a *app) keyNames(ctx context.Context, named bool) []string {
	run, err := running(a.storageDir())
	if err != nil || named {
		return nil
	}
	var list struct {
		Keys []keyView `json:"keys"`
	}
	if err := ask(ctx, run, http.MethodGet, "/api/keys", &list); err != nil {
		return nil // nothing is offered
	}
	var out []string
	for _, k := range list.Keys {
		if k.Source == caller.SourceStore && k.State != "revoked" {
			out = append(out, k.Name)
		}
	}
	return out
}

func endedWords(r revokedKey, asked bool) string {
	switch {
	case asked:
		return fmt.Sprintf("; %d running requests ended", r.Ended)
	case r.Key.InFlight > 0:
		return fmt.Sprintf("; %d of its requests still run: --end-streams ends them", r.Key.InFlight)
	}
	return ""
}
