package command

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
)

// guard keeps web pages away from a port: a name that was made to resolve to this machine (421), and pages of other
// origins (403). Programs send neither.
type guard struct {
	next http.Handler
	// hosts are the names accepted besides loopback ones; nil: any, for ports other machines reach under names only they
	// know.
	hosts []string
}

// newGuard guards next on a listener configured as listen. names are accepted as Host besides loopback names.
func newGuard(next http.Handler, listen string, names ...string) guard {
	g := guard{next: next}
	if !config.Loopback(listen) {
		return g
	}
	g.hosts = []string{}
	for _, name := range append(names, hostOnly(listen)) {
		if name != "" {
			g.hosts = append(g.hosts, strings.ToLower(hostOnly(name)))
		}
	}
	return g
}

// ServeHTTP implements http.Handler.
func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.knows(r.Host) {
		refuse(w, http.StatusMisdirectedRequest, "this name is not served here; list it as server.public_name or in server.admin_hosts")
		return
	}
	if foreign(r) {
		refuse(w, http.StatusForbidden, "requests from web pages of another origin are refused")
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g guard) knows(host string) bool {
	if g.hosts == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(hostOnly(host), "."))
	if host == "localhost" || slices.Contains(g.hosts, host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// foreign reports whether a web page of another origin sent r. Only browsers send these headers, and pages cannot forge
// them (https://www.w3.org/TR/fetch-metadata/, read 2026-10).
func foreign(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// hostOnly strips port and brackets.
func hostOnly(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// refuse answers in a shape that both Anthropic's and OpenAI's clients read. message is constant text.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"type":"error","error":{"type":"invalid_request_error","message":"` + message + `"}}`)) // a client that left is no matter
}
