package price

import (
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/gateway/tokens"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Accrued implements [gateway.Pricer]. It never falls while the figures it goes by grow; what is learnt meanwhile from other
// answers may move it a little.
func (p *Pricer) Accrued(a *gateway.Attempt) gateway.NanoUSD {
	r := &a.Result
	provider := a.Target.Provider
	switch {
	case a.Billing() == names.CostBillingFree:
		return 0
	case isOpaque(a):
		return provider.PassthroughPrice.Value
	case a.Exchange.Call.Operation == "":
		return 0
	case r.ProviderCost.Set && tells(provider):
		return r.ProviderCost.Value
	}
	e, _ := p.entry(a)
	if e == nil {
		return 0
	}
	usage, tier := r.Usage, r.ServiceTier
	p.complete(a, &usage)
	if tier == "" {
		tier = asked(a)
	}
	var b bill
	if !e.charge(&usage, service(tier, usage.Speed), &b) {
		return a.Bound.Total()
	}
	return b.total
}

// Complete fills in what the usage of an attempt lacks that may be billed, before it is priced: of a stream that was cut, what
// was generated and nobody counted; of a request that came to no answer, its prompt. The usage's source then says so. What is
// complete teaches to estimate what will not be. It is called once, when no more can come.
func (p *Pricer) Complete(a *gateway.Attempt) {
	r, x := &a.Result, a.Exchange
	u := &r.Usage
	switch {
	case isOpaque(a):
		if a.Response == nil {
			u.Source = names.UsageSourceEstimated
		}
	case x.Call.Operation == "":
	case u.Source == names.UsageSourceProvider:
		p.learn(a)
	default:
		if a.Bound.Status == "" { // nobody asked for a bound
			prompt := tokens.Estimate(a.Body, jsonscan.Root(a.Body), tokens.All)
			a.Bound.InputTokens = p.counter.Calibrated(a.Model(), prompt.Tokens) + int64(prompt.Media)*mediaLikely
		}
		p.complete(a, u)
		if r.ServiceTier == "" {
			r.ServiceTier = asked(a)
		}
		if u.Source != names.UsageSourcePartial {
			u.Source = names.UsageSourceEstimated
		}
	}
}

// complete adds to u what can be seen and was not counted. A provider's count of the prompt is believed; its count of the
// output may be of an earlier moment.
func (p *Pricer) complete(a *gateway.Attempt, u *gateway.Usage) {
	if u.Source == names.UsageSourceProvider {
		return
	}
	if u.InputTokens() == 0 {
		u.Input = a.Bound.InputTokens
	}
	call := &a.Exchange.Call
	if call.Operation == names.OperationEmbeddings {
		return
	}
	if more := p.counter.Output(a.Model(), call.Thinking, a.Result.OutputBytes) - u.OutputTokens(); more > 0 {
		u.Output += more
	}
}

// asked returns the tier a request asked for if it is one of the dear ones: until the answer says otherwise it may be billed.
func asked(a *gateway.Attempt) string {
	switch t := a.Exchange.Call.ServiceTier; t {
	case servicePriority, serviceFast:
		return t
	}
	return ""
}

// learn compares an answer's own figures with what they would have been estimated at. What the provider read beside the
// request, and output that is no text, teach nothing.
func (p *Pricer) learn(a *gateway.Attempt) {
	u, call := &a.Result.Usage, &a.Exchange.Call
	if call.ServerTools || u.WebSearches > 0 || u.Others != "" {
		return
	}
	if u.AudioOut+u.ImageOut == 0 && call.Operation != names.OperationEmbeddings {
		p.counter.LearnOutput(a.Model(), call.Thinking, a.Result.OutputBytes, u.OutputTokens())
	}
	if a.Bound.InputTokens > 0 && call.Images == 0 && !call.Elsewhere && call.PreviousResponse == "" {
		p.counter.Correct(a.Model(), a.Bound.InputTokens, u.InputTokens())
	}
}
