package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// traceCommand is `ccproxy trace`.
func traceCommand(a *app) *cobra.Command {
	var asJSON, asOTLP bool
	cmd := &cobra.Command{
		Use: "trace ID", Short: "Show the trace of a recent request as a tree",
		Long: `ID is a request's, a trace's or a span's, or the first eight characters or more of one: what X-CCProxy-Request-Id,
X-CCProxy-Trace-Id and the log say. Recent traces are kept in the storage directory, also while no gateway runs.`,
		Example: "  ccproxy trace 01920f3a-7c2e-7b1d-9f3a-1c2d3e4f5a6b\n  ccproxy trace 4bf92f35 --otlp > trace.json",
		Args:    func(cmd *cobra.Command, args []string) error { return usage(cobra.ExactArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withTraces(cmd.Context(), func(c *api) error {
				path := "/api/requests/" + url.PathEscape(args[0])
				switch {
				case asOTLP:
					return copyAnswer(cmd.Context(), c, path+"/otlp", a.out)
				case asJSON:
					return copyAnswer(cmd.Context(), c, path, a.out)
				}
				return showTrace(cmd.Context(), c, path, newScreen(a.out))
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what the console shows, as JSON")
	cmd.Flags().BoolVar(&asOTLP, "otlp", false, "print the trace as OTLP in JSON, for other tools")
	cmd.MarkFlagsMutuallyExclusive("json", "otlp")
	return cmd
}

// withTraces calls do with the API of the running gateway, or of the recent traces while none runs.
func (a *app) withTraces(ctx context.Context, do func(*api) error) (err error) {
	dir := a.storageDir()
	var c *api
	run, err := running(dir)
	switch {
	case err == nil:
		c, err = remoteAPI(run)
	case errors.Is(err, errNotRunning):
		c, err = a.openTracesLocal(ctx, dir)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return do(c)
}

func joinErrors(err error, closers ...func() error) error {
	for _, end := range closers {
		err = errors.Join(err, end())
	}
	return err
}

func copyAnswer(ctx context.Context, c *api, path string, out io.Writer) (err error) {
	body, err := c.open(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if _, err := io.Copy(out, body); err != nil {
		return fmt.Errorf("read the gateway's answer to %s: %w", path, err)
	}
	_, err = fmt.Fprintln(out)
	return err
}

// showTrace prints the tree of each exchange, and what happened in words.
func showTrace(ctx context.Context, c *api, path string, s *screen) error {
	var told struct {
		Exchanges []struct {
			Story struct {
				Decision []string `json:"decision"`
			} `json:"story"`
		} `json:"exchanges"`
	}
	if err := c.ask(ctx, http.MethodGet, path, nil, nil, &told); err != nil {
		return err
	}
	var traces otlpJSON
	if err := c.ask(ctx, http.MethodGet, path+"/otlp", nil, nil, &traces); err != nil {
		return err
	}
	spans, err := traces.spans()
	if err != nil {
		return fmt.Errorf("read the gateway's answer to %s: %w", path, err)
	}
	if _, err := io.WriteString(s.out, renderTree(spans, s.width, s.color)+"\n"); err != nil {
		return err
	}
	for _, x := range told.Exchanges {
		for _, sentence := range x.Story.Decision {
			if _, err := fmt.Fprintln(s.out, plain(sentence)); err != nil {
				return err
			}
		}
	}
	return nil
}

// otlpJSON is OTLP in JSON, as far as a tree shows it.
type otlpJSON struct {
	ResourceSpans []struct {
		ScopeSpans []struct {
			Spans []otlpJSONSpan `json:"spans"`
		} `json:"scopeSpans"`
	} `json:"resourceSpans"`
}

type otlpJSONSpan struct {
	ID         string         `json:"spanId"`
	Parent     string         `json:"parentSpanId"`
	Name       string         `json:"name"`
	Kind       int            `json:"kind"`
	Start      int64          `json:"startTimeUnixNano,string"`
	End        int64          `json:"endTimeUnixNano,string"`
	Attributes []otlpJSONPair `json:"attributes"`
	Events     []struct {
		Name       string         `json:"name"`
		Attributes []otlpJSONPair `json:"attributes"`
	} `json:"events"`
	Links []struct {
		ID string `json:"spanId"`
	} `json:"links"`
	Status struct {
		Code int `json:"code"`
	} `json:"status"`
}

type otlpJSONPair struct {
	Key   attribute.Key `json:"key"`
	Value struct {
		String *string  `json:"stringValue"`
		Bool   *bool    `json:"boolValue"`
		Int    *string  `json:"intValue"`
		Double *float64 `json:"doubleValue"`
		Array  *struct {
			Values []struct {
				String string `json:"stringValue"`
			} `json:"values"`
		} `json:"arrayValue"`
	} `json:"value"`
}

func (p *otlpJSONPair) keyValue() (attribute.KeyValue, error) {
	v := &p.Value
	switch {
	case v.String != nil:
		return p.Key.String(*v.String), nil
	case v.Bool != nil:
		return p.Key.Bool(*v.Bool), nil
	case v.Int != nil:
		n, err := strconv.ParseInt(*v.Int, 10, 64)
		return p.Key.Int64(n), err
	case v.Double != nil:
		return p.Key.Float64(*v.Double), nil
	case v.Array != nil:
		list := make([]string, 0, len(v.Array.Values))
		for _, item := range v.Array.Values {
			list = append(list, item.String)
		}
		return p.Key.StringSlice(list), nil
	}
	return attribute.KeyValue{Key: p.Key}, nil
}

func keyValues(pairs []otlpJSONPair) ([]attribute.KeyValue, error) {
	out := make([]attribute.KeyValue, 0, len(pairs))
	for i := range pairs {
		kv, err := pairs[i].keyValue()
		if err != nil {
			return nil, err
		}
		out = append(out, kv)
	}
	return out, nil
}

func (o *otlpJSON) spans() ([]treeSpan, error) {
	var out []treeSpan
	for _, r := range o.ResourceSpans {
		for _, scope := range r.ScopeSpans {
			for i := range scope.Spans {
				s, err := scope.Spans[i].tree()
				if err != nil {
					return nil, err
				}
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func (s *otlpJSONSpan) tree() (treeSpan, error) {
	out := treeSpan{
		ID: s.ID, Parent: s.Parent, Name: s.Name, Kind: trace.SpanKind(s.Kind), Start: time.Unix(0, s.Start), End: time.Unix(0, s.End),
		Error: s.Status.Code == 2, Attributes: map[attribute.Key]attribute.Value{},
	}
	attrs, err := keyValues(s.Attributes)
	if err != nil {
		return out, err
	}
	for _, kv := range attrs {
		out.Attributes[kv.Key] = kv.Value
	}
	for _, l := range s.Links {
		out.Links = append(out.Links, l.ID)
	}
	for _, e := range s.Events {
		if e.Name != names.SpanEventBudgetAlert {
			continue
		}
		attrs, err := keyValues(e.Attributes)
		if err != nil {
			return out, err
		}
		out.Alerts = append(out.Alerts, alertWords(attrs))
	}
	return out, nil
}

// openCommand is `ccproxy open`.
func openCommand(a *app) *cobra.Command {
	var printOnly bool
	cmd := &cobra.Command{
		Use: "open", Short: "Open the console in a browser",
		Long: `Opens the page that shows recent requests, their traces, what they cost, and how the gateway fares. The address it
opens works once, within five minutes.`,
		Example: "  ccproxy open\n  ccproxy open --print",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			run, err := running(a.storageDir())
			if err != nil {
				return err
			}
			c, err := remoteAPI(run)
			if err != nil {
				return err
			}
			var answer struct {
				Path string `json:"path"`
			}
			if err := c.ask(cmd.Context(), http.MethodPost, "/api/console", nil, nil, &answer); err != nil {
				return errors.Join(err, c.close())
			}
			address := run.Admin + answer.Path
			if !printOnly && openBrowser(cmd.Context(), address) == nil {
				_, err = fmt.Fprintln(a.out, "opened", run.Admin)
			} else {
				_, err = fmt.Fprintln(a.out, address)
			}
			return errors.Join(err, c.close())
		},
	}
	cmd.Flags().BoolVar(&printOnly, "print", false, "print the address instead; it opens the console once")
	return cmd
}

// openBrowser asks the desktop to open an address of ours.
func openBrowser(ctx context.Context, address string) error {
	name, args := "xdg-open", []string{address}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", address}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return exec.CommandContext(ctx, name, args...).Run()
}
