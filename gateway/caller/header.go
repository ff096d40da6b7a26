package caller

import (
	"net/http"
	"strconv"
	"time"
)

// The names in which clients are told their limits, as net/http spells them.
var (
	// https://docs.claude.com/en/api/rate-limits: reset in RFC 3339.
	anthropicRequests = [3]string{"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset"}
	anthropicTokens   = [3]string{"Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset"}
	// The provider's own halves of its token limit would contradict ours.
	anthropicInput  = [3]string{"Anthropic-Ratelimit-Input-Tokens-Limit", "Anthropic-Ratelimit-Input-Tokens-Remaining", "Anthropic-Ratelimit-Input-Tokens-Reset"}
	anthropicOutput = [3]string{"Anthropic-Ratelimit-Output-Tokens-Limit", "Anthropic-Ratelimit-Output-Tokens-Remaining", "Anthropic-Ratelimit-Output-Tokens-Reset"}
	// https://platform.openai.com/docs/guides/rate-limits: reset as a duration of
	// Go's syntax, such as "6m0s".
	openaiRequests = [3]string{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"}
	openaiTokens   = [3]string{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"}
)

// draft-ietf-httpapi-ratelimit-headers-10.
const (
	ietfPolicy = "Ratelimit-Policy"
	ietfLimit  = "Ratelimit"
)

// quota is what is left of one limit.
type quota struct {
	limit int64         // a minute; 0: there is none
	left  int64         // 0 when overdrawn
	full  time.Duration // until all of it is there again
}

// tighter returns the quota of which less is left.
func tighter(a, b quota) quota {
	if a.limit == 0 || b.limit != 0 && b.left < a.left {
		return b
	}
	return a
}

func (b *bucket) quota(now int64) quota {
	if b.limit == 0 {
		return quota{}
	}
	return quota{limit: b.limit, left: b.left(now), full: time.Duration(b.debt(now))}
}

func (m *meter) quotas(now int64) (requests, tokens quota) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.requests.quota(now), m.tokens.quota(now)
}

// Header implements gateway.Visit. Of the key's and the team's limits the client
// is told the one of which less is left. The provider's headers of the same
// names are removed: they tell of an account that is not the caller's.
func (v *visit) Header(h http.Header, family string) {
	now := v.registry.now()
	requests, tokens := v.key.quotas(now)
	if v.team != nil {
		r, t := v.team.quotas(now)
		requests, tokens = tighter(requests, r), tighter(tokens, t)
	}
	switch family {
	case "anthropic":
		remove(h, &anthropicRequests, &anthropicTokens, &anthropicInput, &anthropicOutput)
		requests.put(h, &anthropicRequests, rfc3339)
		tokens.put(h, &anthropicTokens, rfc3339)
	case "openai":
		remove(h, &openaiRequests, &openaiTokens)
		requests.put(h, &openaiRequests, goDuration)
		tokens.put(h, &openaiTokens, goDuration)
	default:
		delete(h, ietfPolicy)
		delete(h, ietfLimit)
		putIETF(h, requests, tokens)
	}
}

func remove(h http.Header, lists ...*[3]string) {
	for _, names := range lists {
		for _, name := range names {
			delete(h, name)
		}
	}
}

// put sets limit, remaining and reset.
func (q quota) put(h http.Header, names *[3]string, reset func(time.Duration) string) {
	if q.limit == 0 {
		return
	}
	values := []string{strconv.FormatInt(q.limit, 10), strconv.FormatInt(q.left, 10), reset(q.full)}
	for i, name := range names {
		h[name] = values[i : i+1 : i+1]
	}
}

func rfc3339(d time.Duration) string {
	t := time.Now().Add(d)
	if whole := t.Truncate(time.Second); whole.Before(t) {
		t = whole.Add(time.Second)
	}
	return t.UTC().Format(time.RFC3339)
}

func goDuration(d time.Duration) string { return roundUp(d, time.Millisecond).String() }

func putIETF(h http.Header, requests, tokens quota) {
	var policy, limit []byte
	add := func(name string, q quota) {
		if q.limit == 0 {
			return
		}
		if policy != nil {
			policy, limit = append(policy, ", "...), append(limit, ", "...)
		}
		policy = append(append(append(policy, '"'), name...), `";q=`...)
		policy = append(strconv.AppendInt(policy, q.limit, 10), ";w=60"...)
		limit = append(append(append(limit, '"'), name...), `";r=`...)
		limit = append(strconv.AppendInt(limit, q.left, 10), ";t="...)
		limit = strconv.AppendInt(limit, int64(roundUp(q.full, time.Second)/time.Second), 10)
	}
	add("requests", requests)
	add("tokens", tokens)
	if policy != nil {
		h[ietfPolicy], h[ietfLimit] = []string{string(policy)}, []string{string(limit)}
	}
}
