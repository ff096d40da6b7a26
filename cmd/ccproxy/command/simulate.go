package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

// newSimulateCommand is `ccproxy simulate`.
func newSimulateCommand() *cobra.Command {
	var listen string
	var open bool
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Run the simulated provider alone: Anthropic, OpenAI and Gemini APIs that answer without a model",
		Long: `Runs a simulated provider that speaks the Anthropic, OpenAI and Gemini APIs. There is no model behind it: it repeats
what it was asked, in the form the vendor's API has, and any credential is good. Point a gateway or an SDK at it.

Failures are asked for in the model's name (simulate-429) or in the header X-Simulate ("status=529", "delay=2s",
"event_delay=50ms", "reset_after=3", "context_length", …).`,
		Example: `  ccproxy simulate
  ccproxy simulate --listen 127.0.0.1:9000`,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runSimulator(ctx, newScreen(cmd.OutOrStdout()), listen, open)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", simulatorAddr, "where to listen, `host:port`")
	cmd.Flags().BoolVar(&open, "open", false, "allow an address other machines can reach")
	return cmd
}

func runSimulator(ctx context.Context, s *screen, listen string, open bool) error {
	if !open && !config.Loopback(listen) {
		return fmt.Errorf("%s can be reached from other machines: listen on 127.0.0.1, or allow it with --open", listen)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; choose another with --listen", listen, err)
	}
	sim := startSimulator(l)
	printSimulator(s, "http://"+reachable(l.Addr()))
	select {
	case <-ctx.Done():
	case <-sim.ended:
	}
	return sim.close()
}

// simulator is a running simulated provider.
type simulator struct {
	provider *gatewaytest.Provider
	server   *http.Server
	listener net.Listener
	ended    chan struct{} // closed when serving ends
	err      error         // why; read after ended
	once     sync.Once
}

// startSimulator serves on l. Close it.
func startSimulator(l net.Listener) *simulator {
	p := gatewaytest.NewProvider(gatewaytest.ProviderOptions{KeepRequests: -1, PrefixCache: true})
	s := &simulator{provider: p, listener: l, ended: make(chan struct{}), server: &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}}
	go func() {
		defer close(s.ended)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("the simulated provider: %w", err)
		}
	}()
	return s
}

func (s *simulator) address() string { return s.listener.Addr().String() }

// close ends the simulator at once, with whatever it is answering, and waits for it.
func (s *simulator) close() error {
	s.once.Do(func() {
		s.provider.Close()
		_ = s.server.Close() // its error is the listener's, which is closed all the same
	})
	<-s.ended
	return s.err
}

func splitPort(address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	return host, port, err
}
