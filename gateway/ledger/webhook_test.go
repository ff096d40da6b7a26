package ledger

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway/guard"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// receiver is a webhook's service: it answers as it is told, and 204 then.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	answers []int
	after   string // Retry-After
	got     []delivery
	arrived chan struct{}
}

type delivery struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	t.Helper()
	s := &receiver{answers: answers, arrived: make(chan struct{}, 64)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, delivery{r.Header.Clone(), body})
		status := http.StatusNoContent
		if len(s.answers) > 0 {
			status, s.answers = s.answers[0], s.answers[1:]
		}
		w.Header().Set("Location", "/elsewhere")
		if s.after != "" {
			w.Header().Set("Retry-After", s.after)
		}
		w.WriteHeader(status)
		_, _ = w.Write(bytes.Repeat([]byte("x"), 1<<20)) // nobody wants that much
		s.arrived <- struct{}{}
	}))
	t.Cleanup(s.Close)
	return s
}

// deliveries returns what has come.
func (s *receiver) deliveries() []delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]delivery(nil), s.got...)
}

// alarmed returns a ledger with a budget of a dollar that tells the webhook of
// each half.
func alarmed(t *testing.T, webhooks ...Webhook) *rig {
	b := limit("everything", dollar)
	b.Thresholds, b.Window = []float64{0.5}, "none"
	cfg := with(b)
	cfg.Webhooks = webhooks
	return newRig(t, cfg)
}

// manual ends the work in the background: rounds are made by the test.
func (r *rig) manual() {
	r.Ledger.stop()
	r.done.Wait()
}

// deliver0 makes one round.
func (r *rig) deliver0() time.Duration {
	r.t.Helper()
	if !r.file(context.Background()) {
		r.t.Fatal("the outbox takes nothing")
	}
	return r.round(context.Background())
}

func TestWebhookGetsTheAlertSigned(t *testing.T) {
	s := newReceiver(t)
	r := alarmed(t, Webhook{Name: "ops", URL: s.URL + "/hook?token=t", Secret: "hush"})
	r.spend(60 * cent)
	select {
	case <-s.arrived: // by the work in the background
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	d := s.deliveries()[0]
	var got map[string]any
	if err := json.Unmarshal(d.body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"type": names.AlertThresholdCrossed, "budget": "everything", "scope": "global", "window": "none", "subject": "",
		"threshold": 0.5, "spent_usd": 0.6, "limit_usd": 1.0, "percentage_used": 60.0, "at": "2026-08-05T12:00:00Z",
		"message": "Budget everything (in all) has passed 50 %: $0.6 of $1 spent."}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: got %v, want %v", k, got[k], v)
		}
	}
	if id := d.header.Get(HeaderEventID); id == "" || got["event_id"] != id {
		t.Errorf("got event id %q in the header, %v in the body", id, got["event_id"])
	}
	at, sum, ok := strings.Cut(strings.TrimPrefix(d.header.Get(HeaderSignature), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte("hush"))
	mac.Write([]byte(at + "." + string(d.body)))
	if !ok || at != "1785931200" || sum != hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("got signature %q", d.header.Get(HeaderSignature))
	}
}

func TestSlackGetsText(t *testing.T) {
	a := &budget.Alert{Type: names.AlertBudgetCrossed, Budget: "a<b>&c", Scope: "team", Window: "day", Subject: "research", Spent: dollar, Limit: dollar,
		Resets: noon.Add(12 * time.Hour), At: noon}
	w := Webhook{Name: "slack", Slack: true}
	body, err := w.encode("id", a)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Text   string
		Blocks []struct {
			Type string
			Text struct{ Type, Text string }
		}
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	want := "Budget a&lt;b&gt;&amp;c (each day) of team research is used up: $1 of $1 spent; it begins anew at 00:00 on 6 August 2026 (UTC)."
	if got.Text != want || len(got.Blocks) != 2 || got.Blocks[0].Text.Text != want || got.Blocks[0].Text.Type != "mrkdwn" {
		t.Errorf("got %s", body)
	}
}

func TestEveryAlertHasWords(t *testing.T) {
	for _, kind := range append(names.AlertTypes, "of_the_future") {
		got := describe(&budget.Alert{Type: kind, Budget: "b", Window: "day", Model: "m", Spent: cent, Limit: dollar})
		if !strings.HasSuffix(got, ".") || !strings.Contains(got, "udget") {
			t.Errorf("%s: got %q", kind, got)
		}
	}
}

func TestDeliveryIsTriedAgainLaterEachTime(t *testing.T) {
	s := newReceiver(t, 500, 429, 302)
	s.after = "120"
	r := alarmed(t, Webhook{Name: "ops", URL: s.URL})
	r.manual()
	r.spend(60 * cent)
	for try, pause := range []time.Duration{120 * time.Second, 120 * time.Second, 120 * time.Second} {
		if got := r.deliver0(); got != idlePause {
			t.Errorf("try %d: next round in %v, want %v", try, got, idlePause)
		}
		r.clock.pass(pause - time.Second)
		r.deliver0()
		if got := len(s.deliveries()); got != try+1 {
			t.Fatalf("got %d deliveries before their time, want %d", got, try+1)
		}
		r.clock.pass(time.Second)
	}
	r.deliver0()
	r.clock.pass(time.Hour)
	r.deliver0()
	all := s.deliveries()
	if len(all) != 4 {
		t.Fatalf("got %d deliveries, want 4: a redirect is not followed, and what is delivered is over", len(all))
	}
	for _, d := range all {
		if d.header.Get(HeaderEventID) != all[0].header.Get(HeaderEventID) || !bytes.Equal(d.body, all[0].body) {
			t.Error("what is delivered again differs")
		}
		if d.header.Get(HeaderSignature) != "" {
			t.Error("signed without a secret")
		}
	}
}

func TestBackoffGrowsToHalfAnHour(t *testing.T) {
	for before, most := range map[int]time.Duration{0: 5 * time.Second, 1: 10 * time.Second, 5: 160 * time.Second, 11: 30 * time.Minute, 500: 30 * time.Minute} {
		for range 100 {
			if got := backoff(before); got > most || got < most/2 {
				t.Fatalf("after %d attempts: got %v, want %v to %v", before, got, most/2, most)
			}
		}
	}
}

func TestAlertsAreDeliveredAfterARestart(t *testing.T) {
	for how, again := range map[string]func(*rig) *rig{
		"restarted": func(r *rig) *rig { r.restart(); return r },
		"killed":    func(r *rig) *rig { return r.crash() },
	} {
		t.Run(how, func(t *testing.T) {
			s := newReceiver(t)
			r := alarmed(t, Webhook{Name: "ops", URL: s.URL})
			down := r.cfg.Webhooks
			if err := r.Configure(context.Background(), Settings{Budgets: r.cfg.Budgets, Webhooks: []Webhook{{Name: "ops", URL: "http://127.0.0.1:1/"}}}); err != nil {
				t.Fatal(err)
			}
			r.manual()
			r.spend(60 * cent)
			r.deliver0() // nobody is there
			r.clock.pass(time.Minute)
			r.cfg.Webhooks = down
			n := again(r)
			n.nudge()
			select {
			case <-s.arrived:
			case <-time.After(10 * time.Second):
				t.Fatal("nothing came")
			}
		})
	}
}

func TestAlertIsGivenUp(t *testing.T) {
	t.Run("refused for good", func(t *testing.T) {
		s := newReceiver(t, 400, 404, 410, 401, 400)
		other := newReceiver(t)
		r := alarmed(t, Webhook{Name: "ops", URL: s.URL}, Webhook{Name: "other", URL: other.URL})
		r.manual()
		r.spend(60 * cent)
		for range 10 {
			r.deliver0()
			r.clock.pass(time.Hour)
		}
		if got := len(s.deliveries()); got != hopelessTries {
			t.Errorf("got %d deliveries, want %d", got, hopelessTries)
		}
		if got := len(other.deliveries()); got != 1 {
			t.Errorf("the other webhook got %d, want 1", got)
		}
		if !contains(r.log.String(), "given up") || contains(r.log.String(), s.URL) {
			t.Errorf("the log says %s", r.log)
		}
	})
	t.Run("nobody there for a day", func(t *testing.T) {
		s := newReceiver(t)
		url := s.URL
		s.Close()
		r := alarmed(t, Webhook{Name: "ops", URL: url + "/secret"})
		r.manual()
		r.spend(60 * cent)
		for range 60 {
			r.deliver0()
			r.clock.pass(30 * time.Minute)
		}
		if next, err := r.Store().NextMessage(context.Background()); err != nil || !next.IsZero() {
			t.Errorf("a message still waits for %v (%v)", next, err)
		}
		if contains(r.log.String(), "secret") {
			t.Errorf("the log repeats the URL: %s", r.log)
		}
	})
	t.Run("no longer configured", func(t *testing.T) {
		s := newReceiver(t, 500)
		r := alarmed(t, Webhook{Name: "ops", URL: s.URL})
		r.manual()
		r.spend(60 * cent)
		r.deliver0()
		if err := r.Configure(context.Background(), Settings{Budgets: r.cfg.Budgets}); err != nil {
			t.Fatal(err)
		}
		r.clock.pass(time.Minute)
		r.deliver0()
		if got := len(s.deliveries()); got != 1 {
			t.Errorf("got %d deliveries, want 1", got)
		}
	})
}

func TestAWebhookThatFailsIsLeftAloneForAWhile(t *testing.T) {
	s := newReceiver(t, 500)
	r := alarmed(t, Webhook{Name: "ops", URL: s.URL})
	r.manual()
	r.spend(60 * cent)
	r.spend(40 * cent) // crossed
	for range 3 {
		r.deliver0()
	}
	if got := len(s.deliveries()); got != 1 {
		t.Errorf("got %d deliveries, want one that fails and no other until later", got)
	}
	r.clock.pass(time.Minute)
	r.deliver0()
	if got := len(s.deliveries()); got != 3 {
		t.Errorf("got %d deliveries, want 3", got)
	}
}

func TestMailIsBounded(t *testing.T) {
	var m mail
	m.add(make([]budget.Alert, maxMail+3))
	if alerts, dropped := m.take(); len(alerts) != maxMail || dropped != 3 {
		t.Errorf("got %d alerts and %d dropped", len(alerts), dropped)
	}
}

func TestS31WebhooksReachNoAddressOfTheMachineOrItsCloud(t *testing.T) {
	p := newPoster(nil)
	defer p.close()
	for _, url := range []string{"https://169.254.169.254/", "https://0.0.0.0:1/", "https://[fe80::1]/", "https://[64:ff9b::7f00:1]/"} {
		w := Webhook{Name: "w", URL: url}
		if err := p.post(context.Background(), &w, "id", nil, noon); !errors.Is(err, guard.ErrAddress) {
			t.Errorf("%s: got %v, want that it is not dialled", url, err)
		}
	}
}
