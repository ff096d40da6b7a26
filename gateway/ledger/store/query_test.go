package store

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// ids returns the last digits of the ids a filter picks, sorted.
func picked(t *testing.T, s *Store, f Filter) string {
	t.Helper()
	var ids []string
	for l, err := range s.Lines(t.Context(), f, 0) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// queryStore has lines 0…5 that differ in what people ask for.
func queryStore(t *testing.T) *Store {
	s, _ := openStore(t, t.TempDir())
	at := time.Date(2026, 3, 28, 22, 30, 0, 0, time.UTC)
	for i, change := range []func(*Line){
		func(l *Line) { l.Model, l.Team = "claude-opus-4-5", "research" },
		func(l *Line) { l.Model, l.KeyAlias, l.Cost.Billing = "claude-opus-4-1", "", names.CostBillingNotional },
		func(l *Line) { l.Model, l.Tags = "gpt-5", map[string]string{"app": "billing", "odd.na\"me": "x"} },
		func(l *Line) { l.Session, l.Outcome, l.Estimated = "s[1]?", names.OutcomeTruncated, true },
		func(l *Line) {
			l.User, l.Provider = "bob", "openai"
			l.Cost = gateway.Cost{Status: names.PriceStatusUnknown}
		},
		func(l *Line) { l.Baseline, l.Tags = gateway.Optional[gateway.NanoUSD]{}, nil },
	} {
		l := lineAt(i)
		l.ID, l.Exchange, l.Trace = fmt.Sprint(i), fmt.Sprint("x", i/2), fmt.Sprint("t", i)
		l.Team, l.Session, l.Tags = "sales", "s1", map[string]string{"app": "chat"}
		l.Time, l.Cost.Total = at.Add(time.Duration(i)*time.Hour), gateway.NanoUSD(100*(i+1))
		change(l)
		if err := s.Settled(l, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestFilterPicks(t *testing.T) {
	s := queryStore(t)
	at := func(h int) time.Time {
		return time.Date(2026, 3, 28, 22, 30, 0, 0, time.UTC).Add(time.Duration(h) * time.Hour)
	}
	for _, c := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "0 1 2 3 4 5"},
		{Filter{Since: at(2)}, "2 3 4 5"},
		{Filter{Until: at(2)}, "0 1"},
		{Filter{Since: at(1), Until: at(3)}, "1 2"},
		{Filter{ID: "3"}, "3"},
		{Filter{Exchange: "x1"}, "2 3"},
		{Filter{Trace: "t4"}, "4"},
		{Filter{Key: "laptop"}, "0 2 3 4 5"},
		{Filter{Key: "k1"}, "0 1 2 3 4 5"},
		{Filter{Key: "lap*"}, "0 2 3 4 5"},
		{Filter{Team: "research"}, "0"},
		{Filter{Team: "RESEARCH"}, ""},
		{Filter{Model: "claude-opus-*"}, "0 1"},
		{Filter{Model: "*-5"}, "0 2 3 4 5"},
		{Filter{Model: "gpt-?"}, ""},
		{Filter{Session: "s[1]?"}, "3"},
		{Filter{Session: "s[1]*"}, "3"},
		{Filter{Session: "*?"}, "3"},
		{Filter{User: "bob"}, "4"},
		{Filter{Provider: "openai"}, "4"},
		{Filter{Billing: names.CostBillingNotional}, "1"},
		{Filter{Outcome: names.OutcomeTruncated}, "3"},
		{Filter{Label: "default", OriginalModel: "claude-opus-4-5"}, "0 1 2 3 5"},
		{Filter{Tags: map[string]string{"app": "chat"}}, "0 1 3 4"},
		{Filter{Tags: map[string]string{"app": "*i*"}}, "2"},
		{Filter{Tags: map[string]string{"odd.na\"me": "x", "app": "billing"}}, "2"},
		{Filter{Tags: map[string]string{"none": "*"}}, ""},
		{Filter{Estimated: true}, "3"},
		{Filter{Unpriced: true}, "4"},
	} {
		if c.filter.OriginalModel != "" {
			c.want = "0 1 2 3 4 5"
		}
		if got := picked(t, s, c.filter); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.filter, got, c.want)
		}
	}
	var newest []string
	for l, err := range s.Lines(t.Context(), Filter{}, 2) {
		if err != nil {
			t.Fatal(err)
		}
		newest = append(newest, l.ID)
	}
	if !slices.Equal(newest, []string{"5", "4"}) {
		t.Errorf("newest two: %v", newest)
	}
	for l, err := range s.Lines(t.Context(), Filter{}, 0) { // left early
		if err != nil || l.ID != "5" {
			t.Fatal(l, err)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.Lines(ctx, Filter{}, 0) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after cancel: %v", err)
		}
	}
}

func TestSpentIsWhatABudgetWouldHaveSpent(t *testing.T) {
	s := queryStore(t)
	for _, c := range []struct {
		filter Filter
		want   gateway.NanoUSD
	}{
		{Filter{}, 100 + 200 + 300 + 400 + 600},
		{Filter{Billing: names.CostBillingMetered}, 100 + 300 + 400 + 600},
		{Filter{Team: "sales", Billing: names.CostBillingMetered}, 300 + 400 + 600},
		{Filter{Team: "nobody"}, 0},
	} {
		if got, err := s.Spent(t.Context(), c.filter); err != nil || got != c.want {
			t.Errorf("%+v: got %d %v, want %d", c.filter, got, err, c.want)
		}
	}
	huge := *lineAt(99)
	huge.Cost.Total = 1<<63 - 1
	if err := s.Settled(&huge, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Spent(t.Context(), Filter{}); err != nil || got != 1<<63-1 {
		t.Errorf("a sum that does not fit: %d %v", got, err)
	}
}

func TestSpendGroups(t *testing.T) {
	s := queryStore(t)
	group := func(by ...string) string {
		t.Helper()
		berlin, err := time.LoadLocation("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		rows, err := s.Spend(t.Context(), Query{By: by, Location: berlin})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range rows {
			out = append(out, fmt.Sprintf("%s=%d", strings.Join(r.Group, "+"), r.Metered+r.Notional))
		}
		return strings.Join(out, " ")
	}
	for _, c := range []struct {
		by   []string
		want string
	}{
		{nil, "=1600"},
		{[]string{"model"}, "claude-sonnet-5=1000 gpt-5=300 claude-opus-4-1=200 claude-opus-4-5=100"},
		{[]string{"key"}, "laptop=1400 k1=200"},
		{[]string{"team"}, "sales=1500 research=100"},
		{[]string{"billing"}, "metered=1400 notional=200 =0"},
		{[]string{"tag:app"}, "chat=700 =600 billing=300"},
		{[]string{"tag:odd.na\"me"}, "=1300 x=300"},
		{[]string{"user", "session"}, "ann+s1=1200 ann+s[1]?=400 bob+s1=0"},
		// 22:30 UTC is 23:30 in Berlin, where the night is an hour short.
		{[]string{"day"}, "2026-03-28=100 2026-03-29=1500"},
		{[]string{"hour"}, "2026-03-28T23:00+01:00=100 2026-03-29T00:00+01:00=200 2026-03-29T01:00+01:00=300 2026-03-29T03:00+02:00=400 2026-03-29T04:00+02:00=0 2026-03-29T05:00+02:00=600"},
		{[]string{"day", "team"}, "2026-03-28+research=100 2026-03-29+sales=1500"},
	} {
		if got := group(c.by...); got != c.want {
			t.Errorf("by %v:\n got %s\nwant %s", c.by, got, c.want)
		}
	}
	rows, err := s.Spend(t.Context(), Query{Filter: Filter{Team: "sales"}})
	if err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	want := Row{Group: []string{}, Attempts: 5, Requests: 3, Metered: 1300, Notional: 200, Unpriced: 1, Estimated: 1,
		Compared: 200 + 300 + 400, Baseline: 15_000,
		Usage: gateway.Usage{Input: 1 + 2 + 3 + 4 + 5, CacheRead: 500, Output: 250}}
	if d := cmp.Diff(want, rows[0], cmpopts.IgnoreUnexported(Row{})); d != "" {
		t.Error(d)
	}
	if got := rows[0].Savings(); got != 15_000-900 {
		t.Errorf("savings: %d", got)
	}
	for _, by := range [][]string{{"colour"}, {"day", "hour"}, {"l.id"}, {""}} {
		if _, err := s.Spend(t.Context(), Query{By: by}); err == nil {
			t.Errorf("grouped by %v", by)
		}
	}
	if rows, err := s.Spend(t.Context(), Query{Filter: Filter{Team: "nobody"}}); err != nil || len(rows) != 0 {
		t.Errorf("of nobody: %v %v", rows, err)
	}
	empty, _ := openStore(t, t.TempDir())
	if rows, err := empty.Spend(t.Context(), Query{By: []string{"day"}}); err != nil || len(rows) != 0 {
		t.Errorf("of nothing: %v %v", rows, err)
	}
}

// Every grouping that is named works.
func TestGroupingsAllWork(t *testing.T) {
	s := queryStore(t)
	if len(Groupings()) != len(groupings) {
		t.Errorf("%d names, %d groupings", len(Groupings()), len(groupings))
	}
	for _, by := range Groupings() {
		if rows, err := s.Spend(t.Context(), Query{By: []string{by}}); err != nil || len(rows) == 0 {
			t.Errorf("by %s: %v %v", by, rows, err)
		}
	}
}

// Days begin where the clocks say: also where midnight does not exist, and where
// an hour comes twice.
func TestPeriodsFollowTheClocks(t *testing.T) {
	for _, c := range []struct {
		zone, from, by string
		hours          []int
	}{
		{"Europe/Berlin", "2026-03-28T00:00:00+01:00", "day", []int{24, 23, 24}},
		{"Europe/Berlin", "2026-10-24T00:00:00+02:00", "day", []int{24, 25, 24}},
		{"America/Santiago", "2026-09-05T00:00:00-04:00", "day", []int{24, 23, 24}}, // midnight of the 6th does not exist
		{"Asia/Kathmandu", "2026-01-01T00:00:00+05:45", "day", []int{24, 24}},
		{"Europe/Berlin", "2026-10-25T01:00:00+02:00", "hour", []int{1, 1, 1, 1}},
	} {
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		at = at.In(loc)
		seen := map[string]bool{}
		for i, hours := range c.hours {
			name, end := period(at.Add(17*time.Minute), c.by)
			if got := end.Sub(at); got != time.Duration(hours)*time.Hour || seen[name] {
				t.Errorf("%s: %s %d (%s) has %v, want %dh", c.zone, c.by, i, name, got, hours)
			}
			seen[name] = true
			at = end
		}
	}
}

func TestExport(t *testing.T) {
	s := queryStore(t)
	var b bytes.Buffer
	if err := s.Export(t.Context(), &b, FormatJSONL, Filter{Until: time.Date(2026, 3, 29, 3, 0, 0, 0, time.UTC)}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 5 {
		t.Fatalf("got %d lines", len(lines))
	}
	var first, unpriced map[string]any
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &first), json.Unmarshal([]byte(lines[4]), &unpriced)); err != nil {
		t.Fatal(err)
	}
	if first["id"] != "0" || first["cost_nano_usd"] != 100.0 || first["usage"].(map[string]any)["cache_read"] != 100.0 || first["team"] != "research" ||
		first["tags"].(map[string]any)["app"] != "chat" || first["time"] != "2026-03-28T22:30:00Z" || first["duration_ms"] != 1.0 {
		t.Errorf("first: %s", lines[0])
	}
	if v, ok := unpriced["cost_nano_usd"]; !ok || v != nil {
		t.Errorf("unpriced: %s", lines[4])
	}
	b.Reset()
	if err := s.Export(t.Context(), &b, FormatCSV, Filter{}); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(records) != 7 {
		t.Fatal(len(records), err)
	}
	column := func(row int, name string) string { return records[row][slices.Index(records[0], name)] }
	if column(1, "id") != "0" || column(1, "cost_nano_usd") != "100" || column(1, "cache_read") != "100" || column(1, "cost_output") != "1000" || column(1, "tags") != "app=chat" {
		t.Errorf("first: %v", records[1])
	}
	if column(5, "cost_nano_usd") != "" || column(5, "baseline_nano_usd") != "5000" || column(6, "baseline_nano_usd") != "" {
		t.Errorf("unknown amounts: %v %v", records[5], records[6])
	}
	if err := s.Export(t.Context(), &b, "xml", Filter{}); err == nil {
		t.Error("exported XML")
	}
	for _, format := range []string{FormatJSONL, FormatCSV} {
		if err := s.Export(t.Context(), brokenPipe{}, format, Filter{}); !errors.Is(err, errPipe) {
			t.Errorf("to a broken pipe: %v", err)
		}
	}
}

// What a spreadsheet takes for a formula is text in a CSV.
func TestExportDefusesFormulas(t *testing.T) {
	s, _ := openStore(t, t.TempDir())
	l := lineAt(1)
	l.User, l.Session, l.OriginalModel = "=cmd()", "+1", "-ordinary"
	if err := s.Settled(l, nil, nil); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Export(t.Context(), &b, FormatCSV, Filter{}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, ",'=cmd(),'+1,") || !strings.Contains(got, ",'-ordinary,") {
		t.Errorf("got %s", got)
	}
}

var errPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }
