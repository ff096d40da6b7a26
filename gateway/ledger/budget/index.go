package budget

import (
	"slices"
	"strings"
)

// scope is what a budget is kept for.
type scope int

const (
	scopeGlobal scope = iota
	scopeTeam
	scopeKey
	scopeUser
	scopeModel
	scopeProvider
	scopeLabel
	scopeSession
	scopeTag
	scopes // how many there are
)

var scopeNames = [scopes]string{"global", "team", "key", "user", "model", "provider", "label", "session", "tag"}

// subject is a value that a scope's budgets are looked up by.
type subject struct {
	value string // a key's id, a tag's name
	extra string // a key's alias, a tag's value
}

// subject returns the value of s in f; ok is false when there is none. Tags
// have several.
func (f *Facts) subject(s scope) (v subject, ok bool) {
	switch s {
	case scopeGlobal:
		return v, true
	case scopeTeam:
		v.value = f.Team
	case scopeKey:
		v.value, v.extra = f.KeyID, f.KeyAlias
		if v.value == "" {
			v.value = v.extra
		}
	case scopeUser:
		v.value = f.User
	case scopeModel:
		v.value = f.Model
	case scopeProvider:
		v.value = f.Provider
	case scopeLabel:
		v.value = f.Label
	case scopeSession:
		v.value = f.Session
	}
	return v, v.value != ""
}

// cached is how many values of a scope have their accounts remembered.
const cached = 100_000

// index finds the accounts of a scope. What it costs does not depend on how
// many budgets there are: exact names are in a map, and what a value comes to
// by patterns is worked out once.
type index struct {
	exact   map[string][]*pot // :: match → budgets
	broad   []*pot            // with patterns, or with an account for each
	resolve map[subject][]*account
}

func (x *index) add(p *pot) {
	if p.scope == scopeGlobal || strings.Contains(p.def.Match, "*") {
		x.broad = append(x.broad, p)
		return
	}
	if x.exact == nil {
		x.exact = map[string][]*pot{}
	}
	x.exact[p.def.Match] = append(x.exact[p.def.Match], p)
}

func (x *index) empty() bool { return len(x.exact) == 0 && len(x.broad) == 0 }

// forget makes x look everything up again.
func (x *index) forget() { x.resolve = nil }

// accounts returns the accounts of a value. They are the index's own.
func (x *index) accounts(s scope, v subject) []*account {
	if found, ok := x.resolve[v]; ok {
		return found
	}
	var found []*account
	take := func(pots []*pot) {
		for _, p := range pots {
			if name, ok := p.subject(s, v); ok {
				found = append(found, p.account(name))
			}
		}
	}
	switch {
	case s == scopeTag:
		take(x.exact[v.value+"="+v.extra])
	case v.extra != "" && v.extra != v.value:
		take(x.exact[v.extra])
		fallthrough
	default:
		take(x.exact[v.value])
	}
	take(x.broad)
	if len(x.resolve) >= cached || x.resolve == nil {
		x.resolve = map[subject][]*account{}
	}
	v.value, v.extra = strings.Clone(v.value), strings.Clone(v.extra) // not the request they are part of
	x.resolve[v] = slices.Clip(found)
	return found
}

// subject returns what v is called in the budget's accounts; ok is false when
// the budget does not apply to it.
func (p *pot) subject(s scope, v subject) (name string, ok bool) {
	switch s {
	case scopeGlobal:
		return "", true
	case scopeTag:
		return p.tag(v)
	}
	if p.each {
		return strings.Clone(v.value), true
	}
	return p.def.Match, matches(p.def.Match, v.value) || v.extra != "" && matches(p.def.Match, v.extra)
}

// tag is subject for a tag.
func (p *pot) tag(v subject) (string, bool) {
	name, value, _ := strings.Cut(p.def.Match, "=")
	if p.def.Match == "*" || name == v.value && value == "*" {
		return v.value + "=" + v.extra, true
	}
	return p.def.Match, name == v.value && matches(value, v.extra)
}

// matches reports whether s is what the pattern says, in which each "*" stands
// for any text. What it costs is at most len(pattern) × len(s).
func matches(pattern, s string) bool {
	before, rest, ok := strings.Cut(pattern, "*")
	if !ok {
		return pattern == s
	}
	if !strings.HasPrefix(s, before) {
		return false
	}
	s = s[len(before):]
	for {
		part, more, ok := strings.Cut(rest, "*")
		if !ok {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}
