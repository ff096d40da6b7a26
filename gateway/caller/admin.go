package caller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// Create makes a key and returns its secret, which is kept nowhere: this is the
// only time it can be had. The key works at once. The error wraps [ErrInvalid],
// [ErrExists] or [ErrReadOnly], or is the database's.
func (r *Registry) Create(ctx context.Context, k Key) (Record, gateway.Secret, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		return Record{}, "", fmt.Errorf("%w: there is no database to keep keys in", ErrReadOnly)
	}
	p, err := r.checkNew(&k)
	if err != nil {
		return Record{}, "", err
	}
	secret := makeSecret()
	e := &entry{
		Record: Record{Key: k, ID: makeID(), Hint: hintOf(secret), Source: SourceStore, Created: time.Now().UTC().Truncate(time.Millisecond)},
		digest: r.digests.digest(secret.Reveal()), patterns: p,
	}
	if err := r.store.insert(ctx, e); err != nil {
		return Record{}, "", fmt.Errorf("key %q: %w", k.Name, err)
	}
	r.adopt(e)
	r.stored = append(r.stored, e)
	r.publish()
	return e.record(), secret, nil
}

// checkNew checks a key that is to be made. r.mu is held.
func (r *Registry) checkNew(k *Key) (patterns, error) {
	if !namePattern.MatchString(k.Name) || strings.HasPrefix(k.Name, prefix) || strings.HasPrefix(k.Name, "key_") {
		// The name is not repeated: it may be a secret that was mistaken for one.
		return patterns{}, fmt.Errorf("%w: want a name of 1 to 128 letters, digits and ._:/@+-, not beginning with %s or key_", ErrInvalid, prefix)
	}
	k.Models, k.Budgets = slices.Clone(k.Models), slices.Clone(k.Budgets)
	p, err := k.check()
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !k.Expires.IsZero() {
		k.Expires = k.Expires.UTC().Truncate(time.Millisecond)
		if !k.Expires.After(time.Now()) {
			return p, fmt.Errorf("%w: it would expire at %s, which is past", ErrInvalid, k.Expires.Format(time.RFC3339))
		}
	}
	if k.Team != "" {
		t := r.teams[k.Team]
		if t == nil {
			return p, fmt.Errorf("%w: team %q is not configured; add it under teams", ErrInvalid, k.Team)
		}
		if err := k.within(t); err != nil {
			return p, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	if e := r.live(k.Name); e != nil {
		return p, fmt.Errorf("%w: %s of the %s is called %q", ErrExists, e.ID, e.Source, k.Name)
	}
	return p, nil
}

// List returns all keys: the file's in their order, then the store's, oldest
// first, revoked ones included.
func (r *Registry) List() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Record, 0, len(r.files)+len(r.stored))
	for _, list := range [...][]*entry{r.files, r.stored} {
		for _, e := range list {
			out = append(out, e.record())
		}
	}
	return out
}

// Show returns the key of an id, or of a name that is in use. The error is
// [ErrNotFound].
func (r *Registry) Show(id string) (Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(id)
	if e == nil {
		return Record{}, ErrNotFound
	}
	return e.record(), nil
}

// Revoke makes the key of an id, or of a name that is in use, useless for ever.
// What runs goes on, unless endStreams is set: then ended is how many exchanges
// were told to stop. Revoking again changes nothing but that.
//
// The error wraps [ErrNotFound] or [ErrReadOnly], or is the database's: then the
// key is refused all the same, until the next start, and Revoke must be called
// again.
func (r *Registry) Revoke(ctx context.Context, id string, endStreams bool) (rec Record, ended int, err error) {
	stops, rec, err := r.revoke(ctx, id, endStreams)
	for _, stop := range stops {
		stop()
	}
	return rec, len(stops), err
}

func (r *Registry) revoke(ctx context.Context, id string, endStreams bool) ([]func(), Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(id)
	if e == nil {
		return nil, Record{}, ErrNotFound
	}
	if e.Source == SourceFile {
		return nil, Record{}, fmt.Errorf("%w: key %q is declared in the configuration file; remove it there", ErrReadOnly, e.Name)
	}
	if e.Revoked.IsZero() {
		revoked := *e
		revoked.Revoked = time.Now().UTC().Truncate(time.Millisecond)
		r.stored[slices.Index(r.stored, e)] = &revoked
		e = &revoked
		r.publish()
	}
	stops := e.state.revoke(endStreams)
	if err := r.store.revoke(ctx, e.ID, e.Revoked); err != nil {
		return stops, e.record(), fmt.Errorf("key %q: %w", e.Name, err)
	}
	return stops, e.record(), nil
}

// find returns a key by id or by a name in use, or nil. r.mu is held.
func (r *Registry) find(id string) *entry {
	for _, list := range [...][]*entry{r.files, r.stored} {
		for _, e := range list {
			if e.ID == id {
				return e
			}
		}
	}
	return r.live(id)
}

// live returns the key of that name that is not revoked, or nil. r.mu is held.
func (r *Registry) live(name string) *entry {
	for _, list := range [...][]*entry{r.files, r.stored} {
		for _, e := range list {
			if e.Name == name && e.Revoked.IsZero() {
				return e
			}
		}
	}
	return nil
}

// record is what may be shown of a key now. Its slices are the caller's.
func (e *entry) record() Record {
	rec := e.Record
	rec.Models, rec.Budgets = slices.Clone(rec.Models), slices.Clone(rec.Budgets)
	rec.LastUsed = time.Time{}
	if t := e.state.used.Load(); t != 0 {
		rec.LastUsed = time.Unix(t, 0).UTC()
	}
	rec.InFlight = e.state.busy()
	return rec
}

// flushEvery is how often the last uses are written down.
const flushEvery = time.Minute

// flushOften flushes until the registry is closed.
func (r *Registry) flushOften() {
	defer close(r.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), flushEvery)
		if err := r.Flush(ctx); err != nil {
			r.log.Warn("the last use of keys was not written down", "error", err)
		}
		cancel()
	}
}

// Flush writes down when the store's keys were last used. That happens by itself
// every minute and when the registry is closed.
func (r *Registry) Flush(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.store == nil {
		return nil
	}
	used := map[string]int64{} // :: id → Unix seconds
	for _, e := range r.stored {
		if t := e.state.used.Load(); t != e.state.saved {
			used[e.ID] = t
		}
	}
	if len(used) == 0 {
		return nil
	}
	if err := r.store.use(ctx, used); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	for id, t := range used {
		r.states[id].saved = t
	}
	return nil
}
