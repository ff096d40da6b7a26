package command

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/telemetry"
)

func runCommand(a *app) *cobra.Command {
	var withTelemetry bool
	cmd := &cobra.Command{
		Use: "run [--telemetry] [--] command…", Short: "Run a command with its base URLs pointed at the gateway",
		Example: "  ccproxy run claude\n  ccproxy run codex exec \"fix the tests\"\n  ccproxy run --telemetry -- claude -p \"fix the tests\"",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(errors.New("run what? give a command, as in `ccproxy run claude`"))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.run(args, withTelemetry) },
	}
	cmd.Flags().SetInterspersed(false) // flags after the command are the command's
	cmd.Flags().BoolVar(&withTelemetry, "telemetry", false, "send the command's own OpenTelemetry data where the gateway's goes")
	return cmd
}

// run runs args and returns its exit code as the program's.
func (a *app) run(args []string, withTelemetry bool) error {
	cfg, _, _, err := a.load()
	if err != nil {
		return err
	}
	base := gatewayURL(cfg)
	if run, err := running(cfg.Storage.Path); err == nil {
		base = run.URL
	} else {
		_, _ = fmt.Fprintf(a.err, "ccproxy: %v\n", err) // the command may start it
	}
	vars := baseURLs(base)
	if withTelemetry {
		otel, err := childTelemetry(cfg, a.env)
		if err != nil {
			return err
		}
		maps.Copy(vars, otel)
	}
	cmd := exec.Command(args[0], append(baseArguments(args[0], base), args[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.in, a.out, a.err
	cmd.Env = os.Environ()
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		cmd.Env = append(cmd.Env, name+"="+vars[name])
	}
	return runChild(cmd)
}

// runChild runs cmd in the foreground: Ctrl-C reaches it from the terminal, other signals through here.
func runChild(cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, endSignals...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("command not found: %s", cmd.Args[0])
		}
		return fmt.Errorf("run: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }() // ends with the child, which is waited for below
	for {
		select {
		case sig := <-signals:
			if sig != os.Interrupt {
				_ = cmd.Process.Signal(sig) // it may have ended just now
			}
		case err := <-done:
			if sig := endedBy(cmd.ProcessState); sig > 0 {
				return &exitError{code: 128 + sig}
			}
			if code := cmd.ProcessState.ExitCode(); code > 0 {
				return &exitError{code: code}
			}
			return err
		}
	}
}

// gatewayURL is where a gateway of cfg would be reached.
func gatewayURL(cfg *config.Config) string {
	scheme := "http"
	if cfg.Server.TLS.Cert != "" {
		scheme = "https"
	}
	address := cfg.Server.Listen
	if host := hostOnly(address); host == "" || host == "0.0.0.0" || host == "::" {
		address = "127.0.0.1" + address[strings.LastIndexByte(address, ':'):]
	}
	return scheme + "://" + address
}

// baseURLs are the variables by which clients are pointed at base. HTTP_PROXY is not among them: it would catch other
// traffic.
func baseURLs(base string) map[string]string {
	return map[string]string{
		"ANTHROPIC_BASE_URL": base, "OPENAI_BASE_URL": base + "/v1", "OPENAI_API_BASE": base + "/v1", "GOOGLE_GEMINI_BASE_URL": base,
	}
}

// baseArguments point a command at base that takes no variable for it: Codex (0.169) knows its configuration only. The
// command's own arguments come later and win.
func baseArguments(command, base string) []string {
	name := strings.ToLower(filepath.Base(command))
	if strings.TrimSuffix(name, filepath.Ext(name)) != "codex" {
		return nil
	}
	return []string{"-c", `openai_base_url="` + base + `/v1"`}
}

// childTelemetry are the variables that send a command's telemetry where the gateway's goes.
func childTelemetry(cfg *config.Config, env config.Lookup) (map[string]string, error) {
	tc, err := telemetryConfig(cfg, env)
	if err != nil {
		return nil, err
	}
	for _, e := range tc.Exporters {
		if e.Endpoint == "" || e.Protocol == telemetry.ProtocolConsole {
			continue
		}
		vars := map[string]string{
			// The last two: spans, and one trace of the agent's and ours.
			"CLAUDE_CODE_ENABLE_TELEMETRY": "1", "CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1", "CLAUDE_CODE_PROPAGATE_TRACEPARENT": "1",
			"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp",
			"OTEL_EXPORTER_OTLP_ENDPOINT": withScheme(e), "OTEL_EXPORTER_OTLP_PROTOCOL": spokenProtocol(e),
		}
		if e.Exact { // it is one signal's alone
			vars["OTEL_EXPORTER_OTLP_ENDPOINT"] = strings.TrimSuffix(vars["OTEL_EXPORTER_OTLP_ENDPOINT"], "/v1/"+string(e.Signals[0]))
		}
		var headers []string
		for _, name := range slices.Sorted(maps.Keys(e.Headers)) {
			headers = append(headers, name+"="+url.PathEscape(e.Headers[name]))
		}
		if headers != nil {
			vars["OTEL_EXPORTER_OTLP_HEADERS"] = strings.Join(headers, ",")
		}
		return vars, nil
	}
	return nil, errors.New("--telemetry: the gateway's telemetry goes nowhere; set telemetry.exporters or OTEL_EXPORTER_OTLP_ENDPOINT")
}

// withScheme is an exporter's end point as OTEL_EXPORTER_OTLP_ENDPOINT wants it.
func withScheme(e telemetry.Exporter) string {
	if strings.Contains(e.Endpoint, "://") {
		return e.Endpoint
	}
	if e.Insecure || config.Loopback(e.Endpoint) {
		return "http://" + e.Endpoint
	}
	return "https://" + e.Endpoint
}

// spokenProtocol is the value of OTEL_EXPORTER_OTLP_PROTOCOL.
func spokenProtocol(e telemetry.Exporter) string {
	switch {
	case e.Protocol == "http" || e.Protocol == telemetry.ProtocolHTTP:
		return telemetry.ProtocolHTTP
	case e.Protocol != "":
		return e.Protocol
	case strings.HasSuffix(strings.TrimRight(e.Endpoint, "/"), ":4318"):
		return telemetry.ProtocolHTTP
	}
	return telemetry.ProtocolGRPC
}
