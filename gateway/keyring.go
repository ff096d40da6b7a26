package gateway

import (
	"slices"
	"sync"
	"time"
)

// keyring remembers which of a provider's API keys were refused, and until when.
// A key in use stays in use until it is refused: prompt caches are an
// account's. Safe for concurrent use.
type keyring struct {
	mu  sync.Mutex
	now int                    // index of the key in use
	out map[string][]time.Time // :: target's name, "" for all → until when each key sits out; the zero time: it does not
}

// pick returns the index of the key to use for a target: the one in use, else
// the next that does not sit out, else the one that will be back first. free is
// false for the last.
func (r *keyring) pick(n int, target string, at time.Time) (i int, free bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now %= n
	if len(r.out) == 0 {
		return r.now, true
	}
	first := -1
	var soonest time.Time
	for k := range n {
		i := (r.now + k) % n
		back := r.back(i, target)
		if !back.After(at) {
			return i, true
		}
		if first < 0 || back.Before(soonest) {
			first, soonest = i, back
		}
	}
	return first, false
}

// back is when key i may be used for target. The caller holds mu.
func (r *keyring) back(i int, target string) time.Time {
	var t time.Time
	for _, name := range [2]string{"", target} {
		if list := r.out[name]; i < len(list) && list[i].After(t) {
			t = list[i]
		}
	}
	return t
}

// soonest is when the first of n keys may be used for target.
func (r *keyring) soonest(n int, target string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.back(0, target)
	for i := 1; i < n; i++ {
		if t := r.back(i, target); t.Before(first) {
			first = t
		}
	}
	return first
}

// sitOut keeps key i of n from being used for target, "" for all, until then,
// and moves on to the next.
func (r *keyring) sitOut(i, n int, target string, until, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, list := range r.out {
		if !slices.ContainsFunc(list, func(t time.Time) bool { return t.After(at) }) {
			delete(r.out, name)
		}
	}
	if r.out == nil {
		r.out = map[string][]time.Time{}
	}
	if len(r.out[target]) < n {
		r.out[target] = append(r.out[target], make([]time.Time, n-len(r.out[target]))...)
	}
	if until.After(r.out[target][i]) {
		r.out[target][i] = until
	}
	if r.now%n == i {
		r.now = (i + 1) % n
	}
}

// ring returns the state of the provider's keys.
func (p *Provider) ring() *keyring {
	if r := p.keys.Load(); r != nil {
		return r
	}
	p.keys.CompareAndSwap(nil, &keyring{})
	return p.keys.Load()
}

// adopt takes over what an earlier configuration's provider of the same name
// knows of the same keys.
func (p *Provider) adopt(old []*Provider) {
	for _, o := range old {
		if o.Name == p.Name && slices.Equal(o.Keys, p.Keys) && len(p.Keys) > 0 {
			p.keys.CompareAndSwap(nil, o.ring())
		}
	}
}

// key returns the key to use for a target now.
func (p *Provider) key(target string) Secret {
	if len(p.Keys) == 1 {
		return p.Keys[0]
	}
	i, _ := p.ring().pick(len(p.Keys), target, time.Now())
	return p.Keys[i]
}

// refuse notes that the provider refused a key: for one target when it is
// throttled, for all when its credit is used up or it is no good.
func (p *Provider) refuse(key Secret, target string, pause time.Duration) {
	if i := slices.Index(p.Keys, key); i >= 0 && len(p.Keys) > 1 {
		now := time.Now()
		p.ring().sitOut(i, len(p.Keys), target, now.Add(pause), now)
	}
}

// otherKey returns a key that may be used for a target now and is not refused.
func (p *Provider) otherKey(refused Secret, target string) (Secret, bool) {
	if len(p.Keys) < 2 {
		return "", false
	}
	i, free := p.ring().pick(len(p.Keys), target, time.Now())
	return p.Keys[i], free && p.Keys[i] != refused
}

// throttledUntil returns when the first of several keys may be used for a target
// again; ok is false when there is one key at most, which keeps no state.
func (p *Provider) throttledUntil(target string) (t time.Time, ok bool) {
	if len(p.Keys) < 2 {
		return t, false
	}
	return p.ring().soonest(len(p.Keys), target), true
}
