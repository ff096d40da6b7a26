package store

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
	"time"

	"github.com/ccproxy/ccproxy/gateway"
)

// errPoison says that a settlement cannot be stored, now or later.
var errPoison = errors.New("cannot be stored")

// batch says what became of the settlements of a queue.
type batch struct {
	added   int // lines that were not there
	had     int // lines that were
	skipped int // what cannot be stored as a line, and is in rejects
}

// commit writes a queue of settlements in one transaction.
func (w *writer) commit(q *queue) (b batch, err error) {
	err = w.transact(func() error {
		b = batch{}
		w.trim()
		if err := w.loadTip(); err != nil {
			return err
		}
		for body := range q.all {
			switch added, err := w.settle(body); {
			case errors.Is(err, errPoison):
				b.skipped++
				if err := w.reject(body, err); err != nil {
					return err
				}
			case err != nil:
				return err
			case added:
				b.added++
			default:
				b.had++
			}
		}
		return w.finish()
	})
	return b, err
}

// reject keeps a settlement that cannot be a line, so that it holds up no other
// and is not lost.
func (w *writer) reject(body []byte, cause error) error {
	_, err := w.exec(stmtReject, time.Now().UnixMilli(), body, cause.Error())
	return err
}

func (w *writer) loadTip() error {
	var dest [2]driver.Value
	found, err := w.row(stmtTip, dest[:])
	if err != nil {
		return err
	}
	if !found {
		return errors.New("the chain of lines has no tip")
	}
	seq, _ := dest[0].(int64)
	crc, _ := dest[1].(int64)
	w.tip = tip{seq, uint32(crc)}
	return nil
}

// finish writes what the transaction has added up.
func (w *writer) finish() error {
	if _, err := w.exec(stmtSetTip, w.tip.seq, int64(w.tip.crc)); err != nil {
		return err
	}
	for _, a := range w.changed {
		a.changed = false
		if _, err := w.exec(stmtSetAccount, a.base, a.spent, a.crc(), a.id); err != nil {
			return err
		}
	}
	w.changed = w.changed[:0]
	for _, a := range w.alerts {
		if err := w.moveAlert(a); err != nil {
			return err
		}
	}
	clear(w.alerts)
	return nil
}

// moveAlert writes how far an account's alerts have got, unless they have got
// further.
func (w *writer) moveAlert(a AlertState) error {
	var dest [3]driver.Value
	found, err := w.row(stmtAlert, dest[:], a.Budget, a.Subject, a.Window)
	if err != nil {
		return err
	}
	if found {
		level, _ := dest[0].(int64)
		forecast, _ := dest[1].(int64)
		crossed, _ := dest[2].(int64)
		a = a.merge(AlertState{Level: int(level), Forecast: forecast != 0, Crossed: crossed != 0})
	}
	return w.setAlert(a)
}

func (w *writer) setAlert(a AlertState) error {
	_, err := w.exec(stmtSetAlert, a.Budget, a.Subject, a.Window, int64(a.Level), integer(a.Forecast), integer(a.Crossed), a.crc())
	return err
}

// merge returns the further of two states of an account.
func (s AlertState) merge(o AlertState) AlertState {
	s.Level = max(s.Level, o.Level)
	s.Forecast = s.Forecast || o.Forecast
	s.Crossed = s.Crossed || o.Crossed
	return s
}

// crc is the checksum of the row, as it is stored.
func (s *AlertState) crc() int64 { return int64(crc32.Checksum(s.append(nil), castagnoli)) }

// settle inserts one settlement, unless its line is there.
func (w *writer) settle(body []byte) (added bool, err error) {
	s := &w.settled
	if err := s.decode(body); err != nil {
		return false, fmt.Errorf("%w: %w", errPoison, err)
	}
	var l Line
	shape, tags, err := l.decode(s.line)
	if err == nil && (l.ID == "" || shape == nil) {
		err = errRecord
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", errPoison, err)
	}
	row, err := w.shape(shape)
	if err != nil {
		return false, err
	}
	accounts, err := w.lookUp(s.accounts)
	if err != nil {
		return false, err
	}
	added, err = w.insert(&l, row, packTags(tags), accountList(accounts))
	if err != nil {
		if !passing(err) {
			return false, fmt.Errorf("%w: %w", errPoison, err)
		}
		return false, err
	}
	if added {
		for _, a := range accounts {
			w.charge(a, int64(l.Cost.Total))
		}
	}
	for _, a := range s.alerts {
		w.raise(a)
	}
	return added, nil
}

// insert writes the row of a line, chained to the one before. added is false
// when there is a line with its id.
func (w *writer) insert(l *Line, shape shapeRow, tags, accounts string) (added bool, err error) {
	next := tip{w.tip.seq + 1, w.link(accounts)}
	var cost, baseline driver.Value
	if shape.priced {
		cost = int64(l.Cost.Total)
	}
	if l.Baseline.Set {
		baseline = int64(l.Baseline.Value)
	}
	u := &l.Usage
	r, err := w.exec(stmtLine, next.seq, packUUID(l.ID), packUUID(l.Exchange), packHex(l.Trace),
		unixMilli(l.Time), int64(l.Duration), int64(l.Attempt), shape.id, l.User, l.Session, tags,
		u.Input, u.CacheRead, u.CacheWrite, u.CacheWrite1h, u.Output, u.Reasoning,
		u.AudioIn, u.AudioOut, u.ImageIn, u.ImageOut, u.WebSearches, u.Others,
		cost, packClasses(&l.Cost.Classes), baseline, int64(l.Held), integer(l.Estimated), accounts, int64(next.crc))
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	if err != nil || n == 0 {
		return false, err
	}
	w.tip = next
	return true, nil
}

// link is the checksum of the line being settled.
func (w *writer) link(accounts string) uint32 {
	w.chained = append(append(w.chained[:0], w.settled.line...), accounts...)
	return link(w.tip.crc, w.chained)
}

// link is the checksum of a line, given the one of the line before it: it
// changes when the line does, or when a line is removed, added or moved.
func link(before uint32, line []byte) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], before)
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, line)
}

// shape returns the row of an encoded shape.
func (w *writer) shape(b []byte) (shapeRow, error) {
	if row, ok := w.shapes[string(b)]; ok {
		return row, nil
	}
	var l Line
	if err := l.decodeShape(b); err != nil {
		return shapeRow{}, fmt.Errorf("%w: %w", errPoison, err)
	}
	digest := sha256.Sum256(b)
	var dest [1]driver.Value
	found, err := w.row(stmtShape, dest[:], digest[:16])
	if err != nil {
		return shapeRow{}, err
	}
	row := shapeRow{priced: l.Cost.Known()}
	row.id, _ = dest[0].(int64)
	if !found {
		if row.id, err = w.addShape(&l, digest[:16]); err != nil {
			return shapeRow{}, err
		}
	}
	w.shapes[string(b)] = row
	return row, nil
}

func (w *writer) addShape(l *Line, digest []byte) (int64, error) {
	var rate driver.Value
	if l.Cost.PriceVersion != "" || l.Cost.Entry != "" {
		id, err := w.rate(l.Cost.PriceVersion, l.Cost.Entry)
		if err != nil {
			return 0, err
		}
		rate = id
	}
	return w.add(stmtAddShape, digest, l.Node, l.KeyID, l.KeyAlias, l.Team, l.Dialect, l.Label, l.Rule,
		l.OriginalModel, l.Model, l.AnsweredModel, l.Provider,
		l.Usage.Speed, l.Usage.Geo, l.Usage.Source, l.ServiceTier,
		l.Cost.Source, l.Cost.Billing, l.Cost.Status, rate, l.Outcome, l.ErrorType,
		integer(l.Streamed), int64(l.Status))
}

// rate returns the id of an entry of a version of the prices.
func (w *writer) rate(version, entry string) (int64, error) {
	key := version + "\x00" + entry
	if id, ok := w.rates[key]; ok {
		return id, nil
	}
	var dest [1]driver.Value
	found, err := w.row(stmtRate, dest[:], version, entry)
	if err != nil {
		return 0, err
	}
	id, _ := dest[0].(int64)
	if !found {
		if id, err = w.add(stmtAddRate, version, entry); err != nil {
			return 0, err
		}
	}
	w.rates[key] = id
	return id, nil
}

// lookUp returns the rows of accounts, which are made when they are not there.
func (w *writer) lookUp(names []Account) ([]*account, error) {
	if len(names) == 0 {
		return nil, nil
	}
	rows := make([]*account, 0, len(names))
	for _, name := range names {
		a, err := w.account(name)
		if err != nil {
			return nil, err
		}
		rows = append(rows, a)
	}
	return rows, nil
}

func (w *writer) account(name Account) (*account, error) {
	if a, ok := w.accounts[name]; ok {
		return a, nil
	}
	a := &account{Account: name}
	var dest [4]driver.Value
	found, err := w.row(stmtAccount, dest[:], name.Budget, name.Subject, name.Window)
	if err != nil {
		return nil, err
	}
	if found {
		a.id, _ = dest[0].(int64)
		a.base, _ = dest[1].(int64)
		a.spent, _ = dest[2].(int64)
		if crc, _ := dest[3].(int64); crc != a.crc() {
			return nil, fmt.Errorf("%w: the sum of budget %q, subject %q, does not match its checksum", ErrCorrupt, name.Budget, name.Subject)
		}
	} else if a.id, err = w.add(stmtAddAccount, name.Budget, name.Subject, name.Window, a.crc()); err != nil {
		return nil, err
	}
	w.accounts[name] = a
	return a, nil
}

// crc is the checksum of the row, as it is stored.
func (a *account) crc() int64 {
	b := a.Account.append(nil)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.base))
	b = binary.LittleEndian.AppendUint64(b, uint64(a.spent))
	return int64(crc32.Checksum(b, castagnoli))
}

// charge adds to an account. A sum that does not fit stays the largest there is.
func (w *writer) charge(a *account, amount int64) {
	if amount <= 0 {
		return
	}
	if a.spent += amount; a.spent < 0 {
		a.spent = math.MaxInt64
	}
	if !a.changed {
		a.changed = true
		w.changed = append(w.changed, a)
	}
}

// raise notes how far an account's alerts have got; they do not go back.
func (w *writer) raise(s AlertState) {
	w.alerts[s.Account] = s.merge(w.alerts[s.Account])
}

// accountList is how a line names the accounts it counts in.
func accountList(accounts []*account) string {
	if len(accounts) == 0 {
		return ""
	}
	b := append(make([]byte, 0, 16), '[')
	for i, a := range accounts {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, a.id, 10)
	}
	return string(append(b, ']'))
}

// packUUID returns how an id is stored: in 16 bytes if it is a UUID as
// uuid.UUID.String writes it, so that nothing is lost.
func packUUID(id string) driver.Value {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return id
	}
	var digits [32]byte
	copy(digits[:], id[:8])
	copy(digits[8:], id[9:13])
	copy(digits[12:], id[14:18])
	copy(digits[16:], id[19:23])
	copy(digits[20:], id[24:])
	if b := unhex(digits[:]); b != nil {
		return b
	}
	return id
}

// packHex returns how a trace id is stored.
func packHex(id string) driver.Value {
	if len(id) == 32 {
		if b := unhex([]byte(id)); b != nil {
			return b
		}
	}
	return id
}

// unhex decodes hexadecimal digits; nil: they are not all, or some are upper
// case.
func unhex(digits []byte) []byte {
	for _, c := range digits {
		if c >= 'A' && c <= 'F' {
			return nil
		}
	}
	b := make([]byte, len(digits)/2)
	if _, err := hex.Decode(b, digits); err != nil {
		return nil
	}
	return b
}

// packTags returns tags as a JSON object, "" without any.
func packTags(tags []tag) string {
	if len(tags) == 0 {
		return ""
	}
	b := make([]byte, 0, 64)
	for i, t := range tags {
		b = append(b, ","[:min(i, 1)]...)
		if i == 0 {
			b = append(b, '{')
		}
		b = appendJSON(append(appendJSON(b, t.key), ':'), t.value)
	}
	return string(append(b, '}'))
}

// appendJSON appends a string in JSON.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // strings always have a JSON form
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// classNames are the names of the classes of usage and cost, in columns and
// JSON, in the order of gateway.CostClass.
var classNames = [gateway.CostClasses]string{
	"input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning",
	"audio_in", "audio_out", "image_in", "image_out", "web_search", "undivided",
}

// packClasses returns the classes that are not zero as a JSON object, "" when
// all are.
func packClasses(classes *[gateway.CostClasses]gateway.NanoUSD) string {
	var b []byte
	for i, n := range classes {
		if n == 0 {
			continue
		}
		if b == nil {
			b = append(make([]byte, 0, 96), '{')
		} else {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), classNames[i]...), `":`...)
		b = strconv.AppendInt(b, int64(n), 10)
	}
	if b == nil {
		return ""
	}
	return string(append(b, '}'))
}
