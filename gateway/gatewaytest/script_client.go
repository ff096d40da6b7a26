package gatewaytest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Reply is what a script's client received.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error // reading the body, such as io.ErrUnexpectedEOF; nil for a clean end
	Left   bool  // the client left by itself
}

// Do plays the script's client against base and returns what it received.
func (s *Script) Do(ctx context.Context, base string) (*Reply, error) {
	req, err := s.request(ctx, base)
	if err != nil {
		return nil, err
	}
	how, _ := s.File("client")
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	if strings.TrimSpace(how) == "leave before" {
		return s.leaveBefore(req, tr)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	rep := &Reply{Status: resp.StatusCode, Header: resp.Header}
	var events int
	if n, _ := fmt.Sscanf(how, "leave after %d events", &events); n == 1 {
		rep.Body, rep.Err = readEvents(resp.Body, events)
		rep.Left = true
		return rep, nil
	}
	rep.Body, rep.Err = io.ReadAll(resp.Body)
	return rep, nil
}

func (s *Script) request(ctx context.Context, base string) (*http.Request, error) {
	text, ok := s.File("request")
	if !ok {
		return nil, fmt.Errorf("%s has no request", s.Path)
	}
	first, rest, _ := strings.Cut(text, "\n")
	method, path, ok := strings.Cut(strings.TrimSpace(first), " ")
	if !ok {
		return nil, fmt.Errorf("%s: request line %q", s.Path, first)
	}
	head, body, _ := cutHead(rest)
	u, err := url.Parse(base + path)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(strings.TrimSuffix(body, "\n")))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, readHeader(req.Header, head)
}

// leaveBefore sends the request and goes before an answer has come.
func (s *Script) leaveBefore(req *http.Request, tr *http.Transport) (*Reply, error) {
	ctx, cancel := context.WithTimeout(req.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := tr.RoundTrip(req.WithContext(ctx)); err == nil {
		return nil, fmt.Errorf("%s: an answer came before the client could leave", s.Path)
	}
	return &Reply{Left: true}, nil
}

// readEvents reads n whole events and no more.
func readEvents(r io.Reader, n int) ([]byte, error) {
	br := bufio.NewReader(r)
	var out []byte
	for n > 0 {
		line, err := br.ReadBytes('\n')
		out = append(out, line...)
		if err != nil {
			return out, err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			n--
		}
	}
	return out, nil
}

// Render writes a reply in a stable form: status, the headers named, and the
// body, or "= upstream" when it is upstream's byte for byte.
func (r *Reply) Render(upstream []byte, headers ...string) string {
	if r.Left && r.Status == 0 {
		return "(left before an answer)\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s\n", r.Status, r.Header.Get("Content-Type"))
	for _, h := range headers {
		if v := r.Header.Get(h); v != "" {
			fmt.Fprintf(&b, "%s: %s\n", h, v)
		}
	}
	b.WriteByte('\n')
	switch {
	case len(r.Body) > 0 && bytes.Equal(r.Body, upstream):
		b.WriteString("= upstream\n")
	case len(r.Body) > 0 && len(upstream) > 0 && bytes.HasPrefix(r.Body, upstream):
		fmt.Fprintf(&b, "= upstream, then\n%s\n", bytes.TrimRight(r.Body[len(upstream):], "\n"))
	default:
		fmt.Fprintf(&b, "%s\n", bytes.TrimRight(bytes.ReplaceAll(r.Body, []byte("\r\n"), []byte("\n")), "\n"))
	}
	switch {
	case r.Left:
		b.WriteString("(the client left)\n")
	case r.Err != nil:
		fmt.Fprintf(&b, "(broken off: %v)\n", r.Err)
	}
	return b.String()
}
