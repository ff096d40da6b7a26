package caller

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a registry needs.
type Config struct {
	// DB keeps the keys made at run time, in tables of their own ("keys" and
	// "keys_version"). It must write through to disk (synchronous=FULL), and stays
	// its owner's to close, after the registry. Nil: only the file's keys exist.
	DB *sql.DB
	// Pepper is the secret that keys are digested with, at least 32 bytes; see
	// LoadPepper.
	Pepper []byte
	// Log is told what goes wrong in the background; nil: slog.Default().
	Log *slog.Logger
}

// Registry knows all keys and teams. It implements [gateway.Callers]; a request
// never waits for its database. It is safe for concurrent use.
type Registry struct {
	log      *slog.Logger
	start    time.Time
	digests  *digester
	failures *failures
	table    atomic.Pointer[table]
	store    *store // nil: no database

	stop    chan struct{} // closed to end the flusher
	done    chan struct{} // closed when it has ended
	closing sync.Once

	mu     sync.Mutex // guards the following, and is held to replace the table
	files  []*entry
	stored []*entry // oldest first
	teams  map[string]*team
	policy Policy
	states map[string]*state // by key id
	meters map[string]*meter // by team name
}

// entry is a key as the registry knows it. It is immutable but for what state
// counts: a changed key is another entry.
type entry struct {
	Record
	digest   digest
	patterns patterns
	state    *state
}

// team is a team as configured.
type team struct {
	Team
	patterns patterns
	meter    *meter
}

// Open reads the keys from the database, whose tables it brings up to date
// first. It knows no team yet: call Configure before the first request. The
// registry must be closed.
func Open(ctx context.Context, cfg Config) (*Registry, error) {
	if len(cfg.Pepper) < pepperSize {
		return nil, fmt.Errorf("callers: a pepper of %d bytes, want %d", len(cfg.Pepper), pepperSize)
	}
	r := &Registry{
		log: cfg.Log, start: time.Now(), digests: newDigester(slices.Clone(cfg.Pepper)), failures: newFailures(),
		stop: make(chan struct{}), done: make(chan struct{}),
		states: make(map[string]*state), meters: make(map[string]*meter),
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if cfg.DB == nil {
		close(r.done)
		r.publish()
		return r, nil
	}
	var err error
	if r.store, err = openStore(ctx, cfg.DB, pepperID(cfg.Pepper)); err != nil {
		return nil, fmt.Errorf("callers: %w", err)
	}
	if r.stored, err = r.store.load(ctx); err != nil {
		return nil, fmt.Errorf("callers: %w", err)
	}
	for _, e := range r.stored {
		r.adopt(e)
	}
	if n := count(r.stored, func(e *entry) bool { return e.Dead && e.Revoked.IsZero() }); n > 0 {
		r.log.Warn("keys were made with another pepper and open nothing: restore the pepper, or revoke them", "keys", n)
	}
	r.publish()
	go r.flushOften()
	return r, nil
}

// Close ends the background work and writes down when keys were last used. After
// that the registry only answers requests: nothing else may be called.
func (r *Registry) Close(ctx context.Context) error {
	r.closing.Do(func() { close(r.stop) })
	<-r.done
	return r.Flush(ctx)
}

// now is the time since the registry was made, in nanoseconds, whatever the wall
// clock does.
func (r *Registry) now() int64 { return int64(time.Since(r.start)) }

// Configure replaces the file's keys, the teams and the policy. Counters and
// running visits stay: a key's of the file as long as its name does, a team's
// likewise. An error leaves everything as it was.
//
// While no team is declared, a key of the file may name any: it says whose the
// key is, no more. A key of the store opens nothing without its team.
func (r *Registry) Configure(keys []FileKey, teams []Team, p Policy) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	read, err := readTeams(teams)
	if err != nil {
		return err
	}
	files, err := r.readKeys(keys, read)
	if err != nil {
		return err
	}
	r.files, r.teams, r.policy = files, read, p
	for name, t := range read {
		m := r.meters[name]
		if m == nil {
			m = &meter{who: fmt.Sprintf("team %q", name)}
			r.meters[name] = m
		}
		m.set(r.now(), t.Limits)
		t.meter = m
	}
	for _, list := range [...][]*entry{r.files, r.stored} {
		for _, e := range list {
			r.adopt(e)
		}
	}
	r.forget()
	r.publish()
	return nil
}

// adopt gives a key its counters, and them its limits. r.mu is held, or nobody
// else has the registry.
func (r *Registry) adopt(e *entry) {
	s := r.states[e.ID]
	if s == nil {
		s = &state{revoked: !e.Revoked.IsZero()}
		s.who = fmt.Sprintf("key %q", e.Name)
		if !e.LastUsed.IsZero() {
			s.used.Store(e.LastUsed.Unix())
			s.saved = e.LastUsed.Unix()
		}
		r.states[e.ID] = s
	}
	l := e.Limits
	if l.InFlight == 0 {
		l.InFlight = r.policy.DefaultInFlight
	}
	if l.InFlight <= 0 {
		l.InFlight = defaultInFlight
	}
	s.set(r.now(), l)
	if e.state == nil { // else requests may be reading it
		e.state = s
	}
}

// forget drops the counters of keys and teams that are gone, unless something
// still runs: a key that comes back finds its exchanges counted.
func (r *Registry) forget() {
	keys := make(map[string]bool, len(r.files)+len(r.stored))
	for _, list := range [...][]*entry{r.files, r.stored} {
		for _, e := range list {
			keys[e.ID] = true
		}
	}
	for id, s := range r.states {
		if !keys[id] && s.busy() == 0 {
			delete(r.states, id)
		}
	}
	for name, m := range r.meters {
		if r.teams[name] == nil && m.busy() == 0 {
			delete(r.meters, name)
		}
	}
}

func count[T any](list []T, is func(T) bool) int {
	n := 0
	for _, v := range list {
		if is(v) {
			n++
		}
	}
	return n
}
