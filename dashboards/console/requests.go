package console

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

// row is an exchange in a list. Amounts are USD, null where they are not known.
type row struct {
	Seq        int64     `json:"seq"`
	RequestID  string    `json:"request_id"`
	TraceID    string    `json:"trace_id"`
	SpanID     string    `json:"span_id"`
	Start      time.Time `json:"start"`
	DurationMS float64   `json:"duration_ms"`
	TTFTMS     *float64  `json:"ttft_ms"` // null: no stream, or no token came
	OverheadMS float64   `json:"overhead_ms"`

	Dialect        string `json:"dialect"`
	Label          string `json:"label"`
	Rule           string `json:"rule"`
	Reason         string `json:"reason"`
	Original       string `json:"original_model"`
	Routed         string `json:"routed_model"`
	Provider       string `json:"provider"`
	Outcome        string `json:"outcome"`
	Rejection      string `json:"rejection"`
	ErrorType      string `json:"error_type"`
	FallbackReason string `json:"fallback_reason"`
	Status         int    `json:"status"`
	Attempts       int    `json:"attempts"`
	Fallbacks      int    `json:"fallbacks"`
	Stream         bool   `json:"stream"`
	Passthrough    bool   `json:"passthrough"`

	Key     string `json:"key"`
	Team    string `json:"team"`
	User    string `json:"user"`
	Session string `json:"session"`

	Tokens   rowTokens `json:"tokens"`
	Cost     *float64  `json:"cost_usd"`
	Billing  string    `json:"billing"`
	Baseline *float64  `json:"baseline_usd"` // of the same on the model the client named
	Saved    *float64  `json:"saved_usd"`
}

type rowTokens struct {
	Input      int64 `json:"input"` // the cache included
	Output     int64 `json:"output"`
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_write"`
	Reasoning  int64 `json:"reasoning"` // part of the output
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func rowOf(x *store.Exchange) row {
	r := row{
		Seq: x.Seq, RequestID: x.RequestID, TraceID: x.TraceID.String(), SpanID: x.SpanID.String(), Start: x.Start,
		DurationMS: millis(x.Duration), OverheadMS: millis(x.Overhead), Dialect: x.Dialect, Label: x.Label, Rule: x.Rule, Reason: x.Reason,
		Original: x.Original, Routed: x.Routed, Provider: x.Provider, Outcome: x.Outcome, Rejection: x.Rejection, ErrorType: x.ErrorType,
		FallbackReason: x.FallbackReason, Status: x.Status, Attempts: x.Attempts, Fallbacks: x.Fallbacks, Stream: x.Stream, Passthrough: x.Passthrough,
		Key: x.Key, Team: x.Team, User: x.User, Session: x.Session, Billing: x.Billing,
		Tokens: rowTokens{x.Input, x.Output, x.CacheRead, x.CacheWrite, x.Reasoning},
	}
	if x.TTFT > 0 {
		ms := millis(x.TTFT)
		r.TTFTMS = &ms
	}
	if x.Priced {
		r.Cost = &x.Cost
	}
	if x.Baseline > 0 {
		saved := x.Baseline - x.Compared
		r.Baseline, r.Saved = &x.Baseline, &saved
	}
	return r
}

func rowsOf(list []store.Exchange) []row {
	rows := make([]row, len(list))
	for i := range list {
		rows[i] = rowOf(&list[i])
	}
	return rows
}

// filterKeys are the parameters of a filter.
var filterKeys = []string{"label", "model", "provider", "key", "team", "session", "outcome", "q", "min_cost", "min_duration_ms", "max_duration_ms", "since", "until"}

// outcomeFailed stands for every outcome but completed.
const outcomeFailed = "problem"

func readFilter(q *query) store.Filter {
	f := store.Filter{
		Label: q.text("label"), Model: q.text("model"), Provider: q.text("provider"), Key: q.text("key"), Team: q.text("team"), Session: q.text("session"),
		Text: strings.ToLower(strings.TrimSpace(q.text("q"))), MinCost: q.number("min_cost", 0, 0, 1e9), Since: q.moment("since"), Until: q.moment("until"),
	}
	f.MinDuration = time.Duration(q.number("min_duration_ms", 0, 0, 1e9) * float64(time.Millisecond))
	f.MaxDuration = time.Duration(q.number("max_duration_ms", 0, 0, 1e9) * float64(time.Millisecond))
	for _, o := range q.values["outcome"] {
		if o == outcomeFailed {
			f.Failed = true
		} else if o != "" {
			f.Outcomes = append(f.Outcomes, o)
		}
	}
	return f
}

// page sizes of a list.
const (
	defaultPage = 50
	largestPage = 500
)

// serveRequests answers GET /api/requests.
func (c *Console) serveRequests(w http.ResponseWriter, r *http.Request) {
	q := readQuery(r, append([]string{"before", "limit"}, filterKeys...), "outcome")
	f := readFilter(q)
	f.Before = int64(q.number("before", 0, 0, 1<<53))
	limit := int(q.number("limit", defaultPage, 1, largestPage))
	if q.err != nil {
		refuse(w, http.StatusBadRequest, q.err)
		return
	}
	last := c.cfg.Store.Last()
	list, more := c.cfg.Store.List(f, limit)
	answer := struct {
		Requests []row `json:"requests"`
		Next     int64 `json:"next"` // before= of the next page; 0: there is none
		Last     int64 `json:"last"` // after= of a live list that goes on from here
	}{rowsOf(list), 0, last}
	if more {
		answer.Next = list[len(list)-1].Seq
	}
	writeJSON(w, http.StatusOK, answer)
}

// serveValues answers GET /api/values.
func (c *Console) serveValues(w http.ResponseWriter, r *http.Request) {
	if q := readQuery(r, nil); q.err != nil {
		refuse(w, http.StatusBadRequest, q.err)
		return
	}
	v := c.cfg.Store.Values()
	writeJSON(w, http.StatusOK, map[string]any{
		"labels": v.Labels, "models": v.Models, "providers": v.Providers, "keys": v.Keys, "teams": v.Teams, "outcomes": names.Outcomes,
		"links": c.links(), "trace_url": c.cfg.TraceURL,
	})
}

func (c *Console) links() []Link {
	if c.cfg.Links == nil {
		return []Link{}
	}
	return c.cfg.Links
}

// Of live lists.
const (
	maxStreams    = 32
	liveInterval  = 250 * time.Millisecond
	liveHeartbeat = 15 * time.Second
	liveBurst     = 100 // rows at once; of more only the newest are sent
)

// serveLive answers GET /api/requests/live: server-sent events, each the rows that ended since the last.
func (c *Console) serveLive(w http.ResponseWriter, r *http.Request) {
	q := readQuery(r, append([]string{"after"}, filterKeys...), "outcome")
	f := readFilter(q)
	f.After = int64(q.number("after", 0, 0, 1<<53))
	if n, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64); err == nil && n > f.After {
		f.After = n // the browser goes on where its connection broke
	}
	if q.err != nil {
		refuse(w, http.StatusBadRequest, q.err)
		return
	}
	if c.streams.Add(1) > maxStreams {
		c.streams.Add(-1)
		refuse(w, http.StatusServiceUnavailable, errors.New("too many live lists are open"))
		return
	}
	defer c.streams.Add(-1)
	feed := c.cfg.Store.Subscribe()
	defer feed.Unsubscribe()
	l := &live{console: c, filter: f, out: w, flush: http.NewResponseController(w)}
	_ = l.flush.SetReadDeadline(time.Time{}) // the port's limit is for requests; where there is none, none is lifted
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if l.say("retry: 2000\n\n") != nil {
		return
	}
	l.run(r.Context().Done(), feed)
}

// live is one live list.
type live struct {
	console *Console
	filter  store.Filter
	out     http.ResponseWriter
	flush   *http.ResponseController
}

func (l *live) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(l.out, format, args...); err != nil {
		return err
	}
	return l.flush.Flush()
}

// run sends rows until the client leaves or the store is closed. The first send is what came before the feed began.
func (l *live) run(done <-chan struct{}, feed *store.Feed) {
	beat := time.NewTicker(liveHeartbeat)
	defer beat.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-done:
			return
		case <-pause.C:
		}
		if l.send() != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-done:
				return
			case <-beat.C:
				if l.say(": still here\n\n") != nil {
					return
				}
			case _, open := <-feed.Changed():
				if !open {
					return
				}
				waiting = false
			}
		}
		pause.Reset(liveInterval)
	}
}

func (l *live) send() error {
	last := l.console.cfg.Store.Last()
	list, more := l.console.cfg.Store.List(l.filter, liveBurst)
	l.filter.After = max(l.filter.After, last)
	if len(list) == 0 {
		return nil
	}
	l.filter.After = max(l.filter.After, list[0].Seq)
	body, err := marshal(map[string]any{"requests": rowsOf(list), "more": more})
	if err != nil {
		return err
	}
	return l.say("id: %d\ndata: %s\n\n", l.filter.After, body)
}
