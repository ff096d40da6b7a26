package config

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // budgets name time zones, also where the system has none
)

const (
	dearToken   = PerMillion(1000 * 1e6)          // a price per million tokens over this is a price per token, most likely
	dearRequest = USD(1000 * 1e9)                 // so is a price of one request or call
	maxLimit    = USD(1_000_000_000 * int64(1e9)) // of a budget: sums must stay far from the end of an int64
)

func (d *decoder) prices(c *Config) {
	for name, p := range c.Prices {
		path := join("prices", name)
		if !p.Inherit && (p.Input == nil || p.Output == nil) {
			d.failAt(path, "want input and output, or inherit: true to take the price book's")
		}
		for class, price := range p.classes() {
			if price != nil && *price > dearToken && !p.Confirm {
				d.failAt(join(path, class), "%s is over 1,000 USD per million tokens; a price per token wants dividing, a true one confirm: true", *price)
			}
		}
		for tool, price := range p.Tools {
			if price > dearRequest && !p.Confirm {
				d.failAt(join(join(path, "tools"), tool), "%s is over 1,000 USD a call; a true price wants confirm: true", price)
			}
		}
	}
	for _, p := range c.Providers {
		if price := p.PassthroughPrice; price != nil && price.PerRequest > dearRequest {
			d.failAt(join("providers", p.Name)+".passthrough_price.per_request", "%s is over 1,000 USD a request", price.PerRequest)
		}
	}
	if p := c.Budgets.UnknownPrice.Assume; p != nil && *p > dearToken {
		d.failAt("budgets.unknown_price.assume", "%s is over 1,000 USD per million tokens; a price per token wants multiplying", *p)
	}
}

func (p Price) classes() map[string]*PerMillion {
	return map[string]*PerMillion{
		"input": p.Input, "output": p.Output, "cache_read": p.CacheRead, "cache_write": p.CacheWrite,
		"cache_write_1h": p.CacheWrite1h, "reasoning": p.Reasoning, "audio_in": p.AudioIn, "audio_out": p.AudioOut,
		"image_in": p.ImageIn, "image_out": p.ImageOut,
	}
}

// keyPattern wants 160 bits after the prefix in any usual alphabet: 27 characters of base 62.
var keyPattern = regexp.MustCompile(`^ccp_[0-9A-Za-z_-]{27,}$`)

func (d *decoder) callers(c *Config) {
	teams := d.unique("teams", len(c.Teams), func(i int) string { return c.Teams[i].Name })
	d.unique("keys", len(c.Keys), func(i int) string { return c.Keys[i].Name })
	for i, t := range c.Teams {
		d.callerName(index("teams", i), t.Name)
	}
	seen := map[Secret]string{}
	for i, k := range c.Keys {
		path := index("keys", i)
		d.callerName(path, k.Name)
		if k.Key == "" && !d.said(join(path, "key")) {
			d.missing(path, "key", "; give one as ${NAME}")
		}
		if k.Key != "" && !keyPattern.MatchString(k.Key.Reveal()) {
			d.failAt(join(path, "key"), "want ccp_ and at least 27 random letters and digits; ccproxy keys create makes one")
		}
		if other, dup := seen[k.Key]; dup && k.Key != "" {
			d.failAt(join(path, "key"), "the same secret as key %q", other)
		}
		seen[k.Key] = k.Name
		if k.Team != "" && len(c.Teams) > 0 && !slices.Contains(teams, k.Team) {
			d.failAt(join(path, "team"), "unknown team %q%s", k.Team, suggestion(k.Team, teams))
		}
		d.keyBudgets(join(path, "budget"), k.Budget)
	}
}

// callerName refuses names of keys and teams that budgets would take for a pattern, or that metrics could not carry.
func (d *decoder) callerName(path, name string) {
	if strings.Contains(name, "*") {
		d.failAt(join(path, "name"), `a name has no "*" in it: budgets would take it for a pattern`)
	}
	if len(name) > 128 {
		d.failAt(join(path, "name"), "longer than 128 bytes")
	}
}

func (d *decoder) keyBudgets(path string, list KeyBudgets) {
	windows := map[string]bool{}
	for i, b := range list {
		at := path
		if d.said(index(path, i)) {
			at = index(path, i)
		}
		if b.Limit == nil {
			d.missing(at, "limit", "; say how much in dollars")
		}
		if windows[b.Window] && b.Window != "" {
			d.failAt(at, "a second budget for each %s; keep one", b.Window)
		}
		windows[b.Window] = true
		d.amounts(at, b.Named(""))
	}
}

var rolling = regexp.MustCompile(`^[1-9][0-9]{0,3}[mhd]$`)

func (d *decoder) budgets(c *Config) {
	list := "budgets"
	if d.said("budgets.list") {
		list = "budgets.list"
	}
	names := d.unique(list, len(c.Budgets.List), func(i int) string { return c.Budgets.List[i].Name })
	for i, b := range c.Budgets.List {
		d.budget(c, index(list, i), b)
	}
	for i, k := range c.Keys {
		for _, b := range k.Budget {
			if own := b.Named(k.Name).Name; slices.Contains(names, own) {
				d.failAt(join(index("keys", i), "budget"), "there is a budget %q already, which is what this one would be called; rename that one", own)
			}
		}
	}
	d.webhooks(c)
}

// webhooks checks them and names those without a name after the host they are at.
func (d *decoder) webhooks(c *Config) {
	var given []string
	for _, w := range c.Budgets.Webhooks {
		given = append(given, w.Name)
	}
	for i := range c.Budgets.Webhooks {
		w, path := &c.Budgets.Webhooks[i], index("budgets.webhooks", i)
		if w.URL == "" {
			d.missing(path, "url", "")
		}
		if plainHTTP(w.URL) {
			d.failAt(join(path, "url"), "plain http leaves this machine unencrypted; use https")
		}
		if w.Name != "" && slices.Index(given, w.Name) < i {
			d.failAt(join(path, "name"), "a second %q; names are used once", w.Name)
		}
		if w.Name == "" {
			w.Name = freeName(hostOf(w.URL), given)
			given[i] = w.Name
		}
	}
}

func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "webhook"
	}
	return cmp.Or(u.Hostname(), "webhook")
}

// freeName is name, with a number behind it when it is taken.
func freeName(name string, taken []string) string {
	free := name
	for n := 2; slices.Contains(taken, free); n++ {
		free = fmt.Sprintf("%s-%d", name, n)
	}
	return free
}

// scopes are what budgets can be of.
var scopes = strings.Fields("global team key user model provider label session tag")

func (d *decoder) budget(c *Config, path string, b Budget) {
	switch {
	case b.Scope == "":
		d.missing(path, "scope", "; want global, team, key, user, model, provider, label, session or tag")
	case !slices.Contains(scopes, b.Scope): // reported
	case b.Scope == "global" && b.Match != "":
		d.failAt(join(path, "match"), "scope global has nothing to match; remove it")
	case b.Scope != "global" && b.Match == "":
		d.missing(path, "match", `; name a %s, or "*" for a budget each`, b.Scope)
	case b.Scope == "tag" && b.Match != "*" && !strings.Contains(b.Match, "="):
		d.failAt(join(path, "match"), `want name=value, name=* for a budget each, or "*", got %q`, b.Match)
	default:
		d.matches(c, join(path, "match"), b)
	}
	if b.Limit == nil && !d.said(join(path, "limit")) {
		d.warn(d.at(path), path, "no limit: it only counts; write limit: 0 to block, or limit: null if counting is meant")
	}
	d.amounts(path, b)
	if label := b.Over.Route; label != "" {
		if _, ok := c.Model(label); !ok {
			d.failAt(path+".over.route", "no entry %q in models%s", label, suggestion(label, c.modelNames()))
		}
		if b.Scope == "label" && match(b.Match, label) {
			d.failAt(path+".over.route", "leads to label %q, which this budget limits itself", label)
		}
		if b.Action == "warn" && d.said(join(path, "action")) {
			d.failAt(path+".over.route", "action: warn refuses nothing, so there is nothing to route elsewhere; remove one of them")
		}
	}
}

// amounts checks what budgets of the list and of keys have in common.
func (d *decoder) amounts(path string, b Budget) {
	if b.Limit != nil && *b.Limit > maxLimit {
		d.failAt(join(path, "limit"), "%s is over a billion dollars", *b.Limit)
	}
	if b.Window == "" {
		d.missing(path, "window", "; want minute, hour, day, week, month, none, or a span such as 30d")
	} else if !slices.Contains([]string{"minute", "hour", "day", "week", "month", "none"}, b.Window) && !rolling.MatchString(b.Window) {
		d.failAt(join(path, "window"), "want minute, hour, day, week, month, none, or a span such as 30d; got %q", b.Window)
	}
	if _, err := time.LoadLocation(b.Timezone); err != nil || b.Timezone == "" || b.Timezone == "Local" {
		d.failAt(join(path, "timezone"), "unknown time zone %q; want a name such as Europe/Berlin", b.Timezone)
	}
	for i, t := range b.Thresholds {
		if t <= 0 || t > 1 || i > 0 && t <= b.Thresholds[i-1] {
			d.failAt(index(join(path, "thresholds"), i), "want rising fractions above 0 up to 1, got %v", t)
		}
	}
}

// matches warns of a budget that nothing this file knows can fall under: its name may be a slip of the pen.
func (d *decoder) matches(c *Config, path string, b Budget) {
	var known []string
	switch b.Scope {
	case "team":
		known = c.teamNames()
	case "provider":
		for _, p := range c.Providers {
			known = append(known, p.Name)
		}
	case "label":
		known = append(c.modelNames(), "default", "moderation")
		for _, r := range c.CCProxy.Rules {
			known = append(known, r.Name)
		}
	case "key":
		// Keys may also be made by command, so that only a near miss says something.
		for _, k := range c.Keys {
			known = append(known, k.Name)
		}
		if nearest(b.Match, known) == "" {
			return
		}
	default:
		return
	}
	if !slices.ContainsFunc(known, func(name string) bool { return match(b.Match, name) }) && b.Match != "*" {
		d.warn(d.at(path), path, "no %s %q here, so that nothing counts towards this budget%s", b.Scope, b.Match, suggestion(b.Match, known))
	}
}

// teamNames are the teams the file declares, and those its keys belong to.
func (c *Config) teamNames() []string {
	var names []string
	for _, t := range c.Teams {
		names = append(names, t.Name)
	}
	for _, k := range c.Keys {
		if k.Team != "" && !slices.Contains(names, k.Team) {
			names = append(names, k.Team)
		}
	}
	return names
}

// match reports whether name is what pattern means, in which "*" stands for anything.
func match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
