package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// demoReply is what a client of the story received.
type demoReply struct {
	status    int
	header    http.Header
	body      string
	events    int // of a stream, [DONE] not counted
	took      time.Duration
	simulated bool // the answer is the simulated provider's, or the gateway's own
}

// maxReply bounds what a client of the story keeps, in bytes.
const maxReply = 4 << 20

// sceneLimit is how long one request of the story may take.
const sceneLimit = 30 * time.Second

// player plays scenes against a gateway.
type player struct {
	base   string // URL of the gateway's client port
	client *http.Client
}

// play sends one scene's request, reads as much of the answer as its client would, and leaves.
func (p *player) play(ctx context.Context, s scene) (demoReply, error) {
	ctx, leave := context.WithTimeout(ctx, sceneLimit)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+s.path, strings.NewReader(s.body))
	if err != nil {
		return demoReply{}, err
	}
	for k, v := range s.header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ccproxy-demo")
	if strings.HasPrefix(s.path, "/v1/messages") {
		req.Header.Set("Anthropic-Version", "2023-06-01")
	}
	start := time.Now()
	resp, err := p.client.Do(req)
	if err != nil {
		return demoReply{}, fmt.Errorf("%s: %w", s.title, err)
	}
	defer resp.Body.Close()
	r := demoReply{status: resp.StatusCode, header: resp.Header}
	r.simulated = resp.StatusCode >= 400 || resp.Header.Get("X-Simulated-Provider") != ""
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		err = r.readEvents(resp.Body, s.leaveAfter)
	} else {
		var b []byte
		b, err = io.ReadAll(io.LimitReader(resp.Body, maxReply))
		r.body = string(b)
	}
	r.took = time.Since(start)
	if err != nil {
		return r, fmt.Errorf("%s: read the answer: %w", s.title, err)
	}
	return r, nil
}

// readEvents reads a stream to its end, or until so many events have come.
func (r *demoReply) readEvents(body io.Reader, leaveAfter int) error {
	var all strings.Builder
	defer func() { r.body = all.String() }()
	in := bufio.NewReader(io.LimitReader(body, maxReply))
	data := false // the event being read has data that counts
	for leaveAfter == 0 || r.events < leaveAfter {
		line, err := in.ReadString('\n')
		all.WriteString(line)
		switch line = strings.TrimRight(line, "\r\n"); {
		case strings.HasPrefix(line, "data:"):
			data = !strings.Contains(line, "[DONE]")
		case line == "" && data:
			r.events++
			data = false
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// errRealProvider stops a story that would cost money.
var errRealProvider = errors.New("the answer is not the simulated provider's: the story is not played against real ones; " +
	"configure the gateway with `ccproxy demo --print-config` and start `ccproxy simulate`")

// check says what is wrong with a reply, if anything.
func (s scene) check(r demoReply) error {
	if !r.simulated {
		return errRealProvider
	}
	if r.status != s.want {
		return fmt.Errorf("%s: got status %d, want %d", s.title, r.status, s.want)
	}
	if got := r.header.Get("X-CCProxy-Model-Name"); s.label != "" && got != s.label {
		return fmt.Errorf("%s: got label %q, want %q", s.title, got, s.label)
	}
	return nil
}
