package store

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
)

// sumOf returns a sum, -1 when there is none.
func sumOf(t *testing.T, s *Store, a Account) gateway.NanoUSD {
	t.Helper()
	sums, err := s.Sums(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sum := range sums {
		if sum.Account == a {
			return sum.Spent
		}
	}
	return -1
}

func TestSumsAddUp(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	all, old := Account{"all", "", 0}, Account{"all", "x", 100}
	settle := func(id string, accounts ...Account) {
		t.Helper()
		if err := s.Settled(&childHold(id).Line, accounts, nil); err != nil {
			t.Fatal(err)
		}
	}
	settle("a", all)
	settle("b", all, old)
	if got := sumOf(t, s, all); got != 2000 {
		t.Errorf("got %d, want 2000", got)
	}
	if err := s.SaveSums(t.Context(), []Sum{{all, 50_000}, {Account{"new", "", 0}, 7}}); err != nil {
		t.Fatal(err)
	}
	settle("c", all, Account{"new", "", 0})
	if got := sumOf(t, s, all); got != 51_000 {
		t.Errorf("got %d, want 51000", got)
	}
	if got := sumOf(t, s, Account{"new", "", 0}); got != 1007 {
		t.Errorf("got %d, want 1007", got)
	}
	if err := s.SaveSums(t.Context(), []Sum{{all, 0}}); err != nil { // less than its lines
		t.Fatal(err)
	}
	settle("d", all)
	if got := sumOf(t, s, all); got != 1000 {
		t.Errorf("got %d, want 1000", got)
	}
	verified(t, s)
	if err := s.DropSums(t.Context(), "all", 101); err != nil {
		t.Fatal(err)
	}
	if got := sumOf(t, s, all); got != -1 {
		t.Errorf("a dropped sum is %d", got)
	}
	settle("e", all) // begins again, and lines that counted before do not
	if got := sumOf(t, s, all); got != 1000 {
		t.Errorf("got %d, want 1000", got)
	}
	verified(t, s)
	if err := s.SaveSums(t.Context(), []Sum{{all, -1}}); err == nil {
		t.Error("a negative sum was saved")
	}
}

func TestDropSumsKeepsNewerWindows(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	for w := range int64(5) {
		a := Account{"day", "", w * 86400}
		if err := s.Settled(&childHold(fmt.Sprint(w)).Line, []Account{a, {"other", "", 0}}, []AlertState{{Account: a, Level: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DropSums(t.Context(), "day", 3*86400); err != nil {
		t.Fatal(err)
	}
	sums, err := s.Sums(t.Context())
	if err != nil || len(sums) != 3 {
		t.Errorf("sums: %v %v", sums, err)
	}
	alerts, err := s.Alerts(t.Context())
	if err != nil || len(alerts) != 2 || alerts[0].Window < 3*86400 {
		t.Errorf("alerts: %v %v", alerts, err)
	}
	verified(t, s)
}

// Settlements may come in any order: an alert that has fired stays fired.
func TestAlertsDoNotGoBack(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	a := Account{"all", "", 0}
	for i, state := range []AlertState{{a, 1, false, false}, {a, 3, false, true}, {a, 2, true, false}} {
		if err := s.Settled(&childHold(fmt.Sprint(i)).Line, nil, []AlertState{state}); err != nil {
			t.Fatal(err)
		}
		if i != 1 { // the last two in one batch
			if err := s.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeStore(t, s)
	s, _ = openStore(t, dir)
	got, err := s.Alerts(t.Context())
	if want := []AlertState{{a, 3, true, true}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
	if err := s.SaveAlerts(t.Context(), []AlertState{{a, 1, false, false}}); err != nil { // but a new limit arms it again
		t.Fatal(err)
	}
	got, err = s.Alerts(t.Context())
	if want := []AlertState{{a, 1, false, false}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
}

func TestBudgetsAreRemembered(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	want := []BudgetState{{"a", "f1", time.UnixMilli(1_800_000_000_123).UTC()}, {"b", "f2", time.Time{}}}
	for _, states := range [][]BudgetState{{{"z", "f", time.Time{}}}, want} {
		if err := s.SaveBudgets(t.Context(), states); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	s, _ = openStore(t, dir)
	got, err := s.Budgets(t.Context())
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
}

func TestOutboxKeepsMessagesUntilTheyAreDelivered(t *testing.T) {
	dir := t.TempDir()
	s, _ := openStore(t, dir)
	at := time.UnixMilli(1_800_000_000_000).UTC()
	message := func(id string, after time.Duration) Message {
		return Message{ID: id, Webhook: "ops", Body: []byte("{" + id + "}"), Created: at.Add(after), Next: at.Add(after)}
	}
	due := func(now time.Time, want ...string) []Message {
		t.Helper()
		list, err := s.DueMessages(t.Context(), now, 0)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("due at %v: got %v, want %v", now, ids, want)
		}
		return list
	}
	next := func(want time.Time) {
		t.Helper()
		if got, err := s.NextMessage(t.Context()); err != nil || !got.Equal(want) {
			t.Errorf("next: got %v %v, want %v", got, err, want)
		}
	}
	next(time.Time{})
	if err := s.PutMessages(t.Context(), []Message{message("b", time.Second), message("a", 0), message("c", 2*time.Second)}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutMessages(t.Context(), []Message{message("a", time.Hour)}); err != nil { // it is there
		t.Fatal(err)
	}
	next(at)
	if got := due(at.Add(time.Second), "a", "b"); !cmp.Equal(got[0], message("a", 0)) {
		t.Errorf("got %v", cmp.Diff(got[0], message("a", 0)))
	}
	if list, err := s.DueMessages(t.Context(), at.Add(time.Hour), 1); err != nil || len(list) != 1 {
		t.Errorf("at most one: %v %v", list, err)
	}
	if err := s.DoneMessage(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := s.RetryMessage(t.Context(), "b", at.Add(time.Minute), "refused"); err != nil {
		t.Fatal(err)
	}
	if err := s.FailedMessage(t.Context(), "c", "gone"); err != nil {
		t.Fatal(err)
	}
	next(at.Add(time.Minute))
	closeStore(t, s)
	s, _ = openStore(t, dir)
	due(at.Add(59 * time.Second))
	if list := due(at.Add(time.Hour), "b"); list[0].Attempts != 1 || list[0].LastErr != "refused" {
		t.Errorf("got %+v", list)
	}
	verified(t, s)
}

// Messages that were given up do not pile up.
func TestOutboxForgetsOldFailures(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	at := time.UnixMilli(1_800_000_000_000)
	var messages []Message
	for i := range failedMessages + 5 {
		messages = append(messages, Message{ID: fmt.Sprintf("%05d", i), Created: at, Next: at})
	}
	if err := s.PutMessages(t.Context(), messages); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DB().ExecContext(t.Context(), "UPDATE outbox SET failed = 1 WHERE id > '00000'"); err != nil {
		t.Fatal(err)
	}
	if err := s.FailedMessage(t.Context(), "00000", "gone"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.DB().QueryRowContext(t.Context(), "SELECT count(*) FROM outbox").Scan(&n); err != nil || n != failedMessages {
		t.Errorf("got %d messages, %v", n, err)
	}
}
