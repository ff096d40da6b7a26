package command

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/telemetry"
)

// startFlags are those of start and restart.
type startFlags struct {
	detach        bool
	listen, admin string
}

func (f *startFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.detach, "detach", "d", false, "run in the background and log to ccproxy.log")
	cmd.Flags().StringVar(&f.listen, "listen", "", "`address` for clients, in place of server.listen")
	cmd.Flags().StringVar(&f.admin, "admin", "", "`address` for metrics and commands, in place of server.admin; \"off\" for none")
}

func startCommand(a *app) *cobra.Command {
	var f startFlags
	cmd := &cobra.Command{
		Use: "start", Short: "Start the gateway", Args: noArgs,
		Long: "Start the gateway. Without a configuration file it listens on 127.0.0.1:4000 and passes clients' own credentials on\n" +
			"to the provider their path implies. SIGHUP, or a change of the file, takes over a new configuration.",
		RunE: func(cmd *cobra.Command, _ []string) error { return a.start(cmd.Context(), f) },
	}
	f.add(cmd)
	return cmd
}

func (a *app) start(ctx context.Context, f startFlags) error {
	cfg, path, warnings, err := a.load()
	if err != nil {
		return err
	}
	if f.detach {
		return a.startDetached(ctx, cfg, f)
	}
	return a.serve(ctx, cfg, path, warnings, f)
}

// gcPercent lets the heap grow more between collections than Go's default of
// 100: the live heap of a gateway is a few MiB, and each exchange leaves tens of
// KiB of garbage. GOGC and GOMEMLIMIT of the environment win.
const gcPercent = 400

// serve runs the gateway in this process until a signal ends it.
func (a *app) serve(ctx context.Context, cfg *config.Config, path string, warnings []config.Warning, f startFlags) (err error) {
	defer ignoreBrokenPipe()()
	if _, set := a.env("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, append(endSignals, reloadSignals...)...)
	defer signal.Stop(signals)

	screen, people := a.err, terminal(a.err)
	if people && !a.colour(a.err) {
		screen = plainWriter{a.err}
	}
	w := telemetry.NewLogWriter(screen)
	defer func() {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = w.Close(cctx) // a log that cannot be written has nowhere to say so
	}()
	level := slog.LevelInfo
	if cfg.CCProxy.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(telemetry.NewLogHandler(w, people, level))
	for _, warning := range warnings {
		log.Warn("configuration", slog.String("warning", warning.String()))
	}
	opt := serverOptions{
		Log: log, Console: a.out, DataAddr: f.listen, AdminAddr: f.admin, Hooks: a.custom, Lookup: a.env, Path: path,
		Load: func() (*config.Config, error) { return a.reread(path) },
	}
	if people {
		opt.Terminal = screen
	}
	s, err := newServer(ctx, cfg, opt)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(a.out, "ccproxy listens on %s; point a client at it: %s\n", s.DataURL(), clientLine(s.DataURL())) // D-04: nobody may read it
	return a.attend(ctx, s, path, signals)
}

// clientLine is the shell command that points a client here.
func clientLine(url string) string { return "ANTHROPIC_BASE_URL=" + url + " claude" }

// attend serves, and obeys signals and changes of the file, until the end. Its exit code is 130 after Ctrl-C.
func (a *app) attend(ctx context.Context, s *server, path string, signals <-chan os.Signal) error {
	sctx, end := context.WithCancel(ctx)
	defer end()
	var all sync.WaitGroup
	defer all.Wait()
	served := make(chan error, 1)
	wctx, unwatch := context.WithCancel(ctx)
	defer unwatch()
	if path != "" {
		if w, err := newWatcher(s, path); err != nil {
			s.log.Warn("changes of the configuration are not seen", slog.String("error", err.Error()))
		} else {
			all.Go(func() { w.run(wctx) })
		}
	}
	all.Go(func() { served <- s.Serve(sctx) })

	interrupted, ending := false, false
	for {
		select {
		case err := <-served:
			if err == nil && interrupted {
				return &exitError{code: 130}
			}
			return err
		case sig := <-signals:
			switch {
			case !slices.Contains(endSignals, sig):
				_, _ = s.reloadFile() // which logs it
			case ending:
				s.Abort()
			default:
				ending, interrupted = true, sig == os.Interrupt
				end()
			}
		}
	}
}

// reread reads the file for a reload. What the running gateway could not read safely is an error.
func (a *app) reread(path string) (*config.Config, error) {
	found, err := a.find()
	if err != nil {
		return nil, err
	}
	if path != "" && found == "" {
		return nil, fmt.Errorf("%s is gone", path)
	}
	if found != "" {
		info, err := os.Stat(found)
		if err != nil {
			return nil, err
		}
		if info.Size() == 0 {
			return nil, fmt.Errorf("%s is empty: it is being written, or lost", found)
		}
	}
	cfg, _, err := a.loadFile(found)
	return cfg, err
}
