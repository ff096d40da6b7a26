package route

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// Explanation says how a request would be routed, and why.
type Explanation struct {
	Dialect     string        `json:"dialect"`
	Model       string        `json:"model"` // as the client named it
	Rules       []Verdict     `json:"rules"` // all of them, in order
	Label       string        `json:"label"`
	Rule        string        `json:"rule,omitempty"` // that decided
	Reason      string        `json:"reason"`         // names.RouteReason…
	Passthrough bool          `json:"passthrough"`
	InputTokens int64         `json:"input_tokens,omitempty"` // 0 when no rule counted
	Targets     []Choice      `json:"targets"`
	Skipped     []SkippedItem `json:"skipped,omitempty"`
	// Fallbacks are those that speak the dialect, by reason; "any" for any.
	Fallbacks map[string][]string `json:"fallbacks,omitempty"`
	Notes     []string            `json:"notes,omitempty"`
	Error     string              `json:"error,omitempty"` // why there is no route
}

// Verdict is what one rule makes of the request.
type Verdict struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Matched bool   `json:"matched"`
	Decides bool   `json:"decides"` // the first that matched
	Why     string `json:"why,omitempty"`
	Error   string `json:"error,omitempty"`
}

// Choice is a target in the order it would be tried. With weights, the first
// is drawn by its share and the others keep their order.
type Choice struct {
	Target string  `json:"target"`
	Model  string  `json:"model"` // as sent
	Share  float64 `json:"share"` // of exchanges that go there first, 0 to 1
}

// SkippedItem is a target or fallback that would be passed over.
type SkippedItem struct {
	Target   string `json:"target"`
	Reason   string `json:"reason"`
	Speaks   string `json:"speaks"` // the family its provider speaks
	Fallback bool   `json:"fallback"`
}

// Explain tells how x would be routed. It needs x's Dialect, Request, Body,
// Call and Caller, and neither changes x nor reports or counts failing rules.
func (r *Router) Explain(ctx context.Context, x *gateway.Exchange) Explanation {
	y := &gateway.Exchange{ID: x.ID, Start: x.Start, Dialect: x.Dialect, Request: x.Request, Body: x.Body, Call: x.Call, Caller: x.Caller, Snapshot: x.Snapshot}
	out := Explanation{Dialect: x.Dialect.Name(), Model: x.Call.Model, Label: DefaultLabel}
	f := &facts{ctx: ctx, x: y, counter: r.tokens}
	for i := range r.rules {
		rule := &r.rules[i]
		v := Verdict{Name: rule.name, Kind: rule.kind}
		var err error
		if v.Matched, err = rule.match.match(f, &v.Why); err != nil {
			v.Error = err.Error()
		}
		if v.Matched && out.Rule == "" {
			v.Decides, out.Label, out.Rule = true, rule.name, rule.name
		}
		out.Rules = append(out.Rules, v)
	}
	out.InputTokens = f.counted
	y.Route.Label, y.Route.Rule = out.Label, out.Rule
	out.fill(r.decide(y), y)
	return out
}

func (e *Explanation) fill(d decision, x *gateway.Exchange) {
	e.Reason, e.Passthrough = d.reason, d.passthrough
	sum := 0.0
	for _, w := range d.weights {
		sum += w
	}
	for i, t := range d.targets {
		c := Choice{Target: t.Name, Model: t.Model}
		if c.Model == "" {
			c.Model = x.Call.Model
		}
		switch {
		case sum > 0:
			c.Share = d.weights[i] / sum
		case i == 0:
			c.Share = 1
		}
		e.Targets = append(e.Targets, c)
	}
	for i, s := range slices.Concat(d.skipped, d.unspoken) {
		e.Skipped = append(e.Skipped, SkippedItem{s.Target.Name, s.Reason, s.Target.Provider.Family, i >= len(d.skipped)})
	}
	for reason, list := range d.fallbacks {
		if len(list) == 0 {
			continue
		}
		if e.Fallbacks == nil {
			e.Fallbacks = map[string][]string{}
		}
		if reason == "" {
			reason = "any"
		}
		for _, t := range list {
			e.Fallbacks[reason] = append(e.Fallbacks[reason], t.Name)
		}
	}
	if d.latency && len(d.targets) > 1 {
		e.Notes = append(e.Notes, "the target that has been answering soonest goes first; one exchange in ten goes anywhere")
	}
	if d.note != "" {
		e.Notes = append(e.Notes, d.note)
	}
	if d.err != nil {
		e.Error = d.err.Message
	}
}

// String renders the explanation for a terminal, without colour.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "request  %s, model %q\n", e.Dialect, clip(e.Model))
	for i, v := range e.Rules {
		head := "         "
		if i == 0 {
			head = "rules    "
		}
		fmt.Fprintf(&b, "%s%s %s (%s): %s\n", head, v.mark(), v.Name, v.Kind, v.text())
	}
	by := "no rule matched"
	if e.Rule != "" {
		by = "rule " + e.Rule
	}
	fmt.Fprintf(&b, "label    %s (%s)\n", e.Label, by)
	fmt.Fprintf(&b, "reason   %s\n", e.Reason)
	e.writeTargets(&b)
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "note     %s\n", n)
	}
	if e.Error != "" {
		fmt.Fprintf(&b, "refused  %s\n", e.Error)
	}
	return b.String()
}

func (e *Explanation) writeTargets(b *strings.Builder) {
	for i, t := range e.Targets {
		share := ""
		if t.Share > 0 && t.Share < 1 {
			share = fmt.Sprintf(", first for %.0f%%", 100*t.Share)
		}
		fmt.Fprintf(b, "target   %d. %s, sent as %q%s\n", i+1, t.Target, clip(t.Model), share)
	}
	for _, reason := range slices.Sorted(maps.Keys(e.Fallbacks)) {
		fmt.Fprintf(b, "then     on %s: %s\n", reason, strings.Join(e.Fallbacks[reason], ", "))
	}
	for _, s := range e.Skipped {
		what := "target"
		if s.Fallback {
			what = "fallback"
		}
		fmt.Fprintf(b, "skipped  %s %s: %s (it speaks %s)\n", what, s.Target, s.Reason, s.Speaks)
	}
}

func (v *Verdict) mark() string {
	switch {
	case v.Decides:
		return "→"
	case v.Error != "":
		return "!"
	case v.Matched:
		return "+"
	}
	return "-"
}

func (v *Verdict) text() string {
	switch {
	case v.Error != "":
		return "could not be evaluated: " + v.Error
	case v.Matched && !v.Decides:
		return v.Why + ", but an earlier rule matched"
	}
	return v.Why
}
