package route

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Route decides the targets of x by its label and the model the client named:
//
//   - a label with an entry goes to the entry's targets;
//   - a label without one goes to the entry "default";
//   - the label "default" under DefaultPassthrough, every label under
//     Passthrough, and a label with no entry at all keep the client's model. So
//     do embeddings that no rule matched: a chat model cannot serve them.
//
// The client's model is an entry's name, or "provider/model" with a configured
// provider, or else goes to the implied provider as it is; the label's
// fallbacks still apply then.
//
// Targets that do not speak the client's dialect are skipped. When none is
// left the error is a *gateway.Error with reason no_route. What Route puts on x
// is shared between exchanges and must not be changed in place.
func (r *Router) Route(_ context.Context, x *gateway.Exchange) error {
	d := r.decide(x)
	rt := &x.Route
	if rt.Label == "" {
		rt.Label = DefaultLabel
	}
	rt.Reason, rt.Passthrough = d.reason, d.passthrough
	rt.Candidates, rt.Skipped = d.candidates, d.skipped
	if d.err != nil {
		return d.err
	}
	r.choose(x, &d)
	rt.Reason, rt.Targets, rt.Fallbacks = d.reason, d.targets, d.fallbacks
	rt.Provider, rt.Model = rt.Targets[0].Provider.Name, rt.Targets[0].Model
	if rt.Model == "" {
		rt.Model = x.Call.Model
	}
	return nil
}

// decision is where an exchange may go, before the weights are drawn.
type decision struct {
	reason      string
	passthrough bool
	targets     []gateway.Target // speakers only
	weights     []float64        // nil: the order stands
	candidates  []string
	skipped     []gateway.Skip
	fallbacks   map[string][]gateway.Target
	unspoken    []gateway.Skip // fallbacks that do not speak the dialect
	latency     bool           // the quickest goes first
	drawn       bool           // chance or speed has decided the order
	note        string         // for people, why it is not what one might expect
	err         *gateway.Error
}

func (r *Router) decide(x *gateway.Exchange) decision {
	label := x.Route.Label
	if label == "" {
		label = DefaultLabel
	}
	if r.keeps(x, label) {
		return r.byModel(x, r.entries[label])
	}
	reason := names.RouteReasonRule
	if label == DefaultLabel && x.Route.Rule == "" {
		reason = names.RouteReasonDefault
	}
	if e := r.entries[label]; e != nil {
		return r.byEntry(x, e, reason)
	}
	if e := r.entries[DefaultLabel]; e != nil {
		d := r.byEntry(x, e, names.RouteReasonDefault)
		d.note = fmt.Sprintf("label %q has no entry under models: the entry %q is used", label, DefaultLabel)
		return d
	}
	d := r.byModel(x, nil)
	if label != DefaultLabel {
		d.note = fmt.Sprintf("neither label %q nor %q has an entry under models: the client's model is kept", label, DefaultLabel)
	}
	return d
}

// keeps reports whether the client's model is kept whatever the table says.
func (r *Router) keeps(x *gateway.Exchange, label string) bool {
	if r.allKept || label == DefaultLabel && r.defaultKept {
		return true
	}
	return x.Route.Rule == "" && label == DefaultLabel && x.Call.Operation == names.OperationEmbeddings
}

// byModel sends x where the model the client named is. own is the label's
// entry, or nil; its fallbacks serve a model that has no entry.
func (r *Router) byModel(x *gateway.Exchange, own *entry) decision {
	model := x.Call.Model
	if e := r.entries[model]; e != nil {
		return r.byEntry(x, e, names.RouteReasonModel)
	}
	fallbacks := r.fallbacks
	if own != nil {
		fallbacks = own.fallbacks
	}
	if p, rest, ok := strings.Cut(model, "/"); ok && rest != "" && r.providers[p] != nil {
		// The name is a metric attribute: what the client made up stays out.
		t := gateway.Target{Provider: r.providers[p], Model: rest, Name: p + "/" + r.Known(rest)}
		return r.speaking(x, decision{reason: names.RouteReasonModel, targets: []gateway.Target{t}, candidates: []string{t.Name}, fallbacks: fallbacks})
	}
	p := r.Implied(x.Dialect)
	if p == nil {
		return decision{reason: names.RouteReasonPassthrough, err: noRoute("no provider is configured for model %q in %s requests: add %[1]q under models:, or a provider of type %[3]s, or mark a provider that speaks %[3]s with default: true",
			clip(model), x.Dialect.Name(), x.Dialect.Family())}
	}
	t := gateway.Target{Provider: p, Name: p.Name + "/" + r.Known(model)}
	return r.speaking(x, decision{reason: names.RouteReasonPassthrough, passthrough: true, targets: []gateway.Target{t}, candidates: []string{t.Name}, fallbacks: fallbacks})
}

func (r *Router) byEntry(x *gateway.Exchange, e *entry, reason string) decision {
	d := r.speaking(x, decision{reason: reason, targets: e.targets, weights: e.weights, candidates: e.candidates, fallbacks: e.fallbacks, latency: e.latency})
	if d.err != nil {
		d.err.Message = fmt.Sprintf("%q: %s", e.name, d.err.Message)
	}
	return d
}

// speaking moves the targets and fallbacks that do not speak x's dialect aside.
func (r *Router) speaking(x *gateway.Exchange, d decision) decision {
	mute := func(t gateway.Target) bool { return !t.Provider.Speaks(x.Dialect) }
	if slices.ContainsFunc(d.targets, mute) {
		targets, weights := []gateway.Target(nil), []float64(nil)
		for i, t := range d.targets {
			if mute(t) {
				d.skipped = append(d.skipped, gateway.Skip{Target: t, Reason: names.FallbackDialect})
				continue
			}
			targets = append(targets, t)
			if d.weights != nil {
				weights = append(weights, d.weights[i])
			}
		}
		d.targets, d.weights = targets, weights
	}
	for _, list := range d.fallbacks {
		if slices.ContainsFunc(list, mute) {
			d.fallbacks, d.unspoken = spoken(d.fallbacks, mute)
			break
		}
	}
	if len(d.targets) == 0 {
		d.err = noRoute("no target speaks %s; skipped: %s. Add a target whose provider speaks %s, or use a client that speaks %s",
			x.Dialect.Name(), describe(d.skipped), x.Dialect.Family(), d.skipped[0].Target.Provider.Family)
	}
	return d
}

func spoken(lists map[string][]gateway.Target, mute func(gateway.Target) bool) (map[string][]gateway.Target, []gateway.Skip) {
	out := make(map[string][]gateway.Target, len(lists))
	var skipped []gateway.Skip
	for reason, list := range lists {
		for _, t := range list {
			if mute(t) {
				skipped = append(skipped, gateway.Skip{Target: t, Reason: names.FallbackDialect})
				continue
			}
			out[reason] = append(out[reason], t)
		}
	}
	return out, skipped
}

func describe(skipped []gateway.Skip) string {
	parts := make([]string, len(skipped))
	for i, s := range skipped {
		parts[i] = fmt.Sprintf("%s (speaks %s)", s.Target.Name, s.Target.Provider.Family)
	}
	return strings.Join(parts, ", ")
}

func noRoute(format string, args ...any) *gateway.Error {
	return &gateway.Error{
		Type: names.ErrorNoRoute, Origin: names.ErrorOriginGateway, Reason: names.RejectionNoRoute, Status: 400, NoRetry: true,
		Message: fmt.Sprintf(format, args...),
	}
}

// choose brings the targets into the order they are tried in.
func (r *Router) choose(x *gateway.Exchange, d *decision) {
	switch {
	case len(d.targets) < 2:
	case d.latency && r.health != nil:
		d.targets, d.drawn = r.quickest(d.targets, x.Call.Stream), true
	case d.weights != nil:
		d.targets, d.drawn = r.draw(d.targets, d.weights), true
	}
	r.stick(x, d)
}

// draw puts the target that the weights choose first; the others follow in
// order, which is by descending weight.
func (r *Router) draw(targets []gateway.Target, weights []float64) []gateway.Target {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	if sum == 0 || len(targets) == 1 {
		return targets
	}
	at, left := 0, r.rand()*sum
	for i, w := range weights {
		if w == 0 {
			break
		}
		at = i
		if left -= w; left < 0 {
			break
		}
	}
	if at == 0 {
		return targets
	}
	out := make([]gateway.Target, 0, len(targets))
	out = append(out, targets[at])
	out = append(out, targets[:at]...)
	return append(out, targets[at+1:]...)
}
