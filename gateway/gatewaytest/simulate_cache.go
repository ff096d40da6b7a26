package gatewaytest

import "sync"

// maxPrefixes bounds the prefixes the simulated prompt cache knows; the oldest go first.
const maxPrefixes = 4096

// promptCache knows which prefixes of prompts have been seen.
type promptCache struct {
	mu    sync.Mutex
	known map[uint64]struct{}
	order []uint64
}

func (c *promptCache) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.order = map[uint64]struct{}{}, nil
}

// split divides a prompt's tokens into what the cache holds, what it is to
// hold from now on, and the rest. Prefixes under least tokens are not cached.
func (c *promptCache) split(a *ask, least int64) Usage {
	if a.cachedTokens > 0 {
		return Usage{Input: a.tokens, CacheRead: a.cachedTokens}
	}
	if len(a.blocks) == 0 {
		return Usage{Input: a.tokens}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.vendor != anthropic {
		return c.implicit(a, least)
	}
	return c.marked(a, least)
}

// marked is caching as Anthropic does it: up to the marks the client sets,
// reading the longest prefix known and writing what lies beyond it.
func (c *promptCache) marked(a *ask, least int64) Usage {
	last := -1
	for i, b := range a.blocks {
		if b.marked || a.auto && i == len(a.blocks)-1 {
			last = i
		}
	}
	read, from := int64(0), -1
	for i := last; i >= 0 && from < 0; i-- {
		if _, ok := c.known[a.blocks[i].sum]; ok {
			read, from = a.blocks[i].tokens, i
		}
	}
	u, done := Usage{CacheRead: read}, read
	for i := from + 1; i <= last; i++ {
		b := a.blocks[i]
		if !(b.marked || i == last) || b.tokens < least {
			continue
		}
		if b.hour {
			u.CacheWrite1h += b.tokens - done
		} else {
			u.CacheWrite5m += b.tokens - done
		}
		done = b.tokens
		c.add(b.sum)
	}
	u.Input = a.tokens - done
	return u
}

// implicit is caching as OpenAI and Gemini do it: every prefix, unasked, in
// steps of 128 tokens; writing is free.
func (c *promptCache) implicit(a *ask, least int64) Usage {
	var read int64
	for _, b := range a.blocks {
		if b.tokens < least {
			continue
		}
		if _, ok := c.known[b.sum]; ok {
			read = b.tokens / 128 * 128
			continue
		}
		c.add(b.sum)
	}
	return Usage{Input: a.tokens - read, CacheRead: read}
}

func (c *promptCache) add(sum uint64) {
	if _, ok := c.known[sum]; ok {
		return
	}
	if len(c.order) >= maxPrefixes {
		delete(c.known, c.order[0])
		c.order = c.order[1:]
	}
	c.known[sum] = struct{}{}
	c.order = append(c.order, sum)
}
