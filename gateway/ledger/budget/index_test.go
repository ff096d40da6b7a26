package budget

import (
	"slices"
	"strconv"
	"testing"
)

func TestPatterns(t *testing.T) {
	tests := []struct {
		pattern  string
		yes, not []string
	}{
		{"a", []string{"a"}, []string{"", "A", "aa"}},
		{"*", []string{"", "a"}, nil},
		{"claude-opus-*", []string{"claude-opus-", "claude-opus-4-8"}, []string{"claude-opus", "xclaude-opus-4"}},
		{"*-mini", []string{"gpt-5-mini", "-mini"}, []string{"gpt-5-mini-2"}},
		{"a*b*c", []string{"abc", "axbxc", "abbcc"}, []string{"acb", "ab", "abcd"}},
		{"a*a", []string{"aa", "aba"}, []string{"a"}},
		{"**", []string{"", "x"}, nil},
		{"*ab*ab", []string{"abab", "xababab"}, []string{"ab", "abxa"}},
	}
	for _, tt := range tests {
		for _, s := range tt.yes {
			if !matches(tt.pattern, s) {
				t.Errorf("%q does not match %q", tt.pattern, s)
			}
		}
		if i := slices.IndexFunc(tt.not, func(s string) bool { return matches(tt.pattern, s) }); i >= 0 {
			t.Errorf("%q matches %q", tt.pattern, tt.not[i])
		}
	}
}

// What a value comes to is remembered, also for values that no budget knows,
// but not without bound.
func TestValuesAreNotRememberedForEver(t *testing.T) {
	var x index
	x.add(newPot(&Budget{Name: "b", Scope: "model", Match: "m1*", Window: "day"}, 0))
	for i := range 2*cached + 10 {
		v := subject{value: "m" + strconv.Itoa(i)}
		first := x.accounts(scopeModel, v)
		if again := x.accounts(scopeModel, v); !slices.Equal(first, again) {
			t.Fatalf("%v: %v, then %v", v, first, again)
		}
		if len(x.resolve) > cached {
			t.Fatalf("%d values are remembered, want at most %d", len(x.resolve), cached)
		}
	}
}
