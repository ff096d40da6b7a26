// Package gatewaytest holds what the gateway is tried against: a simulated
// provider that speaks the Anthropic, OpenAI and Gemini APIs, and a sink that
// receives OpenTelemetry over OTLP. Both serve real sockets.
//
// [TestDialect] and [TestHook] say whether a dialect or a hook is one the
// engine can live with.
package gatewaytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// maxRequestBody bounds, in bytes, what the simulated provider reads of one
// request; it is the limit of the Anthropic Messages API doubled.
const maxRequestBody = 64 << 20

// ProviderOptions configure a simulated provider. The zero value is a provider
// that accepts any credential, answers every known request and forgets all but
// the newest 1024 requests.
type ProviderOptions struct {
	// Models are the ids the model lists show. Nil: one or two of each vendor.
	// Requests may name any model.
	Models []string
	// Keys are the credentials accepted, from whichever header or query
	// parameter the vendor uses. Empty: any, or none.
	Keys []string
	// Script says how to answer the first, second, … request that names a model
	// (the map's key; "" stands for every model without a script of its own).
	// When the steps are used up the model answers normally.
	Script map[string][]Step
	// Default is the behaviour of a request for which neither the header
	// X-Simulate, nor the script, nor the model's name says anything.
	Default Step
	// Record keeps the bytes of each answer in Request.Sent.
	Record bool
	// KeepRequests is how many requests Requests remembers. 0: 1024; negative: none.
	KeepRequests int
	// PrefixCache turns on the automatic prompt caching of OpenAI and Gemini.
	// Anthropic's, which the client asks for, is always on.
	PrefixCache bool
	// CacheMinTokens is the smallest prefix that is cached. 0: 1024.
	CacheMinTokens int
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Provider is a simulated LLM provider: an http.Handler that speaks the
// Anthropic, OpenAI and Gemini APIs, plainly labelled as simulated. What it
// answers depends only on the request, the script and (for prompt caching) the
// requests before it. It may be used concurrently.
//
// An answer repeats the last user text. It calls the first function offered when
// that text contains "tool", thinks when the request asks for thinking, and
// counts a token for every four bytes. Failures are asked for with a [Step]: in
// the header X-Simulate, in the model's name after "simulate-"
// ("simulate-429", "gpt-5-simulate-reset_after=3"), or in the script.
type Provider struct {
	opts  ProviderOptions
	memo  memo
	cache promptCache
	log   requestLog
	seq   atomic.Uint64
	done  chan struct{}
	close sync.Once

	mu     sync.Mutex
	script map[string][]Step // :: model → steps not yet used
}

// NewProvider returns a provider ready to serve. Close it to release requests
// that hang on purpose.
func NewProvider(opts ProviderOptions) *Provider {
	if opts.Models == nil {
		opts.Models = defaultModels()
	}
	if opts.CacheMinTokens == 0 {
		opts.CacheMinTokens = 1024
	}
	if opts.KeepRequests == 0 {
		opts.KeepRequests = 1024
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	p := &Provider{opts: opts, done: make(chan struct{})}
	p.Reset()
	return p
}

func defaultModels() []string {
	return []string{
		"claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5",
		"gpt-5.5", "gpt-5.5-mini", "text-embedding-3-small",
		"gemini-3.5-pro", "gemini-3.5-flash",
	}
}

// Close lets every request that hangs go. Requests served afterwards do not hang.
func (p *Provider) Close() {
	p.close.Do(func() { close(p.done) })
}

// Reset forgets the recorded requests, the billed tokens and the prompt cache,
// and starts the script of the options again. Request ids keep rising.
func (p *Provider) Reset() {
	p.mu.Lock()
	p.script = make(map[string][]Step, len(p.opts.Script))
	for model, steps := range p.opts.Script {
		p.script[model] = steps
	}
	p.mu.Unlock()
	p.cache.reset()
	p.log.reset(p.opts.KeepRequests)
}

// SetScript replaces the steps still to come for a model ("" for every model
// without its own).
func (p *Provider) SetScript(model string, steps ...Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script[model] = steps
}

// Requests returns the requests received, oldest first, those still running
// included. Bodies and headers are shared with the provider: do not change them.
func (p *Provider) Requests() []Request { return p.log.requests() }

// WaitRequests returns when ok reports true of the recorded requests, which it
// is asked at once and after every change, or ctx's error when that comes first.
func (p *Provider) WaitRequests(ctx context.Context, ok func([]Request) bool) error {
	return p.log.wait(ctx, ok)
}

// Billed returns the tokens billed since the last Reset, by model. A stream that
// was cut is billed for its prompt and the share of the answer that was sent.
func (p *Provider) Billed() map[string]Usage { return p.log.billed() }

// ServeHTTP answers one request as the vendor whose API the path belongs to.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &conversation{w: w, r: r, done: p.done}
	c.rec = p.log.begin(Request{
		ID: fmt.Sprintf("req_sim%08d", p.seq.Add(1)), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery,
		Host: r.Host, Proto: r.Proto, Header: r.Header, Time: p.opts.Now(),
	})
	if p.opts.Record {
		c.sent = []byte{}
	}
	defer func() {
		left := r.Context().Err() != nil || c.err != nil
		p.log.finish(c.rec, p.opts.Now(), left, c)
	}()
	c.serve(p.answer(c))
}

// answer reads the request and works out the reply and how it is to be sent.
func (p *Provider) answer(c *conversation) (*reply, Step) {
	to := route(c.r)
	c.vendor = to.vendor
	p.vendorHeaders(c)
	body, err := io.ReadAll(http.MaxBytesReader(nil, c.r.Body, maxRequestBody))
	p.log.received(c.rec, to, body)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return failure(to, Step{Status: http.StatusRequestEntityTooLarge}), Step{}
		}
		return failure(to, Step{Status: http.StatusBadRequest, Text: "the body could not be read"}), Step{}
	}
	if !p.accepts(c.r) {
		return failure(to, Step{Status: http.StatusUnauthorized, echo: credential(c.r)}), Step{}
	}
	if to.render == nil && to.decode == nil {
		return p.fixed(c.r, to), Step{}
	}
	e, err := p.memo.entry(to, body)
	if err != nil {
		return failure(to, Step{Status: http.StatusBadRequest, Text: err.Error()}), Step{}
	}
	p.log.named(c.rec, e.ask)
	step, err := p.step(c.r, e.ask.model)
	if err != nil {
		return failure(to, Step{Status: http.StatusBadRequest, Text: err.Error()}), Step{}
	}
	if step.EchoKey {
		step.echo = credential(c.r)
	}
	if out := misbehaviour(to, step); out != nil {
		return out, step
	}
	return p.memo.reply(e, step, p.usage(e.ask, step)), step
}

// usage counts the prompt of a request and how much of it the cache holds.
func (p *Provider) usage(a *ask, step Step) Usage {
	if a.vendor != anthropic && !p.opts.PrefixCache {
		bare := *a
		bare.blocks = nil
		a = &bare
	}
	u := p.cache.split(a, int64(p.opts.CacheMinTokens))
	if step.Cached > 0 {
		cached := min(int64(step.Cached), u.Prompt())
		u = Usage{Input: u.Prompt() - cached, CacheRead: cached}
	}
	return u
}

// step returns the behaviour of a request: from the header, else the script,
// else the model's name, else the default.
func (p *Provider) step(r *http.Request, model string) (Step, error) {
	step, err := p.chosenStep(r, model)
	if err != nil {
		return step, err
	}
	if escaped := r.Header.Get("X-Simulate-Text"); escaped != "" {
		text, err := url.QueryUnescape(escaped)
		if err != nil {
			return step, fmt.Errorf("header X-Simulate-Text: %w", err)
		}
		step.Text = text
	}
	return step, nil
}

func (p *Provider) chosenStep(r *http.Request, model string) (Step, error) {
	if words := r.Header["X-Simulate"]; len(words) > 0 {
		step, err := ParseStep(joinWords(words))
		if err != nil {
			return step, fmt.Errorf("header X-Simulate: %w", err)
		}
		return step, nil
	}
	if step, ok := p.scripted(model); ok {
		return step, nil
	}
	if step, ok := stepOfModel(model); ok {
		return step, nil
	}
	return p.opts.Default, nil
}

func (p *Provider) scripted(model string) (Step, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.script[model]; !ok {
		model = ""
	}
	steps := p.script[model]
	if len(steps) == 0 {
		return Step{}, false
	}
	p.script[model] = steps[1:]
	return steps[0], true
}

func (p *Provider) accepts(r *http.Request) bool {
	if len(p.opts.Keys) == 0 || r.URL.Path == helloPath {
		return true
	}
	got := credential(r)
	for _, key := range p.opts.Keys {
		if got == key {
			return true
		}
	}
	return false
}

// memo keeps what was worked out for identical requests, so that a benchmark
// measures the gateway and not its upstream. It is emptied when it holds too much.
type memo struct {
	mu      sync.Mutex
	size    int
	entries map[uint64]*memoEntry
}

type memoEntry struct {
	path, query string
	body        []byte
	ask         *ask
	replies     map[replyKey]*reply // guarded by memo.mu
}

type replyKey struct {
	step  Step
	usage Usage
}

const (
	memoBytes      = 16 << 20
	memoEntryBytes = 256 << 10
)

func (m *memo) entry(to endpoint, body []byte) (*memoEntry, error) {
	key := hashOf(to.path, to.query, body)
	m.mu.Lock()
	e := m.entries[key]
	m.mu.Unlock()
	if e != nil && e.path == to.path && e.query == to.query && bytes.Equal(e.body, body) {
		return e, nil
	}
	a, err := decode(to, body)
	if err != nil {
		return nil, err
	}
	e = &memoEntry{path: to.path, query: to.query, body: body, ask: a, replies: map[replyKey]*reply{}}
	if len(body) > memoEntryBytes {
		return e, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grow(len(body))
	m.entries[key] = e
	return e, nil
}

func (m *memo) reply(e *memoEntry, step Step, usage Usage) *reply {
	key := replyKey{step, usage}
	m.mu.Lock()
	out := e.replies[key]
	m.mu.Unlock()
	if out != nil {
		return out
	}
	out = render(e.ask, step, usage)
	if out.size() > memoEntryBytes {
		return out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grow(out.size())
	e.replies[key] = out
	return out
}

// grow counts n bytes more, with an allowance for structure, and starts afresh
// when that is too much. An entry in use stays alive until its request ends.
func (m *memo) grow(n int) {
	m.size += n + 2048
	if m.entries == nil || m.size > memoBytes {
		m.entries = map[uint64]*memoEntry{}
		m.size = n + 2048
	}
}
