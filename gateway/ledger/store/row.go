package store

import (
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"

	"github.com/ccproxy/ccproxy/gateway"
)

// selectLines selects lines as row scans them; conditions follow.
const selectLines = `SELECT l.seq, l.crc, l.accounts, l.id, l.exchange, l.trace, l.time, l.duration, l.attempt, l.user, l.session, l.tags,
	l.input, l.cache_read, l.cache_write, l.cache_write_1h, l.output, l.reasoning,
	l.audio_in, l.audio_out, l.image_in, l.image_out, l.web_search, l.others,
	l.cost, l.cost_classes, l.baseline, l.held, l.estimated,
	s.node, s.key_id, s.key_alias, s.team, s.dialect, s.label, s.rule,
	s.original_model, s.model, s.answered_model, s.provider, s.speed, s.geo, s.usage_source, s.service_tier,
	s.cost_source, s.billing, s.price_status, coalesce(r.version, ''), coalesce(r.entry, ''), s.outcome, s.error_type,
	s.streamed, s.status
	FROM lines l LEFT JOIN shapes s ON s.id = l.shape LEFT JOIN rates r ON r.id = s.rate `

// row is a line as the database has it.
type row struct {
	Line
	seq      int64
	crc      int64
	accounts string

	id, exchange, trace any
	at, duration        int64
	tags, classes       string
	cost, baseline      sql.NullInt64
	dest                []any
}

// scan reads the current row. The tags map is new for each.
func (r *row) scan(rows *sql.Rows) error {
	if r.dest == nil {
		r.bind()
	}
	r.Tags, r.Baseline, r.Cost.Classes = nil, gateway.Optional[gateway.NanoUSD]{}, [gateway.CostClasses]gateway.NanoUSD{}
	if err := rows.Scan(r.dest...); err != nil {
		return err
	}
	return r.finish()
}

func (r *row) bind() {
	l := &r.Line
	r.dest = append(r.dest, &r.seq, &r.crc, &r.accounts, &r.id, &r.exchange, &r.trace, &r.at, &r.duration, &l.Attempt, &l.User, &l.Session, &r.tags)
	for _, p := range usage(&l.Usage) {
		r.dest = append(r.dest, p)
	}
	r.dest = append(r.dest, &l.Usage.Others, &r.cost, &r.classes, &r.baseline, &l.Held, &l.Estimated)
	for _, p := range l.shaped() {
		r.dest = append(r.dest, p)
	}
	r.dest = append(r.dest, &l.Streamed, &l.Status)
}

// finish fills in what is stored in another form.
func (r *row) finish() error {
	l := &r.Line
	var err error
	for _, id := range [...]struct {
		to     *string
		value  any
		format func([]byte) string
	}{{&l.ID, r.id, formatUUID}, {&l.Exchange, r.exchange, formatUUID}, {&l.Trace, r.trace, hex.EncodeToString}} {
		if *id.to, err = unpackID(id.value, id.format); err != nil {
			return err
		}
	}
	l.Time, l.Duration = fromMilli(r.at), time.Duration(r.duration)
	l.Cost.Total = gateway.NanoUSD(r.cost.Int64)
	if r.baseline.Valid {
		l.Baseline = gateway.Some(gateway.NanoUSD(r.baseline.Int64))
	}
	if r.tags != "" {
		if err := json.Unmarshal([]byte(r.tags), &l.Tags); err != nil {
			return fmt.Errorf("tags: %w", err)
		}
	}
	return unpackClasses(r.classes, &l.Cost.Classes)
}

// formatUUID is the inverse of packUUID.
func formatUUID(b []byte) string {
	u, err := uuid.FromBytes(b)
	if err != nil {
		return ""
	}
	return u.String()
}

func unpackID(v any, format func([]byte) string) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case []byte:
		if len(v) == 16 {
			return format(v), nil
		}
	}
	return "", errors.New("an id is neither text nor 16 bytes")
}

// unpackClasses is the inverse of packClasses.
func unpackClasses(s string, classes *[gateway.CostClasses]gateway.NanoUSD) error {
	if s == "" {
		return nil
	}
	if !gjson.Valid(s) {
		return errors.New("cost classes are not JSON")
	}
	bad := ""
	gjson.Parse(s).ForEach(func(key, value gjson.Result) bool {
		for i, name := range classNames {
			if key.Str == name {
				classes[i] = gateway.NanoUSD(value.Int())
				return true
			}
		}
		bad = key.Str
		return false
	})
	if bad != "" {
		return fmt.Errorf("unknown cost class %q", bad)
	}
	return nil
}
