package price

import (
	"strings"
	"testing"
)

const (
	liteLLM = `{
 "sample_spec": {"litellm_provider": "one of many", "input_cost_per_token": 0.0},
 "claude-x": {"litellm_provider": "anthropic", "mode": "chat", "max_input_tokens": 200000, "max_output_tokens": 8000, "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05,
  "cache_read_input_token_cost": 3e-07, "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
  "input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 2.25e-05,
  "search_context_cost_per_query": {"search_context_size_medium": 0.01}, "provider_specific_entry": {"us": 1.1, "fast": 6.0}},
 "gpt-y": {"litellm_provider": "openai", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05, "input_cost_per_token_flex": 6.25e-07, "output_cost_per_token_flex": 5e-06,
  "input_cost_per_token_priority": 2.5e-06, "output_cost_per_token_priority": 2e-05, "cache_read_input_token_cost": 0, "supports_vision": true},
 "gpt-half": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "input_cost_per_token_priority": 2.5e-06},
 "1024-x-1024/dall-e": {"litellm_provider": "openai", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06},
 "gpt-free": {"litellm_provider": "openai", "input_cost_per_token": 0, "output_cost_per_token": 0},
 "gpt-mad": {"litellm_provider": "openai", "input_cost_per_token": 2, "output_cost_per_token": 0},
 "elsewhere": {"litellm_provider": "unheard_of", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}
}`
	modelsDev = `{"models": {
 "anthropic/claude-x": {"cost": {"input": 3, "output": 15, "cache_read": 0.3}, "limit": {"context": 1000000, "output": 64000}},
 "anthropic/claude-x-20260101": {"cost": {"input": 3, "output": 15}, "limit": {"context": 1000000}},
 "google/gemini-z": {"cost": {"input": 2, "output": 12, "input_audio": 4, "tiers": [{"tier": {"size": 200000}, "input": 4, "output": 18}]}, "limit": {"context": 1048576, "output": 65536}},
 "google/gemma": {"limit": {"context": 8}},
 "elsewhere/x": {"cost": {"input": 1, "output": 1}}
}}`
)

func lines(b *Book) map[string]string {
	out := map[string]string{}
	for e := range b.Entries() {
		out[e.Name()] = strings.TrimPrefix(e.String(), e.Name()+" ")
	}
	return out
}

func TestListsOfOthersBecomeABook(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  map[string]string
	}{
		"LiteLLM": {[]string{liteLLM}, map[string]string{
			"anthropic/claude-x": "context=200000 max_output=8000 input=3 cache_read=0.3 cache_write=3.75 cache_write_1h=6 output=15 web_search=0.01 >200000:input=6 >200000:output=22.5 fast*600/100 geo:us*110/100",
			"openai/gpt-y":       "input=1.25 output=10 priority:input=2.5 priority:output=20 flex*1/2",
			"openai/gpt-half":    "input=1 output=1",
		}},
		"models.dev": {[]string{modelsDev}, map[string]string{
			"anthropic/claude-x": "context=1000000 max_output=64000 input=3 cache_read=0.3 output=15",
			"gemini/gemini-z":    "context=1048576 max_output=65536 input=2 output=12 audio_in=4 web_search=0.035/request >200000:input=4 >200000:output=18",
		}},
		"both: the first holds, the second fills in": {[]string{modelsDev, liteLLM}, map[string]string{
			"anthropic/claude-x": "context=1000000 max_output=64000 input=3 cache_read=0.3 cache_write=3.75 cache_write_1h=6 output=15 web_search=0.01 fast*600/100 geo:us*110/100",
			"gemini/gemini-z":    "context=1048576 max_output=65536 input=2 output=12 audio_in=4 web_search=0.035/request >200000:input=4 >200000:output=18",
			"openai/gpt-y":       "input=1.25 output=10 priority:input=2.5 priority:output=20 flex*1/2",
			"openai/gpt-half":    "input=1 output=1",
		}},
		"a book before them": {[]string{"anthropic/claude-x input=4 output=20 # by hand\nalias anthropic/claude-x claude-x-20260101\n", modelsDev}, map[string]string{
			"anthropic/claude-x": "context=1000000 max_output=64000 input=4 output=20",
			"gemini/gemini-z":    "context=1048576 max_output=65536 input=2 output=12 audio_in=4 web_search=0.035/request >200000:input=4 >200000:output=18",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var files [][]byte
			for _, f := range c.files {
				files = append(files, []byte(f))
			}
			b, err := Import("1", files...)
			if err != nil {
				t.Fatal(err)
			}
			got := lines(b)
			for model, want := range c.want {
				if got[model] != want {
					t.Errorf("%s:\n got %s\nwant %s", model, got[model], want)
				}
				delete(got, model)
			}
			for model, line := range got {
				t.Errorf("%s is too much: %s", model, line)
			}
		})
	}
}

func TestFilesThatAreNoListsAreRefused(t *testing.T) {
	for _, text := range []string{"{", "{}", `{"a": 1}`, "prices: 1", `{"models": 3}`, "v/m input=1"} {
		if b, err := Import("1", []byte(text)); err == nil {
			t.Errorf("%q: got %v, want an error", text, lines(b))
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add(liteLLM)
	f.Add(modelsDev)
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Import("1", []byte(text))
		if err != nil {
			return
		}
		if _, err := Parse(b.Format()); err != nil {
			t.Fatalf("%q was imported as what is no book: %v", text, err)
		}
	})
}

func TestBooksAreCompared(t *testing.T) {
	a := parse(t, "version 1\nv/a input=1 output=1\nv/b input=1 output=1\nv/c input=1 output=1\n")
	b := parse(t, "version 2\nv/b input=1 output=1\nv/c input=2 output=1\nv/d input=1 output=1\n")
	got := ""
	for _, d := range a.Diff(b) {
		if d.Old != nil {
			got += "-" + d.Old.Model
		}
		if d.New != nil {
			got += "+" + d.New.Model
		}
	}
	if want := "-a-c+c+d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
