package tokens

import (
	"fmt"
	"testing"
)

func TestCacheForgetsTheLeastRecentlyUsed(t *testing.T) {
	c := newCache(3 * entryBytes)
	k := func(i int) key { return c.key(fmt.Append(nil, i), o200k, false) }
	for i := range 3 {
		c.put(k(i), int32(i))
	}
	c.get(k(0))
	c.put(k(3), 3)
	c.put(k(3), 3)
	for i, want := range []bool{true, false, true, true} {
		if n, ok := c.get(k(i)); ok != want || ok && n != int32(i) {
			t.Errorf("text %d: got %d %v, want %v", i, n, ok, want)
		}
	}
	for i := range 10_000 {
		c.put(k(i), 1)
	}
	if len(c.entries) != 4 || len(c.index) != 3 {
		t.Errorf("got %d entries and %d keys, want 3 of each", len(c.entries)-1, len(c.index))
	}
	if c.key([]byte("a"), o200k, false) == c.key([]byte("a"), cl100k, false) || c.key([]byte("a"), o200k, false) == c.key([]byte("a"), o200k, true) {
		t.Error("counts of different encodings share a key")
	}
}

func TestModelsHaveTheirEncoding(t *testing.T) {
	for model, want := range map[string]string{
		"gpt-4": "1 true", "gpt-4-turbo": "1 true", "gpt-3.5-turbo": "1 true", "gpt-4o": "2 true", "gpt-4.1-mini": "2 true",
		"gpt-5.5": "2 true", "openai/gpt-5": "2 true", "o3-mini": "2 true", "ft:gpt-4o:acme": "2 true", "gpt-oss-120b": "2 true",
		"claude-sonnet-5": "1 false", "gemini-3-pro": "1 false", "": "1 false",
	} {
		e, own := encodingOf(model)
		if got := fmt.Sprint(int(e)+1, " ", own); got != want {
			t.Errorf("%q: got %s, want %s", model, got, want)
		}
	}
}
