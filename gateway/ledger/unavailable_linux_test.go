package ledger

import (
	"context"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/budget"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// full makes every file end where it is, as on a full disk, until the function
// it returns is called. It is for the whole process.
func full(t *testing.T) (free func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	none := before
	none.Cur = 16
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &none); err != nil {
		t.Fatal(err)
	}
	free = func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(free)
	return free
}

func TestL05FullDiskRefusesBudgetedCallersAndLetsOthersPass(t *testing.T) {
	soft := limit("soft", 10*dollar)
	soft.Warn = true
	cfg := with(soft, each("team", "research", 10*dollar))
	cfg.Policy.FailOpen = func(c *gateway.Caller) bool { return c.KeyID == "trusted" }
	r := newRig(t, cfg)
	r.spend(cent)
	before := attempt(10 * cent)
	running := r.hold(before)
	free := full(t)
	if err := running.Watch(context.Background(), before, 12*cent, noon.Add(time.Second)); err != nil || before.Budget.Held < 12*cent {
		t.Errorf("got %v and %v held: a hold grows although that cannot be written", err, before.Budget.Held)
	}

	a := attempt(cent)
	e := r.refused(a)
	if e.Status != 503 || e.Type != names.ErrorOverload || e.Code != "ledger_unavailable" || e.RetryAfter != 5*time.Second || e.NoRetry || e.Origin != names.ErrorOriginGateway {
		t.Errorf("got %+v", e)
	}
	if s := r.account("team-budget", "research"); s.Reserved != before.Budget.Held {
		t.Errorf("got %v reserved after the refusal, want what the request before holds", s.Reserved)
	}

	other, trusted := attempt(2*cent), attempt(3*cent)
	other.Exchange.Caller.Team = "another"
	trusted.Exchange.Caller.KeyID = "trusted"
	for _, a := range []*gateway.Attempt{other, trusted} {
		h := r.hold(a)
		if a.Budget.Decision != names.BudgetDecisionFailOpen {
			t.Errorf("got %+v, want fail_open", a.Budget)
		}
		h.Settle(context.Background(), costs(a, a.Bound.Total()))
	}
	running.Settle(context.Background(), costs(before, 4*cent))
	r.spent("soft", "", 10*cent) // counted in memory
	r.spent("team-budget", "research", 8*cent)

	free()
	since := time.Now()
	for {
		if _, err := r.Hold(context.Background(), attempt(cent)); err == nil {
			break
		}
		if time.Since(since) > 5*time.Second {
			t.Fatal("no recovery in 5 s")
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for r.total() != 10*cent {
		if time.Now().After(deadline) {
			t.Fatalf("lines come to %v, want 0.1: what waited in memory is written later", r.total())
		}
	}
	if !contains(r.log.String(), "the ledger cannot be written") {
		t.Errorf("the log says %s", r.log)
	}
	n := r.crash()
	n.spent("team-budget", "research", 8*cent+recovered)
}

// recovered is what the last hold of the test is settled at: its floor, a typical
// answer, and a second more, but no more than was held.
const recovered = cent

func TestAlertsWaitForTheDisk(t *testing.T) {
	s := newReceiver(t)
	r := alarmed(t, Webhook{Name: "ops", URL: s.URL})
	r.manual()
	free := full(t)
	r.mail.add([]budget.Alert{{Type: names.AlertBudgetCrossed, Budget: "everything", At: noon}})
	if r.file(context.Background()) {
		t.Error("a full disk took a message")
	}
	free()
	r.deliver0()
	if got := len(s.deliveries()); got != 1 {
		t.Errorf("got %d deliveries, want 1", got)
	}
}

func TestL20ClosedStoreRefusesBudgetedCallers(t *testing.T) {
	r := newRig(t, with(limit("everything", dollar)))
	if err := r.Store().Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if e := r.refused(attempt(cent)); e.Status != 503 {
		t.Errorf("got %v", e)
	}
	r.spent("everything", "", 0)
}
