package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// reloads counts reloads and remembers the last one.
type reloads struct {
	counter metric.Int64Counter

	mu      sync.Mutex
	at      time.Time // zero: there was none
	err     string    // "": it succeeded
	restart []string
}

func newReloads(mp metric.MeterProvider) (*reloads, error) {
	counter, err := mp.Meter(names.ScopeGateway).Int64Counter(names.MetricConfigReloads,
		metric.WithUnit("{reload}"), metric.WithDescription("Configuration reloads."))
	return &reloads{counter: counter}, err
}

func (r *reloads) record(restart []string, err error) {
	result := names.ConfigResultOK
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at, r.err, r.restart = time.Now().UTC(), "", restart
	if err != nil {
		r.err, result = err.Error(), names.ConfigResultError
	}
	r.counter.Add(context.Background(), 1, metric.WithAttributes(names.KeyConfigResult.String(result)))
}

// reloadStatus is the last reload, for status.
type reloadStatus struct {
	At      time.Time `json:"at"`
	Error   string    `json:"error,omitempty"`
	Restart []string  `json:"needs_restart,omitempty"`
}

func (r *reloads) status() *reloadStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() {
		return nil
	}
	return &reloadStatus{r.at, r.err, r.restart}
}

// Reload makes cfg the configuration of exchanges that begin from now on; those running keep theirs. On an error the old
// one stays. restart lists the keys whose change only a restart brings into force.
func (s *server) Reload(cfg *config.Config) (restart []string, err error) {
	s.reload.Lock()
	defer s.reload.Unlock()
	defer func() { s.reloads.record(restart, err) }()
	snapshot, err := s.wiring.snapshot(cfg)
	if err != nil {
		return nil, fmt.Errorf("reload: %w; the old configuration stays", err)
	}
	old := s.config.Load()
	if s.certificate != nil && cfg.Server.TLS.Cert != "" {
		if err := s.certificate.load(cfg.Server.TLS); err != nil {
			return nil, fmt.Errorf("reload: %w; the old configuration stays", err)
		}
	}
	if err := s.takeAccounts(cfg); err != nil {
		return nil, fmt.Errorf("reload: %w; the old configuration stays", err)
	}
	restart = needsRestart(old, cfg)
	s.gateway.Swap(snapshot)
	s.config.Store(cfg)
	s.log.Info("configuration reloaded", slog.String("version", snapshot.Version))
	for _, key := range restart {
		s.log.Warn("a change needs a restart", slog.String("key", key))
	}
	return restart, nil
}

// takeAccounts takes over keys and budgets, unless that would let in whoever reaches the port.
func (s *server) takeAccounts(cfg *config.Config) error {
	if err := checkOpen(cfg, s.dataListen.Addr().String(), s.accounts.anyKey(cfg)); err != nil {
		return err
	}
	return s.accounts.configure(context.Background(), cfg)
}

// errNoReload says that nobody told the server where its configuration comes from.
var errNoReload = errors.New("there is no configuration file to read")

// reloadFile reads the file anew and takes it over. What goes wrong is logged as well.
func (s *server) reloadFile() ([]string, error) {
	if s.opt.Load == nil {
		return nil, errNoReload
	}
	cfg, err := s.opt.Load()
	if err != nil {
		err = fmt.Errorf("reload: %w; the old configuration stays", err)
		s.reloads.record(nil, err)
		s.log.Error("configuration not reloaded", slog.String("error", err.Error()))
		return nil, err
	}
	restart, err := s.Reload(cfg)
	if err != nil {
		s.log.Error("configuration not reloaded", slog.String("error", err.Error()))
	}
	return restart, err
}

// needsRestart lists what differs between two configurations and is only read at start.
func needsRestart(old, now *config.Config) []string {
	var keys []string
	for _, c := range []struct {
		key      string
		old, now any
	}{
		{"server.listen", old.Server.Listen, now.Server.Listen},
		{"server.admin", old.Server.Admin, now.Server.Admin},
		{"server.admin_hosts", old.Server.AdminHosts, now.Server.AdminHosts},
		{"server.public_name", old.Server.PublicName, now.Server.PublicName},
		{"server.tls", old.Server.TLS.Cert != "", now.Server.TLS.Cert != ""},
		{"storage", old.Storage, now.Storage},
		{"timeouts.hold", old.Timeouts.Hold, now.Timeouts.Hold},
		{"ccproxy.debug", old.CCProxy.Debug, now.CCProxy.Debug},
		{"ccproxy.metrics_enabled", old.CCProxy.MetricsEnabled, now.CCProxy.MetricsEnabled},
		{"ccproxy.logging", old.CCProxy.Logging, now.CCProxy.Logging},
		{"telemetry.exporters", old.Telemetry.Exporters, now.Telemetry.Exporters},
		{"telemetry.sampling", old.Telemetry.Sampling, now.Telemetry.Sampling},
		{"telemetry.resource", old.Telemetry.Resource, now.Telemetry.Resource},
		{"telemetry.queue_bytes", old.Telemetry.QueueBytes, now.Telemetry.QueueBytes},
		{"telemetry.dimensions", old.Telemetry.Dimensions, now.Telemetry.Dimensions},
		{"telemetry.budget_subjects", old.Telemetry.BudgetSubjects, now.Telemetry.BudgetSubjects},
		{"telemetry.compat", old.Telemetry.Compat, now.Telemetry.Compat},
		{"limits.connections", old.Limits.Connections, now.Limits.Connections},
		{"limits.headers", old.Limits.Headers, now.Limits.Headers},
		{"limits.client_streams", old.Limits.ClientStreams, now.Limits.ClientStreams},
		{"timeouts.header_read", old.Timeouts.HeaderRead, now.Timeouts.HeaderRead},
		{"timeouts.keepalive_client", old.Timeouts.KeepaliveClient, now.Timeouts.KeepaliveClient},
	} {
		if !reflect.DeepEqual(c.old, c.now) {
			keys = append(keys, c.key)
		}
	}
	return keys
}

// oddities lists what is odd about a configuration that is valid: what is not served, what the router finds, and budgets
// that nothing may count towards.
func oddities(cfg *config.Config, s *gateway.Snapshot) []string {
	out := unserved(cfg)
	for _, b := range cfg.Budgets.List {
		if b.Scope == "model" && !strings.Contains(b.Match, "*") && knownModel(s, b.Match) == names.ErrorOther {
			out = append(out, fmt.Sprintf("budget %q: no target and no price is of a model %q; nothing may count towards it", b.Name, b.Match))
		}
	}
	for _, text := range s.Router.(*route.Router).Warnings() {
		// Labels without an entry are the loader's, which knows the line.
		if !strings.HasPrefix(text, "rule ") {
			out = append(out, text)
		}
	}
	return out
}

// unserved lists sections that are read and checked but not enforced by this version, where silence would be dangerous.
func unserved(cfg *config.Config) []string {
	var out []string
	for _, s := range []struct {
		given bool
		text  string
	}{
		{cfg.CCProxy.Logging.Moderation || len(cfg.Moderation.Backends) > 0, "moderation is not done by this version"},
		{cfg.Telemetry.Content != "none", "content is not captured by this version"},
	} {
		if s.given {
			out = append(out, s.text)
		}
	}
	return out
}
