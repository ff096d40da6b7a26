package caller_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/caller"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

var (
	anthropic = &gateway.Provider{Name: "anthropic"}
	mirror    = &gateway.Provider{Name: "mirror"}
	sonnet    = gateway.Target{Provider: anthropic, Model: "claude-sonnet-5", Name: "anthropic/claude-sonnet-5"}
	opus      = gateway.Target{Provider: mirror, Model: "claude-opus-5", Name: "mirror/claude-opus-5"}
	implied   = gateway.Target{Provider: anthropic, Name: "anthropic/_OTHER"} // the client's model, whatever it is
)

// asking is an exchange that names a model and was routed to targets.
func asking(model string, r gateway.Route, targets ...gateway.Target) *gateway.Exchange {
	r.Targets = targets
	return &gateway.Exchange{Call: gateway.Call{Model: model}, Route: r}
}

func TestAllows(t *testing.T) {
	byRule := func(label string) gateway.Route {
		return gateway.Route{Label: label, Rule: label, Reason: names.RouteReasonRule}
	}
	byDefault := gateway.Route{Label: "default", Reason: names.RouteReasonDefault}
	byModel := gateway.Route{Label: "default", Reason: names.RouteReasonModel}
	kept := gateway.Route{Label: "default", Reason: names.RouteReasonPassthrough, Passthrough: true}
	for _, c := range []struct {
		name   string
		key    []string
		team   []string
		x      *gateway.Exchange
		target gateway.Target
		want   bool
	}{
		{"no patterns", nil, nil, asking("m", kept, implied), implied, true},
		{"a star", []string{"x", "*"}, nil, asking("m", kept, implied), implied, true},
		{"a label of a rule", []string{"think"}, nil, asking("m", byRule("think"), sonnet), sonnet, true},
		{"its fallbacks too", []string{"think"}, nil, asking("m", byRule("think"), sonnet), opus, true},
		{"another label", []string{"think"}, nil, asking("m", byRule("background"), sonnet), sonnet, false},
		{"the default label", []string{"default"}, nil, asking("m", byDefault, sonnet), sonnet, true},
		{"a label kept as passthrough is none", []string{"default"}, nil, asking("claude-opus-5", kept, implied), implied, false},
		{"the default label is not what the client chose", []string{"default"}, nil, asking("mirror/claude-opus-5", byModel, opus), opus, false},
		{"nor which entry", []string{"default"}, nil, asking("fast", byModel, sonnet), sonnet, false},
		{"an entry", []string{"fast"}, nil, asking("fast", byModel, sonnet), sonnet, true},
		{"an entry's fallbacks", []string{"fast"}, nil, asking("fast", byModel, sonnet), opus, true},
		{"an entry with a slash", []string{"a/b"}, nil, asking("a/b", byModel, sonnet), opus, true},
		{"a target", []string{"anthropic/claude-sonnet-5"}, nil, asking("anthropic/claude-sonnet-5", byModel, sonnet), sonnet, true},
		{"a target's foreign fallback", []string{"anthropic/claude-sonnet-5"}, nil, asking("anthropic/claude-sonnet-5", byModel, sonnet), opus, false},
		{"a model wherever it is", []string{"claude-sonnet-*"}, nil, asking("m", byRule("think"), sonnet), sonnet, true},
		{"a model of the client", []string{"claude-haiku-*"}, nil, asking("claude-haiku-4-5", kept, implied), implied, true},
		{"another model of the client", []string{"claude-haiku-*"}, nil, asking("claude-opus-5", kept, implied), implied, false},
		{"case matters", []string{"claude-haiku-*"}, nil, asking("Claude-Haiku-4-5", kept, implied), implied, false},
		{"a provider", []string{"anthropic/*"}, nil, asking("claude-opus-5", kept, implied), implied, true},
		{"another provider", []string{"anthropic/*"}, nil, asking("m", byRule("think"), opus), opus, false},
		{"the client's word is not the target's name", []string{"anthropic/_OTHER"}, nil, asking("claude-opus-5", kept, implied), implied, false},
		{"an unread path of a provider", []string{"anthropic/*"}, nil, asking("", kept), implied, true},
		{"an unread path for a key of some models", []string{"claude-*"}, nil, asking("", kept), implied, false},
		{"a target without provider", []string{"a/*"}, nil, asking("m", byRule("l")), gateway.Target{Model: "m"}, false},
		{"the team narrows", nil, []string{"claude-haiku-*"}, asking("m", byRule("think"), sonnet), sonnet, false},
		{"the team allows by another name", []string{"think"}, []string{"anthropic/*"}, asking("m", byRule("think"), sonnet), sonnet, true},
		{"the team does not widen", []string{"claude-haiku-*"}, []string{"*"}, asking("m", byRule("think"), sonnet), sonnet, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := open(t, nil)
			configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a", Team: "t", Models: c.key})}, []caller.Team{{Name: "t", Models: c.team}}, caller.Policy{})
			if got := identify(t, r, secretOf("a")).Allows(c.x, c.target); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSees(t *testing.T) {
	for _, c := range []struct {
		key, team []string
		model     string
		want      bool
	}{
		{nil, nil, "x", true},
		{[]string{"think", "claude-haiku-*"}, nil, "think", true},
		{[]string{"think", "claude-haiku-*"}, nil, "claude-haiku-4-5", true},
		{[]string{"think", "claude-haiku-*"}, nil, "claude-opus-5", false},
		{[]string{"anthropic/claude-*"}, nil, "claude-opus-5", true}, // listed without its provider
		{[]string{"anthropic/claude-*"}, nil, "anthropic/claude-opus-5", true},
		{[]string{"anthropic/claude-*"}, nil, "mirror/claude-opus-5", false},
		{[]string{"anthropic/claude-*"}, nil, "gpt-5.5", false},
		{nil, []string{"think"}, "think", true},
		{nil, []string{"think"}, "background", false},
		{[]string{"background"}, []string{"think"}, "background", false},
	} {
		r := open(t, nil)
		configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a", Team: "t", Models: c.key})}, []caller.Team{{Name: "t", Models: c.team}}, caller.Policy{})
		if got := identify(t, r, secretOf("a")).Sees(c.model); got != c.want {
			t.Errorf("key %q, team %q sees %q: got %v, want %v", c.key, c.team, c.model, got, c.want)
		}
	}
}

func TestS04AKeyIsNeverWiderThanItsTeam(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	configure(t, r, nil, []caller.Team{
		{Name: "t", Models: []string{"claude-*", "think"}, Limits: caller.Limits{RequestsPerMinute: 10, TokensPerMinute: 100, InFlight: 4}}, {Name: "free"},
	}, caller.Policy{})
	for i, c := range []struct {
		key  caller.Key
		want string // "": it is made
	}{
		{caller.Key{Team: "t"}, ""},
		{caller.Key{Team: "t", Models: []string{"claude-opus-*", "think"}}, ""},
		{caller.Key{Team: "t", Models: []string{"claude-*"}, Limits: caller.Limits{RequestsPerMinute: 10, TokensPerMinute: 100, InFlight: 4}}, ""},
		{caller.Key{Team: "t", Models: []string{"*"}}, `model "*" is more than team "t" may use`},
		{caller.Key{Team: "t", Models: []string{"claude-opus-5", "gpt-*"}}, `model "gpt-*" is more than team "t"`},
		{caller.Key{Team: "t", Models: []string{"*claude-*"}}, "is more than"},
		{caller.Key{Team: "t", Models: []string{"thin*"}}, "is more than"},
		{caller.Key{Team: "t", Limits: caller.Limits{RequestsPerMinute: 11}}, "11 requests per minute is more than the 10"},
		{caller.Key{Team: "t", Limits: caller.Limits{TokensPerMinute: 101}}, "101 tokens per minute"},
		{caller.Key{Team: "t", Limits: caller.Limits{InFlight: 5}}, "5 requests in flight"},
		{caller.Key{Team: "nobody"}, `team "nobody" is not configured; add it under teams`},
		{caller.Key{Team: "free", Models: []string{"*"}, Limits: caller.Limits{RequestsPerMinute: 1e6}}, ""},
	} {
		c.key.Name = fmt.Sprint("k", i)
		_, _, err := r.Create(t.Context(), c.key)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, caller.ErrInvalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.key, err, c.want)
		}
	}
}

func TestS04WhatAKeyMayUseItsTeamMay(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	word := func(letters string, n int) string {
		b := make([]byte, 1+rng.IntN(n))
		for i := range b {
			b[i] = letters[rng.IntN(len(letters))]
		}
		return string(b)
	}
	list := func() []string {
		out := make([]string, 1+rng.IntN(3))
		for i := range out {
			out[i] = word("ab*", 4)
		}
		return out
	}
	made, allowed := 0, 0
	for range 150 {
		r := open(t, openDB(t, t.TempDir()))
		team := caller.Team{Name: "t", Models: list()}
		configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "team", Team: "t"})}, []caller.Team{team}, caller.Policy{})
		parent := identify(t, r, secretOf("team"))
		_, secret, err := r.Create(t.Context(), caller.Key{Name: "child", Team: "t", Models: list()})
		if err != nil {
			continue
		}
		made++
		// The key as it is, and as it would be if its team no longer narrowed it.
		child := identify(t, r, secret)
		configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "team", Team: "t"})}, []caller.Team{{Name: "t"}}, caller.Policy{})
		alone := identify(t, r, secret)
		for range 200 {
			x := asking(word("abc", 5), gateway.Route{Passthrough: true})
			for _, a := range []gateway.Access{child, alone} {
				if a.Allows(x, gateway.Target{}) {
					allowed++
					if !parent.Allows(x, gateway.Target{}) {
						t.Errorf("a key of team %q may use %q", team.Models, x.Call.Model)
					}
				}
			}
		}
	}
	if made < 10 || allowed < 100 {
		t.Errorf("%d keys, %d times allowed: too few to tell", made, allowed)
	}
}
