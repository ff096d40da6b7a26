package caller

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// state is what lives on when a key's definition changes.
type state struct {
	meter
	revoked bool   // guarded by meter.mu
	visits  *visit // those that run; guarded by meter.mu

	used  atomic.Int64               // Unix seconds of the last use; 0: never
	saved int64                      // as used, what the database knows; guarded by Registry.mu
	from  atomic.Pointer[netip.Addr] // the source it was last used from; nil: none yet
}

// touch notes that the key was used.
func (s *state) touch(now time.Time, from netip.Addr) {
	if t := now.Unix(); s.used.Load() != t {
		s.used.Store(t)
	}
	if !s.knows(from) {
		p := new(netip.Addr) // a variable of its own: a parameter would move to the heap each time
		*p = from
		s.from.Store(p)
	}
}

// knows reports whether the key was last used from a source.
func (s *state) knows(from netip.Addr) bool {
	p := s.from.Load()
	return p != nil && *p == from
}

// access implements [gateway.Access]. It is immutable but for what state and
// team count.
type access struct {
	registry   *Registry
	record     *entry
	team       *meter // nil: none
	orphan     bool   // its team is not configured
	models     patterns
	teamModels patterns
}

// Describe implements gateway.Access.
func (a *access) Describe(c *gateway.Caller) {
	c.KeyID, c.KeyAlias, c.Team = a.record.ID, a.record.Name, a.record.Team
}

// TrustIncoming implements gateway.Access.
func (a *access) TrustIncoming() bool { return a.record.TrustIncoming }

// Sees implements gateway.Access. A pattern with a provider shows the models it
// names by their bare names too: the list may know no other.
func (a *access) Sees(model string) bool { return a.models.sees(model) && a.teamModels.sees(model) }

// Allows implements gateway.Access: the key and its team must both allow the
// name that led to t, t's model, or "provider/model".
func (a *access) Allows(x *gateway.Exchange, t gateway.Target) bool {
	if a.models.all && a.teamModels.all {
		return true
	}
	model := t.Model
	if model == "" {
		model = x.Call.Model
	}
	asked, target := asked(x), targetName(t, model)
	allow := func(p patterns) bool {
		return p.match(model) || p.match(target) || asked != "" && p.match(asked)
	}
	return allow(a.models) && allow(a.teamModels)
}

// asked is the name whose targets an exchange gets: its label, or the entry of
// the table that the client named; "" when the client chose the target itself.
// The label means nothing then: it is "default" whatever the client chose.
func asked(x *gateway.Exchange) string {
	r := &x.Route
	switch {
	case r.Passthrough:
		return ""
	case r.Reason != names.RouteReasonModel:
		return r.Label
	}
	// A client that names "provider/model" has chosen that target, but not the
	// fallbacks of others.
	if len(r.Targets) == 1 && targetName(r.Targets[0], r.Targets[0].Model) == x.Call.Model {
		return ""
	}
	return x.Call.Model
}

// targetName is "provider/model".
func targetName(t gateway.Target, model string) string {
	if t.Provider == nil {
		return ""
	}
	p := t.Provider.Name
	// The target's own name says the same, unless its model is the client's word.
	if len(t.Name) == len(p)+1+len(model) && t.Name[len(p)] == '/' && strings.HasPrefix(t.Name, p) && strings.HasSuffix(t.Name, model) {
		return t.Name
	}
	return p + "/" + model
}

// Enter implements gateway.Access.
func (a *access) Enter(x *gateway.Exchange, stop func()) (gateway.Visit, error) {
	s, now := a.record.state, a.registry.now()
	v := &visit{registry: a.registry, key: s, team: a.team, estimate: estimate(x), stop: stop}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revoked {
		return nil, unknownKey()
	}
	if a.team != nil {
		a.team.mu.Lock()
		defer a.team.mu.Unlock()
	}
	var r refusal
	s.check(now, &r)
	if a.team != nil {
		a.team.check(now, &r)
	}
	if r.wait > 0 {
		return nil, r.err()
	}
	s.enter(now, v.estimate)
	if a.team != nil {
		a.team.enter(now, v.estimate)
	}
	s.link(v)
	return v, nil
}

// estimate is how many tokens an exchange is taken to use until it is known.
func estimate(x *gateway.Exchange) int64 {
	if x.InputTokens > 0 {
		return x.InputTokens
	}
	return int64(len(x.Body)) / 4
}

// visit implements [gateway.Visit].
type visit struct {
	registry *Registry
	key      *state
	team     *meter // nil: none
	estimate int64  // tokens

	// The following are guarded by key's mutex.

	stop       func() // nil: called, or the exchange cannot be stopped
	over       bool
	prev, next *visit // among those of the key that run
}

// link adds v to the visits that run. s.mu is held.
func (s *state) link(v *visit) {
	if v.next = s.visits; v.next != nil {
		v.next.prev = v
	}
	s.visits = v
}

func (s *state) unlink(v *visit) {
	if v.next != nil {
		v.next.prev = v.prev
	}
	if v.prev != nil {
		v.prev.next = v.next
	} else {
		s.visits = v.next
	}
	v.prev, v.next, v.stop = nil, nil, nil
}

// Leave implements gateway.Visit. Leaving again does nothing.
func (v *visit) Leave(tokens int64) {
	now, tokens := v.registry.now(), max(0, tokens)
	v.key.mu.Lock()
	defer v.key.mu.Unlock()
	if v.over {
		return
	}
	v.over = true
	v.key.unlink(v)
	v.key.leave(now, v.estimate, tokens)
	if v.team != nil {
		v.team.mu.Lock()
		defer v.team.mu.Unlock()
		v.team.leave(now, v.estimate, tokens)
	}
}

// revoke refuses what has not entered yet. It returns the stop functions of the
// visits that run, each once, to be called without a lock, or none.
func (s *state) revoke(stops bool) []func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = true
	var out []func()
	for v := s.visits; stops && v != nil; v = v.next {
		if v.stop != nil {
			out = append(out, v.stop)
			v.stop = nil
		}
	}
	return out
}
