package caller

import (
	"fmt"
	"math/bits"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

const minute = int64(time.Minute)

// maxDebt is the longest a bucket takes to fill again, in nanoseconds: no single
// exchange, however wrong its count, shuts a caller out for longer.
const maxDebt = 24 * 60 * minute

// bucket holds a minute's worth of something and fills steadily: the generic
// cell rate algorithm. Times are nanoseconds since the registry's start. The
// zero value has no limit.
type bucket struct {
	limit int64 // a minute; 0: none
	full  int64 // when the bucket is full again
}

// cost is the time in which n refill, rounded down.
func (b *bucket) cost(n int64) int64 {
	hi, lo := bits.Mul64(uint64(n), uint64(minute))
	if hi >= uint64(b.limit) {
		return maxDebt
	}
	q, _ := bits.Div64(hi, lo, uint64(b.limit))
	return int64(min(q, uint64(maxDebt)))
}

func (b *bucket) debt(now int64) int64 { return max(0, b.full-now) }

// wait is how long until one is left; not positive: one is.
func (b *bucket) wait(now int64) time.Duration {
	if b.limit == 0 {
		return 0
	}
	return time.Duration(b.debt(now) + b.cost(1) - minute)
}

// take removes n, which may be more than is left.
func (b *bucket) take(now, n int64) {
	if b.limit != 0 {
		b.full = now + min(b.debt(now)+b.cost(n), maxDebt)
	}
}

// give returns n that take removed.
func (b *bucket) give(n int64) {
	if b.limit != 0 {
		b.full -= b.cost(n)
	}
}

// left is how many are left; overdrawn is 0.
func (b *bucket) left(now int64) int64 {
	room := max(0, minute-b.debt(now))
	hi, lo := bits.Mul64(uint64(room), uint64(b.limit))
	q, _ := bits.Div64(hi, lo, uint64(minute)) // room ≤ minute, so it fits
	return int64(q)
}

// set changes the limit. What has been taken stays taken.
func (b *bucket) set(now, limit int64) {
	if limit == b.limit {
		return
	}
	debt := b.debt(now)
	if b.limit == 0 || limit == 0 {
		debt = 0
	}
	old := b.limit
	b.limit = limit
	if debt == 0 {
		b.full = 0
		return
	}
	hi, lo := bits.Mul64(uint64(debt), uint64(old))
	scaled := uint64(maxDebt)
	if hi < uint64(limit) {
		scaled, _ = bits.Div64(hi, lo, uint64(limit))
	}
	b.full = now + int64(min(scaled, uint64(maxDebt)))
}

// meter counts what a key or a team uses of its limits.
type meter struct {
	who string // for messages, such as `key "ci"`

	mu       sync.Mutex
	max      int // exchanges in flight; 0: no limit
	inFlight int
	requests bucket
	tokens   bucket
}

func (m *meter) set(now int64, l Limits) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.max = l.InFlight
	m.requests.set(now, l.RequestsPerMinute)
	m.tokens.set(now, l.TokensPerMinute)
}

func (m *meter) busy() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.inFlight
}

// refusal is the limit that holds an exchange up longest. The zero value: none.
type refusal struct {
	wait  time.Duration
	who   string
	limit int64
	unit  string
}

// slotWait is the hint when too much is in flight: nobody knows when an exchange
// will end.
const slotWait = time.Second

// check notes in r what of m's limits holds an exchange up. m.mu is held.
func (m *meter) check(now int64, r *refusal) {
	note := func(wait time.Duration, limit int64, unit string) {
		if wait > r.wait {
			*r = refusal{wait, m.who, limit, unit}
		}
	}
	if m.max > 0 && m.inFlight >= m.max {
		note(slotWait, int64(m.max), "requests in flight")
	}
	note(m.requests.wait(now), m.requests.limit, "requests per minute")
	note(m.tokens.wait(now), m.tokens.limit, "tokens per minute")
}

// enter counts an exchange of about so many tokens. m.mu is held.
func (m *meter) enter(now, tokens int64) {
	m.inFlight++
	m.requests.take(now, 1)
	m.tokens.take(now, tokens)
}

// leave ends what enter counted, with the real number of tokens. m.mu is held.
func (m *meter) leave(now, estimate, tokens int64) {
	m.inFlight--
	if tokens > estimate {
		m.tokens.take(now, tokens-estimate)
	} else {
		m.tokens.give(estimate - tokens)
	}
}

func (r *refusal) err() *gateway.Error {
	return &gateway.Error{
		Type: names.ErrorRateLimitExceeded, Origin: names.ErrorOriginPolicy, Reason: names.RejectionRateLimit, Status: 429, RetryAfter: r.wait,
		Message: fmt.Sprintf("%s has reached its limit of %d %s; try again in %s", r.who, r.limit, r.unit, roundUp(r.wait, time.Millisecond)),
	}
}

// roundUp returns d in whole units, never less than it is.
func roundUp(d, unit time.Duration) time.Duration { return (d + unit - 1).Truncate(unit) }
