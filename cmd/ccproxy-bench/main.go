// Command ccproxy-bench measures what the gateway costs over no proxy and over
// the bare httputil.ReverseProxy, all in one run on one machine.
//
// Each proxy runs in a process of its own and is asked the same requests in
// turn, round by round, so that a machine that drifts drifts for all. CPU is
// the operating system's account of the proxy's process, user and system,
// exporting included; the client, the provider and the OTLP receiver are other
// processes. Latency is measured at the client in an open loop.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	rounds   int
	requests int
	streams  int
	rate     int
	seconds  int
	idle     int
	only     string
	profile  string
}

func main() {
	if role := os.Getenv("CCPROXY_BENCH_ROLE"); role != "" {
		if err := runRole(role); err != nil {
			fmt.Fprintln(os.Stderr, "ccproxy-bench:", role+":", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "rounds; every proxy takes its turn in each")
	flag.IntVar(&o.requests, "requests", 2000, "plain requests a turn")
	flag.IntVar(&o.streams, "streams", 1000, "streamed requests of 50 events a turn")
	flag.IntVar(&o.rate, "rate", 300, "requests a second of the latency turns")
	flag.IntVar(&o.seconds, "seconds", 10, "length of a latency turn; 0: no latency turns")
	flag.IntVar(&o.idle, "idle", 500, "idle streams held open to measure memory; 0: none")
	flag.StringVar(&o.only, "only", "", "run only the cases whose name contains this")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of ccproxy (telemetry on) to this file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "ccproxy-bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if runtime.GOOS != "linux" {
		return errors.New("CPU and memory of other processes are read from /proc, which only Linux has")
	}
	lab, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer lab.close()
	fmt.Printf("%s, %s, %d CPUs, %s\n\n", time.Now().Format(time.DateOnly), runtime.Version(), runtime.NumCPU(), cpuModel())
	for _, c := range cases(o) {
		if o.only != "" && !strings.Contains(c.name, o.only) {
			continue
		}
		if err := lab.measure(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if o.seconds > 0 && (o.only == "" || strings.Contains("latency", o.only)) {
		if err := lab.latency(ctx); err != nil {
			return err
		}
	}
	if o.idle > 0 && (o.only == "" || strings.Contains("idle", o.only)) {
		return lab.idleMemory(ctx)
	}
	return nil
}

// benchCase is one kind of request.
type benchCase struct {
	name    string
	size    int  // bytes of the request body, about
	stream  bool // an answer of 50 events
	n       int  // requests a turn
	clients int
}

func cases(o options) []benchCase {
	return []benchCase{
		{name: "plain 1 kB", size: 1 << 10, n: o.requests, clients: 4},
		{name: "plain 64 kB", size: 64 << 10, n: max(1, o.requests/4), clients: 4},
		{name: "plain 1 MB", size: 1 << 20, n: max(1, o.requests/20), clients: 2},
		{name: "stream 50 events", size: 1 << 10, stream: true, n: o.streams, clients: 4},
	}
}
