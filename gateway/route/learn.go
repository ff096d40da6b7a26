package route

import (
	"slices"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

var _ gateway.Learner = (*Router)(nil)

// counts reports whether a rule counts whole prompts.
func (r *Router) counts() bool {
	return slices.ContainsFunc(r.rules, func(c rule) bool {
		switch m := c.match.(type) {
		case tokenCount:
			return m.mode == tokens.All
		case when:
			return strings.Contains(m.src, "input_tokens")
		}
		return false
	})
}

// maxLesson is the largest body to learn from, in bytes: estimating takes time, and what a model does to text shows long
// before.
const maxLesson = 256 << 10

// Learn notes how soon the target began to answer and which conversation it has,
// and calibrates the counting of tokens.
func (r *Router) Learn(a *gateway.Attempt) {
	if r.health != nil && a.Err == nil && a.Response != nil && a.Exchange.Call.Operation != "" {
		end := a.Stream.Started
		if end.IsZero() { // a plain answer, which is whole now
			end = time.Now()
		}
		r.health.measure(a.Target, !a.Stream.Started.IsZero(), end.Sub(a.Sent))
	}
	if r.sticky != nil {
		r.learnPlace(a)
	}
	r.learnTokens(a)
}

// learnTokens compares the provider's count of a prompt with the estimate rules go by, so that thresholds come to hold for the
// model's own tokens. It does nothing when no rule counts.
//
// Rules ask by the model that the client named, and learn under that name. An answer teaches nothing when another model
// gave it because a rule or a failure led there, nor when the provider read more than the request's text: images, or state
// of its own.
func (r *Router) learnTokens(a *gateway.Attempt) {
	x, u := a.Exchange, &a.Result.Usage
	switch {
	case r.calibrate == nil || u.Source != names.UsageSourceProvider || len(x.Body) > maxLesson:
		return
	case a.Model() != x.Call.Model && (x.Route.Rule != "" || a.Kind != names.AttemptKindPrimary):
		return
	case x.Call.Images > 0 || x.Call.PreviousResponse != "" || u.WebSearches > 0:
		return
	}
	if count := tokens.Estimate(x.Body, jsonscan.Root(x.Body), tokens.All); count.Media == 0 {
		r.calibrate(x.Call.Model, count.Tokens, u.InputTokens())
	}
}
