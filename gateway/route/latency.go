package route

import (
	"slices"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// How the quickest target is chosen.
const (
	// explore is the share of exchanges that go anywhere, to see whether the
	// others have become quicker.
	explore = 0.1
	// alike is how much slower than the quickest a target may be to count as quick.
	alike = 1.1
	// weight of a new measurement in the moving average.
	newest = 0.2
)

// speed is how soon a target begins to answer, in seconds: a moving average, 0
// while nothing was measured.
type speed float64

func (s *speed) add(d time.Duration) {
	v := speed(max(d, time.Microsecond).Seconds())
	if *s == 0 {
		*s = v
		return
	}
	*s += newest * (v - *s)
}

// measure notes how soon t began to answer.
func (h *Health) measure(t gateway.Target, stream bool, d time.Duration) {
	c := h.circuit(t.Name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.speed[index(stream)].add(d)
}

// speedOf returns the speed of t, 0 while it is not known.
func (h *Health) speedOf(t gateway.Target, stream bool) speed {
	v, ok := h.targets.Load(t.Name)
	if !ok {
		return 0
	}
	c := v.(*circuit)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.speed[index(stream)]
}

func index(stream bool) int {
	if stream {
		return 1
	}
	return 0
}

// quickest returns targets with one of the quickest first, or now and then any.
// Those not measured yet are quick. The others follow by speed.
func (r *Router) quickest(targets []gateway.Target, stream bool) []gateway.Target {
	if len(targets) < 2 {
		return targets
	}
	type measured struct {
		target gateway.Target
		speed  speed
	}
	list := make([]measured, len(targets))
	for i, t := range targets {
		list[i] = measured{t, r.health.speedOf(t, stream)}
	}
	slices.SortStableFunc(list, func(a, b measured) int {
		switch {
		case a.speed < b.speed:
			return -1
		case a.speed > b.speed:
			return 1
		}
		return 0
	})
	among := len(list)
	if r.rand() >= explore {
		among = 1
		for among < len(list) && list[among].speed <= list[0].speed*alike {
			among++
		}
	}
	at := min(int(r.rand()*float64(among)), among-1)
	out := make([]gateway.Target, 0, len(list))
	out = append(out, list[at].target)
	for i, m := range list {
		if i != at {
			out = append(out, m.target)
		}
	}
	return out
}
