package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/net/netutil"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/dashboards/console"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/route"
	"github.com/ccproxy/ccproxy/hooks"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

// serverOptions are what a server needs besides its configuration. The zero value is right for `ccproxy start`, but for
// Log.
type serverOptions struct {
	// SpanProcessors see every span.
	SpanProcessors []sdktrace.SpanProcessor
	// Log takes one line an exchange and what the server has to say; nil: nothing is logged.
	Log *slog.Logger
	// Console is where console exporters write; nil: nowhere. Terminal is where routing panels go under debug: true; nil:
	// nowhere.
	Console, Terminal io.Writer
	// Storage, DataAddr and AdminAddr override the configuration. AdminAddr "off" is no admin port.
	Storage, DataAddr, AdminAddr string
	// Hooks are constructors of hooks besides the built-in ones.
	Hooks map[string]hooks.Constructor
	// Lookup is the environment; nil: the process's.
	Lookup config.Lookup
	// Path is the configuration file, for run.json and status; "": there is none.
	Path string
	// Load reads the configuration anew, for reloads; nil: the admin port's reload is refused.
	Load func() (*config.Config, error)
}

// server is a gateway with its listeners and telemetry. Its methods may be called concurrently.
type server struct {
	opt       serverOptions
	log       *slog.Logger
	wiring    *wiring
	telemetry *telemetry.Telemetry
	gateway   *gateway.Gateway
	storage   *storage
	accounts  *accounts
	traces    *store.Store        // recent ones; nil: there is no admin port to show them
	console   *console.Console    // the same
	gauges    metric.Registration // of budgets; nil: there are none yet
	targets   metric.Registration // of targets' circuits; nil: the same
	run       runInfo
	reloads   *reloads

	data, admin           *http.Server // admin is nil when it is off
	dataListen, adminPort net.Listener
	certificate           *certificate // nil: plain HTTP

	config   atomic.Pointer[config.Config]
	reload   sync.Mutex // one reload at a time
	draining atomic.Bool
	ending   time.Time    // when draining began; only the goroutine that drains reads it
	active   atomic.Int64 // requests being served on the data port
	stop     context.CancelFunc
	stopped  context.Context // done when the admin port was asked to stop
	hasten   context.CancelFunc
	hurry    context.Context // done when the drain is to end at once
}

// newServer makes a server and binds its ports; port 0 takes any. It serves once Serve is called, and every error leaves
// nothing behind.
func newServer(ctx context.Context, cfg *config.Config, opt serverOptions) (*server, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Lookup == nil {
		opt.Lookup = os.LookupEnv
	}
	listen, adminListen := orElse(opt.DataAddr, cfg.Server.Listen), orElse(opt.AdminAddr, cfg.Server.Admin)
	s := &server{opt: opt, log: opt.Log, wiring: newWiring(opt.Hooks, opt.Log)}
	s.config.Store(cfg)
	s.stopped, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.hurry, s.hasten = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.start(ctx, cfg, listen, adminListen); err != nil {
		return nil, errors.Join(err, s.release(ctx))
	}
	s.warn(cfg, listen)
	return s, nil
}

func orElse(v, otherwise string) string {
	if v != "" {
		return v
	}
	return otherwise
}

// checkOpen refuses an address other machines reach unless callers need a key, or the configuration says that they do not.
func checkOpen(cfg *config.Config, listen string, keys bool) error {
	if config.Loopback(listen) || cfg.Server.Open || keys {
		return nil
	}
	return fmt.Errorf("%s can be reached from other machines, and callers would need no key: make one with `ccproxy keys create NAME`, listen on 127.0.0.1, or set server.open: true to allow it", listen)
}

func (s *server) start(ctx context.Context, cfg *config.Config, listen, adminListen string) error {
	snapshot, err := s.wiring.snapshot(cfg)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	tc, err := telemetryConfig(cfg, s.opt.Lookup)
	if err != nil {
		return err
	}
	if s.storage, err = openStorage(orElse(s.opt.Storage, cfg.Storage.Path)); err != nil {
		return err
	}
	pepper, err := s.storage.pepper()
	if err != nil {
		return err
	}
	allowed := func(keys bool) error { return checkOpen(cfg, listen, keys) }
	if s.accounts, err = openAccounts(ctx, s.storage, cfg, allowed, s.log); err != nil {
		return err
	}
	s.wiring.attach(s.accounts, snapshot)
	if err := s.openConsole(ctx, cfg, adminListen); err != nil {
		return err
	}
	if s.telemetry, err = telemetry.Start(ctx, withPlumbing(tc, s.spanProcessors(), s.log, s.opt.Console)); err != nil {
		return err
	}
	if s.reloads, err = newReloads(s.telemetry.MeterProvider()); err != nil {
		return err
	}
	recorder, err := s.recorder(cfg)
	if err != nil {
		return err
	}
	s.wiring.recorder = recorder
	s.gateway, err = gateway.New(gateway.Config{
		Routes: routes(), Snapshot: snapshot, TracerProvider: s.telemetry.TracerProvider(), Recorder: recorder,
		ServerName: cfg.Server.PublicName, UserKey: pepper, Log: s.log,
	})
	if err != nil {
		return err
	}
	s.accounts.onAlert(s.alertTo(recorder.BudgetAlert))
	if s.gauges, err = telemetry.RegisterBudgets(s.telemetry.MeterProvider(), telemetry.BudgetGauges{
		Statuses: s.accounts.ledger.Statuses, Subjects: cfg.Telemetry.BudgetSubjects,
		KnownModel: func(model string) string { return knownModel(s.gateway.Snapshot(), model) },
	}); err != nil {
		return err
	}
	if s.targets, err = telemetry.RegisterTargets(s.telemetry.MeterProvider(), s.circuits); err != nil {
		return err
	}
	if err := s.listen(ctx, cfg, listen, adminListen); err != nil {
		return err
	}
	s.run = runInfo{PID: os.Getpid(), URL: s.DataURL(), Admin: s.AdminURL(), Config: s.opt.Path, Version: buildVersion().Version, Started: time.Now().UTC()}
	if s.admin != nil {
		s.run.Token = newToken()
	}
	return s.storage.publish(s.run)
}

// circuits yields the state of the targets of the configuration in force.
func (s *server) circuits(yield func(string, route.State) bool) {
	s.gateway.Snapshot().Router.(*route.Router).States()(yield)
}

func (s *server) recorder(cfg *config.Config) (*telemetry.Recorder, error) {
	l := cfg.CCProxy.Logging
	return telemetry.NewRecorder(telemetry.RecorderConfig{
		MeterProvider: s.telemetry.MeterProvider(), LoggerProvider: s.telemetry.LoggerProvider(), Log: s.log, Keep: s.telemetry.Keep,
		KnownModel: func(model string) string { return knownModel(s.gateway.Snapshot(), model) },
		Compat:     cfg.Telemetry.Compat, UserID: func(x *gateway.Exchange) string { return s.gateway.UserID(x) },
		BudgetUser: func(id string) string {
			return s.gateway.UserID(&gateway.Exchange{Caller: gateway.Caller{User: id}, Snapshot: s.gateway.Snapshot()})
		},
		Dimensions: cfg.Telemetry.Dimensions,
		PreAPICall: l.PreAPICall, PostAPICall: l.PostAPICall, RoutingAnalysis: l.RoutingAnalysis,
		Debug: cfg.CCProxy.Debug, Terminal: s.opt.Terminal,
	})
}

func (s *server) listen(ctx context.Context, cfg *config.Config, listen, adminListen string) (err error) {
	if s.dataListen, err = bind(ctx, listen, "server.listen"); err != nil {
		return err
	}
	s.data = s.httpServer(cfg, s.dataHandler(cfg, listen))
	if cfg.Server.TLS.Cert != "" {
		if s.certificate, err = newCertificate(cfg.Server.TLS); err != nil {
			return err
		}
		s.data.TLSConfig = s.certificate.config()
	}
	if adminListen == "off" {
		return nil
	}
	if s.adminPort, err = bind(ctx, adminListen, "server.admin"); err != nil {
		return err
	}
	s.admin = s.httpServer(cfg, s.adminHandler(cfg, adminListen))
	s.admin.ReadTimeout = time.Minute
	return nil
}

// bind listens on address, which key of the configuration gave.
func bind(ctx context.Context, address, key string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	// Windows has a number of its own for it.
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.Errno(10048)) {
		return nil, fmt.Errorf("cannot listen on %s: the port is in use; end what uses it, or choose another with %s", address, key)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen (%s): %w", key, err)
	}
	return l, nil
}

func (s *server) httpServer(cfg *config.Config, h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: cfg.Timeouts.HeaderRead, IdleTimeout: cfg.Timeouts.KeepaliveClient, MaxHeaderBytes: int(cfg.Limits.Headers),
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: cfg.Limits.ClientStreams},
		ErrorLog: log.New(serverLog{s.log}, "", 0),
	}
}

// serverLog takes what net/http has to say: panics are ours, the rest is broken clients.
type serverLog struct{ log *slog.Logger }

// Write implements io.Writer.
func (l serverLog) Write(p []byte) (int, error) {
	text := strings.TrimSpace(string(p))
	if strings.HasPrefix(text, "http: panic") {
		l.log.Error("panic while serving", slog.String("panic", text))
	} else {
		l.log.Debug("connection", slog.String("error", text))
	}
	return len(p), nil
}

// dataHandler serves clients: exchanges, and nothing of the admin port's but the two booleans.
func (s *server) dataHandler(cfg *config.Config, listen string) http.Handler {
	guarded := newGuard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.active.Add(1)
		defer s.active.Add(-1)
		s.gateway.ServeHTTP(w, r)
	}), listen, cfg.Server.PublicName)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.serveHealth(w, r) {
			guarded.ServeHTTP(w, r)
		}
	})
}

// serveHealth answers /healthz and /readyz with a boolean and reports whether r asked for one.
func (s *server) serveHealth(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
		return false
	}
	ok := !s.draining.Load()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = fmt.Fprintln(w, ok) // a client that left is no matter
	return true
}

// warn says at start what the configuration asks for and deserves a second look.
func (s *server) warn(cfg *config.Config, listen string) {
	if !config.Loopback(listen) && cfg.Server.Open {
		s.log.Warn("callers without a key are allowed from other machines", slog.String("address", listen))
	}
	if s.adminPort != nil && !config.Loopback(s.adminPort.Addr().String()) {
		s.log.Warn("other machines can reach the admin port: metrics are open, the rest wants the token", slog.String("address", s.adminPort.Addr().String()))
	}
	for _, text := range append(oddities(cfg, s.gateway.Snapshot()), s.accounts.oddities(cfg)...) {
		s.log.Warn("configuration", slog.String("warning", text))
	}
}

// DataURL is where clients reach the gateway from this machine.
func (s *server) DataURL() string {
	scheme := "http"
	if s.certificate != nil {
		scheme = "https"
	}
	return scheme + "://" + reachable(s.dataListen.Addr())
}

// AdminURL is the base URL of the admin port; "" when it is off.
func (s *server) AdminURL() string {
	if s.adminPort == nil {
		return ""
	}
	return "http://" + reachable(s.adminPort.Addr())
}

// reachable is the address to dial for a listener's: one on every address is reached on the loopback one.
func reachable(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return a.String()
	}
	return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
}

// Serve serves until ctx is done or the admin port is asked to stop. Then it drains: /readyz says no, no connection is
// accepted, exchanges have timeouts.drain to end (see Abort), and telemetry timeouts.telemetry_flush to leave. The error
// is one of serving, not of requests.
func (s *server) Serve(ctx context.Context) error {
	failed := make(chan error, 2)
	var all sync.WaitGroup
	all.Go(func() {
		l := netutil.LimitListener(s.dataListen, s.config.Load().Limits.Connections)
		if s.certificate != nil {
			failed <- s.data.ServeTLS(l, "", "")
			return
		}
		failed <- s.data.Serve(l)
	})
	if s.admin != nil {
		all.Go(func() { failed <- s.admin.Serve(s.adminPort) })
	}
	var err error
	select {
	case <-ctx.Done():
	case <-s.stopped.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	err = errors.Join(err, s.drain(context.WithoutCancel(ctx)))
	all.Wait()
	return err
}

// Abort ends a drain at once: what still runs is cut off, and recorded.
func (s *server) Abort() { s.hasten() }

// Close gives back what newServer took, of a server that never served.
func (s *server) Close() error {
	s.hasten()
	return s.drain(context.Background())
}

// left is how long the end may still take: timeouts.exit from its beginning, but a second at least.
func (s *server) left() time.Duration {
	exit := s.config.Load().Timeouts.Exit
	if s.ending.IsZero() {
		return exit
	}
	return max(time.Second, exit-time.Since(s.ending))
}

func (s *server) drain(ctx context.Context) error {
	s.draining.Store(true)
	s.ending = time.Now()
	t := s.config.Load().Timeouts
	dctx, cancel := context.WithTimeout(ctx, t.Drain)
	defer cancel()
	defer context.AfterFunc(s.hurry, cancel)()
	s.log.Info("draining", slog.String("at_most", t.Drain.String()))
	if err := s.data.Shutdown(dctx); err != nil {
		// Closing the connections cancels what runs; a moment later it is recorded.
		_ = s.data.Close() // its listener is closed already
		s.log.Warn("exchanges were cut off", slog.Bool("asked", s.hurry.Err() != nil))
		s.settle(time.Second)
	}
	return s.release(ctx)
}

// settle waits until nothing is being served, but no longer than atMost.
func (s *server) settle(atMost time.Duration) {
	end := time.After(atMost)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.active.Load() > 0 {
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// release gives back everything a server has taken so far.
func (s *server) release(ctx context.Context) error {
	var errs []error
	flush := s.config.Load().Timeouts.TelemetryFlush
	if s.telemetry != nil {
		if s.hurry.Err() != nil {
			flush = min(flush, time.Second)
		}
		fctx, cancel := context.WithTimeout(ctx, flush)
		defer cancel()
		var lost *telemetry.LostError
		if err := s.telemetry.Shutdown(fctx); errors.As(err, &lost) {
			s.log.Warn("telemetry was lost at shutdown", slog.String("error", lost.Error()))
		} else if err != nil {
			s.log.Warn("telemetry did not shut down well", slog.String("error", err.Error()))
		}
	}
	if s.admin != nil {
		errs = append(errs, s.admin.Close())
	}
	for _, l := range []net.Listener{s.dataListen, s.adminPort} {
		if l != nil {
			_ = l.Close() // closed already once it has served
		}
	}
	errs = append(errs, s.closeConsole())
	s.wiring.close()
	for _, r := range []metric.Registration{s.gauges, s.targets} {
		if r != nil {
			errs = append(errs, r.Unregister())
		}
	}
	if s.accounts != nil {
		actx, cancel := context.WithTimeout(ctx, s.left())
		defer cancel()
		errs = append(errs, s.accounts.close(actx))
	}
	if s.storage != nil {
		errs = append(errs, s.storage.close())
	}
	s.stop()
	s.hasten()
	return errors.Join(errs...)
}
