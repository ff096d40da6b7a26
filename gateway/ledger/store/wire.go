package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ccproxy/ccproxy/gateway"
)

// Records are written in protobuf's wire format, in the order of the field
// numbers, without fields that are zero: one line has one encoding, over which
// checksums are computed. A field's number never changes and is never reused.

// Fields of a line.
const (
	fieldShape    = 1 // shape
	fieldTexts    = 2 // … texts
	fieldNumbers  = 32
	fieldTagKey   = 100 // each followed by its value
	fieldTagValue = 101
	fieldBaseline = 102
)

// Fields of a record.
const (
	fieldLine    = 1
	fieldAccount = 2
	fieldAlert   = 3
	fieldAmount  = 4
	fieldTokens  = 5
	fieldID      = 6
	fieldFloor   = 7
)

// Limits of what a line keeps.
const (
	maxText  = 512
	maxEntry = 16 << 10
	maxTags  = 64
)

// shape is what many lines have in common; the database stores it once. In a
// record it is an encoded field of its own, so that the writer finds it without
// decoding it.
const (
	shapeTexts    = 22
	shapeStreamed = 32
	shapeStatus   = 33
	shapeEntry    = 19 // index of Cost.Entry in shaped
)

// shaped returns the strings of l that belong to its shape; the field number is
// the index + 1.
func (l *Line) shaped() [shapeTexts]*string {
	return [...]*string{
		&l.Node, &l.KeyID, &l.KeyAlias, &l.Team, &l.Dialect, &l.Label, &l.Rule,
		&l.OriginalModel, &l.Model, &l.AnsweredModel, &l.Provider,
		&l.Usage.Speed, &l.Usage.Geo, &l.Usage.Source, &l.ServiceTier,
		&l.Cost.Source, &l.Cost.Billing, &l.Cost.Status, &l.Cost.PriceVersion, &l.Cost.Entry,
		&l.Outcome, &l.ErrorType,
	}
}

// texts returns the other strings of l; the field number is the index +
// fieldTexts.
func (l *Line) texts() [6]*string {
	return [...]*string{&l.ID, &l.Exchange, &l.Trace, &l.User, &l.Session, &l.Usage.Others}
}

// textOthers is the index of Usage.Others in texts.
const textOthers = 5

// Indices in numbers.
const (
	numberTime = iota
	numberDuration
	numberAttempt
	numberHeld
	numberEstimated
	numberTotal
	numberUsage // usageClasses numbers
	numberCost  = numberUsage + usageClasses
	numberCount = numberCost + int(gateway.CostClasses)

	usageClasses = 11
)

// usage returns the counters of u in the order of gateway.CostClass.
func usage(u *gateway.Usage) [usageClasses]*int64 {
	return [...]*int64{
		&u.Input, &u.CacheRead, &u.CacheWrite, &u.CacheWrite1h, &u.Output, &u.Reasoning,
		&u.AudioIn, &u.AudioOut, &u.ImageIn, &u.ImageOut, &u.WebSearches,
	}
}

// numbers returns the numbers of l; the field number is the index +
// fieldNumbers.
func (l *Line) numbers() (n [numberCount]int64) {
	n[numberTime] = unixMilli(l.Time)
	n[numberDuration] = int64(l.Duration)
	n[numberAttempt] = int64(l.Attempt)
	n[numberHeld] = int64(l.Held)
	n[numberEstimated] = integer(l.Estimated)
	for i, p := range usage(&l.Usage) {
		n[numberUsage+i] = *p
	}
	if l.Cost.Known() {
		n[numberTotal] = int64(l.Cost.Total)
		for i, c := range l.Cost.Classes {
			n[numberCost+i] = int64(c)
		}
	}
	return n
}

// setNumbers is the inverse of numbers.
func (l *Line) setNumbers(n *[numberCount]int64) {
	l.Time = fromMilli(n[numberTime])
	l.Duration = time.Duration(n[numberDuration])
	l.Attempt = int(n[numberAttempt])
	l.Held = gateway.NanoUSD(n[numberHeld])
	l.Estimated = n[numberEstimated] != 0
	l.Cost.Total = gateway.NanoUSD(n[numberTotal])
	for i, p := range usage(&l.Usage) {
		*p = n[numberUsage+i]
	}
	for i := range l.Cost.Classes {
		l.Cost.Classes[i] = gateway.NanoUSD(n[numberCost+i])
	}
}

// unixMilli and fromMilli keep the zero time.
func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func integer(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// clean returns s as it is stored: valid UTF-8 without NUL, which SQLite's
// functions take for the end, and at most limit bytes.
func clean(s string, limit int) string {
	if len(s) > limit {
		cut := limit
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	if len(s) < 16 && plain(s) || strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
}

// plain reports whether s is ASCII without NUL. For short strings it is quicker
// than the functions that look at many bytes at once.
func plain(s string) bool {
	for i := range len(s) {
		if s[i]-1 >= 0x7F {
			return false
		}
	}
	return true
}

func appendText(b []byte, num int, s string, limit int) []byte {
	if s == "" {
		return b
	}
	b = appendTag(b, num, protowire.BytesType)
	s = clean(s, limit)
	if len(s) < 0x80 {
		return append(append(b, byte(len(s))), s...)
	}
	return protowire.AppendString(b, s)
}

// appendTag is protowire.AppendTag for numbers below 2048, inlined.
func appendTag(b []byte, num int, t protowire.Type) []byte {
	if num < 16 {
		return append(b, byte(num<<3|int(t)))
	}
	return append(b, byte(num<<3|int(t))|0x80, byte(num>>4))
}

func appendNumber(b []byte, num int, v int64) []byte {
	if v == 0 {
		return b
	}
	b = appendTag(b, num, protowire.VarintType)
	return protowire.AppendVarint(b, protowire.EncodeZigZag(v))
}

// begin appends the head of a field that consists of fields; what is appended
// until end belongs to it. Its length is written in three bytes, so that nothing
// has to be moved afterwards.
func begin(b []byte, num int) (_ []byte, at int) {
	b = protowire.AppendTag(b, protowire.Number(num), protowire.BytesType)
	return append(b, 0, 0, 0), len(b)
}

// end ends what begin began.
func end(b []byte, at int) {
	n := len(b) - at - 3
	b[at], b[at+1], b[at+2] = byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)
}

func (l *Line) appendShape(b []byte) []byte {
	for i, p := range l.shaped() {
		limit := maxText
		if i == shapeEntry {
			limit = maxEntry
		}
		b = appendText(b, i+1, *p, limit)
	}
	b = appendNumber(b, shapeStreamed, integer(l.Streamed))
	return appendNumber(b, shapeStatus, int64(l.Status))
}

// append appends the encoding of l.
func (l *Line) append(b []byte) []byte {
	b, at := begin(b, fieldShape)
	b = l.appendShape(b)
	end(b, at)
	for i, p := range l.texts() {
		limit := maxText
		if i == textOthers {
			limit = maxEntry
		}
		b = appendText(b, fieldTexts+i, *p, limit)
	}
	for i, n := range l.numbers() {
		b = appendNumber(b, fieldNumbers+i, n)
	}
	b = appendTags(b, l.Tags)
	if l.Baseline.Set { // a baseline of zero is not an absent one
		b = protowire.AppendTag(b, fieldBaseline, protowire.VarintType)
		b = protowire.AppendVarint(b, protowire.EncodeZigZag(int64(l.Baseline.Value)))
	}
	return b
}

func appendTags(b []byte, tags map[string]string) []byte {
	if len(tags) == 0 {
		return b
	}
	var few [16]string
	keys := few[:0]
	for k := range tags {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	last := ""
	for i, k := range keys[:min(len(keys), maxTags)] {
		k = clean(k, maxText)
		if i > 0 && k <= last { // made equal, or out of order, by cleaning
			continue
		}
		last = k
		b = protowire.AppendTag(b, fieldTagKey, protowire.BytesType)
		b = protowire.AppendString(b, k)
		b = protowire.AppendTag(b, fieldTagValue, protowire.BytesType)
		b = protowire.AppendString(b, clean(tags[keys[i]], maxText))
	}
	return b
}

// errRecord says that the bytes of a record are not one.
var errRecord = errors.New("malformed record")

// fields calls text for each field of b that is bytes and number for each that
// is a number, in order. What is passed to text aliases b.
func fields(b []byte, text func(num int, v []byte) error, number func(num int, v int64) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errRecord
		}
		b = b[n:]
		switch typ {
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return errRecord
			}
			if err := text(int(num), v); err != nil {
				return err
			}
			b = b[n:]
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(b)
			if n < 0 {
				return errRecord
			}
			if err := number(int(num), protowire.DecodeZigZag(v)); err != nil {
				return err
			}
			b = b[n:]
		default:
			return errRecord
		}
	}
	return nil
}

// unknown is the error for a field this version does not have.
func unknown(num int) error { return fmt.Errorf("%w: unknown field %d", errRecord, num) }

func noNumber(num int, _ int64) error { return unknown(num) }

// decodeShape reads what appendShape wrote.
func (l *Line) decodeShape(b []byte) error {
	texts := l.shaped()
	return fields(b, func(num int, v []byte) error {
		if num < 1 || num > len(texts) {
			return unknown(num)
		}
		*texts[num-1] = string(v)
		return nil
	}, func(num int, v int64) error {
		switch num {
		case shapeStreamed:
			l.Streamed = v != 0
		case shapeStatus:
			l.Status = int(v)
		default:
			return unknown(num)
		}
		return nil
	})
}

// decode reads what append wrote, but for the tags and the shape, which it
// returns; the shape is encoded and aliases b.
func (l *Line) decode(b []byte) (shape []byte, tags []tag, err error) {
	texts := l.texts()
	var numbers [numberCount]int64
	err = fields(b, func(num int, v []byte) error {
		switch i := num - fieldTexts; {
		case num == fieldShape:
			shape = v
		case i >= 0 && i < len(texts):
			*texts[i] = string(v)
		case num == fieldTagKey:
			tags = append(tags, tag{key: string(v)})
		case num == fieldTagValue && len(tags) > 0:
			tags[len(tags)-1].value = string(v)
		default:
			return unknown(num)
		}
		return nil
	}, func(num int, v int64) error {
		switch i := num - fieldNumbers; {
		case i >= 0 && i < len(numbers):
			numbers[i] = v
		case num == fieldBaseline:
			l.Baseline = gateway.Some(gateway.NanoUSD(v))
		default:
			return unknown(num)
		}
		return nil
	})
	l.setNumbers(&numbers)
	return shape, tags, err
}

// tag is one of a line's tags.
type tag struct{ key, value string }

// decodeLine reads a whole line.
func decodeLine(b []byte) (*Line, error) {
	l := new(Line)
	shape, tags, err := l.decode(b)
	if err != nil {
		return nil, err
	}
	for _, t := range tags {
		if l.Tags == nil {
			l.Tags = make(map[string]string, len(tags))
		}
		l.Tags[t.key] = t.value
	}
	if err := l.decodeShape(shape); err != nil {
		return nil, err
	}
	return l, nil
}
