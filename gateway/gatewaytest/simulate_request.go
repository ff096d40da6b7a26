package gatewaytest

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// maxSent bounds, in bytes, what Request.Sent keeps of one answer.
const maxSent = 4 << 20

// maxLogBytes bounds the bodies the provider remembers over all requests.
const maxLogBytes = 128 << 20

// maxBilledModels bounds the models Billed tells apart; others are "_OTHER".
const maxBilledModels = 1000

// Request is one request the simulated provider received.
type Request struct {
	ID          string // as sent in request-id and x-request-id
	Method      string
	Path, Query string // decoded path; raw query
	Host, Proto string
	Header      http.Header
	Body        []byte
	Dialect     string    // such as "anthropic.messages"; "models" for model lists, "" for unknown paths
	Model       string    // as the request named it
	Time        time.Time // when it arrived
	End         time.Time // when it was answered; zero: still running
	Left        time.Time // when the client was found gone before the end; zero: it stayed
	Status      int       // as sent; 0: nothing was sent
	BytesSent   int64     // of the body, as encoded
	Sent        []byte    // those bytes, up to 4 MiB, with ProviderOptions.Record
	Usage       Usage     // as billed

	forgotten bool // no longer among the kept
}

// Usage is what one answer or several cost in tokens. Input and the three cache
// classes are disjoint; Reasoning is part of Output.
type Usage struct {
	Input        int64
	CacheRead    int64
	CacheWrite5m int64
	CacheWrite1h int64
	Output       int64
	Reasoning    int64
}

// Prompt returns the tokens of the whole prompt, cached or not.
func (u Usage) Prompt() int64 { return u.Input + u.CacheRead + u.CacheWrite5m + u.CacheWrite1h }

// Add returns the sum of two usages.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		Input: u.Input + v.Input, CacheRead: u.CacheRead + v.CacheRead,
		CacheWrite5m: u.CacheWrite5m + v.CacheWrite5m, CacheWrite1h: u.CacheWrite1h + v.CacheWrite1h,
		Output: u.Output + v.Output, Reasoning: u.Reasoning + v.Reasoning,
	}
}

// requestLog remembers the newest requests and everything billed.
type requestLog struct {
	mu      sync.Mutex
	keep    int
	bytes   int
	kept    []*Request // oldest first
	usage   map[string]Usage
	changed chan struct{} // closed and replaced at each change; nil: nobody waits
}

func (l *requestLog) reset(keep int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, rec := range l.kept {
		rec.forgotten = true
	}
	l.keep, l.bytes, l.kept, l.usage = keep, 0, nil, map[string]Usage{}
	l.announce()
}

func (l *requestLog) begin(r Request) *Request {
	rec := &r
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keep < 0 {
		rec.forgotten = true
		return rec
	}
	l.kept = append(l.kept, rec)
	l.trim()
	l.announce()
	return rec
}

// trim drops the oldest requests that are over a bound, keeping the newest.
func (l *requestLog) trim() {
	drop := 0
	for len(l.kept)-drop > 1 && (len(l.kept)-drop > l.keep || l.bytes > maxLogBytes) {
		l.bytes -= len(l.kept[drop].Body) + len(l.kept[drop].Sent)
		l.kept[drop].forgotten = true
		l.kept[drop] = nil
		drop++
	}
	l.kept = l.kept[drop:]
}

func (l *requestLog) received(rec *Request, to endpoint, body []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.Body, rec.Dialect, rec.Model = body, to.name, to.model
	l.account(rec, len(body))
	l.announce()
}

func (l *requestLog) named(rec *Request, a *ask) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.Model = a.model
	l.announce()
}

func (l *requestLog) finish(rec *Request, now time.Time, left bool, c *conversation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rec.End, rec.Status, rec.BytesSent, rec.Sent, rec.Usage = now, c.status, c.bytes, c.sent, c.usage
	if left {
		rec.Left = now
	}
	if c.usage != (Usage{}) {
		model := rec.Model
		if _, known := l.usage[model]; !known && len(l.usage) >= maxBilledModels {
			model = "_OTHER"
		}
		l.usage[model] = l.usage[model].Add(c.usage)
	}
	l.account(rec, len(c.sent))
	l.announce()
}

// account adds to the bytes remembered, unless rec has been dropped already.
func (l *requestLog) account(rec *Request, n int) {
	if n == 0 || rec.forgotten {
		return
	}
	l.bytes += n
	l.trim()
}

func (l *requestLog) announce() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

func (l *requestLog) requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snapshot()
}

func (l *requestLog) snapshot() []Request {
	all := make([]Request, len(l.kept))
	for i, rec := range l.kept {
		all[i] = *rec
	}
	return all
}

func (l *requestLog) wait(ctx context.Context, ok func([]Request) bool) error {
	for {
		l.mu.Lock()
		all := l.snapshot()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if ok(all) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *requestLog) billed() map[string]Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	sums := make(map[string]Usage, len(l.usage))
	for model, u := range l.usage {
		sums[model] = u
	}
	return sums
}
