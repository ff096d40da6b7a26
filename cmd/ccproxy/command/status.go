package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/telemetry"
)

// statusReport is what status prints. The first seven keys are the original's.
type statusReport struct {
	Proxy     bool              `json:"proxy"` // whether the gateway runs
	URL       string            `json:"url"`
	Config    map[string]string `json:"config"`    // :: file name → path, of those that exist
	Callbacks []string          `json:"callbacks"` // where telemetry goes: names of exporters
	Hooks     []hookStatus      `json:"hooks"`
	Models    []modelStatus     `json:"model_list"`
	Log       *string           `json:"log"` // path; null: there is none

	PID       int                        `json:"pid,omitempty"`
	Admin     string                     `json:"admin_url,omitempty"`
	Version   string                     `json:"version,omitempty"`
	Started   *time.Time                 `json:"started,omitempty"`
	Active    int64                      `json:"active"`
	Draining  bool                       `json:"draining"`
	Exporters []telemetry.ExporterStatus `json:"exporters"`
	Reload    *reloadStatus              `json:"last_reload,omitempty"`
	Money     *moneyStatus               `json:"money,omitempty"`
	// Problem says what could not be found out; "": nothing.
	Problem string `json:"problem,omitempty"`
}

func statusCommand(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show whether the gateway runs, and by what configuration", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.report(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(a.out)
				e.SetIndent("", "  ")
				return e.Encode(r)
			}
			return r.print(a.out, a.colour(a.out))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// report asks the running gateway, and else the configuration.
func (a *app) report(ctx context.Context) (statusReport, error) {
	r := statusReport{Config: map[string]string{}, Callbacks: []string{}, Hooks: []hookStatus{}, Models: []modelStatus{}, Exporters: []telemetry.ExporterStatus{}}
	var problems []error
	cfg, _, _, err := a.load()
	dir := a.storageDir()
	if err != nil {
		problems = append(problems, err)
		if path, err := a.find(); err == nil && path != "" {
			r.Config[filepath.Base(path)] = path
		}
	} else {
		r.configured(cfg, a.env)
	}
	if path := filepath.Join(dir, logName); exists(path) {
		r.Log = &path
	}
	run, err := running(dir)
	switch {
	case err == nil:
		problems = append(problems, r.running(ctx, run))
	case !errors.Is(err, errNotRunning):
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		r.Problem = oneLine(err)
	}
	return r, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// configured fills in what the configuration says.
func (r *statusReport) configured(cfg *config.Config, env config.Lookup) {
	r.URL = "http://" + cfg.Server.Listen
	if cfg.Server.TLS.Cert != "" {
		r.URL = "https://" + cfg.Server.Listen
	}
	for _, path := range cfg.Files {
		r.Config[filepath.Base(path)] = path
	}
	r.Hooks, r.Models = hookList(cfg), modelList(cfg)
	if tc, err := telemetryConfig(cfg, env); err == nil {
		for _, e := range tc.Exporters {
			if e.Endpoint != "" || e.Protocol == telemetry.ProtocolConsole {
				r.Callbacks = append(r.Callbacks, e.Name)
			}
		}
	}
}

// running fills in what the running gateway says.
func (r *statusReport) running(ctx context.Context, run runInfo) error {
	r.Proxy, r.PID, r.URL, r.Admin, r.Version, r.Started = true, run.PID, run.URL, run.Admin, run.Version, &run.Started
	var s serverStatus
	err := ask(ctx, run, http.MethodGet, "/api/status", &s)
	if errors.Is(err, errNoAdmin) {
		return nil
	}
	if err != nil {
		return err
	}
	r.Active, r.Draining, r.Exporters, r.Reload, r.Money = s.Active, s.Draining, s.Exporters, s.Reload, s.Money
	r.Hooks, r.Models, r.Callbacks = s.Hooks, s.Models, []string{}
	for _, e := range s.Exporters {
		if !slices.Contains(r.Callbacks, e.Name) {
			r.Callbacks = append(r.Callbacks, e.Name)
		}
	}
	return nil
}

// print writes the report for people.
func (r statusReport) print(out io.Writer, colour bool) error {
	paint := func(code, s string) string {
		if !colour {
			return s
		}
		return "\x1b[" + code + "m" + s + "\x1b[0m"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) } // the error comes with Flush
	switch {
	case r.Proxy && r.Draining:
		row("gateway", paint("33", "draining")+fmt.Sprintf(", pid %d, %d active", r.PID, r.Active))
	case r.Proxy:
		row("gateway", paint("32", "running")+fmt.Sprintf(", pid %d, since %s, %d active", r.PID, r.Started.Local().Format(time.DateTime), r.Active))
	default:
		row("gateway", paint("31", "not running"))
	}
	row("url", r.URL)
	if r.Admin != "" {
		row("admin", r.Admin)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Config)) {
		row("config", r.Config[name])
	}
	if len(r.Config) == 0 {
		row("config", "none: the defaults")
	}
	if r.Log != nil {
		row("log", *r.Log)
	}
	if l := r.Reload; l != nil {
		row("reloaded", l.At.Local().Format(time.DateTime)+reloadWords(*l))
	}
	for i, h := range r.Hooks {
		row(head("hooks", i), h.Hook+params(h.Params))
	}
	for i, m := range r.Models {
		row(head("models", i), m.Name+" → "+m.Params.Model+" ("+hostOf(m.Params.APIBase)+")")
	}
	if r.Money != nil {
		for i, line := range r.Money.words(time.Now()) {
			row(head("ledger", i), line)
		}
		for i := range r.Money.Near {
			v := &r.Money.Near[i]
			row(head("budgets", i), paint(budgetStyles[v.State], v.State)+": "+v.Name+" ("+subjectWords(v)+"), "+spentWords(v)+" "+windowWords(v, time.Now()))
		}
	}
	for i, e := range r.Exporters {
		row(head("telemetry", i), exporterWords(e))
	}
	if len(r.Exporters) == 0 {
		row("telemetry", orElse(strings.Join(r.Callbacks, ", "), "stays on this machine"))
	}
	if r.Problem != "" {
		row("problem", paint("31", r.Problem))
	}
	return w.Flush()
}

// head names the first row of several.
func head(name string, i int) string {
	if i > 0 {
		return ""
	}
	return name
}

func reloadWords(l reloadStatus) string {
	switch {
	case l.Error != "":
		return ", failed: " + oneLine(errors.New(l.Error))
	case len(l.Restart) > 0:
		return ", needs a restart for " + strings.Join(l.Restart, ", ")
	}
	return ""
}

func params(m map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s=%v", name, m[name]))
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func hostOf(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		return u.Host
	}
	return raw
}

func exporterWords(e telemetry.ExporterStatus) string {
	var lost int64
	for _, n := range e.Dropped {
		lost += n
	}
	s := fmt.Sprintf("%s %s → %s (%s): %d sent, %d lost", e.Name, e.Signal, e.Endpoint, e.Protocol, e.Exported, lost)
	if e.LastError != "" && e.LastErrorAt.After(e.LastSuccess) {
		s += "; " + e.LastError
	}
	return s
}
