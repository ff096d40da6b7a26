package command

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/telemetry/store"
)

// get asks the console's API of a server and decodes the answer into out.
func get(t *testing.T, s *server, path string, out any) {
	t.Helper()
	resp, body := send(t, "GET", s.AdminURL()+path, "", "Authorization", "Bearer "+s.run.Token)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %s: %s", path, resp.Status, body)
	}
	if err := json.Unmarshal([]byte(body), out); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
}

func TestDemoFillsEveryViewOfTheConsole(t *testing.T) {
	leakFree(t)
	d := runningDemo(t)
	if err := playAgainst(t.Context(), paper(&strings.Builder{}), d.server.DataURL()+"/", false, 0); err != nil {
		t.Fatal(err)
	}
	played := int64(len(story()))
	eventually(t, func() bool { return d.server.traces.Last() >= played })

	var list struct {
		Requests []struct {
			TraceID string   `json:"trace_id"`
			Label   string   `json:"label"`
			Outcome string   `json:"outcome"`
			TTFT    *float64 `json:"ttft_ms"`
			Cost    *float64 `json:"cost_usd"`
		} `json:"requests"`
	}
	get(t, d.server, "/api/requests?limit=100", &list)
	if len(list.Requests) != int(played) {
		t.Errorf("got %d requests, want %d", len(list.Requests), played)
	}
	labels, outcomes, streams, cost := map[string]bool{}, map[string]bool{}, 0, 0.0
	for _, r := range list.Requests {
		labels[r.Label], outcomes[r.Outcome] = true, true
		if r.TTFT != nil {
			streams++
		}
		if r.Cost != nil {
			cost += *r.Cost
		}
		var one struct {
			Exchanges []struct {
				Spans []struct{} `json:"spans"`
				Story struct {
					Decision []string `json:"decision"`
				} `json:"story"`
			} `json:"exchanges"`
		}
		get(t, d.server, "/api/requests/"+r.TraceID, &one)
		if len(one.Exchanges) != 1 || len(one.Exchanges[0].Spans) == 0 || len(one.Exchanges[0].Story.Decision) == 0 {
			t.Errorf("trace %s: got %+v", r.TraceID, one)
		}
	}
	for _, label := range []string{"default", "think", "token_count", "web_search", "background"} {
		if !labels[label] {
			t.Errorf("no request is labelled %s", label)
		}
	}
	for _, outcome := range []string{"completed", "failed", "rejected", "client_disconnect"} {
		if !outcomes[outcome] {
			t.Errorf("no request is %s", outcome)
		}
	}
	if streams < 3 {
		t.Errorf("got %d requests with a first token, want 3 at least", streams)
	}

	for _, by := range store.SpendDimensions {
		for _, window := range []string{"1h", "24h", "7d", "30d"} {
			var money struct {
				Source  string         `json:"source"`
				Total   store.SpendSum `json:"total"`
				Series  []store.SpendSeries
				Budgets []struct{} `json:"budgets"`
				Alerts  []struct{} `json:"alerts"`
			}
			get(t, d.server, "/api/money?by="+by+"&window="+window, &money)
			points := 0.0
			for _, s := range money.Series {
				for _, p := range s.Points {
					points += p
				}
			}
			// The list shows spans, money the ledger's lines: they are of one opinion.
			if math.Abs(money.Total.Cost-cost) > 1e-9 || math.Abs(points-cost) > 1e-9 {
				t.Errorf("by %s in %s: got %v, by time %v, want %v", by, window, money.Total.Cost, points, cost)
			}
			if len(money.Budgets) == 0 || len(money.Alerts) == 0 {
				t.Errorf("by %s in %s: got %d budgets and %d alerts, want some", by, window, len(money.Budgets), len(money.Alerts))
			}
			if sum := money.Total; math.Abs(sum.InputCost+sum.ReadCost+sum.WriteCost+sum.OutputCost+sum.OtherCost-cost) > 1e-6 {
				t.Errorf("by %s in %s: the classes are %+v, want %v in all", by, window, sum, cost)
			}
		}
	}

	var health struct {
		Config  string     `json:"config"`
		Targets []struct{} `json:"targets"`
		Recent  []struct{} `json:"recent"`
	}
	get(t, d.server, "/api/health", &health)
	if !strings.Contains(health.Config, "providers:") || len(health.Recent) == 0 {
		t.Errorf("got %+v", health)
	}
	var traces struct {
		Data []struct{} `json:"data"`
	}
	get(t, d.server, "/api/traces?service=ccproxy&limit=100", &traces)
	if len(traces.Data) != int(played) {
		t.Errorf("Jaeger's API has %d traces, want %d", len(traces.Data), played)
	}
}

func TestConsoleStandsBehindTheGuardAndTheToken(t *testing.T) {
	r := newRig(t, anthropicOnly)
	r.ask()
	for _, pattern := range r.server.console.Routes() {
		method, path, _ := strings.Cut(pattern, " ")
		path = strings.NewReplacer("{$}", "", "{id}", "x", "{name}", "page.js", "{service}", "ccproxy").Replace(path)
		if resp, _ := send(t, method, r.server.AdminURL()+path, "{}", "Host", "evil.test", "Authorization", "Bearer "+r.server.run.Token); resp.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s as another host: got %s, want 421", pattern, resp.Status)
		}
		if resp, _ := send(t, method, r.server.AdminURL()+path, "{}", "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer "+r.server.run.Token); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s from another page: got %s, want 403", pattern, resp.Status)
		}
		resp, body := send(t, method, r.server.DataURL()+path, "{}", "Authorization", "Bearer "+r.server.run.Token)
		if resp.StatusCode == http.StatusOK && path != "/v1/messages" {
			t.Errorf("%s on the data port: got %s: %s", pattern, resp.Status, body)
		}
		if strings.HasPrefix(path, "/api/") && path != "/api/session" {
			if resp, _ := send(t, method, r.server.AdminURL()+path, "{}"); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s without token: got %s, want 401", pattern, resp.Status)
			}
		}
	}
}

func TestSessionOfTheConsoleOpensNothingElse(t *testing.T) {
	r := newRig(t, anthropicOnly)
	ticket := strings.TrimPrefix(r.server.console.Ticket(consoleDemoLife), "token=")
	resp, body := send(t, "POST", r.server.AdminURL()+"/api/session", `{"token":"`+ticket+`"}`, "Content-Type", "application/json")
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("got %s: %s", resp.Status, body)
	}
	cookie := resp.Cookies()[0].Name + "=" + resp.Cookies()[0].Value
	if resp, _ := send(t, "GET", r.server.AdminURL()+"/api/requests", "", "Cookie", cookie); resp.StatusCode != http.StatusOK {
		t.Errorf("the session does not open the requests: %s", resp.Status)
	}
	for _, route := range []string{"POST /api/stop", "POST /api/reload", "GET /api/keys", "POST /api/keys", "GET /api/config", "POST /api/console"} {
		method, path, _ := strings.Cut(route, " ")
		if resp, _ := send(t, method, r.server.AdminURL()+path, "", "Cookie", cookie); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s by the session: got %s, want 401", route, resp.Status)
		}
	}
}

func TestWithoutAdminPortThereIsNoStore(t *testing.T) {
	r := newRigWith(t, anthropicOnly, func(o *serverOptions) { o.AdminAddr = "off" })
	r.ask()
	if r.server.traces != nil || r.server.console != nil || len(r.server.spanProcessors()) != len(r.server.opt.SpanProcessors) {
		t.Error("spans are kept although nobody can look at them")
	}
}

func TestLinksOfTheConsoleComeFromTheConfiguration(t *testing.T) {
	r := newRig(t, anthropicOnly+"telemetry: { grafana_url: \"https://grafana.example/\", trace_url: \"https://grafana.example/trace/{trace_id}\" }\n")
	r.ask()
	var values struct {
		Links []struct{ Name, URL string } `json:"links"`
	}
	get(t, r.server, "/api/values", &values)
	if len(values.Links) != 1 || values.Links[0].URL != "https://grafana.example/" {
		t.Errorf("got %+v", values)
	}
	list, _ := r.server.traces.List(store.Filter{}, 1)
	if len(list) != 1 {
		eventually(t, func() bool { list, _ = r.server.traces.List(store.Filter{}, 1); return len(list) == 1 })
	}
	var one struct {
		URL string `json:"url"`
	}
	get(t, r.server, "/api/requests/"+list[0].RequestID, &one)
	if one.URL != "https://grafana.example/trace/"+list[0].TraceID.String() {
		t.Errorf("got %q", one.URL)
	}
}
