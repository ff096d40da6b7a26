package telemetry

import (
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/sdk/instrumentation"
)

// scopes numbers the instrumentation scopes seen, so that a queued item carries a small number instead of its scope.
// There are a handful for the life of the process; look-ups take no lock.
type scopes struct {
	known atomic.Pointer[[]scope]
	mu    sync.Mutex // held to add one
}

type scope struct {
	key    instrumentation.Scope
	header []byte // the field scope of ScopeSpans and ScopeLogs, which both number it 1
	footer []byte // the field schema_url, 3 in both
}

// index returns the number of s.
func (t *scopes) index(s instrumentation.Scope) int {
	if i := t.find(s); i >= 0 {
		return i
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := t.find(s); i >= 0 {
		return i
	}
	next := append(t.all()[:len(t.all()):len(t.all())], newScope(s))
	t.known.Store(&next)
	return len(next) - 1
}

func (t *scopes) find(s instrumentation.Scope) int {
	for i := range t.all() {
		k := &t.all()[i].key
		if k.Name == s.Name && k.Version == s.Version && k.SchemaURL == s.SchemaURL && k.Attributes.Equals(&s.Attributes) {
			return i
		}
	}
	return -1
}

func (t *scopes) all() []scope {
	if p := t.known.Load(); p != nil {
		return *p
	}
	return nil
}

func newScope(s instrumentation.Scope) scope {
	e := encoder{maxString: maxLogValue}
	b, start := open(nil, 1)
	b = e.optionalText(b, 1, s.Name)
	b = e.optionalText(b, 2, s.Version)
	b = e.keyValues(b, 3, s.Attributes.ToSlice())
	return scope{key: s, header: shut(b, start), footer: e.optionalText(nil, 3, s.SchemaURL)}
}
