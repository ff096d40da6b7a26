package route

import (
	"bytes"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Sticky remembers which target has a conversation: by the id of a response or
// of what else a provider keeps, and by session. It serves all configurations
// of a process. Its size is bounded, and what is not used for a day is
// forgotten. Safe for concurrent use.
type Sticky struct {
	seed [2]maphash.Seed

	mu         sync.Mutex
	young, old map[stickyKey]place // what is in neither is forgotten
}

// Bounds of what is remembered.
const (
	stickyBytes = 8 << 20
	placeBytes  = 128 // of an entry, with its share of the map
	stickyTime  = 24 * time.Hour
	maxName     = 256 // bytes of a model's name that is remembered
)

// stickyKey is a hash: ids are as long as those who make them like, and clients do.
type stickyKey [2]uint64

// place is a target, by the names it has in every configuration.
type place struct {
	provider, model, name string
	used                  time.Time
}

// NewSticky returns a Sticky that remembers nothing.
func NewSticky() *Sticky {
	return &Sticky{seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, young: map[stickyKey]place{}}
}

// key of an id of a kind, as one caller of one API knows it: nobody steers
// another's conversations.
func (s *Sticky) key(kind byte, x *gateway.Exchange, id string) stickyKey {
	var room [192]byte
	b := append(room[:0], kind)
	for _, part := range [...]string{x.Dialect.Family(), x.Caller.KeyID, id} {
		b = append(append(b, part...), 0)
	}
	return stickyKey{maphash.Bytes(s.seed[0], b), maphash.Bytes(s.seed[1], b)}
}

func (s *Sticky) get(k stickyKey) (place, bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.young[k]
	fresh := ok && now.Sub(p.used) < stickyTime/1000
	if !ok {
		p, ok = s.old[k]
	}
	if !ok || now.Sub(p.used) > stickyTime {
		return place{}, false
	}
	if !fresh {
		p.used = now
		s.put(k, p)
	}
	return p, true
}

// put stores an entry. The caller holds mu.
func (s *Sticky) put(k stickyKey, p place) {
	if len(s.young) >= stickyBytes/placeBytes/2 {
		s.old, s.young = s.young, make(map[stickyKey]place, len(s.young)/4)
	}
	s.young[k] = p
}

func (s *Sticky) remember(k stickyKey, t gateway.Target) {
	if len(t.Model) > maxName || len(t.Name) > maxName {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.young[k]; ok && p.name == t.Name && now.Sub(p.used) < stickyTime/1000 {
		return
	}
	s.put(k, place{t.Provider.Name, t.Model, t.Name, now})
}

// The kinds of ids.
const (
	kindState   = 'r' // a response, a conversation, a cached content
	kindSession = 's'
)

// learnPlace notes which target answered.
func (r *Router) learnPlace(a *gateway.Attempt) {
	x := a.Exchange
	if a.Response == nil || a.Response.StatusCode >= 300 || x.Call.Operation == "" {
		return
	}
	if r.many[x.Dialect.Family()] {
		if id := a.Result.ID; id != "" && x.Dialect.Name() == names.DialectOpenAIResponses {
			r.sticky.remember(r.sticky.key(kindState, x, id), a.Target)
		}
		if id := x.Call.PreviousResponse; id != "" && a.Err == nil {
			r.sticky.remember(r.sticky.key(kindState, x, id), a.Target)
		}
	}
	if id := x.Caller.Session; id != "" && a.Err == nil && (len(x.Route.Candidates) > 1 || len(x.Route.Fallbacks) > 0) {
		r.sticky.remember(r.sticky.key(kindSession, x, id), a.Target)
	}
}

// stick sends x where its conversation is.
//
// What a provider keeps is there and nowhere else: x goes to that provider or
// fails. Signatures of thinking are no use to others, but travel with the
// request: x goes where they come from while that works. A prompt cache is only
// a reason where chance or speed would decide.
func (r *Router) stick(x *gateway.Exchange, d *decision) {
	if r.sticky == nil {
		return
	}
	if x.Call.PreviousResponse != "" {
		r.bind(x, d)
		return
	}
	at, ok := r.session(x)
	if !ok || at.name == d.targets[0].Name {
		return
	}
	isIt := func(t gateway.Target) bool { return t.Name == at.name }
	if d.drawn && slices.ContainsFunc(d.targets, isIt) || signed(x.Body) {
		d.prefer(isIt)
	}
}

func (r *Router) session(x *gateway.Exchange) (place, bool) {
	if x.Caller.Session == "" {
		return place{}, false
	}
	return r.sticky.get(r.sticky.key(kindSession, x, x.Caller.Session))
}

// bind keeps x at the provider that has its state: the one that is remembered,
// else the one the route begins with.
func (r *Router) bind(x *gateway.Exchange, d *decision) {
	at, ok := r.sticky.get(r.sticky.key(kindState, x, x.Call.PreviousResponse))
	if !ok {
		at, ok = r.session(x)
	}
	p := r.providers[at.provider]
	if ok = ok && p != nil && p.Speaks(x.Dialect); !ok {
		p = d.targets[0].Provider
	}
	if d.targets[0].Provider != p {
		d.reason = names.RouteReasonSticky
	}
	there := func(t gateway.Target) bool { return t.Provider == p }
	own, listed := d.find(there)
	if !listed { // the label's targets are elsewhere, where it cannot work
		own = gateway.Target{Provider: p, Model: at.model, Name: at.name}
	}
	out := []gateway.Target{own}
	for _, t := range d.targets {
		if there(t) && t != own {
			out = append(out, t)
		}
	}
	d.targets, d.fallbacks = out, keep(d.fallbacks, p)
}

// keep returns the fallbacks at p.
func keep(lists map[string][]gateway.Target, p *gateway.Provider) map[string][]gateway.Target {
	out := map[string][]gateway.Target{}
	for reason, list := range lists {
		for _, t := range list {
			if t.Provider == p {
				out[reason] = append(out[reason], t)
			}
		}
	}
	return out
}

// find returns the first target that is the one, of the fallbacks for any reason
// before those for one.
func (d *decision) find(isIt func(gateway.Target) bool) (gateway.Target, bool) {
	if i := slices.IndexFunc(d.targets, isIt); i >= 0 {
		return d.targets[i], true
	}
	for _, reason := range fallbackReasons {
		if i := slices.IndexFunc(d.fallbacks[reason], isIt); i >= 0 {
			return d.fallbacks[reason][i], true
		}
	}
	return gateway.Target{}, false
}

// prefer puts a target or fallback first, if it is there.
func (d *decision) prefer(isIt func(gateway.Target) bool) {
	t, ok := d.find(isIt)
	if !ok {
		return
	}
	out := make([]gateway.Target, 0, len(d.targets)+1)
	out = append(out, t)
	for _, o := range d.targets {
		if !isIt(o) {
			out = append(out, o)
		}
	}
	d.targets, d.reason = out, names.RouteReasonSticky
}

// signatures are how thinking that only its author understands appears in a
// request: Anthropic's, Gemini's, OpenAI's. Text that only looks like one makes
// a conversation stay where it is, which does no harm.
var signatures = [][]byte{
	[]byte(`"signature"`), []byte(`"redacted_thinking"`), []byte(`"thoughtSignature"`), []byte(`"thought_signature"`), []byte(`"encrypted_content"`),
}

func signed(body []byte) bool {
	return slices.ContainsFunc(signatures, func(s []byte) bool { return bytes.Contains(body, s) })
}
