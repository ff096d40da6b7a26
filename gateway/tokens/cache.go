package tokens

import (
	"hash/maphash"
	"sync"
)

// entryBytes is the memory an entry takes: 48 bytes of slice with growth, and its place in the map.
const entryBytes = 128

// key names a text by a hash whose seed nobody outside knows, so that collisions cannot be made.
type key struct {
	hash     uint64
	length   int
	encoding encoding
	spaced   bool // counted with a space before it
}

// cache remembers counts of texts, the least recently used of which it forgets. Safe for concurrent use.
type cache struct {
	seed  maphash.Seed
	limit int // of entries; 0: remembers nothing

	mu      sync.Mutex
	index   map[key]int32
	entries []entry // a ring by prev and next; entries[0] is its head: next of it was used last
}

type entry struct {
	key        key
	tokens     int32
	prev, next int32
}

func newCache(bytes int) *cache {
	return &cache{seed: maphash.MakeSeed(), limit: max(0, bytes) / entryBytes, index: map[key]int32{}, entries: make([]entry, 1)}
}

func (c *cache) key(text []byte, e encoding, spaced bool) key {
	return key{maphash.Bytes(c.seed, text), len(text), e, spaced}
}

func (c *cache) get(k key) (tokens int32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.index[k]
	if !ok {
		return 0, false
	}
	c.unlink(i)
	c.pushFront(i)
	return c.entries[i].tokens, true
}

func (c *cache) put(k key, tokens int32) {
	if c.limit == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.index[k]; ok { // another request was as quick
		c.entries[i].tokens = tokens
		return
	}
	var i int32
	if len(c.entries) <= c.limit {
		i = int32(len(c.entries))
		c.entries = append(c.entries, entry{})
	} else {
		i = c.entries[0].prev
		c.unlink(i)
		delete(c.index, c.entries[i].key)
	}
	c.entries[i].key, c.entries[i].tokens = k, tokens
	c.index[k] = i
	c.pushFront(i)
}

func (c *cache) unlink(i int32) {
	e := c.entries[i]
	c.entries[e.prev].next, c.entries[e.next].prev = e.next, e.prev
}

func (c *cache) pushFront(i int32) {
	head := c.entries[0].next
	c.entries[i].prev, c.entries[i].next = 0, head
	c.entries[0].next, c.entries[head].prev = i, i
}
