package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// requestBody makes an Anthropic request of about size bytes.
func requestBody(size int, stream bool) []byte {
	b, err := json.Marshal(map[string]any{
		"model": "claude-sonnet-5", "max_tokens": 1024, "stream": stream, "system": "You are a benchmark.",
		"messages": []any{map[string]any{"role": "user", "content": strings.Repeat("lorem ipsum ", max(0, size-160)/12)}},
	})
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return b
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
}

func newRequest(ctx context.Context, s *proc, kind string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addr+"/v1/messages", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	req.Header.Set("X-Bench", kind)
	return req, nil
}

// sample is one request's times.
type sample struct{ first, total time.Duration }

// ask makes one request and reads the answer to its end.
func ask(ctx context.Context, c *http.Client, s *proc, kind string, body, buf []byte) (sample, error) {
	req, err := newRequest(ctx, s, kind, body)
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return sample{}, err
	}
	defer resp.Body.Close()
	var out sample
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 && out.first == 0 {
			out.first = time.Since(start)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return sample{}, err
		}
	}
	out.total = time.Since(start)
	if resp.StatusCode != http.StatusOK {
		return sample{}, fmt.Errorf("status %d", resp.StatusCode)
	}
	return out, nil
}

// closedLoop lets a few clients ask one after the other as fast as they can.
func closedLoop(ctx context.Context, s *proc, c benchCase, body []byte) (turn, error) {
	kind := "plain"
	if c.stream {
		kind = "stream"
	}
	samples := make([]sample, c.n)
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, c.clients)
	before, err := s.cpu()
	if err != nil {
		return turn{}, err
	}
	for i := range c.clients {
		wg.Go(func() {
			client, buf := newClient(), make([]byte, 64<<10)
			defer client.CloseIdleConnections()
			for {
				n := int(next.Add(1)) - 1
				if n >= c.n {
					return
				}
				if samples[n], errs[i] = ask(ctx, client, s, kind, body, buf); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return turn{}, err
	}
	// Telemetry is exported a second later; that is part of the price.
	time.Sleep(1500 * time.Millisecond)
	after, err := s.cpu()
	if err != nil {
		return turn{}, err
	}
	return summarize(samples, after-before), nil
}

// openLoop asks at a fixed rate, whether answers have come or not.
func openLoop(ctx context.Context, s *proc, rate int, d time.Duration, body []byte) (turn, error) {
	n := int(d.Seconds() * float64(rate))
	samples := make([]sample, n)
	errs := make([]error, n)
	client := newClient()
	defer client.CloseIdleConnections()
	before, err := s.cpu()
	if err != nil {
		return turn{}, err
	}
	var wg sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for i := range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return turn{}, ctx.Err()
		}
		wg.Go(func() { samples[i], errs[i] = ask(ctx, client, s, "plain", body, make([]byte, 4<<10)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return turn{}, err
	}
	time.Sleep(1500 * time.Millisecond)
	after, err := s.cpu()
	if err != nil {
		return turn{}, err
	}
	return summarize(samples, after-before), nil
}

func summarize(samples []sample, cpu time.Duration) turn {
	total := make([]time.Duration, len(samples))
	first := make([]time.Duration, len(samples))
	for i, s := range samples {
		total[i], first[i] = s.total, s.first
	}
	slices.Sort(total)
	slices.Sort(first)
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	return turn{
		cpu: us(cpu) / float64(len(samples)), p50: us(total[len(total)/2]), p99: us(total[len(total)*99/100]), first: us(first[len(first)/2]),
	}
}

// holdStreams opens n streams that fall silent after their first event, and
// returns the proxy's memory while they are open.
func holdStreams(ctx context.Context, s *proc, n int) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	for range n {
		req, err := newRequest(ctx, s, "idle", requestBody(1<<10, true))
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
			return 0, err
		}
	}
	time.Sleep(2 * time.Second)
	return s.rss()
}

// cpu is the process's user and system time so far, in clock ticks of 10 ms:
// a turn must be long enough for them.
func (p *proc) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(b, []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return 0, errors.New("/proc/pid/stat has another form")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// rss is the process's resident memory in bytes.
func (p *proc) rss() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0, errors.New("/proc/pid/statm has another form")
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// cpuModel names the processor, as the kernel does.
func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return "unknown processor"
}
