package gateway_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
)

func TestWhatIsUsedBesidesIsWrittenAndRead(t *testing.T) {
	var u gateway.Usage
	u.AddOther("claude-b", gateway.Usage{Input: 1, CacheRead: 2, CacheWrite: 3, CacheWrite1h: 4, Output: 5})
	u.AddOther("", gateway.Usage{Input: 9})
	u.AddOther("claude-b", gateway.Usage{Output: 10})
	u.AddOther("a b;c\n", gateway.Usage{Output: 1})
	want := map[string]gateway.Usage{
		"claude-b": {Input: 1, CacheRead: 2, CacheWrite: 3, CacheWrite1h: 4, Output: 15}, "": {Input: 9}, "a_b_c_": {Output: 1},
	}
	if diff := cmp.Diff(want, maps.Collect(u.OtherParts())); diff != "" {
		t.Errorf("%q (-want +got):\n%s", u.Others, diff)
	}
	for _, broken := range []string{"", "x", "m 1 2 3", "m 1 2 3 4 -5", "m 1 2 3 4 99999999999999999999", "m 1 2 3 4 5 6"} {
		odd := gateway.Usage{Others: broken}
		if got := maps.Collect(odd.OtherParts()); len(got) != 0 {
			t.Errorf("%q: got %v, want nothing", broken, got)
		}
	}
}

func TestWhatIsUsedBesidesIsBounded(t *testing.T) {
	var u gateway.Usage
	for i := range 100 {
		u.AddOther(fmt.Sprint("m", i), gateway.Usage{Output: 1})
	}
	parts, sum := 0, int64(0)
	for _, p := range u.OtherParts() {
		parts++
		sum += p.Output
	}
	if parts != 32 || sum != 100 {
		t.Errorf("got %d parts with %d tokens, want 32 with 100", parts, sum)
	}
}
