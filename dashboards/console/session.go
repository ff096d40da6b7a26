package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// How long and how many.
const (
	sessionLife = 12 * time.Hour
	maxTickets  = 32
	maxSessions = 64
)

// gate knows who may look. Secrets are kept as their hashes.
type gate struct {
	tickets  map[digest]time.Time // :: one-time token → until when
	sessions map[digest]time.Time // :: cookie → until when
}

type digest = [sha256.Size]byte

func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// put adds a secret; of too many the one that ends first goes.
func put(m *map[digest]time.Time, secret string, now, until time.Time, most int) {
	if *m == nil {
		*m = map[digest]time.Time{}
	}
	var first digest
	for d, end := range *m {
		if !now.Before(end) {
			delete(*m, d)
		} else if at, ok := (*m)[first]; !ok || end.Before(at) {
			first = d
		}
	}
	if len(*m) >= most {
		delete(*m, first)
	}
	(*m)[sha256.Sum256([]byte(secret))] = until
}

// TicketLife is how long a ticket is good by custom.
const TicketLife = 5 * time.Minute

// Ticket returns the part of the console's URL after the "#" that opens it once, within life, without asking for a token.
// What follows a "#" is sent to no server and stands in no log.
func (c *Console) Ticket(life time.Duration) string {
	secret, now := newSecret(), c.cfg.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	put(&c.gate.tickets, secret, now, now.Add(life), maxTickets)
	return "token=" + secret
}

// redeem ends a one-time token and reports whether it was good.
func (c *Console) redeem(secret string) bool {
	d := sha256.Sum256([]byte(secret))
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.gate.tickets[d]
	delete(c.gate.tickets, d)
	return ok && c.cfg.Now().Before(until)
}

// isToken compares with the admin port's token, in constant time.
func (c *Console) isToken(secret string) bool {
	want := c.cfg.Token()
	a, b := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func bearer(r *http.Request) string {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return token
}

// cookieName differs by port: browsers send cookies to every port of a host, and another gateway may run beside this one.
func cookieName(r *http.Request) string {
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		return "ccproxy_console_" + port
	}
	return "ccproxy_console"
}

func (c *Console) hasSession(r *http.Request) bool {
	cookie, err := r.Cookie(cookieName(r))
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.gate.sessions[sha256.Sum256([]byte(cookie.Value))]
	return ok && c.cfg.Now().Before(until)
}

// authorized wants a session or the token. A session opens what is only read.
func (c *Console) authorized(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !c.isToken(bearer(r)) && !c.hasSession(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="ccproxy"`)
			refuse(w, http.StatusUnauthorized, errors.New("sign in: `ccproxy open` opens the console; programs send the token of run.json"))
			return
		}
		next(w, r)
	}
}

var errForeign = errors.New("requests from web pages of another origin are refused")

// sameOrigin refuses what a page of another origin sends; it stands behind the admin port's own check.
func sameOrigin(w http.ResponseWriter, r *http.Request) bool {
	var p http.CrossOriginProtection
	if err := p.Check(r); err != nil {
		refuse(w, http.StatusForbidden, errForeign)
		return false
	}
	return true
}

// serveSignIn answers POST /api/session: a one-time token, or the admin port's, for a cookie.
func (c *Console) serveSignIn(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(w, r) {
		return
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, errors.New("want application/json"))
		return
	}
	var in struct {
		Token string `json:"token"`
	}
	if err := json.NewDecoder(io.LimitReader(r.Body, 4096)).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, errors.New(`want {"token": "…"}`))
		return
	}
	if !c.redeem(in.Token) && !c.isToken(strings.TrimSpace(in.Token)) {
		refuse(w, http.StatusForbidden, errors.New("this token was used, or is too old: run `ccproxy open` again"))
		return
	}
	secret, now := newSecret(), c.cfg.Now()
	c.mu.Lock()
	put(&c.gate.sessions, secret, now, now.Add(sessionLife), maxSessions)
	c.mu.Unlock()
	http.SetCookie(w, sessionCookie(r, secret, int(sessionLife/time.Second)))
	w.WriteHeader(http.StatusNoContent)
}

// serveSignOut answers DELETE /api/session.
func (c *Console) serveSignOut(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(w, r) {
		return
	}
	if cookie, err := r.Cookie(cookieName(r)); err == nil {
		c.mu.Lock()
		delete(c.gate.sessions, sha256.Sum256([]byte(cookie.Value)))
		c.mu.Unlock()
	}
	http.SetCookie(w, sessionCookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

func sessionCookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
}

// serveOpen answers POST /api/console, which wants the token itself: a path that opens the console once.
func (c *Console) serveOpen(w http.ResponseWriter, r *http.Request) {
	if !c.isToken(bearer(r)) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="ccproxy"`)
		refuse(w, http.StatusUnauthorized, errors.New("the token of run.json is needed"))
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"path": "/#" + c.Ticket(TicketLife)})
}
