package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// lab holds the processes: the provider, an OTLP receiver, and the proxies.
type lab struct {
	o       options
	dir     string
	procs   []*proc
	subject []*proc // direct, ReverseProxy, ccproxy without and with telemetry
}

// proc is a child process; its standard input is its lifeline.
type proc struct {
	name string
	addr string
	cmd  *exec.Cmd
	life io.Closer
}

func newLab(ctx context.Context, o options) (*lab, error) {
	dir, err := os.MkdirTemp("", "ccproxy-bench")
	if err != nil {
		return nil, err
	}
	l := &lab{o: o, dir: dir}
	provider, err := l.start(ctx, "direct", "provider", nil)
	if err != nil {
		return nil, l.fail(err)
	}
	sink, err := l.start(ctx, "sink", "sink", nil)
	if err != nil {
		return nil, l.fail(err)
	}
	bare, err := l.start(ctx, "ReverseProxy", "reverseproxy", []string{"CCPROXY_BENCH_UPSTREAM=http://" + provider.addr})
	if err != nil {
		return nil, l.fail(err)
	}
	off, err := l.gateway(ctx, "ccproxy, telemetry off", provider.addr, []string{"OTEL_SDK_DISABLED=true"})
	if err != nil {
		return nil, l.fail(err)
	}
	env := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + sink.addr, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
	if o.profile != "" {
		env = append(env, "CCPROXY_BENCH_PROFILE="+o.profile)
	}
	on, err := l.gateway(ctx, "ccproxy, telemetry on", provider.addr, env)
	if err != nil {
		return nil, l.fail(err)
	}
	l.subject = []*proc{provider, bare, off, on}
	return l, nil
}

func (l *lab) fail(err error) error {
	l.close()
	return err
}

// gateway starts ccproxy as a user would: the default hooks, standard detail.
func (l *lab) gateway(ctx context.Context, name, upstream string, env []string) (*proc, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	store := filepath.Join(l.dir, strings.NewReplacer(" ", "-", ",", "").Replace(name))
	path := filepath.Join(store, "ccproxy.yaml")
	if err := os.Mkdir(store, 0o700); err != nil {
		return nil, err
	}
	text := fmt.Sprintf("version: 1\nserver: { listen: %s, admin: %s }\nproviders:\n  anthropic: { type: anthropic, base_url: \"http://%s\", api_key: sk-bench-0000000000 }\nstorage: { path: %s }\n",
		addr, admin, upstream, store)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return l.startAt(ctx, addr, name, "ccproxy", append(env, "CCPROXY_BENCH_CONFIG="+path))
}

func (l *lab) start(ctx context.Context, name, role string, env []string) (*proc, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return l.startAt(ctx, addr, name, role, env)
}

func (l *lab) startAt(ctx context.Context, addr, name, role string, env []string) (*proc, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), append(env, "CCPROXY_BENCH_ROLE="+role, "CCPROXY_BENCH_LISTEN="+addr)...)
	log, err := os.Create(filepath.Join(l.dir, role+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr, cmd.Stdout = log, log
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &proc{name: name, addr: addr, cmd: cmd, life: life}
	l.procs = append(l.procs, p)
	if err := waitReady(addr); err != nil {
		out, _ := os.ReadFile(log.Name()) // its own words, if there are any
		return nil, fmt.Errorf("%s did not start: %w\n%s", name, err, out)
	}
	return p, nil
}

func (l *lab) close() {
	for i := len(l.procs) - 1; i >= 0; i-- {
		l.procs[i].life.Close()
		_ = l.procs[i].cmd.Wait() // a killed child is a closed one
	}
	os.RemoveAll(l.dir)
}

// turn is what one proxy did in one round.
type turn struct {
	cpu      float64 // µs of the proxy's process a request
	p50, p99 float64 // µs to the last byte
	first    float64 // µs to the first byte, median
}

// measure runs a case in rounds and prints a table of medians.
func (l *lab) measure(ctx context.Context, c benchCase) error {
	body := requestBody(c.size, c.stream)
	turns := make([][]turn, len(l.subject))
	for round := range l.o.rounds + 1 {
		for i, s := range l.subject {
			t, err := closedLoop(ctx, s, c, body)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			if round > 0 { // the first warms caches and connections
				turns[i] = append(turns[i], t)
			}
		}
	}
	fmt.Printf("%s (request %d bytes), %d requests × %d rounds, %d clients\n", c.name, len(body), c.n, l.o.rounds, c.clients)
	fmt.Printf("  %-26s %12s %12s %10s %10s %12s\n", "", "CPU µs/req", "over bare", "p50 µs", "p99 µs", "first byte µs")
	bare := med(turns[1], func(t turn) float64 { return t.cpu })
	for i, s := range l.subject {
		cpu, over := "-", "-"
		if i > 0 {
			v := med(turns[i], func(t turn) float64 { return t.cpu })
			cpu = fmt.Sprintf("%.1f", v)
			if i > 1 {
				over = fmt.Sprintf("+%.1f (%.2fx)", v-bare, v/bare)
			}
		}
		fmt.Printf("  %-26s %12s %12s %10.0f %10.0f %12.0f\n", s.name, cpu, over,
			med(turns[i], func(t turn) float64 { return t.p50 }), med(turns[i], func(t turn) float64 { return t.p99 }), med(turns[i], func(t turn) float64 { return t.first }))
	}
	if c.stream {
		fmt.Printf("  per event over bare: %.2f µs\n", (med(turns[3], func(t turn) float64 { return t.cpu })-bare)/50)
	}
	fmt.Println()
	return nil
}

func med(ts []turn, of func(turn) float64) float64 {
	v := make([]float64, 0, len(ts))
	for _, t := range ts {
		v = append(v, of(t))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// latency asks each proxy at a fixed rate and prints what it adds.
func (l *lab) latency(ctx context.Context) error {
	body := requestBody(1<<10, false)
	fmt.Printf("latency at %d requests a second, plain 1 kB, %d s × %d rounds, medians\n", l.o.rate, l.o.seconds, min(3, l.o.rounds))
	turns := make([][]turn, len(l.subject))
	for range min(3, l.o.rounds) {
		for i, s := range l.subject {
			t, err := openLoop(ctx, s, l.o.rate, time.Duration(l.o.seconds)*time.Second, body)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			turns[i] = append(turns[i], t)
		}
	}
	p50 := func(t turn) float64 { return t.p50 }
	p99 := func(t turn) float64 { return t.p99 }
	fmt.Printf("  %-26s %10s %10s %24s %24s %12s\n", "", "p50 µs", "p99 µs", "p50/p99 over direct", "p50/p99 over bare", "CPU µs/req")
	over := func(i, base int) string {
		if i <= base {
			return "-"
		}
		return fmt.Sprintf("%+.0f / %+.0f", med(turns[i], p50)-med(turns[base], p50), med(turns[i], p99)-med(turns[base], p99))
	}
	for i, s := range l.subject {
		cpu := "-"
		if i > 0 {
			cpu = fmt.Sprintf("%.1f", med(turns[i], func(t turn) float64 { return t.cpu }))
		}
		fmt.Printf("  %-26s %10.0f %10.0f %24s %24s %12s\n", s.name, med(turns[i], p50), med(turns[i], p99), over(i, 0), over(i, 1), cpu)
	}
	fmt.Println()
	return nil
}

// idleMemory holds streams open and prints the memory each takes.
func (l *lab) idleMemory(ctx context.Context) error {
	fmt.Printf("memory, %d idle streams, HTTP/1.1 upstream\n  %-26s %12s %16s\n", l.o.idle, "", "RSS MiB idle", "KiB a stream")
	for _, s := range l.subject[1:] {
		before, err := s.rss()
		if err != nil {
			return err
		}
		after, err := holdStreams(ctx, s, l.o.idle)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Printf("  %-26s %12.1f %16.1f\n", s.name, float64(before)/(1<<20), float64(after-before)/1024/float64(l.o.idle))
	}
	fmt.Println()
	return nil
}
