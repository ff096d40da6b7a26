package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Alert is an alert of a budget, as the console shows it. Amounts are USD.
type Alert struct {
	Time      time.Time `json:"time"`
	Type      string    `json:"type"` // names.Alert…
	Budget    string    `json:"budget"`
	Scope     string    `json:"scope,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	Window    string    `json:"window,omitempty"`
	Threshold float64   `json:"threshold,omitempty"` // fraction; 0 where there is none
	Spent     float64   `json:"spent_usd"`
	Limit     float64   `json:"limit_usd"`
	Model     string    `json:"model,omitempty"`    // of unpriced_request
	TraceID   string    `json:"trace_id,omitempty"` // of the request that raised it; "": none did
}

// AddAlert keeps an alert, of which the last 1000 are there. ctx may hold the span of the request that raised it. It does not
// block on the disk.
func (s *Store) AddAlert(ctx context.Context, a Alert) {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() && a.TraceID == "" {
		a.TraceID = sc.TraceID().String()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alerts = append(s.alerts, a)
	if n := len(s.alerts) - alertsKept; n > 0 {
		s.alerts = append([]Alert(nil), s.alerts[n:]...)
	}
	if s.file != nil {
		if s.dirty = append(s.dirty, a); len(s.dirty) > alertsKept {
			s.dirty = s.dirty[1:]
		}
	}
}

// Alerts returns the newest alerts, at most limit of them, newest first.
func (s *Store) Alerts(limit int) []Alert {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Alert, 0, min(limit, len(s.alerts)))
	for i := len(s.alerts) - 1; i >= 0 && len(out) < limit; i-- {
		out = append(out, s.alerts[i])
	}
	return out
}

func loadAlerts(ctx context.Context, db *sql.DB) (alerts []Alert, err error) {
	rows, err := db.QueryContext(ctx, "SELECT alert FROM alerts ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		var a Alert
		if json.Unmarshal([]byte(text), &a) == nil {
			alerts = append(alerts, a)
		}
	}
	return alerts, rows.Err()
}

func saveAlerts(ctx context.Context, tx *sql.Tx, alerts []Alert) error {
	if len(alerts) == 0 {
		return nil
	}
	for i := range alerts {
		text, err := json.Marshal(&alerts[i])
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO alerts (alert) VALUES (?)", string(text)); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM alerts WHERE id <= (SELECT max(id) FROM alerts) - ?", alertsKept)
	return err
}
