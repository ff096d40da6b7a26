package command

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/telemetry"
)

// adminHandler serves the admin port. All but the booleans and the metrics wants the token of run.json.
func (s *server) adminHandler(cfg *config.Config, listen string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.telemetry.PrometheusHandler())
	mux.Handle("GET /api/status", s.authorized(s.serveStatus))
	mux.Handle("GET /api/config", s.authorized(s.serveConfig))
	mux.Handle("POST /api/reload", s.authorized(s.serveReload))
	mux.Handle("POST /api/stop", s.authorized(s.serveStop))
	for pattern, h := range s.accounts.routes() {
		mux.Handle(pattern, s.authorized(h))
	}
	s.registerConsole(mux)
	guarded := newGuard(mux, listen, append([]string{cfg.Server.PublicName}, cfg.Server.AdminHosts...)...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if !s.serveHealth(w, r) {
			guarded.ServeHTTP(w, r)
		}
	})
}

// secure sets the headers that keep a browser from doing more with an answer than show it.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func (s *server) authorized(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		// Hashes have one length, whatever was sent.
		got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.run.Token))
		if !ok || s.run.Token == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="ccproxy"`)
			refuse(w, http.StatusUnauthorized, "the token of run.json is needed")
			return
		}
		next(w, r)
	})
}

// serverStatus is what a running gateway says of itself.
type serverStatus struct {
	runInfo
	Draining  bool                       `json:"draining"`
	Active    int64                      `json:"active"`         // requests being served
	Snapshot  string                     `json:"config_version"` // of the configuration in force
	Hooks     []hookStatus               `json:"hooks"`
	Models    []modelStatus              `json:"model_list"`
	Exporters []telemetry.ExporterStatus `json:"exporters"`
	Reload    *reloadStatus              `json:"last_reload,omitempty"`
	Money     *moneyStatus               `json:"money,omitempty"`
}

func (s *server) status(ctx context.Context) serverStatus {
	cfg := s.config.Load()
	run := s.run
	run.Token = ""
	return serverStatus{
		runInfo: run, Draining: s.draining.Load(), Active: s.active.Load(), Snapshot: s.gateway.Snapshot().Version,
		Hooks: hookList(cfg), Models: modelList(cfg), Exporters: s.telemetry.Status(), Reload: s.reloads.status(),
		Money: s.accounts.status(ctx),
	}
}

func (s *server) serveStatus(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.status(r.Context()))
}

func (s *server) serveConfig(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(s.config.Load().Masked()) // a client that left is no matter
}

func (s *server) serveReload(w http.ResponseWriter, _ *http.Request) {
	restart, err := s.reloadFile()
	if err != nil {
		writeJSON(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error()})
		return
	}
	if restart == nil {
		restart = []string{}
	}
	writeJSON(w, http.StatusOK, map[string]any{"config_version": s.gateway.Snapshot().Version, "needs_restart": restart})
}

func (s *server) serveStop(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusAccepted, map[string]bool{"stopping": true})
	s.stop()
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that left is no matter
}

// hookStatus is a hook as configured.
type hookStatus struct {
	Hook    string         `json:"hook" yaml:"hook"`
	Params  map[string]any `json:"params,omitempty" yaml:"params"` // secrets as ***
	OnError string         `json:"on_error,omitempty" yaml:"on_error"`
}

// hookList reads the hooks back from the printed configuration, which alone knows what in their parameters is secret.
func hookList(cfg *config.Config) []hookStatus {
	var printed struct {
		CCProxy struct {
			Hooks []hookStatus `yaml:"hooks"`
		} `yaml:"ccproxy"`
	}
	printed.CCProxy.Hooks = []hookStatus{}
	if err := yaml.Unmarshal(cfg.Masked(), &printed); err != nil {
		printed.CCProxy.Hooks = []hookStatus{}
		for _, h := range cfg.CCProxy.Hooks {
			printed.CCProxy.Hooks = append(printed.CCProxy.Hooks, hookStatus{Hook: h.Name, OnError: h.OnError})
		}
	}
	return printed.CCProxy.Hooks
}

// modelStatus is one target of an entry of models, in the shape of LiteLLM's model_list.
type modelStatus struct {
	Name   string `json:"model_name"`
	Params struct {
		Model   string `json:"model"`
		APIBase string `json:"api_base"`
	} `json:"litellm_params"`
}

func modelList(cfg *config.Config) []modelStatus {
	out := []modelStatus{}
	for _, m := range cfg.Models {
		for _, t := range m.Targets {
			s := modelStatus{Name: m.Name}
			p, _ := cfg.Provider(t.Provider) // targets are resolved when the file is loaded
			s.Params.Model, s.Params.APIBase = t.String(), p.BaseURL
			out = append(out, s)
		}
	}
	return out
}
