package caller

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// table is what requests are answered from. It is immutable.
type table struct {
	keys map[digest]*access
	// nobody stands in for the key that is not there: no secret fits it.
	nobody   *access
	required bool // callers need a key
	// content is what keys say of telemetry.content, by id; those that say nothing
	// are not in it.
	content map[string]string
}

// publish makes requests see the keys as they are now. r.mu is held, or nobody
// else has the registry.
func (r *Registry) publish() {
	t := &table{
		keys: make(map[digest]*access, len(r.files)+len(r.stored)), nobody: &access{record: &entry{}},
		// A revoked key counts: to revoke the last one must not let everybody in.
		required: len(r.files)+len(r.stored) > 0 && !r.policy.Open,
		content:  make(map[string]string),
	}
	rand.Read(t.nobody.record.digest[:])
	for _, list := range [...][]*entry{r.files, r.stored} {
		for _, e := range list {
			t.keys[e.digest] = r.access(e)
			if e.Content != "" {
				t.content[e.ID] = e.Content
			}
		}
	}
	r.table.Store(t)
}

// Content returns how much content the key of an id lets telemetry have: none,
// redacted or full; "" when the key, or no key, does not say.
func (r *Registry) Content(id string) string { return r.table.Load().content[id] }

func (r *Registry) access(e *entry) *access {
	a := &access{registry: r, record: e, models: e.patterns, teamModels: patterns{all: true}}
	if e.Team == "" {
		return a
	}
	if t := r.teams[e.Team]; t != nil {
		a.team, a.teamModels = t.meter, t.patterns
	} else {
		a.orphan = e.Source == SourceStore
	}
	return a
}

// find returns the key of a digest; ok is false when there is none. Both take
// the same steps (reliability S-12).
func (t *table) find(d digest) (a *access, ok bool) {
	a = t.keys[d]
	if a == nil {
		a = t.nobody
	}
	return a, subtle.ConstantTimeCompare(a.record.digest[:], d[:]) == 1
}

// Identify implements [gateway.Callers].
func (r *Registry) Identify(key gateway.Secret, from netip.Addr) (gateway.Access, error) {
	t := r.table.Load()
	if key == "" {
		if t.required {
			return nil, unauthorized("a gateway key is needed: send one (ccp_…) as x-api-key, as Authorization: Bearer, or as X-CCProxy-Key")
		}
		return nil, nil
	}
	now := time.Now()
	since, from := int64(now.Sub(r.start)), source(from)
	if !wellFormed(key.Reveal()) {
		return nil, r.wrong(from, since)
	}
	a, ok := t.find(r.digests.digest(key.Reveal()))
	if !ok {
		return nil, r.wrong(from, since)
	}
	// Somebody guesses at this address, and the key is not known to belong there:
	// a guess that hits must not be told from one that misses.
	if s := a.record.state; !s.knows(from) {
		if wait := r.failures.blocked(from, since); wait > 0 {
			return nil, tooManyWrong(wait)
		}
	}
	// Who holds a key that was good has guessed nothing.
	switch e := a.record; {
	case !e.Revoked.IsZero():
		return nil, unknownKey()
	case !e.Expires.IsZero() && !now.Before(e.Expires):
		return nil, unauthorized("this gateway key has expired; ask for a new one")
	case a.orphan:
		return nil, unauthorized("the team of this gateway key is not configured any more; ask whoever runs the gateway")
	}
	a.record.state.touch(now, from)
	return a, nil
}

// wrong counts a key that is none, and says so.
func (r *Registry) wrong(from netip.Addr, now int64) *gateway.Error {
	if wait := r.failures.count(from, now); wait > 0 {
		return tooManyWrong(wait)
	}
	return unknownKey()
}

// unknownKey is the same for a key that never was and one that is revoked.
func unknownKey() *gateway.Error {
	return unauthorized("this gateway key is not valid; check it, or ask for a new one")
}

func unauthorized(message string) *gateway.Error {
	return &gateway.Error{
		Type: names.ErrorUnauthorized, Origin: names.ErrorOriginCaller, Reason: names.RejectionAuth, Status: http.StatusUnauthorized,
		NoRetry: true, Message: message,
	}
}

func tooManyWrong(wait time.Duration) *gateway.Error {
	return &gateway.Error{
		Type: names.ErrorRateLimitExceeded, Origin: names.ErrorOriginPolicy, Reason: names.RejectionRateLimit, Status: http.StatusTooManyRequests,
		RetryAfter: wait, NoRetry: true, Message: "too many requests with a wrong gateway key; wait, and check the key",
	}
}
