package route

import (
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// Health keeps how targets are doing, by name: a circuit breaker each, and how
// soon they begin to answer. It serves all configurations of a process, one
// after another. Safe for concurrent use.
//
// A circuit opens after five failures in a row, or when half of at least twenty
// trials within thirty seconds fail, or for as long as the target asks when it
// is throttled. While it is open the target is not asked. Then one trial at a
// time probes it: success closes the circuit, failure opens it for twice as
// long, at most four seconds, or for as long as the probe took to fail.
type Health struct {
	targets sync.Map // :: name → *circuit
}

var _ gateway.Health = (*Health)(nil)

// NewHealth returns a Health that thinks well of everyone.
func NewHealth() *Health { return &Health{} }

// State is a circuit's, as ccproxy.target.state shows it.
type State int

// The states.
const (
	Closed   State = iota // healthy
	HalfOpen              // probed
	Open                  // not asked
)

// What opens a circuit, and for how long.
const (
	failuresInRow = 5
	longestRow    = 50 // failures in a row that are enough whatever the traffic
	windowStep    = 5 * time.Second
	windowSteps   = 6
	windowLeast   = 20 // trials in the window
	firstOpen     = time.Second
	longestOpen   = 4 * time.Second
	slowestOpen   = 30 * time.Second // after probes that take long to fail
	// longPause is from when on a pause that a throttled target asks for opens the
	// circuit. During a shorter one other targets are preferred.
	longPause  = 5 * time.Second
	shortPause = time.Second // of a throttled target that asks for none
	// probeAge is when a probe that has not ended stops keeping others away: it may
	// be answered late, or never.
	probeAge = 4 * time.Second
)

// circuit is one target.
type circuit struct {
	mu     sync.Mutex
	open   bool
	until  time.Time // an open circuit keeps everyone away till then
	pause  time.Time // a closed one: others are preferred till then
	probed time.Time // when the probe that runs began; zero: none does
	inRow  int       // failures without a success
	opened int       // times in a row
	window [windowSteps]tally
	used   time.Time // when it was last entered

	speed [2]speed // :: of plain answers, of streams
}

// tally counts the trials of a part of the window.
type tally struct {
	step      int64 // number of the part since the epoch
	good, bad int
}

func (h *Health) circuit(name string) *circuit {
	if c, ok := h.targets.Load(name); ok {
		return c.(*circuit)
	}
	c, _ := h.targets.LoadOrStore(name, &circuit{})
	return c.(*circuit)
}

// Ready implements [gateway.Health].
func (h *Health) Ready(t gateway.Target) bool {
	v, ok := h.targets.Load(t.Name)
	if !ok {
		return true
	}
	c, now := v.(*circuit), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		return !now.Before(c.until) && !c.probing(now)
	}
	return !now.Before(c.pause)
}

// Enter implements [gateway.Health].
func (h *Health) Enter(t gateway.Target) (gateway.Trial, time.Duration) {
	c, now := h.circuit(t.Name), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = now
	if !c.open {
		return (*trial)(c), 0
	}
	if now.Before(c.until) {
		return nil, c.until.Sub(now)
	}
	if c.probing(now) {
		return nil, c.probed.Add(probeAge).Sub(now)
	}
	c.probed = now
	return (*probe)(c), 0
}

// probing reports whether a probe runs. The caller holds mu.
func (c *circuit) probing(now time.Time) bool {
	return !c.probed.IsZero() && now.Sub(c.probed) < probeAge
}

// trial is a trial that found the circuit closed.
type trial circuit

// End implements [gateway.Trial].
func (t *trial) End(v gateway.Verdict, d time.Duration) {
	c, now := (*circuit)(t), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		return // of before; what matters now is what probes find
	}
	c.count(now, v, d)
}

// Broke implements [gateway.Trial].
func (t *trial) Broke() { t.End(gateway.VerdictBad, 0) }

// probe is a trial that found it open.
type probe circuit

// End implements [gateway.Trial].
func (p *probe) End(v gateway.Verdict, d time.Duration) {
	c, now := (*circuit)(p), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probed = time.Time{}
	switch {
	case !c.open: // another probe was sooner
		c.count(now, v, d)
	case v == gateway.VerdictNone:
	case v == gateway.VerdictBad:
		c.trip(now, d)
	case v == gateway.VerdictThrottled && d >= longPause:
		c.shut(now, d)
	default:
		c.open, c.inRow, c.opened, c.window = false, 0, 0, [windowSteps]tally{}
		c.count(now, v, d)
	}
}

// Broke implements [gateway.Trial].
func (p *probe) Broke() { (*trial)(p).Broke() }

// count takes a verdict into a closed circuit. The caller holds mu.
func (c *circuit) count(now time.Time, v gateway.Verdict, d time.Duration) {
	switch v {
	case gateway.VerdictGood:
		c.inRow = 0
		c.part(now).good++
	case gateway.VerdictBad:
		c.inRow++
		c.part(now).bad++
		if c.inRow >= c.row(now) || c.mostlyBad(now) {
			c.trip(now, d)
		}
	case gateway.VerdictThrottled:
		if d >= longPause {
			c.shut(now, d)
			return
		}
		if d <= 0 {
			d = shortPause
		}
		c.pause = now.Add(d)
	case gateway.VerdictUnfit:
		c.pause = now.Add(d)
	}
}

// trip opens the circuit after failures. took is how long the last took.
func (c *circuit) trip(now time.Time, took time.Duration) {
	d := min(longestOpen, firstOpen<<min(c.opened, 8))
	d -= rand.N(d / 4) // so that gateways do not probe in step
	c.opened++
	c.shut(now, max(d, min(took, slowestOpen)))
}

// shut opens the circuit for d.
func (c *circuit) shut(now time.Time, d time.Duration) {
	c.open, c.probed, c.until = true, time.Time{}, now.Add(d)
}

// part returns the tally of now.
func (c *circuit) part(now time.Time) *tally {
	step := now.UnixNano() / int64(windowStep)
	p := &c.window[step%windowSteps]
	if p.step != step {
		*p = tally{step: step}
	}
	return p
}

func (c *circuit) mostlyBad(now time.Time) bool {
	good, bad := c.sums(now)
	return good+bad >= windowLeast && bad >= good
}

// row is how many failures in a row open the circuit: more where there is much
// traffic, or else a target that fails one time in six would be kept from all
// five good ones whenever chance lines up five bad ones.
func (c *circuit) row(now time.Time) int {
	good, bad := c.sums(now)
	return min(longestRow, max(failuresInRow, (good+bad)/20))
}

// sums are the trials of the window.
func (c *circuit) sums(now time.Time) (good, bad int) {
	oldest := now.UnixNano()/int64(windowStep) - windowSteps
	for _, p := range c.window {
		if p.step > oldest {
			good, bad = good+p.good, bad+p.bad
		}
	}
	return good, bad
}

func (c *circuit) state(now time.Time) State {
	switch {
	case !c.open:
		return Closed
	case now.Before(c.until):
		return Open
	}
	return HalfOpen
}

// idleTime is after how long a target that no configuration names is forgotten.
const idleTime = time.Hour

// States yields the circuits: of every target of the table, and of those tried
// within the last hour that clients named themselves. It yields nothing without
// Health.
func (r *Router) States() iter.Seq2[string, State] {
	return func(yield func(string, State) bool) {
		if r.health == nil {
			return
		}
		now := time.Now()
		r.health.targets.Range(func(k, v any) bool {
			name, c := k.(string), v.(*circuit)
			c.mu.Lock()
			state, used := c.state(now), c.used
			c.mu.Unlock()
			if !r.named[name] && state == Closed && now.Sub(used) > idleTime {
				r.health.targets.Delete(name)
				return true
			}
			return yield(name, state)
		})
	}
}
