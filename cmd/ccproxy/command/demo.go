package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ccproxy/ccproxy/telemetry"
)

// newDemoCommand is `ccproxy demo`.
func newDemoCommand() *cobra.Command {
	var (
		against     string
		loop        bool
		pause       time.Duration
		exit        bool
		printConfig bool
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play a short story of simulated traffic and show each request's trace",
		Long: `Starts a simulated provider and a gateway on loopback, plays a short story of requests through them, and prints for
each what happened and its trace. The gateway then stays up for your own requests until Ctrl-C.

Nothing of your configuration is read, nothing leaves this machine and nothing costs money. With
OTEL_EXPORTER_OTLP_ENDPOINT set, the same telemetry goes there too.`,
		Example: `  ccproxy demo
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 ccproxy demo

  # the parts by themselves:
  ccproxy simulate &
  ccproxy demo --print-config > demo.yaml
  ccproxy start --config demo.yaml &
  ccproxy demo --against http://127.0.0.1:4000 --loop`,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			s := newScreen(cmd.OutOrStdout())
			switch {
			case printConfig:
				_, err := io.WriteString(s.out, demoPlaces{demoListen, demoAdmin, simulatorAddr, "~/.ccproxy-demo"}.text())
				return err
			case against != "":
				return playAgainst(ctx, s, against, loop, pause)
			case loop:
				return usage(errors.New("--loop needs --against URL: the gateway to play against"))
			}
			return runDemo(ctx, s, demoOptions{exit: exit, log: demoLog(cmd.ErrOrStderr())})
		},
	}
	f := cmd.Flags()
	f.StringVar(&against, "against", "", "play the story against the gateway at this `URL`, configured as --print-config says; start nothing")
	f.BoolVar(&loop, "loop", false, "with --against: play the story again and again until Ctrl-C")
	f.DurationVar(&pause, "pause", 2*time.Second, "with --loop: about how long to wait between requests")
	f.BoolVar(&exit, "exit", false, "end after the story")
	f.BoolVar(&printConfig, "print-config", false, "print the demonstration's configuration and end")
	cmd.MarkFlagsMutuallyExclusive("against", "exit", "print-config")
	return cmd
}

// demoLog logs to w what a demonstration does not show by itself: exchanges that fail belong to the story.
func demoLog(w io.Writer) *slog.Logger {
	return slog.New(notExchanges{telemetry.NewLogHandler(w, newScreen(w).color, slog.LevelWarn)})
}

// notExchanges drops the log events of exchanges.
type notExchanges struct{ slog.Handler }

// Handle implements slog.Handler.
func (h notExchanges) Handle(ctx context.Context, r slog.Record) error {
	ofExchange := false
	r.Attrs(func(a slog.Attr) bool {
		ofExchange = a.Key == "event"
		return !ofExchange
	})
	if ofExchange {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// demoOptions are what runDemo needs besides a screen.
type demoOptions struct {
	exit   bool // end after the story
	log    *slog.Logger
	lookup func(string) (string, bool) // the environment; nil: the process's
	spans  []sdktrace.SpanProcessor    // further ones
}

// demonstration is a gateway before a simulated provider, both running.
type demonstration struct {
	simulator *simulator
	server    *server
	traces    *traceBuffer
	player    player
	dir       string // temporary
	stop      context.CancelFunc
	running   sync.WaitGroup
	failed    error // of serving; read after running
}

// runDemo starts everything, plays the story, stays up unless told to end, and leaves nothing behind.
func runDemo(ctx context.Context, s *screen, opt demoOptions) (err error) {
	d, err := startDemo(ctx, opt)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	d.printStart(s, opt)
	sum, err := d.tell(ctx, s)
	if ctx.Err() != nil {
		return nil // asked to end
	}
	if err != nil {
		return err
	}
	sum.print(s)
	if opt.exit {
		return nil
	}
	d.printExamples(s)
	d.stayUp(ctx, s)
	return nil
}

func startDemo(ctx context.Context, opt demoOptions) (d *demonstration, err error) {
	d = &demonstration{traces: newTraceBuffer()}
	ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.dir, err = os.MkdirTemp("", "ccproxy-demo-"); err != nil {
		return d, fmt.Errorf("make a temporary directory: %w", err)
	}
	listener, err := listenFrom(simulatorAddr)
	if err != nil {
		return d, err
	}
	d.simulator = startSimulator(listener)
	places := demoPlaces{simulator: d.simulator.address(), storage: filepath.Join(d.dir, "storage")}
	if places.listen, err = freeAddress(demoListen); err != nil {
		return d, err
	}
	if places.admin, err = freeAddress(demoAdmin, places.listen); err != nil {
		return d, err
	}
	cfg, err := places.load(d.dir)
	if err != nil {
		return d, err
	}
	d.server, err = newServer(ctx, cfg, serverOptions{SpanProcessors: append(opt.spans, d.traces), Log: opt.log, Lookup: opt.lookup})
	if err != nil {
		return d, err
	}
	d.running.Go(func() { d.failed = d.server.Serve(ctx) })
	d.player = player{base: d.server.DataURL(), client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	return d, nil
}

// close ends what runs and removes the temporary directory.
func (d *demonstration) close() error {
	if d.player.client != nil {
		d.player.client.CloseIdleConnections()
	}
	d.stop()
	d.running.Wait()
	errs := []error{d.failed}
	if d.simulator != nil {
		errs = append(errs, d.simulator.close())
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// tell plays the story and prints each request with its trace.
func (d *demonstration) tell(ctx context.Context, s *screen) (*summary, error) {
	sum := &summary{}
	for i, sc := range story() {
		r, err := d.player.play(ctx, sc)
		if err != nil {
			return sum, err
		}
		spans, err := d.trace(ctx, r)
		if err != nil {
			return sum, fmt.Errorf("%s: its trace did not come: %w", sc.title, err)
		}
		sum.add(spans)
		printScene(s, i+1, sc, r, spans)
		if err := sc.check(r); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// trace waits for the trace of a reply.
func (d *demonstration) trace(ctx context.Context, r demoReply) ([]treeSpan, error) {
	id := r.header.Get("X-CCProxy-Trace-Id")
	if id == "" {
		return nil, errors.New("the answer names none")
	}
	ctx, cancel := context.WithTimeout(ctx, sceneLimit)
	defer cancel()
	return d.traces.take(ctx, id)
}

// stayUp shows the traces of the user's own requests until ctx is done or the gateway ends.
func (d *demonstration) stayUp(ctx context.Context, s *screen) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() {
		defer cancel() // also when the admin port was asked to stop the gateway
		d.running.Wait()
	})
	for {
		spans, err := d.traces.take(ctx, "")
		if err != nil {
			break
		}
		fmt.Fprintf(s.out, "%s\n  %s\n\n%s\n", s.bold("Your request"), happened(spans), indent(renderTree(spans, s.width-2, s.color), "  "))
	}
	d.stop()
	d.server.Abort() // nobody waits for a demonstration to drain
	watch.Wait()
}

// playAgainst plays the story against a gateway that runs elsewhere.
func playAgainst(ctx context.Context, s *screen, base string, loop bool, pause time.Duration) error {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usage(fmt.Errorf("--against %q is no URL such as http://127.0.0.1:4000", base))
	}
	t := &http.Transport{DisableCompression: true, Proxy: http.ProxyFromEnvironment}
	defer t.CloseIdleConnections()
	p := &player{base: strings.TrimRight(base, "/"), client: &http.Client{Transport: t}}
	for {
		for i, sc := range story() {
			err := p.against(ctx, s, i+1, sc)
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, errRealProvider), err != nil && !loop:
				return err
			case err != nil:
				fmt.Fprintf(s.out, "%s\n", s.paint(styleBad, err.Error()))
			}
			if loop && !sleepAbout(ctx, pause) {
				return nil
			}
		}
		if !loop {
			return nil
		}
	}
}

// against plays one scene and prints a line.
func (p *player) against(ctx context.Context, s *screen, n int, sc scene) error {
	r, err := p.play(ctx, sc)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("no gateway answers at %s (%w); start one as `ccproxy demo --help` shows", p.base, dial.Err)
	}
	if err != nil {
		return err
	}
	printReply(s, n, sc, r)
	return sc.check(r)
}

// sleepAbout waits between half of d and one and a half times d, as people do; it reports whether to go on.
func sleepAbout(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d/2 + time.Duration(rand.Float64()*float64(d)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// portsTried is how far listenFrom and freeAddress look.
const portsTried = 200

// listenFrom listens on the first free port from address upward.
func listenFrom(address string, taken ...string) (net.Listener, error) {
	host, first, err := splitPort(address)
	if err != nil {
		return nil, err
	}
	for port := first; port < first+portsTried; port++ {
		at := net.JoinHostPort(host, fmt.Sprint(port))
		if slices.Contains(taken, at) {
			continue
		}
		var l net.Listener
		if l, err = net.Listen("tcp", at); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port from %d to %d: %w", first, first+portsTried-1, err)
}

// freeAddress is where listenFrom would listen. Another program may take it before it is used.
func freeAddress(address string, taken ...string) (string, error) {
	l, err := listenFrom(address, taken...)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
