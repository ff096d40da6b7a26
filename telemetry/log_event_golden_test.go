package telemetry_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scenarios are exchanges by name; each has a golden file of its log events.
func scenarios() map[string]func(t *testing.T, r rigConfig) *rig {
	post := func(body string, targets, fallbacks []string) func(*testing.T, rigConfig) *rig {
		return func(t *testing.T, cfg rigConfig) *rig {
			cfg.targets, cfg.fallbacks = targets, fallbacks
			r := newRig(t, cfg)
			r.post("/v1/messages", body)
			return r
		}
	}
	return map[string]func(*testing.T, rigConfig) *rig{
		"plain":       post(plainCall, []string{sonnet}, nil),
		"passthrough": post(plainCall, []string{""}, nil),
		"streamed":    post(streamCall, []string{sonnet}, nil),
		"failed":      post(plainCall, []string{"simulate-500"}, nil),
		"fallback":    post(streamCall, []string{"simulate-429"}, []string{sonnet}),
		"rejected":    post(`{"model":`, []string{sonnet}, nil),
		"truncated":   post(streamCall, []string{"simulate-truncate_after=3"}, nil),
		"stream_error": post(streamCall, []string{"simulate-error_after=3"},
			nil),
		"client_gone": func(t *testing.T, cfg rigConfig) *rig {
			cfg.targets = []string{"simulate-stall_after=3"}
			r := newRig(t, cfg)
			r.leave("/v1/messages", streamCall)
			return r
		},
		"client_gone_early": func(t *testing.T, cfg rigConfig) *rig {
			cfg.targets = []string{"simulate-delay=1h"}
			r := newRig(t, cfg)
			r.leaveEarly("/v1/messages", streamCall)
			return r
		},
		"skipped": func(t *testing.T, cfg rigConfig) *rig {
			cfg.skipped = []gateway.Skip{{Target: gateway.Target{Name: "g/gemini-3.5-pro"}, Reason: names.FallbackDialect}}
			return post(plainCall, []string{sonnet}, nil)(t, cfg)
		},
		"priced": func(t *testing.T, cfg rigConfig) *rig {
			cfg.pricer = fixed{names.PriceStatusExact}
			return post(plainCall, []string{sonnet}, nil)(t, cfg)
		},
		"failed_priced": func(t *testing.T, cfg rigConfig) *rig {
			cfg.pricer = fixed{names.PriceStatusExact}
			return post(streamCall, []string{"simulate-truncate_after=3"}, nil)(t, cfg)
		},
		"budget_denied": func(t *testing.T, cfg rigConfig) *rig {
			cfg.pricer, cfg.ledger = fixed{names.PriceStatusExact}, &rigLedger{refuse: refusal(names.ErrorBudgetExceeded)}
			return post(plainCall, []string{sonnet}, nil)(t, cfg)
		},
		"forwarded": func(t *testing.T, cfg rigConfig) *rig {
			cfg.targets, cfg.credential = []string{sonnet}, true
			r := newRig(t, cfg)
			r.post("/v1/messages", plainCall)
			return r
		},
	}
}

// leaveEarly sends a body and drops the connection once the provider has it.
func (r *rig) leaveEarly(path, body string) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		req := newPost(ctx, r.url+path, body)
		if resp, err := r.client.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	if err := r.up.WaitRequests(ctx, func(got []requestSeen) bool { return len(got) == 1 }); err != nil {
		r.t.Error(err)
	}
	cancel()
	<-done
	r.ended.last()
}

func TestLogEventsMatchTheirGoldenFiles(t *testing.T) {
	for name, run := range scenarios() {
		t.Run(name, func(t *testing.T) {
			r := run(t, rigConfig{level: slog.LevelInfo, recorder: telemetry.RecorderConfig{PreAPICall: true, PostAPICall: true, RoutingAnalysis: true}})
			var b strings.Builder
			b.WriteString("-- OpenTelemetry --\n")
			for _, rec := range r.logs.all() {
				b.WriteString(renderRecord(t, rec))
			}
			b.WriteString("-- log at INFO --\n")
			lines := r.lines.String()
			if n := strings.Count(lines, "\n"); n != 1 {
				t.Errorf("got %d lines at INFO, want one an exchange", n)
			}
			b.WriteString(steady(lines))
			golden(t, name, b.String())
		})
	}
}

// TestDebugLogHoldsEveryEvent compares what the log gets at DEBUG with what OpenTelemetry gets.
func TestDebugLogHoldsEveryEvent(t *testing.T) {
	r := scenarios()["fallback"](t, rigConfig{level: slog.LevelDebug, recorder: telemetry.RecorderConfig{PreAPICall: true, PostAPICall: true, RoutingAnalysis: true}})
	records := r.logs.all()
	lines := strings.Split(strings.TrimSpace(r.lines.String()), "\n")
	if len(lines) != len(records) {
		t.Fatalf("got %d lines, want %d, one an event", len(lines), len(records))
	}
	for i, line := range lines {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		if got["event"] != records[i].EventName() {
			t.Errorf("line %d: got event %v, want %s", i, got["event"], records[i].EventName())
		}
		if got["trace_id"] != records[i].TraceID().String() || got["span_id"] != records[i].SpanID().String() {
			t.Errorf("line %d: got trace %v span %v, want %s and %s", i, got["trace_id"], got["span_id"], records[i].TraceID(), records[i].SpanID())
		}
		for _, key := range names.CommonFields {
			if got[key] == nil || got[key] == "" {
				t.Errorf("line %d: got no %s", i, key)
			}
		}
	}
}

func TestSwitchesOfEventsAreObeyed(t *testing.T) {
	r := scenarios()["plain"](t, rigConfig{})
	for _, rec := range r.logs.all() {
		if n := rec.EventName(); n == names.EventPreAPICall || n == names.EventPostAPICall {
			t.Errorf("got event %s, which is off", n)
		}
	}
	r = scenarios()["plain"](t, rigConfig{recorder: telemetry.RecorderConfig{PostAPICall: true}})
	for _, rec := range r.logs.all() {
		rec.WalkAttributes(func(kv attribute.KeyValue) bool {
			if kv.Key == names.FieldRoutingEffective {
				t.Error("got routing analysis, which is off")
			}
			return true
		})
	}
}

// renderRecord writes a record a line, after holding it against the contract: level, names and order of its fields.
func renderRecord(t *testing.T, rec sdklog.Record) string {
	t.Helper()
	i := slices.IndexFunc(names.Events, func(e names.Event) bool { return e.Name == rec.EventName() })
	if i < 0 {
		t.Fatalf("got event %q, which is not in the contract", rec.EventName())
	}
	contract := names.Events[i]
	if got := rec.SeverityText(); got != contract.Level.String() && !strings.HasPrefix(rec.Body().String(), "the client left") {
		t.Errorf("%s: got level %s, want %s", contract.Name, got, contract.Level)
	}
	if !rec.TraceID().IsValid() || !rec.SpanID().IsValid() {
		t.Errorf("%s: got no trace or span id", contract.Name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %q", contract.Name, rec.SeverityText(), rec.Body().String())
	last, common := -1, 0
	rec.WalkAttributes(func(kv attribute.KeyValue) bool {
		key := string(kv.Key)
		fmt.Fprintf(&b, " %s=%s", key, steady(fmt.Sprintf("%q:%s", key, kv.Value.String()))[len(key)+3:])
		if slices.Contains(names.CommonFields, key) {
			common++
			return true
		}
		at := slices.Index(contract.Fields, key)
		if at <= last {
			t.Errorf("%s: field %s is out of place or not in the contract", contract.Name, key)
		}
		last = at
		return true
	})
	if common != 2 {
		t.Errorf("%s: got %d of the fields request_id and label", contract.Name, common)
	}
	return b.String() + "\n"
}

var unsteady = regexp.MustCompile(`"(time|request_id|trace_id|span_id|duration_ms|ttft_ms|delay_ms)":("[^"]*"|[0-9a-f.e+-]+)`)

// steady replaces what differs from run to run.
func steady(s string) string { return unsteady.ReplaceAllString(s, `"$1":~`) }

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "recorder", name+".golden")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}
