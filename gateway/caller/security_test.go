package caller_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"modernc.org/sqlite"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/caller"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// counted is a database that counts what is asked of it.
type counted struct {
	dsn  string
	asks atomic.Int64
}

func (c *counted) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.Driver().Open(c.dsn)
	return countedConn{conn, c}, err
}

func (c *counted) Driver() driver.Driver { return &sqlite.Driver{} }

// countedConn hides all but the methods that every statement and transaction
// has to pass.
type countedConn struct {
	driver.Conn
	db *counted
}

func (c countedConn) Prepare(query string) (driver.Stmt, error) {
	c.db.asks.Add(1)
	return c.Conn.Prepare(query)
}

func (c countedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.db.asks.Add(1)
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

// hostile returns values of the kind that break parsers and queries.
func hostile(rng *rand.Rand, good string) string {
	pieces := []string{"ccp_", good, "' OR 1=1 --", `"; DROP TABLE keys; --`, "\x00", "%s%n", "../", "\xff\xfe", "ſ", "Bearer ", strings.Repeat("A", 600), "_", "-", "*", "\r\n", "{}"}
	var b strings.Builder
	if rng.IntN(2) == 0 {
		b.WriteString("ccp_")
	}
	for range rng.IntN(4) {
		b.WriteString(pieces[rng.IntN(len(pieces))])
	}
	for range rng.IntN(40) {
		b.WriteByte(byte(rng.IntN(256)))
	}
	s := b.String()
	if rng.IntN(4) == 0 { // almost right
		i := rng.IntN(len(good))
		s = good[:i] + string(rune('0'+rng.IntN(10))) + good[i+1:]
	}
	return s
}

func TestS01NoValueReachesTheDatabase(t *testing.T) {
	c := &counted{dsn: "file:" + filepath.Join(t.TempDir(), "ledger.db") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"}
	db := sql.OpenDB(c)
	defer db.Close()
	r := open(t, db)
	_, secret := create(t, r, caller.Key{Name: "a"})
	before := c.asks.Load()
	if before == 0 {
		t.Fatal("nothing is counted")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		s := hostile(rng, secret.Reveal())
		if s == "" || s == secret.Reveal() {
			continue
		}
		a, err := r.Identify(gateway.Secret(s), netip.AddrFrom4([4]byte{10, byte(rng.IntN(256)), byte(rng.IntN(256)), 1}))
		if a != nil || err == nil {
			t.Fatalf("%q was let in", s)
		}
	}
	v := enter(t, identify(t, r, secret))
	v.Leave(1)
	if n := c.asks.Load() - before; n != 0 {
		t.Errorf("the database was asked %d times", n)
	}
	if err := r.Flush(t.Context()); err != nil || c.asks.Load() == before {
		t.Errorf("flushed with %d asks, %v", c.asks.Load()-before, err)
	}
}

func FuzzIdentify(f *testing.F) {
	r, err := caller.Open(f.Context(), caller.Config{Pepper: pepper})
	if err != nil {
		f.Fatal(err)
	}
	good := secretOf("a")
	if err := r.Configure([]caller.FileKey{fileKey(caller.Key{Name: "a"})}, nil, caller.Policy{}); err != nil {
		f.Fatal(err)
	}
	// The key is known here: the wrong ones to come shut out only strangers.
	if _, err := r.Identify(good, home); err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{good.Reveal(), good.Reveal() + "0", "ccp_", "' OR 1=1", strings.Repeat("x", 1000), "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := r.Identify(gateway.Secret(s), home)
		if got := err == nil && a != nil; got != (s == good.Reveal()) {
			t.Errorf("%q: got %v, %v", s, a, err)
		}
		if err != nil && len(s) > 8 && strings.Contains(err.Error(), s) && !strings.Contains("a gateway key is needed", s) {
			t.Errorf("%q is in %v", s, err)
		}
	})
}

func TestS13GuessingIsSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		keys := []caller.FileKey{fileKey(caller.Key{Name: "a"}), fileKey(caller.Key{Name: "b"})}
		configure(t, r, keys, nil, caller.Policy{})
		identify(t, r, keys[0].Secret) // "a" is at home

		told, bodies := map[int]int{}, map[string]bool{}
		for i := range 10_000 { // 1,000 a second from home
			_, err := r.Identify(gateway.Secret(fmt.Sprintf("ccp_%027d", i)), home)
			e := asError(t, err)
			told[e.Status]++
			bodies[fmt.Sprint(e.Status, e.Message)] = true
			if e.Status == 429 && (e.Reason != names.RejectionRateLimit || e.RetryAfter <= 0 || e.RetryAfter > 3*time.Second) {
				t.Fatalf("got %+v", e)
			}
			time.Sleep(time.Millisecond)
		}
		if told[401] != 23 || told[429] != 9977 || len(bodies) != 2 { // 20, and one each 3 s
			t.Errorf("told %v in %d ways", told, len(bodies))
		}

		identify(t, r, keys[0].Secret) // who belongs there is let in
		_, hit := r.Identify(keys[1].Secret, home)
		if _, miss := r.Identify("ccp_"+secretOf("x"), home); asError(t, hit).Message != asError(t, miss).Message || asError(t, hit).Status != 429 {
			t.Errorf("a guess that hits is told apart: %v, %v", hit, miss)
		}
		if _, err := r.Identify(keys[1].Secret, away); err != nil {
			t.Errorf("another address is shut out: %v", err)
		}
		time.Sleep(3 * time.Second)
		if _, err := r.Identify(keys[1].Secret, home); err != nil {
			t.Errorf("after the wait: %v", err)
		}
	})
}

func TestS13ManyAddressesAreSlowedDownToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		key := fileKey(caller.Key{Name: "a"})
		configure(t, r, []caller.FileKey{key}, nil, caller.Policy{})
		told := map[int]int{}
		for i := range 100_000 {
			from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			_, err := r.Identify("ccp_nothing", from)
			told[asError(t, err).Status]++
		}
		if told[401] != 1200 {
			t.Errorf("told %v, want 1200 times 401", told)
		}
		if _, err := r.Identify(key.Secret, away); err != nil {
			t.Errorf("a flood of guesses shuts out a good key: %v", err)
		}
	})
}

func TestS13AnIPv6NetworkIsOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a"})}, nil, caller.Policy{})
		told := map[int]int{}
		for i := range 100 {
			_, err := r.Identify("ccp_nothing", netip.MustParseAddr(fmt.Sprintf("2001:db8::%x%%eth0", i+1)))
			told[asError(t, err).Status]++
		}
		if told[401] != 20 {
			t.Errorf("told %v, want 20 times 401", told)
		}
	})
}

func TestFailuresThatGuessNothingAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		db := openDB(t, dir)
		defer db.Close()
		r := open(t, db)
		defer r.Close(t.Context())
		_, old := create(t, r, caller.Key{Name: "old"})
		_, short := create(t, r, caller.Key{Name: "short", Expires: time.Now().Add(time.Second)})
		if _, _, err := r.Revoke(t.Context(), "old", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 200 { // a client that goes on with what it has
			for _, s := range []gateway.Secret{"", old, short} {
				if _, err := r.Identify(s, home); asError(t, err).Status != 401 {
					t.Fatalf("got %v, want 401", err)
				}
			}
		}
		_, fresh := create(t, r, caller.Key{Name: "old"})
		identify(t, r, fresh)
	})
}

func TestUnknownAndRevokedKeysAreToldTheSame(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	_, revoked := create(t, r, caller.Key{Name: "a"})
	if _, _, err := r.Revoke(t.Context(), "a", false); err != nil {
		t.Fatal(err)
	}
	var first *gateway.Error
	for _, s := range []gateway.Secret{revoked, "ccp_" + secretOf("x"), "ccp_", "nonsense", secretOf("y")} {
		_, err := r.Identify(s, home)
		e := asError(t, err)
		if first == nil {
			first = e
		}
		if *e != *first {
			t.Errorf("%s: got %+v, want %+v", s.Reveal(), e, first)
		}
	}
	if first.Status != 401 || first.Reason != names.RejectionAuth || !first.NoRetry {
		t.Errorf("got %+v", first)
	}
}

func TestC30RevocationDuringStreams(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	rec, secret := create(t, r, caller.Key{Name: "a"})
	_, other := create(t, r, caller.Key{Name: "b"})
	var stopped atomic.Int64
	type stream struct {
		visit gateway.Visit
		end   chan struct{}
	}
	start := func(s gateway.Secret) stream {
		st := stream{end: make(chan struct{})}
		v, err := identify(t, r, s).Enter(exchange(), func() {
			stopped.Add(1)
			close(st.end) // panics the second time
		})
		if err != nil {
			t.Fatal(err)
		}
		st.visit = v
		return st
	}
	var wg sync.WaitGroup
	streams := make([]stream, 50)
	for i := range streams {
		streams[i] = start(secret)
	}
	bystander := start(other)
	late := identify(t, r, secret) // identified, not yet let in

	got, ended, err := r.Revoke(t.Context(), "a", false)
	if err != nil || ended != 0 || stopped.Load() != 0 || got.Revoked.IsZero() || got.InFlight != 50 {
		t.Errorf("got %+v, %d ended, %v", got, ended, err)
	}
	if _, err := r.Identify(secret, home); asError(t, err).Status != 401 {
		t.Errorf("got %v", err)
	}
	if e := refused(t, late); e.Status != 401 || e.Reason != names.RejectionAuth {
		t.Errorf("got %+v", e)
	}

	streams[0].visit.Leave(10) // one ends by itself
	for _, s := range streams[1:] {
		wg.Go(func() {
			<-s.end
			s.visit.Leave(10)
		})
	}
	if again, ended, err := r.Revoke(t.Context(), rec.ID, true); err != nil || ended != 49 || !again.Revoked.Equal(got.Revoked) {
		t.Errorf("got %+v, %d ended, %v", again, ended, err)
	}
	wg.Wait()
	if _, ended, err := r.Revoke(t.Context(), rec.ID, true); err != nil || ended != 0 {
		t.Errorf("again: %d ended, %v", ended, err)
	}
	if shown, err := r.Show(rec.ID); err != nil || shown.InFlight != 0 || stopped.Load() != 49 {
		t.Errorf("%+v, %d stopped, %v", shown, stopped.Load(), err)
	}
	bystander.visit.Leave(0)
	identify(t, r, other)
}

func TestC30RevocationRacesWithLeaving(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	for i := range 20 {
		rec, secret := create(t, r, caller.Key{Name: fmt.Sprint("k", i)})
		var calls [50]atomic.Int64
		var wg sync.WaitGroup
		for j := range calls {
			a := identify(t, r, secret)
			wg.Go(func() {
				v, err := a.Enter(exchange(), func() { calls[j].Add(1) })
				if err == nil {
					v.Leave(1)
				}
			})
		}
		wg.Go(func() {
			if _, _, err := r.Revoke(context.Background(), rec.ID, true); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		for j := range calls {
			if n := calls[j].Load(); n > 1 {
				t.Errorf("stopped %d times", n)
			}
		}
		if shown, err := r.Show(rec.ID); err != nil || shown.InFlight != 0 {
			t.Errorf("%+v, %v", shown, err)
		}
	}
}

func TestRevokeRefusesEvenIfItCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir)
	r := open(t, db)
	rec, secret := create(t, r, caller.Key{Name: "a"})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Revoke(t.Context(), "a", false); err == nil {
		t.Error("a revocation that is not written is none")
	}
	if _, err := r.Identify(secret, home); err == nil {
		t.Error("the key works")
	}
	if _, _, err := r.Create(t.Context(), caller.Key{Name: "b"}); err == nil {
		t.Error("a key that is not written was made")
	}
	if n := len(r.List()); n != 1 {
		t.Errorf("%d keys, want 1", n)
	}
	if _, _, err := r.Revoke(t.Context(), rec.ID, false); err == nil {
		t.Error("calling again does not try again")
	}
}

func TestErrorsSayWhoseTheyAre(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "f"})}, nil, caller.Policy{})
	create(t, r, caller.Key{Name: "a"})
	createErr := func(r *caller.Registry, k caller.Key) error {
		_, _, err := r.Create(t.Context(), k)
		return err
	}
	revokeErr := func(id string) error {
		_, _, err := r.Revoke(t.Context(), id, true)
		return err
	}
	_, showErr := r.Show("nobody")
	for _, c := range []struct {
		name      string
		got, want error
	}{
		{"a name in use", createErr(r, caller.Key{Name: "a"}), caller.ErrExists},
		{"a name of the file", createErr(r, caller.Key{Name: "f"}), caller.ErrExists},
		{"no name", createErr(r, caller.Key{}), caller.ErrInvalid},
		{"a secret for a name", createErr(r, caller.Key{Name: "ccp_x"}), caller.ErrInvalid},
		{"an id for a name", createErr(r, caller.Key{Name: "key_x"}), caller.ErrInvalid},
		{"a name that breaks lines", createErr(r, caller.Key{Name: "a\nb"}), caller.ErrInvalid},
		{"a past expiry", createErr(r, caller.Key{Name: "b", Expires: time.Now()}), caller.ErrInvalid},
		{"a negative limit", createErr(r, caller.Key{Name: "b", Limits: caller.Limits{TokensPerMinute: -1}}), caller.ErrInvalid},
		{"a negative budget", createErr(r, caller.Key{Name: "b", Budgets: []caller.Budget{{Limit: -1, Window: "day"}}}), caller.ErrInvalid},
		{"an unknown window", createErr(r, caller.Key{Name: "b", Budgets: []caller.Budget{{Window: "year"}}}), caller.ErrInvalid},
		{"an unknown time zone", createErr(r, caller.Key{Name: "b", Budgets: []caller.Budget{{Window: "day", Timezone: "Mars"}}}), caller.ErrInvalid},
		{"an unknown action", createErr(r, caller.Key{Name: "b", Budgets: []caller.Budget{{Window: "day", Action: "shrug"}}}), caller.ErrInvalid},
		{"too many models", createErr(r, caller.Key{Name: "b", Models: make([]string, 1000)}), caller.ErrInvalid},
		{"no database", createErr(open(t, nil), caller.Key{Name: "b"}), caller.ErrReadOnly},
		{"nobody to revoke", revokeErr("nobody"), caller.ErrNotFound},
		{"a key of the file to revoke", revokeErr("f"), caller.ErrReadOnly},
		{"nobody to show", showErr, caller.ErrNotFound},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestANameIsFreeAgainOnceItsKeyIsRevoked(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	first, _ := create(t, r, caller.Key{Name: "a"})
	if _, _, err := r.Revoke(t.Context(), "a", false); err != nil {
		t.Fatal(err)
	}
	second, _ := create(t, r, caller.Key{Name: "a"})
	if got, err := r.Show("a"); err != nil || got.ID != second.ID || first.ID == second.ID {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := r.Show(first.ID); err != nil || got.Revoked.IsZero() {
		t.Errorf("the first is gone: %+v, %v", got, err)
	}
	// A revoked key's name is free for the file as well.
	if _, _, err := r.Revoke(t.Context(), "a", false); err != nil {
		t.Fatal(err)
	}
	configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a"})}, nil, caller.Policy{})
}
