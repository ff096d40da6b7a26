package anthropic_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// relay reads a stream as the engine does: it returns what was observed and the bytes a client would get.
func relay(t testing.TB, body io.Reader) (gateway.Result, []byte) {
	t.Helper()
	d := anthropic.Messages()
	events := d.Events(body, "text/event-stream; charset=utf-8")
	defer events.Release()
	var r gateway.Result
	var e gateway.Event
	var raw []byte
	for {
		err := events.Next(&e)
		if err == io.EOF {
			return r, raw
		}
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, e.Raw...)
		d.Observe(&e, &r)
	}
}

func stream(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStreamsAreObserved(t *testing.T) {
	tests := map[string]gateway.Result{
		"text": {
			ID: "msg_01XFDUDYJgAACzvnptvVoYEL", Model: "claude-sonnet-4-6-20260217", FinishReasons: []string{"end_turn"},
			Counts: gateway.Counts{Seen: true, Input: 2095, CacheRead: 20011, CacheWrite: 4096, CacheWrite1h: 3000, Output: 15},
			Usage: gateway.Usage{
				Input: 2095, CacheRead: 20011, CacheWrite: 1096, CacheWrite1h: 3000, Output: 15,
				Geo: "us", Source: names.UsageSourceProvider,
			},
			ServiceTier: "standard", Content: true, Done: true, OutputBytes: 5 + 11,
		},
		"thinking_tools": {
			ID: "msg_01Tools", Model: "claude-opus-5", FinishReasons: []string{"tool_use"},
			Counts:  gateway.Counts{Seen: true, Input: 472, Output: 89, Reasoning: 40},
			Usage:   gateway.Usage{Input: 472, Output: 49, Reasoning: 40, Source: names.UsageSourceProvider},
			Content: true, Done: true, OutputBytes: 8 + 11 + 12 + 9,
		},
		"thinking_omitted": { // a signature alone is no output
			ID: "msg_01Omit", Model: "claude-sonnet-4-6", FinishReasons: []string{"end_turn"},
			Counts: gateway.Counts{Seen: true, Input: 10, Output: 12, Reasoning: 12},
			Usage:  gateway.Usage{Input: 10, Reasoning: 12, Source: names.UsageSourceProvider},
			Done:   true,
		},
		"web_search": { // message_delta raises the input
			ID: "msg_01Web", Model: "claude-sonnet-5", FinishReasons: []string{"end_turn"},
			Counts:  gateway.Counts{Seen: true, Input: 10682, Output: 510, WebSearches: 2},
			Usage:   gateway.Usage{Input: 10682, Output: 510, WebSearches: 2, Source: names.UsageSourceProvider},
			Content: true, Done: true, OutputBytes: 10 + 14 + 6,
		},
		"usage_moves_to_cache": { // message_delta lowers it; a later one has no stop reason and null counters
			ID: "msg_glm", Model: "glm-5", FinishReasons: []string{"end_turn"},
			Counts:  gateway.Counts{Seen: true, Input: 3883, CacheRead: 30464, Output: 78},
			Usage:   gateway.Usage{Input: 3883, CacheRead: 30464, Output: 78, Source: names.UsageSourceProvider},
			Content: true, Done: true, OutputBytes: 2,
		},
		"error_mid_stream": {
			ID: "msg_01Err", Model: "claude-sonnet-5",
			Counts:  gateway.Counts{Seen: true, Input: 100},
			Usage:   gateway.Usage{Input: 100, Source: names.UsageSourcePartial},
			Content: true, OutputBytes: 3,
			Err: &gateway.Error{
				Type: names.ErrorOverloadedError, Origin: names.ErrorOriginProvider, Code: "overloaded_error", Message: "Overloaded",
			},
		},
		"refusal": {
			ID: "msg_01Ref", Model: "claude-fable-5-1", FinishReasons: []string{"refusal"},
			Counts: gateway.Counts{Seen: true, Input: 31, Output: 4},
			Usage:  gateway.Usage{Input: 31, Output: 4, Source: names.UsageSourceProvider},
			Done:   true, Incomplete: "content_filter",
		},
		"fallback": {
			ID: "msg_01Fb", Model: "claude-fable-5-1", FinishReasons: []string{"max_tokens"},
			Counts:  gateway.Counts{Seen: true, Input: 50, Output: 9},
			Usage:   gateway.Usage{Input: 50, Output: 9, Source: names.UsageSourceProvider},
			Content: true, Done: true, Incomplete: "max_tokens", OutputBytes: 2,
		},
		"cut": { // the connection ended inside message_delta: its numbers may lack digits
			ID: "msg_01Cut", Model: "claude-sonnet-5",
			Counts:  gateway.Counts{Seen: true, Input: 7, CacheRead: 900},
			Usage:   gateway.Usage{Input: 7, CacheRead: 900, Source: names.UsageSourcePartial},
			Content: true, OutputBytes: 8,
		},
		"no_usage_at_end": { // the placeholder of message_start is no count
			ID: "msg_01No", Model: "other-model", FinishReasons: []string{"end_turn"},
			Counts:  gateway.Counts{Seen: true, Input: 7},
			Usage:   gateway.Usage{Input: 7, Source: names.UsageSourcePartial},
			Content: true, Done: true, OutputBytes: 5,
		},
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			body := stream(t, name+".sse")
			got, raw := relay(t, bytes.NewReader(body))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if !bytes.Equal(raw, body) {
				t.Errorf("relayed %q, want %q", raw, body)
			}
			got, raw = relay(t, iotest.OneByteReader(bytes.NewReader(body)))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
			if !bytes.Equal(raw, body) {
				t.Error("byte by byte: relayed bytes differ")
			}
		})
	}
}

func TestNamelessEventsGoByTheirType(t *testing.T) {
	var b strings.Builder
	for line := range strings.Lines(string(stream(t, "text.sse"))) {
		if !strings.HasPrefix(line, "event:") {
			b.WriteString(line)
		}
	}
	want, _ := relay(t, bytes.NewReader(stream(t, "text.sse")))
	got, _ := relay(t, strings.NewReader(b.String()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlainAnswerIsObserved(t *testing.T) {
	body := stream(t, "text.json")
	var got gateway.Result
	anthropic.Messages().Observe(&gateway.Event{Raw: body, Data: body}, &got)
	want := gateway.Result{
		ID: "msg_01Plain", Model: "claude-sonnet-4-6-20260217", FinishReasons: []string{"model_context_window_exceeded"},
		Counts: gateway.Counts{Seen: true, Input: 12, CacheRead: 4, CacheWrite: 8, Output: 6},
		Usage: gateway.Usage{
			Input: 12, CacheRead: 4, CacheWrite: 8, Output: 6, Speed: "fast", Geo: "global", Source: names.UsageSourceProvider,
		},
		ServiceTier: "priority", Content: true, Done: true, Incomplete: "context_window", OutputBytes: 2 + 5 + 1 + 5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOversizePlainAnswerKeepsItsUsage(t *testing.T) {
	body := stream(t, "text.json")
	var got gateway.Result
	anthropic.Messages().Observe(&gateway.Event{Raw: body, Tail: body[len(body)/2:]}, &got)
	if !got.Done || got.Usage.Input != 12 || got.Usage.Output != 6 || got.Incomplete != "context_window" {
		t.Errorf("got %+v, want usage and stop reason", got)
	}
}

func TestUsageIsDisjoint(t *testing.T) {
	tests := []struct {
		name, usage string
		want        gateway.Usage
	}{
		{"cache is beside input", `{"input_tokens":5,"cache_read_input_tokens":100,"cache_creation_input_tokens":20,"output_tokens":1}`,
			gateway.Usage{Input: 5, CacheRead: 100, CacheWrite: 20, Output: 1}},
		{"hour writes are apart", `{"cache_creation_input_tokens":20,"cache_creation":{"ephemeral_5m_input_tokens":5,"ephemeral_1h_input_tokens":15},"output_tokens":1}`,
			gateway.Usage{CacheWrite: 5, CacheWrite1h: 15, Output: 1}},
		{"split without sum", `{"cache_creation":{"ephemeral_5m_input_tokens":5,"ephemeral_1h_input_tokens":15},"output_tokens":1}`,
			gateway.Usage{CacheWrite: 5, CacheWrite1h: 15, Output: 1}},
		{"sum with empty split", `{"cache_creation_input_tokens":20,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1}`,
			gateway.Usage{CacheWrite: 20, Output: 1}},
		{"thinking is part of output", `{"output_tokens":10,"output_tokens_details":{"thinking_tokens":4}}`,
			gateway.Usage{Output: 6, Reasoning: 4}},
		{"more thinking than output", `{"output_tokens":10,"output_tokens_details":{"thinking_tokens":40}}`,
			gateway.Usage{Reasoning: 10}},
		{"negative is none", `{"input_tokens":-5,"output_tokens":-1}`, gateway.Usage{}},
		{"zero is a count", `{"input_tokens":0,"output_tokens":0}`, gateway.Usage{}},
		{"searches", `{"output_tokens":1,"server_tool_use":{"web_search_requests":3,"web_fetch_requests":9}}`,
			gateway.Usage{Output: 1, WebSearches: 3}},
		{"nulls", `{"input_tokens":3,"output_tokens":1,"cache_creation":null,"server_tool_use":null,"cache_read_input_tokens":null,"service_tier":null}`,
			gateway.Usage{Input: 3, Output: 1}},
		{"fractions are no counts", `{"input_tokens":3.5,"output_tokens":1}`, gateway.Usage{Output: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r gateway.Result
			body := []byte(`{"type":"message","content":[],"stop_reason":"end_turn","usage":` + tt.usage + `}`)
			anthropic.Messages().Observe(&gateway.Event{Raw: body, Data: body}, &r)
			tt.want.Source = names.UsageSourceProvider
			if diff := cmp.Diff(tt.want, r.Usage); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestHugeCountsDoNotOverflow(t *testing.T) {
	var r gateway.Result
	body := []byte(`{"type":"message","usage":{"input_tokens":9223372036854775807,"cache_read_input_tokens":9223372036854775807,"cache_creation":{"ephemeral_5m_input_tokens":9223372036854775807,"ephemeral_1h_input_tokens":9223372036854775807}}}`)
	anthropic.Messages().Observe(&gateway.Event{Data: body}, &r)
	if got := r.Usage.InputTokens(); got <= 0 {
		t.Errorf("got %d input tokens, want a positive number", got)
	}
}

func TestAnswerWithoutUsageHasNoSource(t *testing.T) {
	for _, body := range []string{`{"type":"message","content":[]}`, `{"type":"message","usage":null}`, `<html>`, ``, `[]`, `{"type":"message","usage":{}}`} {
		var r gateway.Result
		anthropic.Messages().Observe(&gateway.Event{Data: []byte(body)}, &r)
		if r.Usage != (gateway.Usage{}) || r.Counts.Seen {
			t.Errorf("%s: got %+v, want none", body, r.Usage)
		}
	}
}

func TestCountingHasNoUsage(t *testing.T) {
	d := anthropic.CountTokens()
	var r gateway.Result
	d.Observe(&gateway.Event{Data: []byte(`{"input_tokens":2095}`)}, &r)
	if want := (gateway.Result{Done: true}); !cmp.Equal(want, r) {
		t.Errorf("got %+v, want %+v", r, want)
	}
	if got := d.Operation(); got != "" {
		t.Errorf("got operation %q, want none", got)
	}
}

func FuzzObserve(f *testing.F) {
	files, err := filepath.Glob("testdata/*.sse")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"type":"message","usage":{"input_tokens":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		whole, raw := relay(t, bytes.NewReader(body))
		if !bytes.Equal(raw, body) {
			t.Fatalf("relayed %q, want %q", raw, body)
		}
		pieces, _ := relay(t, iotest.OneByteReader(bytes.NewReader(body)))
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Fatalf("chunking matters (-whole +pieces):\n%s", diff)
		}
		u := whole.Usage
		for _, n := range []int64{u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning, u.WebSearches} {
			if n < 0 {
				t.Fatalf("negative usage %+v", u)
			}
		}
		var r gateway.Result
		anthropic.Messages().Observe(&gateway.Event{Data: body}, &r)
		anthropic.Messages().Observe(&gateway.Event{Raw: body, Tail: body}, &r)
		anthropic.CountTokens().Observe(&gateway.Event{Data: body}, &r)
	})
}

func BenchmarkObserve(b *testing.B) {
	d := anthropic.Messages()
	for _, bench := range []struct{ name, event, data string }{
		{"delta", "content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" the quick brown fox"}     }`},
		{"message_delta", "message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":472,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":89,"output_tokens_details":{"thinking_tokens":40}}}`},
		{"ping", "ping", `{"type": "ping"}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e := gateway.Event{Name: []byte(bench.event), Data: []byte(bench.data)}
			var r gateway.Result
			b.ReportAllocs()
			for b.Loop() {
				d.Observe(&e, &r)
			}
		})
	}
}

func TestObservingDeltasAllocatesNothing(t *testing.T) {
	d := anthropic.Messages()
	e := gateway.Event{
		Name: []byte("content_block_delta"),
		Data: []byte(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a \"b\""}}`),
	}
	var r gateway.Result
	if n := testing.AllocsPerRun(100, func() { d.Observe(&e, &r) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

// usageOf is what a plain answer with the usage has used.
func usageOf(usage string) gateway.Result {
	var r gateway.Result
	body := []byte(`{"type":"message","model":"claude-a","content":[{"type":"text","text":"x"}],"usage":` + usage + `}`)
	anthropic.Messages().Observe(&gateway.Event{Data: body, Raw: body}, &r)
	return r
}

func TestSamplingsBesidesTheAnswersOwnAreKeptApart(t *testing.T) {
	const message = `{"type":"message","model":"claude-a","input_tokens":100,"output_tokens":20,"cache_read_input_tokens":7}`
	for name, c := range map[string]struct {
		usage         string
		input, output int64
		others        string
	}{
		"none":              {`{"input_tokens":100,"output_tokens":20}`, 100, 20, ""},
		"null":              {`{"input_tokens":100,"output_tokens":20,"iterations":null}`, 100, 20, ""},
		"its own alone":     {`{"input_tokens":300,"output_tokens":45,"iterations":[` + message + `,` + message + `]}`, 300, 45, ""},
		"compacted":         {`{"iterations":[{"type":"compaction","model":null,"input_tokens":900,"output_tokens":30},` + message + `],"input_tokens":100,"output_tokens":20}`, 100, 20, " 900 0 0 0 30"},
		"advised, twice":    {`{"input_tokens":100,"output_tokens":20,"iterations":[` + message + `,{"type":"advisor_message","model":"claude-b","input_tokens":5,"output_tokens":6},{"type":"advisor_message","model":"claude-b","input_tokens":50,"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":7},"output_tokens":60}]}`, 100, 20, "claude-b 55 0 2 7 66"},
		"another took over": {`{"input_tokens":109,"output_tokens":28,"iterations":[` + message + `,{"type":"fallback_message","model":"claude-b","input_tokens":9,"output_tokens":8}]}`, 100, 20, "claude-b 9 0 0 0 8"},
		"of a kind unknown": {`{"input_tokens":100,"output_tokens":20,"iterations":[{"type":"dream","model":"claude-c","input_tokens":5,"output_tokens":6}]}`, 100, 20, ""},
		"a hostile name":    {`{"input_tokens":100,"output_tokens":20,"iterations":[{"type":"advisor_message","model":"a b;c 1 2","input_tokens":-5,"output_tokens":6}]}`, 100, 20, "a_b_c_1_2 0 0 0 0 6"},
	} {
		r := usageOf(c.usage)
		if u := r.Usage; u.Input != c.input || u.Output != c.output || u.Others != c.others || u.Source != names.UsageSourceProvider {
			t.Errorf("%s: got %+v, want input %d, output %d, others %q", name, u, c.input, c.output, c.others)
		}
	}
}

func TestManySamplingsAreAddedUp(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, `{"type":"advisor_message","model":"m%d","input_tokens":1,"output_tokens":2},`, i)
	}
	r := usageOf(`{"input_tokens":1,"output_tokens":1,"iterations":[` + b.String() + `1]}`)
	var parts int
	var input, output int64
	for _, u := range r.Usage.OtherParts() {
		parts++
		input += u.Input
		output += u.Output
	}
	if parts != 32 || input != 100_000 || output != 200_000 {
		t.Errorf("got %d parts with %d and %d tokens, want 32 with 100000 and 200000", parts, input, output)
	}
}

func TestThoughtsToldOfInTokensCount(t *testing.T) {
	var r gateway.Result
	for data, want := range map[string]int64{
		`{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"","estimated_tokens":50}}`:                  200,
		`{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"abc","estimated_tokens":50}}`:               3,
		`{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"","estimated_tokens":9223372036854775807}}`: 0,
		`{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"","estimated_tokens":null}}`:                0,
	} {
		r = gateway.Result{}
		anthropic.Messages().Observe(&gateway.Event{Name: []byte("content_block_delta"), Data: []byte(data)}, &r)
		if r.OutputBytes != want || r.Content != (want > 0) {
			t.Errorf("%s: got %d bytes, content %v, want %d", data, r.OutputBytes, r.Content, want)
		}
	}
}
