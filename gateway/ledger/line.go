package ledger

import (
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// factsOf are what budgets judge an attempt by.
func factsOf(a *gateway.Attempt) budget.Facts {
	c := &a.Exchange.Caller
	f := budget.Facts{KeyID: c.KeyID, KeyAlias: c.KeyAlias, Team: c.Team, User: c.User, Model: a.Model(), Provider: a.Target.Provider.Name,
		Label: a.Exchange.Route.Label, Session: c.Session, Tags: c.Tags, Billing: a.Bound.Billing}
	if f.Billing == "" {
		f.Billing = a.Billing()
	}
	return f
}

// begin fills in what is known of an attempt before it is sent.
func begin(line *store.Line, a *gateway.Attempt, node string, now time.Time) {
	x := a.Exchange
	c := &x.Caller
	*line = store.Line{
		ID: a.ID, Exchange: x.ID, Node: node, Time: now.UTC(), Attempt: a.Number,
		KeyID: c.KeyID, KeyAlias: c.KeyAlias, Team: c.Team, User: c.User, Session: c.Session, Tags: c.Tags,
		Label: x.Route.Label, Rule: x.Route.Rule, OriginalModel: x.Call.Model, Model: a.Model(), Provider: a.Target.Provider.Name,
		Streamed: x.Call.Stream,
	}
	if x.Dialect != nil {
		line.Dialect = x.Dialect.Name()
	}
	if x.Span != nil {
		if id := x.Span.SpanContext().TraceID(); id.IsValid() {
			line.Trace = id.String()
		}
	}
}

// end fills in how an attempt ended.
func end(line *store.Line, a *gateway.Attempt, now time.Time) {
	r := &a.Result
	line.Duration = max(0, now.Sub(line.Time))
	line.AnsweredModel, line.ServiceTier = r.Model, r.ServiceTier
	line.Usage, line.Cost = r.Usage, a.Cost
	line.Estimated = r.Usage.Source == names.UsageSourceEstimated || r.Usage.Source == names.UsageSourcePartial
	if a.Routing.Compared {
		line.Baseline = gateway.Some(a.Routing.Baseline)
	}
	line.Outcome = outcome(a)
	if e := failure(a); e != nil {
		line.ErrorType = e.Type
	}
	if a.Response != nil {
		line.Status = a.Response.StatusCode
	}
}

// failure is why an attempt failed, by the engine or by its provider; nil: it
// did not.
func failure(a *gateway.Attempt) *gateway.Error {
	if a.Err != nil {
		return a.Err
	}
	return a.Result.Err
}

// outcome says how an attempt ended: names.Outcome….
func outcome(a *gateway.Attempt) string {
	e := failure(a)
	switch {
	case e != nil && e.Reason == names.RejectionModeration:
		return names.OutcomeBlocked
	case e != nil && e.Reason != "":
		return names.OutcomeRejected
	case a.Exchange.ClientGone() && (e == nil || e.Type != names.ErrorTimeout):
		return names.OutcomeClientDisconnect
	case e == nil:
		return names.OutcomeCompleted
	case e.Type == names.ErrorTimeout, e.Type == names.ErrorIdleTimeout:
		return names.OutcomeTimeout
	case e.Type == names.ErrorStreamTruncated:
		return names.OutcomeTruncated
	}
	return names.OutcomeFailed
}
