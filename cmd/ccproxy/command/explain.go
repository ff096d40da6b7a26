package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
)

func explainCommand(a *app) *cobra.Command {
	var path string
	var headers []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "explain [FILE|-]", Short: "Say how a request would be routed, and why; nothing is sent",
		Long:    "Reads a request body from FILE, or from standard input, and says which rules match it, its label and its targets.",
		Example: "  echo '{\"model\":\"claude-haiku-4-5\",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}' | ccproxy explain -",
		Args:    func(cmd *cobra.Command, args []string) error { return usage(cobra.MaximumNArgs(1)(cmd, args)) },
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := a.explainBody(args)
			if err != nil {
				return err
			}
			e, err := a.explain(cmd.Context(), path, headers, body)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(a.out)
				enc.SetIndent("", "  ")
				err = enc.Encode(e)
			} else {
				_, err = io.WriteString(a.out, e.String())
			}
			if err == nil && e.Error != "" {
				return &exitError{code: 1}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&path, "path", "/v1/messages", "`path` the request would be sent to")
	cmd.Flags().StringArrayVar(&headers, "header", nil, "request `header`, as name:value; may be given again")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) explainBody(args []string) ([]byte, error) {
	in := a.in
	if len(args) == 1 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, fmt.Errorf("read request: %w", err)
		}
		defer f.Close()
		in = f
	}
	const most = 256 << 20
	body, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return body, nil
}

// explain decodes body as the gateway would and asks the router.
func (a *app) explain(ctx context.Context, path string, headers []string, body []byte) (route.Explanation, error) {
	var none route.Explanation
	cfg, _, _, err := a.load()
	if err != nil {
		return none, err
	}
	snapshot, err := newWiring(a.custom, slog.New(slog.DiscardHandler)).snapshot(cfg)
	if err != nil {
		return none, fmt.Errorf("configuration: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1"+path, nil)
	if err != nil {
		return none, usage(fmt.Errorf("--path: %w", err))
	}
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = "127.0.0.1:0" // whoever explains is on this machine
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return none, usage(fmt.Errorf("--header %q: want name:value", h))
		}
		r.Header.Add(name, strings.TrimSpace(value))
	}
	dialect := dialectOf(r.URL.Path)
	if dialect == nil {
		return none, fmt.Errorf("no dialect is served at %s; try /v1/messages, /v1/chat/completions, /v1/responses or /v1beta/models/MODEL:generateContent", r.URL.Path)
	}
	x, err := gateway.Inspect(r, dialect, body, snapshot)
	if err != nil {
		var refused *gateway.Error
		if errors.As(err, &refused) {
			err = errors.New(refused.Message)
		}
		return none, fmt.Errorf("the gateway would refuse it: %w", err)
	}
	return snapshot.Router.(*route.Router).Explain(ctx, x), nil
}

// dialectOf returns the dialect served at path; nil: none.
func dialectOf(path string) gateway.Dialect {
	for _, s := range routes() {
		if path == s.Path {
			return s.Dialect
		}
		if !strings.HasSuffix(s.Path, "/") || !strings.HasPrefix(path, s.Path) {
			continue
		}
		for _, action := range s.Actions {
			if strings.HasSuffix(path, ":"+action) {
				return s.Dialect
			}
		}
	}
	return nil
}
