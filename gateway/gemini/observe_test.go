package gemini_test

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
	"github.com/ccproxy/ccproxy/gateway/gemini"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// relay reads a stream as the engine does: it returns what was observed and the bytes a client would get.
func relay(t testing.TB, body io.Reader, contentType string) (gateway.Result, []byte) {
	t.Helper()
	d := gemini.GenerateContent()
	events := d.Events(body, contentType)
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

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	eventStream = "text/event-stream"
	jsonStream  = "application/json; charset=UTF-8"
)

func TestStreamsAreObserved(t *testing.T) {
	const id, model = "YzXSaKjVGqOIjMcP", "gemini-3.5-flash"
	text := gateway.Result{
		ID: id, Model: model, FinishReasons: []string{"STOP"},
		Counts:  gateway.Counts{Seen: true, Input: 8, Output: 5, Total: 13},
		Usage:   gateway.Usage{Input: 8, Output: 5, Source: names.UsageSourceProvider},
		Content: true, Done: true, OutputBytes: 3 + 6,
	}
	tests := []struct {
		name, contentType string
		want              gateway.Result
	}{
		{"text.sse", eventStream, text},
		{"text.array.json", jsonStream, text},
		{"thinking_tools.sse", eventStream, gateway.Result{
			ID: id, Model: model, FinishReasons: []string{"STOP"},
			Counts:      gateway.Counts{Seen: true, Input: 40, CacheRead: 25, Output: 20, Reasoning: 30, Total: 90},
			Usage:       gateway.Usage{Input: 15, CacheRead: 25, Output: 20, Reasoning: 30, Source: names.UsageSourceProvider},
			ServiceTier: "priority", Content: true, Done: true, OutputBytes: 8 + 8 + 4,
		}},
		{"blocked_prompt.sse", eventStream, gateway.Result{
			Model: model, FinishReasons: []string{"PROHIBITED_CONTENT"},
			Counts: gateway.Counts{Seen: true, Input: 9, Total: 9},
			Usage:  gateway.Usage{Input: 9, Source: names.UsageSourceProvider},
			Done:   true, Incomplete: "content_filter",
		}},
		{"error_mid_stream.sse", eventStream, gateway.Result{
			ID: id, Model: model,
			Counts:  gateway.Counts{Seen: true, Input: 8, Total: 8},
			Usage:   gateway.Usage{Input: 8, Source: names.UsageSourcePartial},
			Content: true, OutputBytes: 3,
			Err: &gateway.Error{
				Type: names.ErrorOverloadedError, Origin: names.ErrorOriginProvider, Status: 503, Code: "UNAVAILABLE",
				Message: "The model is overloaded. Please try again later.",
			},
		}},
		{"safety.sse", eventStream, gateway.Result{
			ID: id, Model: model, FinishReasons: []string{"SAFETY"},
			Counts:  gateway.Counts{Seen: true, Input: 8, Output: 1, Total: 9},
			Usage:   gateway.Usage{Input: 8, Output: 1, Source: names.UsageSourceProvider},
			Content: true, Done: true, Incomplete: "content_filter", OutputBytes: 3,
		}},
		{"cut.sse", eventStream, gateway.Result{ // the last frame's numbers may lack digits
			ID: id, Model: model,
			Counts:  gateway.Counts{Seen: true, Input: 8, Output: 2, Total: 10},
			Usage:   gateway.Usage{Input: 8, Output: 2, Source: names.UsageSourcePartial},
			Content: true, OutputBytes: 3 + 6,
		}},
		{"two_candidates.sse", eventStream, gateway.Result{
			FinishReasons: []string{"STOP", "MAX_TOKENS"},
			Counts:        gateway.Counts{Seen: true, Input: 3, Output: 2, Total: 5},
			Usage:         gateway.Usage{Input: 3, Output: 2, Source: names.UsageSourceProvider},
			Content:       true, Done: true, Incomplete: "max_tokens", OutputBytes: 2,
		}},
		{"grounded.sse", eventStream, gateway.Result{
			ID: id, Model: model, FinishReasons: []string{"STOP"},
			Counts:  gateway.Counts{Seen: true, Input: 5, Output: 3, ToolPrompt: 12, Total: 20, WebSearches: 2},
			Usage:   gateway.Usage{Input: 17, Output: 3, WebSearches: 2, Source: names.UsageSourceProvider},
			Content: true, Done: true, OutputBytes: 9,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := file(t, tt.name)
			got, raw := relay(t, bytes.NewReader(body), tt.contentType)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if !bytes.Equal(raw, body) {
				t.Errorf("relayed %q, want %q", raw, body)
			}
			got, raw = relay(t, iotest.OneByteReader(bytes.NewReader(body)), tt.contentType)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
			if !bytes.Equal(raw, body) {
				t.Error("byte by byte: relayed bytes differ")
			}
		})
	}
}

func TestPlainAnswersAreObserved(t *testing.T) {
	want, _ := relay(t, bytes.NewReader(file(t, "text.array.json")), jsonStream)
	var got gateway.Result
	gemini.GenerateContent().Observe(&gateway.Event{Data: file(t, "text.array.json")}, &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an array held whole (-want +got):\n%s", diff)
	}
	got = gateway.Result{}
	frame := bytes.TrimSpace(bytes.TrimPrefix(file(t, "grounded.sse"), []byte("data:")))
	gemini.GenerateContent().Observe(&gateway.Event{Raw: frame, Data: frame}, &got)
	if !got.Done || got.Usage.Input != 17 || got.OutputBytes != 9 {
		t.Errorf("got %+v, want a finished answer", got)
	}
	got = gateway.Result{}
	gemini.GenerateContent().Observe(&gateway.Event{Raw: frame, Tail: frame[20:]}, &got)
	if !got.Done || got.Usage.Input != 17 || got.Usage.Source != names.UsageSourceProvider {
		t.Errorf("got %+v, want usage from the tail", got)
	}
}

func TestUsageIsDisjoint(t *testing.T) {
	tests := []struct {
		name, usage string
		want        gateway.Usage
	}{
		{"cache is part of the prompt", `{"promptTokenCount":100,"cachedContentTokenCount":60,"candidatesTokenCount":5,"totalTokenCount":105}`,
			gateway.Usage{Input: 40, CacheRead: 60, Output: 5}},
		{"thoughts are beside candidates", `{"promptTokenCount":10,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":22}`,
			gateway.Usage{Input: 10, Output: 5, Reasoning: 7}},
		{"unless the total says otherwise", `{"promptTokenCount":10,"candidatesTokenCount":12,"thoughtsTokenCount":7,"totalTokenCount":22}`,
			gateway.Usage{Input: 10, Output: 5, Reasoning: 7}},
		{"thoughts only", `{"promptTokenCount":10,"thoughtsTokenCount":7,"totalTokenCount":17}`,
			gateway.Usage{Input: 10, Reasoning: 7}},
		{"no total", `{"promptTokenCount":10,"candidatesTokenCount":12,"thoughtsTokenCount":7}`,
			gateway.Usage{Input: 10, Output: 12, Reasoning: 7}},
		{"tools add to the prompt", `{"promptTokenCount":10,"toolUsePromptTokenCount":90,"candidatesTokenCount":5,"totalTokenCount":105}`,
			gateway.Usage{Input: 100, Output: 5}},
		{"tools and thoughts", `{"promptTokenCount":10,"toolUsePromptTokenCount":90,"candidatesTokenCount":5,"thoughtsTokenCount":7,"totalTokenCount":112}`,
			gateway.Usage{Input: 100, Output: 5, Reasoning: 7}},
		{"audio and images", `{"promptTokenCount":100,"promptTokensDetails":[{"modality":"TEXT","tokenCount":10},{"modality":"AUDIO","tokenCount":60},{"modality":"IMAGE","tokenCount":30}],"candidatesTokenCount":50,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":45}],"totalTokenCount":150}`,
			gateway.Usage{Input: 10, AudioIn: 60, ImageIn: 30, Output: 5, ImageOut: 45}},
		{"cached audio is cache", `{"promptTokenCount":100,"cachedContentTokenCount":70,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":90},{"modality":"TEXT","tokenCount":10}],"cacheTokensDetails":[{"modality":"AUDIO","tokenCount":70}],"totalTokenCount":100}`,
			gateway.Usage{Input: 10, CacheRead: 70, AudioIn: 20}},
		{"more cache than prompt", `{"promptTokenCount":10,"cachedContentTokenCount":60,"totalTokenCount":10}`,
			gateway.Usage{CacheRead: 10}},
		{"negative and odd", `{"promptTokenCount":-10,"candidatesTokenCount":"5","thoughtsTokenCount":null,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":-3},7]}`,
			gateway.Usage{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r gateway.Result
			body := []byte(`{"candidates":[{"finishReason":"STOP"}],"usageMetadata":` + tt.usage + `}`)
			gemini.GenerateContent().Observe(&gateway.Event{Data: body}, &r)
			tt.want.Source = names.UsageSourceProvider
			if diff := cmp.Diff(tt.want, r.Usage); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestHugeCountsDoNotOverflow(t *testing.T) {
	var r gateway.Result
	body := []byte(`{"usageMetadata":{"promptTokenCount":9223372036854775807,"toolUsePromptTokenCount":9223372036854775807,"candidatesTokenCount":9223372036854775807,"thoughtsTokenCount":9223372036854775807,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":9223372036854775807},{"modality":"AUDIO","tokenCount":9223372036854775807}]}}`)
	gemini.GenerateContent().Observe(&gateway.Event{Data: body}, &r)
	if in, out := r.Usage.InputTokens(), r.Usage.OutputTokens(); in <= 0 || out <= 0 {
		t.Errorf("got %d in, %d out, want positive numbers", in, out)
	}
}

func TestTheUsedTierIsNoted(t *testing.T) {
	for tier, want := range map[string]string{
		`"trafficType":"ON_DEMAND"`: "standard", `"trafficType":"ON_DEMAND_FLEX"`: "flex", `"serviceTier":"priority"`: "priority",
		`"trafficType":"PROVISIONED_THROUGHPUT"`: "provisioned_throughput", `"trafficType":"TRAFFIC_TYPE_UNSPECIFIED"`: "", `"trafficType":null`: "",
	} {
		var r gateway.Result
		gemini.GenerateContent().Observe(&gateway.Event{Data: []byte(`{"usageMetadata":{"promptTokenCount":1,` + tier + `}}`)}, &r)
		if r.ServiceTier != want {
			t.Errorf("%s: got %q, want %q", tier, r.ServiceTier, want)
		}
	}
}

func TestFinishReasonsTellWhatIsIncomplete(t *testing.T) {
	for reason, want := range map[string]string{
		"STOP": "", "MAX_TOKENS": "max_tokens", "SAFETY": "content_filter", "RECITATION": "content_filter", "SPII": "content_filter",
		"IMAGE_SAFETY": "content_filter", "MALFORMED_FUNCTION_CALL": "", "NOVEL": "",
	} {
		var r gateway.Result
		gemini.GenerateContent().Observe(&gateway.Event{Data: []byte(`{"candidates":[{"finishReason":"` + reason + `"}]}`)}, &r)
		if !r.Done || r.Incomplete != want || len(r.FinishReasons) != 1 || r.FinishReasons[0] != reason {
			t.Errorf("%s: got %+v, want incomplete %q", reason, r, want)
		}
	}
	var r gateway.Result
	gemini.GenerateContent().Observe(&gateway.Event{Data: []byte(`{"candidates":[{"finishReason":"FINISH_REASON_UNSPECIFIED"}]}`)}, &r)
	if r.Done || r.FinishReasons != nil {
		t.Errorf("got %+v, want an answer that goes on", r)
	}
	gemini.GenerateContent().Observe(&gateway.Event{Data: []byte(`{"candidates":[{"index":1000000000,"finishReason":"STOP"}]}`)}, &r)
	if len(r.FinishReasons) > 64 {
		t.Errorf("got %d finish reasons, want a bounded number", len(r.FinishReasons))
	}
}

func TestEmbeddingsCountInputAlone(t *testing.T) {
	var r gateway.Result
	gemini.EmbedContent().Observe(&gateway.Event{Data: []byte(`{"embedding":{"values":[0.1,-2e-3]},"usageMetadata":{"promptTokenCount":7,"totalTokenCount":7}}`)}, &r)
	if want := (gateway.Usage{Input: 7, Source: names.UsageSourceProvider}); r.Usage != want || !r.Done {
		t.Errorf("got %+v, want %+v and done", r, want)
	}
	r = gateway.Result{}
	gemini.EmbedContent().Observe(&gateway.Event{Data: []byte(`{"embeddings":[{"values":[1]}]}`)}, &r)
	if r.Usage != (gateway.Usage{}) || !r.Done {
		t.Errorf("got %+v, want done without usage", r)
	}
}

func TestCountingHasNoUsage(t *testing.T) {
	var r gateway.Result
	gemini.CountTokens().Observe(&gateway.Event{Data: []byte(`{"totalTokens":31,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}`)}, &r)
	if want := (gateway.Result{Done: true}); !cmp.Equal(want, r) {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

func FuzzObserve(f *testing.F) {
	for _, pattern := range []string{"testdata/*.sse", "testdata/*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal("no seeds", err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, contentType := range []string{eventStream, jsonStream} {
			whole, raw := relay(t, bytes.NewReader(body), contentType)
			if !bytes.Equal(raw, body) {
				t.Fatalf("%s: relayed %q, want %q", contentType, raw, body)
			}
			pieces, _ := relay(t, iotest.OneByteReader(bytes.NewReader(body)), contentType)
			if diff := cmp.Diff(whole, pieces); diff != "" {
				t.Fatalf("%s: chunking matters (-whole +pieces):\n%s", contentType, diff)
			}
			u := whole.Usage
			for _, n := range []int64{u.Input, u.CacheRead, u.Output, u.Reasoning, u.AudioIn, u.AudioOut, u.ImageIn, u.ImageOut, u.WebSearches} {
				if n < 0 {
					t.Fatalf("negative usage %+v", u)
				}
			}
		}
		var r gateway.Result
		for _, d := range []gateway.Dialect{gemini.GenerateContent(), gemini.CountTokens(), gemini.EmbedContent()} {
			d.Observe(&gateway.Event{Data: body}, &r)
			d.Observe(&gateway.Event{Raw: body, Tail: body}, &r)
		}
	})
}

const frame = `{"candidates": [{"content": {"parts": [{"text": " the quick brown fox"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 40,"candidatesTokenCount": 10,"totalTokenCount": 80,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 40}],"thoughtsTokenCount": 30},"modelVersion": "gemini-3.5-flash","responseId": "YzXSaKjVGqOIjMcP"}`

func BenchmarkObserve(b *testing.B) {
	d := gemini.GenerateContent()
	e := gateway.Event{Data: []byte(frame)}
	var r gateway.Result
	b.ReportAllocs()
	for b.Loop() {
		d.Observe(&e, &r)
	}
}

func TestObservingFramesAllocatesNothing(t *testing.T) {
	d := gemini.GenerateContent()
	e := gateway.Event{Data: []byte(frame)}
	var r gateway.Result
	if n := testing.AllocsPerRun(100, func() { d.Observe(&e, &r) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}

func TestQueriesRepeatedCountOnce(t *testing.T) {
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, `"q%d",`, i)
	}
	for list, want := range map[string]int64{
		`[]`: 0, `null`: 0, `["a"]`: 1, `["a","b","a",""]`: 2, `[` + many.String() + `"q1"]`: 1000,
	} {
		var r gateway.Result
		body := []byte(`{"candidates":[{"groundingMetadata":{"webSearchQueries":` + list + `}}]}`)
		gemini.GenerateContent().Observe(&gateway.Event{Data: body, Raw: body}, &r)
		if r.Usage.WebSearches != want {
			t.Errorf("%.40s: got %d searches, want %d", list, r.Usage.WebSearches, want)
		}
	}
}
