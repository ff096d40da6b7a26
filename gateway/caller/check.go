package caller

import (
	"cmp"
	"fmt"
	"regexp"
	"time"
)

// Names of keys made here end up in commands, metrics and messages.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$`)

// readTeams checks the teams of the file.
func readTeams(teams []Team) (map[string]*team, error) {
	out := make(map[string]*team, len(teams))
	for _, t := range teams {
		if t.Name == "" {
			return nil, fmt.Errorf("a team has no name")
		}
		if out[t.Name] != nil {
			return nil, fmt.Errorf("two teams are called %q", t.Name)
		}
		p, err := compile(t.Models)
		if err == nil {
			err = t.Limits.check()
		}
		if err != nil {
			return nil, fmt.Errorf("team %q: %w", t.Name, err)
		}
		out[t.Name] = &team{Team: t, patterns: p}
	}
	return out, nil
}

// readKeys checks the keys of the file, against each other and those of the
// store. r.mu is held.
func (r *Registry) readKeys(keys []FileKey, teams map[string]*team) ([]*entry, error) {
	byName, byDigest := make(map[string]*entry, len(keys)), make(map[digest]*entry, len(keys)+len(r.stored))
	for _, e := range r.stored {
		byDigest[e.digest] = e
		if e.Revoked.IsZero() {
			byName[e.Name] = e
		}
	}
	out := make([]*entry, 0, len(keys))
	for _, k := range keys {
		e, err := r.readKey(k, teams)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", k.Name, err)
		}
		if other := byName[k.Name]; other != nil {
			return nil, fmt.Errorf("two keys are called %q: one of the %s, and %s of the %s", k.Name, SourceFile, other.ID, other.Source)
		}
		if other := byDigest[e.digest]; other != nil {
			return nil, fmt.Errorf("key %q has the secret of key %q (%s, of the %s); give each its own", k.Name, other.Name, other.ID, other.Source)
		}
		byName[k.Name], byDigest[e.digest] = e, e
		out = append(out, e)
	}
	return out, nil
}

func (r *Registry) readKey(k FileKey, teams map[string]*team) (*entry, error) {
	if k.Name == "" {
		return nil, fmt.Errorf("it has no name")
	}
	if !wellFormed(k.Secret.Reveal()) {
		return nil, fmt.Errorf("want a secret of %s and %d to %d random letters and digits", prefix, minSecret, maxSecret)
	}
	if k.Team != "" && len(teams) > 0 && teams[k.Team] == nil {
		return nil, fmt.Errorf("team %q is not among the teams", k.Team)
	}
	p, err := k.check()
	if err != nil {
		return nil, err
	}
	return &entry{
		Record: Record{Key: k.Key, ID: fileID(k.Name), Hint: hintOf(k.Secret), Source: SourceFile},
		digest: r.digests.digest(k.Secret.Reveal()), patterns: p,
	}, nil
}

// check looks for what makes no sense whoever the key is for.
func (k *Key) check() (patterns, error) {
	p, err := compile(k.Models)
	if err != nil {
		return p, err
	}
	if err := k.Limits.check(); err != nil {
		return p, err
	}
	for _, b := range k.Budgets {
		if err := b.check(); err != nil {
			return p, err
		}
	}
	switch k.Content {
	case "", "none", "redacted", "full":
		return p, nil
	}
	return p, fmt.Errorf("content %q: want none, redacted or full", k.Content)
}

func (l Limits) check() error {
	if l.RequestsPerMinute < 0 || l.TokensPerMinute < 0 || l.InFlight < 0 {
		return fmt.Errorf("a limit is negative")
	}
	return nil
}

var windowPattern = regexp.MustCompile(`^(minute|hour|day|week|month|none|[1-9][0-9]{0,4}[smhd])$`)

func (b *Budget) check() error {
	if b.Limit < 0 {
		return fmt.Errorf("budget: limit %v is negative", b.Limit)
	}
	if !windowPattern.MatchString(b.Window) {
		return fmt.Errorf("budget: window %q: want minute, hour, day, week, month, none, or a span such as 30d", b.Window)
	}
	if _, err := time.LoadLocation(cmp.Or(b.Timezone, "UTC")); err != nil {
		return fmt.Errorf("budget: %w", err)
	}
	if b.Action != "" && b.Action != "deny" && b.Action != "warn" {
		return fmt.Errorf("budget: action %q: want deny or warn", b.Action)
	}
	return nil
}

// within returns an error when a key may do more than its team (reliability
// S-04).
func (k *Key) within(t *team) error {
	if wider := t.patterns.cover(k.Models); wider != "" {
		return fmt.Errorf("model %q is more than team %q may use; it may use %q", wider, t.Name, t.Models)
	}
	for _, l := range [...]struct {
		unit      string
		key, team int64
	}{
		{"requests per minute", k.Limits.RequestsPerMinute, t.Limits.RequestsPerMinute},
		{"tokens per minute", k.Limits.TokensPerMinute, t.Limits.TokensPerMinute},
		{"requests in flight", int64(k.Limits.InFlight), int64(t.Limits.InFlight)},
	} {
		if l.team > 0 && l.key > l.team {
			return fmt.Errorf("%d %s is more than the %d of team %q", l.key, l.unit, l.team, t.Name)
		}
	}
	return nil
}
