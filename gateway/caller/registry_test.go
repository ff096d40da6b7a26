package caller_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/caller"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func TestWithoutKeysAnyoneMayCall(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	if a, err := r.Identify("", away); a != nil || err != nil {
		t.Errorf("got %v, %v, want nil, nil", a, err)
	}
	if _, err := r.Identify(secretOf("a"), home); asError(t, err).Status != http.StatusUnauthorized {
		t.Errorf("a key that is none: got %v, want 401", err)
	}
}

func TestWithKeysACallerNeedsOne(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	want := func(when string, open bool) {
		t.Helper()
		a, err := r.Identify("", home)
		if open {
			if a != nil || err != nil {
				t.Errorf("%s: got %v, %v, want nil, nil", when, a, err)
			}
			return
		}
		e := asError(t, err)
		if e.Status != 401 || e.Reason != names.RejectionAuth || e.Type != names.ErrorUnauthorized || !e.NoRetry {
			t.Errorf("%s: got %+v", when, e)
		}
		for _, remedy := range []string{"ccp_", "x-api-key", "Authorization: Bearer", "X-CCProxy-Key"} {
			if !strings.Contains(e.Message, remedy) {
				t.Errorf("%s: %q does not name %s", when, e.Message, remedy)
			}
		}
	}
	configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a"})}, nil, caller.Policy{})
	want("a key of the file", false)
	configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a"})}, nil, caller.Policy{Open: true})
	want("open", true)
	configure(t, r, nil, nil, caller.Policy{})
	want("no key", true)
	rec, _ := create(t, r, caller.Key{Name: "b"})
	want("a key of the store", false)
	if _, _, err := r.Revoke(t.Context(), rec.ID, false); err != nil {
		t.Fatal(err)
	}
	want("the last key revoked", false)
}

func TestAKeySaysWhoCalls(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	teams := []caller.Team{{Name: "research"}}
	configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "file", Team: "research", TrustIncoming: true, Content: "full"})}, teams, caller.Policy{})
	rec, secret := create(t, r, caller.Key{Name: "made", Team: "research"})

	for _, c := range []struct {
		secret        gateway.Secret
		alias, id     string
		trust         bool
		content, from string
	}{
		{secretOf("file"), "file", r.List()[0].ID, true, "full", caller.SourceFile},
		{secret, "made", rec.ID, false, "", caller.SourceStore},
	} {
		a := identify(t, r, c.secret)
		var got gateway.Caller
		a.Describe(&got)
		if want := (gateway.Caller{KeyID: c.id, KeyAlias: c.alias, Team: "research"}); !cmp.Equal(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if a.TrustIncoming() != c.trust {
			t.Errorf("%s: trust %v, want %v", c.alias, a.TrustIncoming(), c.trust)
		}
		if got := r.Content(c.id); got != c.content {
			t.Errorf("%s: content %q, want %q", c.alias, got, c.content)
		}
		if rec, err := r.Show(c.alias); err != nil || rec.Source != c.from || rec.LastUsed.IsZero() {
			t.Errorf("%s: %+v, %v", c.alias, rec, err)
		}
	}
}

func TestAnExpiredKeyIsRefusedAndToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		at := time.Now().Add(time.Hour)
		configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a", Expires: at})}, nil, caller.Policy{})
		time.Sleep(time.Hour - 1)
		v := enter(t, identify(t, r, secretOf("a")))
		time.Sleep(time.Nanosecond)
		_, err := r.Identify(secretOf("a"), home)
		if e := asError(t, err); e.Status != 401 || e.Reason != names.RejectionAuth || !strings.Contains(e.Message, "expired") {
			t.Errorf("got %+v", e)
		}
		v.Leave(10) // what runs finishes under the old grant (C-30)
	})
}

func TestS14SecretsAreRandomAndFitTheConfiguration(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	shape := regexp.MustCompile(`^ccp_[0-9A-Za-z]{32}$`) // 190 bits
	seen := map[string]bool{}
	for i := range 50 {
		rec, secret := create(t, r, caller.Key{Name: fmt.Sprint("k", i)})
		if s := secret.Reveal(); !shape.MatchString(s) || seen[s] || seen[rec.ID] {
			t.Fatalf("secret %q of %s", s, rec.ID)
		}
		seen[secret.Reveal()], seen[rec.ID] = true, true
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") && bytes.Contains(src, []byte(`"math/rand`)) {
			t.Errorf("%s uses math/rand", f)
		}
	}
}

// canaries are pieces of a secret that must be nowhere. The last four characters
// are its hint.
func canaries(s gateway.Secret) []string {
	v := strings.TrimPrefix(s.Reveal(), "ccp_")
	return []string{v, v[:8], v[8:16], v[16:24], v[len(v)-5:]}
}

func TestS08ListsShowNoSecret(t *testing.T) {
	var logs bytes.Buffer
	db := openDB(t, t.TempDir())
	r, err := caller.Open(t.Context(), caller.Config{DB: db, Pepper: pepper, Log: slog.New(slog.NewTextHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	rec, secret := create(t, r, caller.Key{Name: "a"})
	configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "f"})}, nil, caller.Policy{})
	identify(t, r, secret)
	shown, err := r.Show(rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(r.List())
	if err != nil {
		t.Fatal(err)
	}
	_, wrong := r.Identify(secret+"x", home)
	all := fmt.Sprintf("%+v %#v %s %v %+v %s %v", shown, rec, list, secret, fileKey(caller.Key{Name: "f"}), logs.String(), wrong)
	for _, c := range append(canaries(secret), secretOf("f").Reveal()) {
		if strings.Contains(all, c) {
			t.Errorf("%q of a secret is in %s", c, all)
		}
	}
	if want := "ccp_…" + secret.Reveal()[32:]; shown.Hint != want {
		t.Errorf("hint %q, want %q", shown.Hint, want)
	}
}

func TestS10NoFileHoldsASecret(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir)
	r := open(t, db)
	var secrets []gateway.Secret
	for i := range 20 {
		rec, secret := create(t, r, caller.Key{Name: fmt.Sprint("k", i), Models: []string{"claude-*"}})
		secrets = append(secrets, secret)
		identify(t, r, secret)
		if i%2 == 0 {
			if _, _, err := r.Revoke(t.Context(), rec.ID, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	scan := func(when string) {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			size += len(b)
			for _, s := range secrets {
				for _, c := range canaries(s) {
					if bytes.Contains(b, []byte(c)) {
						t.Errorf("%s: %s holds %q of a secret", when, f.Name(), c)
					}
				}
			}
			if bytes.Contains(b, pepper) {
				t.Errorf("%s: %s holds the pepper", when, f.Name())
			}
		}
		if size < 8192 {
			t.Errorf("%s: only %d bytes were looked at", when, size)
		}
	}
	scan("open, with its journal")
	if err := errors.Join(r.Close(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
	scan("closed")
}

func TestARestartKeepsKeys(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir)
	r := open(t, db)
	teams := []caller.Team{{Name: "research", Models: []string{"claude-*"}}}
	configure(t, r, nil, teams, caller.Policy{})
	_, secret := create(t, r, caller.Key{
		Name: "a", Team: "research", Models: []string{"claude-haiku-*"}, Expires: time.Now().Add(time.Hour), TrustIncoming: true, Content: "redacted",
		Limits:  caller.Limits{RequestsPerMinute: 1, TokensPerMinute: 2, InFlight: 3},
		Budgets: []caller.Budget{{Limit: 5e9, Window: "day", Timezone: "Europe/Berlin", Action: "warn"}, {Limit: 0, Window: "30d"}},
	})
	_, gone := create(t, r, caller.Key{Name: "b"})
	if _, _, err := r.Revoke(t.Context(), "b", false); err != nil {
		t.Fatal(err)
	}
	identify(t, r, secret)
	want := r.List()
	if err := errors.Join(r.Close(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}

	r = open(t, openDB(t, dir))
	configure(t, r, nil, teams, caller.Policy{})
	if got := r.List(); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(got, want))
	}
	identify(t, r, secret)
	if _, err := r.Identify(gone, home); err == nil {
		t.Error("a revoked key works again")
	}
}

func TestTheLastUseIsWrittenEveryMinute(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := openDB(t, dir)
		defer db.Close()
		r := open(t, db)
		defer r.Close(t.Context())
		_, secret := create(t, r, caller.Key{Name: "a"})
		used := func() (sec int64) {
			if err := db.QueryRow("SELECT last_used FROM keys").Scan(&sec); err != nil {
				t.Fatal(err)
			}
			return sec
		}
		identify(t, r, secret)
		if got := used(); got != 0 {
			t.Errorf("written at once: %d", got)
		}
		at := time.Now().Unix()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if got := used(); got != at {
			t.Errorf("got %d, want %d", got, at)
		}
	})
}

func TestAReloadKeepsCountersAndVisits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, nil)
		limits := caller.Limits{RequestsPerMinute: 10, TokensPerMinute: 1000, InFlight: 2}
		teams := []caller.Team{{Name: "t", Limits: caller.Limits{RequestsPerMinute: 20}}}
		load := func(l caller.Limits) {
			t.Helper()
			configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a", Team: "t", Limits: l})}, teams, caller.Policy{})
		}
		remaining := func(v gateway.Visit) string {
			h := headers(v, "openai", nil)
			return h.Get("X-Ratelimit-Remaining-Requests") + " " + h.Get("X-Ratelimit-Remaining-Tokens")
		}
		load(limits)
		v, w := enter(t, identify(t, r, secretOf("a"))), enter(t, identify(t, r, secretOf("a")))
		old := identify(t, r, secretOf("a"))

		load(limits)
		if got := remaining(v); got != "8 800" {
			t.Errorf("after a reload: %s left, want 8 800", got)
		}
		if e := refused(t, identify(t, r, secretOf("a"))); !strings.Contains(e.Message, "in flight") {
			t.Errorf("got %v", e)
		}
		refused(t, old)

		limits.RequestsPerMinute, limits.InFlight = 100, 3
		load(limits)
		if got := remaining(v); got != "18 800" { // 98 of the key's, but the team's 20 hold
			t.Errorf("with more allowed: %s left, want 18 800", got)
		}
		enter(t, old).Leave(0)

		configure(t, r, nil, nil, caller.Policy{}) // key and team are gone while v and w run
		load(limits)
		if rec := r.List()[0]; rec.InFlight != 2 {
			t.Errorf("%d in flight, want 2", rec.InFlight)
		}
		v.Leave(100)
		w.Leave(100)
		if rec := r.List()[0]; rec.InFlight != 0 {
			t.Errorf("%d in flight, want 0", rec.InFlight)
		}
	})
}

func TestAnInvalidReloadChangesNothing(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	good := fileKey(caller.Key{Name: "a"})
	configure(t, r, []caller.FileKey{good}, nil, caller.Policy{})
	rec, secret := create(t, r, caller.Key{Name: "s"})
	_, revoked := create(t, r, caller.Key{Name: "r"})
	if _, _, err := r.Revoke(t.Context(), "r", false); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keys  []caller.FileKey
		teams []caller.Team
		want  string
	}{
		{[]caller.FileKey{good, good}, nil, `two keys are called "a"`},
		{[]caller.FileKey{good, {Key: caller.Key{Name: "b"}, Secret: good.Secret}}, nil, `key "b" has the secret of key "a"`},
		{[]caller.FileKey{fileKey(caller.Key{Name: "s"})}, nil, rec.ID + " of the store"},
		{[]caller.FileKey{{Key: caller.Key{Name: "b"}, Secret: secret}}, nil, `has the secret of key "s"`},
		{[]caller.FileKey{{Key: caller.Key{Name: "b"}, Secret: revoked}}, nil, `has the secret of key "r"`},
		{[]caller.FileKey{{Key: caller.Key{Name: "b"}, Secret: "ccp_short"}}, nil, "want a secret"},
		{[]caller.FileKey{{Secret: good.Secret}}, nil, "no name"},
		{[]caller.FileKey{fileKey(caller.Key{Name: "b", Team: "x"})}, []caller.Team{{Name: "t"}}, `team "x" is not among`},
		{[]caller.FileKey{fileKey(caller.Key{Name: "b", Models: []string{""}})}, nil, "model pattern"},
		{[]caller.FileKey{fileKey(caller.Key{Name: "b", Content: "some"})}, nil, "want none, redacted or full"},
		{[]caller.FileKey{fileKey(caller.Key{Name: "b", Limits: caller.Limits{InFlight: -1}})}, nil, "negative"},
		{nil, []caller.Team{{Name: "t"}, {Name: "t"}}, `two teams are called "t"`},
		{nil, []caller.Team{{}}, "no name"},
		{nil, []caller.Team{{Name: "t", Models: []string{"a b"}}}, "model pattern"},
	} {
		err := r.Configure(c.keys, c.teams, caller.Policy{Open: true})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret.Reveal()) {
			t.Errorf("the secret is in %v", err)
		}
	}
	identify(t, r, good.Secret)
	if _, err := r.Identify("", home); err == nil {
		t.Error("the policy of an invalid configuration is in force")
	}
}

func TestAKeyOfTheStoreNeedsItsTeam(t *testing.T) {
	r := open(t, openDB(t, t.TempDir()))
	teams := []caller.Team{{Name: "t", Models: []string{"claude-*"}}}
	configure(t, r, nil, teams, caller.Policy{})
	_, secret := create(t, r, caller.Key{Name: "a", Team: "t"})
	identify(t, r, secret)
	configure(t, r, nil, nil, caller.Policy{})
	_, err := r.Identify(secret, home)
	if e := asError(t, err); e.Status != 401 || !strings.Contains(e.Message, "team") {
		t.Errorf("without its team: got %v", e)
	}
	configure(t, r, nil, teams, caller.Policy{})
	identify(t, r, secret)
}

func TestAFileKeyMayNameATeamThatNobodyDeclares(t *testing.T) {
	r := open(t, nil)
	configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a", Team: "blue"})}, nil, caller.Policy{})
	var c gateway.Caller
	identify(t, r, secretOf("a")).Describe(&c)
	if c.Team != "blue" {
		t.Errorf("team %q, want blue", c.Team)
	}
}

func TestANewSecretOfAFileKeyContinuesItsID(t *testing.T) {
	r := open(t, nil)
	configure(t, r, []caller.FileKey{fileKey(caller.Key{Name: "a", Limits: caller.Limits{RequestsPerMinute: 2}})}, nil, caller.Policy{})
	before := r.List()[0].ID
	v := enter(t, identify(t, r, secretOf("a")))
	configure(t, r, []caller.FileKey{{Key: caller.Key{Name: "a", Limits: caller.Limits{RequestsPerMinute: 2}}, Secret: secretOf("b")}}, nil, caller.Policy{})
	if _, err := r.Identify(secretOf("a"), home); err == nil {
		t.Error("the old secret works")
	}
	w := enter(t, identify(t, r, secretOf("b")))
	refused(t, identify(t, r, secretOf("b")))
	v.Leave(0)
	w.Leave(0)
	if after := r.List()[0].ID; after != before {
		t.Errorf("id %s, was %s", after, before)
	}
}

func TestKeysOfAnotherPepperAreDeadAndSaySo(t *testing.T) {
	dir := t.TempDir()
	db := openDB(t, dir)
	r := open(t, db)
	rec, secret := create(t, r, caller.Key{Name: "a"})
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var logs bytes.Buffer
	r, err := caller.Open(t.Context(), caller.Config{DB: db, Pepper: bytes.Repeat([]byte("q"), 32), Log: slog.New(slog.NewTextHandler(&logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	if _, err := r.Identify(secret, home); err == nil {
		t.Error("a key of another pepper works")
	}
	if !r.List()[0].Dead || !strings.Contains(logs.String(), "another pepper") {
		t.Errorf("%+v, log %q", r.List()[0], logs.String())
	}
	if _, err := r.Identify("", home); err == nil {
		t.Error("dead keys let everybody in")
	}
	if _, _, err := r.Revoke(t.Context(), rec.ID, false); err != nil {
		t.Error(err)
	}
	create(t, r, caller.Key{Name: "a"})
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	db := openDB(t, t.TempDir())
	open(t, db)
	if _, err := db.Exec("UPDATE keys_version SET version = 99"); err != nil {
		t.Fatal(err)
	}
	_, err := caller.Open(t.Context(), caller.Config{DB: db, Pepper: pepper})
	if err == nil || !strings.Contains(err.Error(), "newer ccproxy") {
		t.Errorf("got %v", err)
	}
}

func TestADamagedRowIsNamed(t *testing.T) {
	for name, damage := range map[string]string{
		"models": "UPDATE keys SET models = '[\"'", "budgets": `UPDATE keys SET budgets = '[{"window":"never"}]'`, "content": "UPDATE keys SET content = 'x'",
	} {
		t.Run(name, func(t *testing.T) {
			db := openDB(t, t.TempDir())
			rec, _ := create(t, open(t, db), caller.Key{Name: "a"})
			if _, err := db.Exec(damage); err != nil {
				t.Fatal(err)
			}
			_, err := caller.Open(t.Context(), caller.Config{DB: db, Pepper: pepper})
			if err == nil || !strings.Contains(err.Error(), rec.ID) {
				t.Errorf("got %v, want the key named", err)
			}
		})
	}
}

func TestAPepperIsNeeded(t *testing.T) {
	if _, err := caller.Open(t.Context(), caller.Config{Pepper: []byte("short")}); err == nil {
		t.Error("a registry without a pepper was opened")
	}
}
