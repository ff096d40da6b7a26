package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// api is the admin API of the gateway that uses a storage directory: the running one's, or that of this process, which then
// has the directory for itself until close.
type api struct {
	base, token string
	client      *http.Client
	run         *runInfo // of the running gateway; nil: none runs
	end         func() error
}

// apiTimeout bounds the wait for the beginning of an answer.
const apiTimeout = 30 * time.Second

// remoteAPI is the API of a running gateway.
func remoteAPI(run runInfo) (*api, error) {
	if run.Admin == "" {
		return nil, fmt.Errorf("the gateway runs, but %w: set server.admin, or stop the gateway", errNoAdmin)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: apiTimeout},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &api{base: run.Admin, token: run.Token, client: client, run: &run, end: func() error { return nil }}, nil
}

// localAPI serves the API in this process. end is called by close.
func localAPI(h http.Handler, end func() error) *api {
	return &api{base: "http://ccproxy.invalid", client: &http.Client{Transport: inProcess{h}}, end: end}
}

// patient lets an answer begin whenever it does.
func (c *api) patient() {
	if t, ok := c.client.Transport.(*http.Transport); ok {
		t.ResponseHeaderTimeout = 0
	}
}

func (c *api) close() error { return c.end() }

// apiError is a refusal of the API, for people.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

// open asks and returns the answer's body, to be closed; every status but 2xx is an error. in is sent as JSON; nil: nothing.
func (c *api) open(ctx context.Context, method, path string, query url.Values, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the gateway: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("ask the gateway: %w", err)
	}
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &said) != nil || said.Error == "" {
		return nil, fmt.Errorf("the gateway answered %s to %s: %s", resp.Status, path, bytes.TrimSpace(text))
	}
	return nil, &apiError{resp.StatusCode, said.Error}
}

// ask asks and decodes the answer into out; nil: it is dropped.
func (c *api) ask(ctx context.Context, method, path string, query url.Values, in, out any) error {
	body, err := c.open(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("read the gateway's answer to %s: %w", path, err)
	}
	return nil
}

// inProcess is a transport that ends at a handler.
type inProcess struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper. The handler runs until it returns or the body is closed.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	reader, writer := io.Pipe()
	w := &answer{header: http.Header{}, body: writer, begun: make(chan struct{})}
	ended := make(chan struct{})
	served := r.WithContext(r.Context()) // not the client's own: a transport leaves that alone
	if served.Body == nil {
		served.Body = http.NoBody
	}
	go func() {
		defer close(ended)
		defer served.Body.Close()
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler {
				panic(v)
			} else if v != nil {
				w.WriteHeader(http.StatusInternalServerError)
				_ = writer.CloseWithError(io.ErrUnexpectedEOF) // never fails
			}
		}()
		t.handler.ServeHTTP(w, served)
		w.WriteHeader(http.StatusOK)
		_ = writer.Close() // never fails
	}()
	<-w.begun
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: &answerBody{reader, ended}, ContentLength: -1, Request: r,
	}, nil
}

// answerBody waits for the handler when it is closed.
type answerBody struct {
	*io.PipeReader
	ended <-chan struct{}
}

// Close implements io.Closer.
func (b *answerBody) Close() error {
	err := b.PipeReader.Close()
	<-b.ended
	return err
}

// answer is the http.ResponseWriter of inProcess.
type answer struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{} // closed when status is final
	status int
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	a.once.Do(func() {
		a.status, a.header = status, a.header.Clone()
		close(a.begun)
	})
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// api returns the API of the running gateway, and without one opens the storage directory itself, by open.
func (a *app) api(ctx context.Context, open opener) (*api, error) {
	dir := a.storageDir()
	run, err := running(dir)
	if err == nil {
		return remoteAPI(run)
	}
	if !errors.Is(err, errNotRunning) {
		return nil, err
	}
	return a.openLocal(ctx, dir, open)
}

// withAPI calls do with the API and closes it.
func (a *app) withAPI(ctx context.Context, open opener, do func(*api) error) (err error) {
	c, err := a.api(ctx, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return do(c)
}
