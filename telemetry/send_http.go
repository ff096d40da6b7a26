package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/klauspost/compress/gzip"
)

// httpClient returns a client of its own for e: no shared connections, no redirects (headers are credentials).
func (e Exporter) httpClient(to endpoint) (*http.Client, error) {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          4,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   5 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	if to.secure {
		config, err := e.tlsConfig()
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	return &http.Client{
		Transport:     transport,
		Timeout:       e.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// httpSender posts export requests to one URL.
type httpSender struct {
	client  *http.Client
	url     string
	headers map[string]string
	gzip    bool
	zip     *gzip.Writer // reused; sends do not overlap
}

func (s *httpSender) send(ctx context.Context, pieces [][]byte) (int64, string, error) {
	req, err := s.request(ctx, pieces)
	if err != nil {
		return 0, "", &sendError{err: err}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var full *url.Error
		if errors.As(err, &full) { // it repeats the URL, which may hold credentials
			err = full.Err
		}
		return 0, "", &sendError{err: err, retry: true}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if resp.StatusCode/100 != 2 {
		return 0, "", httpError(resp, answer)
	}
	if err != nil || resp.Header.Get("Content-Type") != "application/x-protobuf" {
		return 0, "", nil // it was taken, whatever the rest of the answer would have been
	}
	rejected, message := partialSuccess(answer)
	return rejected, message, nil
}

func (s *httpSender) close() error {
	s.client.CloseIdleConnections()
	return nil
}

func (s *httpSender) request(ctx context.Context, pieces [][]byte) (*http.Request, error) {
	size := pieceSize(pieces)
	body := func() io.Reader {
		readers := make([]io.Reader, len(pieces))
		for i, p := range pieces {
			readers[i] = bytes.NewReader(p)
		}
		return io.MultiReader(readers...)
	}
	if s.gzip {
		packed, err := s.compress(pieces)
		if err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		size, body = len(packed), func() io.Reader { return bytes.NewReader(packed) }
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, io.NopCloser(body()))
	if err != nil {
		return nil, err
	}
	req.ContentLength = int64(size)
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(body()), nil }
	for k, v := range s.headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "ccproxy")
	if s.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	return req, nil
}

func (s *httpSender) compress(pieces [][]byte) ([]byte, error) {
	if s.zip == nil {
		zip, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
		if err != nil {
			return nil, err
		}
		s.zip = zip
	}
	var packed bytes.Buffer
	s.zip.Reset(&packed)
	for _, p := range pieces {
		if _, err := s.zip.Write(p); err != nil {
			return nil, err
		}
	}
	err := s.zip.Close()
	return packed.Bytes(), err
}

// httpError tells which answers may pass: https://opentelemetry.io/docs/specs/otlp/#failures-1 (read 2026-10).
func httpError(resp *http.Response, answer []byte) error {
	e := &sendError{err: fmt.Errorf("%s: %s", resp.Status, clip(string(bytes.TrimSpace(answer))))}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		e.retry = true
		e.after = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	case http.StatusRequestEntityTooLarge:
		e.tooLarge = true
	}
	return e
}

// retryAfter reads a Retry-After header: seconds or a date (RFC 9110 section 10.2.3). 0: none, or none that makes sense.
func retryAfter(v string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(seconds, 0), 86400)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
