package hooks_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/hooks"
)

func TestEveryBuiltinHookIsMadeByBothItsNames(t *testing.T) {
	if got := len(hooks.Names()); got != 9 {
		t.Errorf("got %d hooks, want 9", got)
	}
	for _, name := range hooks.Names() {
		var params hooks.Params
		if name == "webhook" {
			params = hooks.Map{"url": "https://guard.example/check"}
		}
		for _, written := range []string{name, "ccproxy.hooks." + name} {
			h, err := hooks.New(written, params)
			if err != nil {
				t.Errorf("%s: %v", written, err)
			} else if h.Name() != name {
				t.Errorf("%s: got the name %q, want %q", written, h.Name(), name)
			}
		}
	}
	for _, name := range hooks.Default() {
		if hooks.Builtin[name] == nil {
			t.Errorf("the default hook %s does not exist", name)
		}
	}
}

func TestUnknownNamesAreAnsweredWithTheNearest(t *testing.T) {
	for _, c := range []struct {
		name   string
		params hooks.Map
		want   string
	}{
		{"ccproxy.hooks.model_ruoter", nil, `did you mean "model_router"?`},
		{"quux", nil, "known: capture_headers, extract_session_id"},
		{"forward_oauth", hooks.Map{"useragent": "x"}, `hook forward_oauth: unknown parameter "useragent"; did you mean "user_agent"?`},
		{"model_router", hooks.Map{"x": 1}, "there are none"},
		{"response_enhancer", hooks.Map{"set": map[string]any{"X-A": "{lable}"}}, `did you mean "label"?`},
		{"webhook", hooks.Map{"url": "https://a.example", "phases": []any{"pre-call"}}, `did you mean "pre_call"?`},
		{"webhook", hooks.Map{"url": "https://a.example", "include": []any{"bdy"}}, `did you mean "body"?`},
	} {
		if _, err := hooks.New(c.name, c.params); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: got %v, want %s", c.name, c.params, err, c.want)
		}
	}
}

func TestParametersAreStrict(t *testing.T) {
	type all struct {
		S string            `yaml:"s"`
		B bool              `yaml:"b"`
		N int64             `yaml:"n"`
		D time.Duration     `yaml:"d"`
		L []string          `yaml:"l"`
		M map[string]string `yaml:"m"`
	}
	got := all{S: "kept"}
	err := hooks.Map{"b": true, "n": 3.0, "d": "2s", "l": []any{"a"}, "m": map[string]any{"k": "v"}, "s": nil}.Decode(&got)
	if err != nil || got.S != "kept" || !got.B || got.N != 3 || got.D != 2*time.Second || got.L[0] != "a" || got.M["k"] != "v" {
		t.Errorf("got %+v, %v", got, err)
	}
	for key, bad := range map[string]any{"s": 1, "b": "yes", "n": 1.5, "d": 2, "l": "a", "m": []any{"a"}} {
		var into all
		if err := (hooks.Map{key: bad}).Decode(&into); err == nil || !strings.Contains(err.Error(), "parameter "+key) {
			t.Errorf("%s: %v: got %v, want an error that names it", key, bad, err)
		}
	}
}

func TestPoliciesFollowWhatAHookDoes(t *testing.T) {
	deny := func(name string, params hooks.Params) gateway.ConfiguredHook {
		h, err := hooks.New(name, params)
		if err != nil {
			t.Fatal(err)
		}
		return hooks.Configure(h)
	}
	if c := deny("model_router", nil); !c.Deny || c.Timeout != 0 || c.CallsOut {
		t.Errorf("model_router: got %+v, want deny without timeout", c)
	}
	if c := deny("request_analyzer", nil); c.Deny {
		t.Error("request_analyzer: got deny, want allow")
	}
	if c := deny("webhook", hooks.Map{"url": "https://a.example"}); !c.Deny || !c.CallsOut || c.Timeout != 2*time.Second {
		t.Errorf("webhook: got %+v, want deny, 2s, calling out", c)
	}
	if c := deny("webhook", hooks.Map{"url": "https://a.example", "phases": []any{"end"}}); c.Deny {
		t.Error("observing webhook: got deny, want allow")
	}
}

func TestRoutingHooksDecideAtTheirPlace(t *testing.T) {
	var seen []string
	spy := gateway.ConfiguredHook{Hook: gateway.HookFunc("spy", func(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
		seen = append(seen, x.Route.Label+"/"+x.Route.Reason)
		return gateway.Phases{}, nil
	})}
	list := []gateway.ConfiguredHook{spy}
	list = append(list, with(t, "rule_evaluator")...)
	list = append(list, spy)
	list = append(list, with(t, "model_router")...)
	list = append(list, spy)
	if got := newRig(t, list).send(prompt).status; got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	if got, want := strings.Join(seen, " "), "/ default/ default/default"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestForwardOAuthSendsItsUserAgentOnlyWithTheClientsToken(t *testing.T) {
	r := newRig(t, with(t, "forward_oauth", hooks.Map{"user_agent": "tool/1"}, "forward_apikey"))
	r.send(prompt, "X-Api-Key", "", "Authorization", "Bearer sk-ant-oat01-abcdefghijkl", "User-Agent", "cli/2")
	if got := r.sent().Header.Get("User-Agent"); got != "tool/1" {
		t.Errorf("with a token: got %q, want tool/1", got)
	}
	r.send(prompt, "User-Agent", "cli/2")
	if got := r.sent().Header.Get("User-Agent"); !strings.Contains(got, "cli/2") || strings.Contains(got, "tool/1") {
		t.Errorf("with a key: got %q, want the client's", got)
	}
	if _, err := hooks.New("forward_oauth", hooks.Map{"user_agent": "a\r\nX: y"}); err == nil {
		t.Error("got no error for a user agent with a line break")
	}
}

func TestSessionIsFoundWhereConfigurationSays(t *testing.T) {
	body := strings.Replace(prompt, `{`, `{"metadata":{"user_id":"u1"},"trace":{"session":"s-body","who":"w","bad":"a\nb"},`, 1)
	for _, c := range []struct {
		name                   string
		params                 hooks.Map
		header                 []string
		session, user, account string
	}{
		{"path", hooks.Map{"paths": []any{"trace.session"}}, nil, "s-body", "u1", ""},
		{"header first", hooks.Map{"headers": []any{"X-Run"}, "paths": []any{"trace.session"}}, []string{"X-Run", "s-head"}, "s-head", "u1", ""},
		{"the engine's wins", hooks.Map{"paths": []any{"trace.session"}, "user_paths": []any{"trace.who"}}, []string{"X-Session-Id", "s-known"}, "s-known", "u1", ""},
		{"account", hooks.Map{"account_paths": []any{"trace.who"}}, nil, "", "u1", "w"},
		{"unusable", hooks.Map{"paths": []any{"trace.bad", "trace", "none.at.all"}}, nil, "", "u1", ""},
		{"too long", hooks.Map{"headers": []any{"X-Run"}}, []string{"X-Run", strings.Repeat("x", 129)}, "", "u1", ""},
	} {
		r := newRig(t, with(t, "extract_session_id", c.params))
		r.send(body, c.header...)
		got := r.last().Caller
		if got.Session != c.session || got.User != c.user || got.Account != c.account {
			t.Errorf("%s: got %q %q %q, want %q %q %q", c.name, got.Session, got.User, got.Account, c.session, c.user, c.account)
		}
	}
	for _, params := range []hooks.Map{{"headers": []any{"Authorization"}}, {"headers": []any{"a b"}}, {"paths": []any{"a..b"}}} {
		if _, err := hooks.New("extract_session_id", params); err == nil {
			t.Errorf("%v: got no error", params)
		}
	}
}

func TestRequestAnalyzerCountsUnlessARuleDid(t *testing.T) {
	r := newRig(t, with(t, "request_analyzer"))
	r.send(prompt)
	if got := attributes(r.span("ccproxy.pre_call"))["ccproxy.request.input_tokens_estimated"].AsInt64(); got < 3 || got > 20 {
		t.Errorf("got %d tokens, want a few", got)
	}
	counted := gateway.ConfiguredHook{Hook: gateway.HookFunc("rule", func(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
		x.InputTokens = 12345
		return gateway.Phases{}, nil
	})}
	r = newRig(t, append([]gateway.ConfiguredHook{counted}, with(t, "request_analyzer")...))
	r.send(prompt)
	if got := r.last().InputTokens; got != 12345 {
		t.Errorf("got %d tokens, want the rule's 12345", got)
	}
}

func TestResponseEnhancerSetsAndRemoves(t *testing.T) {
	r := newRig(t, with(t, "model_router", "response_enhancer", hooks.Map{
		"set":    map[string]any{"X-Team": "blue", "X-Route": "{label}:{original_model}>{routed_model}@{provider} {request_id}"},
		"remove": []any{"Request-Id"},
	}))
	for _, body := range []string{prompt, strings.Replace(prompt, "{", `{"stream":true,`, 1)} {
		got := r.send(body)
		want := "default:" + model + ">" + model + "@anthropic " + got.header.Get("X-CCProxy-Request-Id")
		if got.status != 200 || got.header.Get("X-Team") != "blue" || got.header.Get("X-Route") != want {
			t.Errorf("got %d %q %q, want %q", got.status, got.header.Get("X-Team"), got.header.Get("X-Route"), want)
		}
		if v, ok := got.header["Request-Id"]; ok {
			t.Errorf("got Request-Id %v, want it removed", v)
		}
	}
	got := r.send(prompt, "X-Simulate", "status=500")
	if got.status != 500 || !strings.Contains(got.header.Get("X-Route"), "@anthropic") {
		t.Errorf("failed answer: got %d %q, want 500 with the provider", got.status, got.header.Get("X-Route"))
	}
}

func TestAnswersRefusedBeforeRoutingSayUnknown(t *testing.T) {
	refuse := gateway.ConfiguredHook{Hook: gateway.HookFunc("no", func(context.Context, *gateway.Exchange) (gateway.Phases, error) {
		return gateway.Phases{}, gateway.Invalid("no")
	})}
	r := newRig(t, append(with(t, "response_enhancer", hooks.Map{"set": map[string]any{"X-Route": "{label}>{routed_model}"}}), refuse))
	if got := r.send(prompt); got.status != 400 || got.header.Get("X-Route") != "unknown>unknown" {
		t.Errorf("got %d %q, want 400 unknown>unknown", got.status, got.header.Get("X-Route"))
	}
}

func TestResponseEnhancerRefusesHeadersThatAreNotItsOwn(t *testing.T) {
	for _, params := range []hooks.Map{
		{"set": map[string]any{"X-A": "a\r\nSet-Cookie: b"}}, {"set": map[string]any{"X A": "b"}}, {"set": map[string]any{"Connection": "close"}},
		{"set": map[string]any{"Transfer-Encoding": "chunked"}}, {"set": map[string]any{"Content-Length": "1"}}, {"set": map[string]any{"x-ccproxy-cost": "0"}},
		{"set": map[string]any{"X-A": "{label"}}, {"set": map[string]any{"Traceresponse": "x"}}, {"remove": []any{"Content-Type"}}, {"remove": []any{"X-CCProxy-Provider"}},
	} {
		if _, err := hooks.New("response_enhancer", params); err == nil {
			t.Errorf("%v: got no error", params)
		}
	}
}

func BenchmarkRequestAnalyzer(b *testing.B) {
	h, err := hooks.New("request_analyzer", nil)
	if err != nil {
		b.Fatal(err)
	}
	for name, size := range map[string]int{"1kB": 1 << 10, "88kB": 88 << 10} {
		body := []byte(`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"` + strings.Repeat("some words of a prompt ", size/23) + `"}]}`)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			x := &gateway.Exchange{Body: body}
			for b.Loop() {
				x.InputTokens = 0
				if _, err := h.Begin(b.Context(), x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
