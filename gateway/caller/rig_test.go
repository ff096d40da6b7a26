package caller_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/caller"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	pepper = bytes.Repeat([]byte("p"), 32)
	home   = netip.MustParseAddr("192.0.2.1")
	away   = netip.MustParseAddr("198.51.100.7")
)

// openDB opens dir's database as the ledger does.
func openDB(t testing.TB, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "ledger.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// open opens a registry, which the test closes unless it has.
func open(t testing.TB, db *sql.DB) *caller.Registry {
	t.Helper()
	r, err := caller.Open(t.Context(), caller.Config{DB: db, Pepper: pepper})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil && !strings.Contains(err.Error(), "closed") {
			t.Error(err)
		}
	})
	return r
}

func configure(t testing.TB, r *caller.Registry, keys []caller.FileKey, teams []caller.Team, p caller.Policy) {
	t.Helper()
	if err := r.Configure(keys, teams, p); err != nil {
		t.Fatal(err)
	}
}

// secretOf is the secret that the tests give a key of the file.
func secretOf(name string) gateway.Secret {
	return gateway.Secret("ccp_" + name + strings.Repeat("0", 32-len(name)))
}

func fileKey(k caller.Key) caller.FileKey { return caller.FileKey{Key: k, Secret: secretOf(k.Name)} }

func create(t testing.TB, r *caller.Registry, k caller.Key) (caller.Record, gateway.Secret) {
	t.Helper()
	rec, secret, err := r.Create(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	return rec, secret
}

func identify(t testing.TB, r *caller.Registry, s gateway.Secret) gateway.Access {
	t.Helper()
	a, err := r.Identify(s, home)
	if err != nil {
		t.Fatalf("identify: %v", err)
	}
	return a
}

// enter lets an exchange of 400 bytes, about 100 tokens, in.
func enter(t testing.TB, a gateway.Access) gateway.Visit {
	t.Helper()
	v, err := a.Enter(exchange(), func() {})
	if err != nil {
		t.Fatalf("enter: %v", err)
	}
	return v
}

func exchange() *gateway.Exchange { return &gateway.Exchange{Body: make([]byte, 400)} }

// refused is the error with which a was not let in.
func refused(t testing.TB, a gateway.Access) *gateway.Error {
	t.Helper()
	v, err := a.Enter(exchange(), func() {})
	if err == nil {
		v.Leave(0)
		t.Fatal("the exchange was let in")
	}
	return asError(t, err)
}

func asError(t testing.TB, err error) *gateway.Error {
	t.Helper()
	var e *gateway.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a *gateway.Error", err)
	}
	return e
}

// headers are what a caller of a family is told.
func headers(v gateway.Visit, family string, upstream http.Header) http.Header {
	h := upstream.Clone()
	if h == nil {
		h = http.Header{}
	}
	v.Header(h, family)
	return h
}
