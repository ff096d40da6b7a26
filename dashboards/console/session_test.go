package console

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestNothingIsReadWithoutSession(t *testing.T) {
	r := newRig(t)
	for _, pattern := range r.console.Routes() {
		method, path, _ := strings.Cut(pattern, " ")
		if !strings.HasPrefix(path, "/api/") || path == "/api/session" {
			continue
		}
		path = strings.NewReplacer("{id}", "0123456789abcdef", "{service}", "ccproxy").Replace(path)
		for _, token := range []string{"", "Bearer ", "Bearer wrong", "Basic " + testToken} {
			req, err := http.NewRequestWithContext(t.Context(), method, r.server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", token)
			req.AddCookie(&http.Cookie{Name: cookieName(&http.Request{Host: req.URL.Host}), Value: "made-up"})
			resp, err := r.server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with %q: got %s, want 401", pattern, token, resp.Status)
			}
		}
	}
}

// signIn sends a token, and headers in pairs.
func (r *rig) signIn(t testing.TB, token string, headers ...string) *http.Response {
	t.Helper()
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", r.server.URL+"/api/session", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := r.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestTicketOpensOnce(t *testing.T) {
	now := time.Now()
	r := newRig(t, func(c *Config) { c.Now = func() time.Time { return now } })
	ticket := strings.TrimPrefix(r.console.Ticket(TicketLife), "token=")
	resp := r.signIn(t, ticket)
	if resp.StatusCode != http.StatusNoContent || len(resp.Cookies()) != 1 {
		t.Fatalf("got %s and %d cookies", resp.Status, len(resp.Cookies()))
	}
	cookie := resp.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" {
		t.Errorf("got cookie %+v", cookie)
	}
	reads := func() int {
		req, err := http.NewRequestWithContext(t.Context(), "GET", r.server.URL+"/api/requests", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(cookie)
		resp, err := r.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := reads(); got != http.StatusOK {
		t.Errorf("with the session: got %d, want 200", got)
	}
	if resp := r.signIn(t, ticket); resp.StatusCode != http.StatusForbidden {
		t.Errorf("the ticket again: got %s, want 403", resp.Status)
	}
	late := strings.TrimPrefix(r.console.Ticket(TicketLife), "token=")
	now = now.Add(TicketLife)
	if resp := r.signIn(t, late); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a late ticket: got %s, want 403", resp.Status)
	}
	now = now.Add(sessionLife)
	if got := reads(); got != http.StatusUnauthorized {
		t.Errorf("after twelve hours: got %d, want 401", got)
	}
	for range 3 * maxSessions {
		r.signIn(t, testToken)
		r.console.Ticket(TicketLife)
	}
	if n, m := len(r.console.gate.sessions), len(r.console.gate.tickets); n > maxSessions || m > maxTickets {
		t.Errorf("got %d sessions and %d tickets, want %d and %d at most", n, m, maxSessions, maxTickets)
	}
}

func TestForeignPagesCannotSignIn(t *testing.T) {
	r := newRig(t)
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://evil.test"}, {"Origin", "null"},
	} {
		if resp := r.signIn(t, testToken, headers...); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%v: got %s, want 403", headers, resp.Status)
		}
	}
	if resp := r.signIn(t, testToken, "Content-Type", "text/plain"); resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a form's type: got %s, want 415", resp.Status)
	}
	if resp := r.signIn(t, testToken, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != http.StatusNoContent {
		t.Errorf("the page itself: got %s, want 204", resp.Status)
	}
}
