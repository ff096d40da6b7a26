package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/caller"
)

// keyInput is what a key is made of: POST /api/keys. Nothing else of a key can be set from outside.
type keyInput struct {
	Name              string        `json:"name"`
	Team              string        `json:"team,omitempty"`
	Models            []string      `json:"models,omitempty"`
	Expires           time.Time     `json:"expires,omitzero"`
	RequestsPerMinute int64         `json:"requests_per_minute,omitempty"`
	TokensPerMinute   int64         `json:"tokens_per_minute,omitempty"`
	InFlight          int           `json:"in_flight,omitempty"`
	Budgets           []budgetInput `json:"budgets,omitempty"`
}

// budgetInput is a budget of a key that is to be made.
type budgetInput struct {
	Limit    string `json:"limit_usd"` // a decimal
	Window   string `json:"window"`
	Timezone string `json:"timezone,omitempty"`
	Action   string `json:"action,omitempty"`
}

// revokeInput is POST /api/keys/{id}/revoke.
type revokeInput struct {
	EndStreams bool `json:"end_streams"`
}

// keyView is a key as it is shown. It holds nothing of the secret but a hint.
type keyView struct {
	ID                string        `json:"id"`
	Name              string        `json:"name"`
	Hint              string        `json:"hint"`
	State             string        `json:"state"` // active, expired, revoked, or dead: its pepper is lost
	Source            string        `json:"source"`
	Team              string        `json:"team,omitempty"`
	Models            []string      `json:"models,omitempty"`
	Expires           time.Time     `json:"expires,omitzero"`
	RequestsPerMinute int64         `json:"requests_per_minute,omitempty"`
	TokensPerMinute   int64         `json:"tokens_per_minute,omitempty"`
	InFlightLimit     int           `json:"in_flight_limit,omitempty"`
	Budgets           []budgetInput `json:"budgets,omitempty"`
	Created           time.Time     `json:"created,omitzero"`
	Revoked           time.Time     `json:"revoked,omitzero"`
	LastUsed          time.Time     `json:"last_used,omitzero"`
	InFlight          int           `json:"in_flight"`
}

// newKey is the answer to POST /api/keys, the only one with a secret in it.
type newKey struct {
	Key    keyView `json:"key"`
	Secret string  `json:"secret"`
}

// revokedKey is the answer to POST /api/keys/{id}/revoke.
type revokedKey struct {
	Key   keyView `json:"key"`
	Ended int     `json:"ended"` // exchanges that were told to stop
}

func viewKey(r caller.Record, now time.Time) keyView {
	v := keyView{
		ID: r.ID, Name: r.Name, Hint: r.Hint, State: "active", Source: r.Source, Team: r.Team, Models: r.Models, Expires: r.Expires,
		RequestsPerMinute: r.Limits.RequestsPerMinute, TokensPerMinute: r.Limits.TokensPerMinute, InFlightLimit: r.Limits.InFlight,
		Created: r.Created, Revoked: r.Revoked, LastUsed: r.LastUsed, InFlight: r.InFlight,
	}
	for _, b := range r.Budgets {
		v.Budgets = append(v.Budgets, budgetInput{Limit: b.Limit.String(), Window: b.Window, Timezone: b.Timezone, Action: b.Action})
	}
	switch {
	case !r.Revoked.IsZero():
		v.State = "revoked"
	case r.Dead:
		v.State = "dead"
	case !r.Expires.IsZero() && !now.Before(r.Expires):
		v.State = "expired"
	}
	return v
}

func (k keyInput) key() (caller.Key, error) {
	out := caller.Key{
		Name: k.Name, Team: k.Team, Models: k.Models, Expires: k.Expires,
		Limits: caller.Limits{RequestsPerMinute: k.RequestsPerMinute, TokensPerMinute: k.TokensPerMinute, InFlight: k.InFlight},
	}
	windows := map[string]bool{}
	for _, b := range k.Budgets {
		limit, err := config.ParseUSD(b.Limit)
		if err != nil {
			return out, fmt.Errorf("budget: %w", err)
		}
		if windows[b.Window] {
			return out, fmt.Errorf("budget: two for each %s; keep one", b.Window)
		}
		windows[b.Window] = true
		out.Budgets = append(out.Budgets, caller.Budget{Limit: gateway.NanoUSD(limit), Window: b.Window, Timezone: b.Timezone, Action: b.Action})
	}
	return out, nil
}

func (m *accounts) serveKeys(w http.ResponseWriter, _ *http.Request) {
	list, now := []keyView{}, time.Now()
	for _, r := range m.callers.List() {
		list = append(list, viewKey(r, now))
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": list})
}

func (m *accounts) serveCreateKey(w http.ResponseWriter, r *http.Request) {
	var in keyInput
	if err := readInput(r, &in); err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	k, err := in.key()
	if err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	rec, secret, err := m.createKey(r.Context(), k)
	if err != nil {
		refuseJSON(w, keyStatus(err), err)
		return
	}
	writeJSON(w, http.StatusCreated, newKey{viewKey(rec, time.Now()), secret.Reveal()})
}

// createKey makes a key and, if it has one, its budget.
func (m *accounts) createKey(ctx context.Context, k caller.Key) (caller.Record, gateway.Secret, error) {
	rec, secret, err := m.callers.Create(ctx, k)
	if err != nil {
		return rec, "", err
	}
	m.log.Info("a key was made", slog.String("key", rec.ID), slog.String("name", rec.Name), slog.String("team", rec.Team))
	if err := m.refresh(ctx); err != nil {
		return rec, "", fmt.Errorf("the budget of key %s: %w; revoke it", rec.ID, err)
	}
	return rec, secret, nil
}

func (m *accounts) serveRevokeKey(w http.ResponseWriter, r *http.Request) {
	var in revokeInput
	if err := readInput(r, &in); err != nil {
		refuseJSON(w, http.StatusBadRequest, err)
		return
	}
	rec, ended, err := m.callers.Revoke(r.Context(), r.PathValue("id"), in.EndStreams)
	if err != nil {
		refuseJSON(w, keyStatus(err), err)
		return
	}
	m.log.Info("a key was revoked", slog.String("key", rec.ID), slog.String("name", rec.Name), slog.Int("ended", ended))
	if err := m.refresh(r.Context()); err != nil {
		m.log.Warn("budgets of a revoked key stay", slog.String("key", rec.ID), slog.String("error", err.Error()))
	}
	writeJSON(w, http.StatusOK, revokedKey{viewKey(rec, time.Now()), ended})
}

// keyStatus is the HTTP status of what went wrong with a key.
func keyStatus(err error) int {
	switch {
	case errors.Is(err, caller.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, caller.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, caller.ErrExists), errors.Is(err, caller.ErrReadOnly):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// maxInput is the largest body the admin API reads.
const maxInput = 64 << 10

// readInput decodes the JSON body of r into in, which says all that may be in it.
func readInput(r *http.Request, in any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return errors.New("want a body of Content-Type application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxInput))
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if err := json.Unmarshal(body, new(map[string]json.RawMessage)); err != nil {
		return fmt.Errorf("want a JSON object: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return nil
}

// refuseJSON answers with an error.
func refuseJSON(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": oneLine(err)})
}
