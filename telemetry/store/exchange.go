package store

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
)

// Exchange is what a list shows of one exchange. Texts are cut at 128 bytes. It belongs to who asked for it.
type Exchange struct {
	Seq       int64 // where it stands: higher ended later; for paging
	RequestID string
	TraceID   trace.TraceID
	SpanID    trace.SpanID // of the SERVER span
	Start     time.Time
	Duration  time.Duration
	TTFT      time.Duration // to the first token; 0: no stream, or none came
	Overhead  time.Duration // spent in the gateway

	Dialect, Label, Rule, Reason string
	Original, Routed, Provider   string // the model the client named, the model that was chosen, and whose it is
	Outcome, Rejection           string // names.Outcome…, names.Rejection…
	ErrorType                    string
	Key, Team, User, Session     string
	Billing                      string // names.CostBilling…
	FallbackReason               string
	Status                       int // HTTP status; 0: none was sent
	Attempts, Fallbacks          int
	Stream, Passthrough          bool

	Input, Output, CacheRead, CacheWrite, Reasoning int64 // tokens; Input includes the cache, Output the reasoning

	Cost    float64 // USD, all attempts; 0 unless Priced
	Priced  bool    // the cost is known
	Classes Classes // of Cost
	// Baseline is the cost of the same usage on the model the client named, USD, and Compared the part of Cost it is to be
	// compared with; both are 0 when either price is unknown.
	Baseline, Compared float64
}

// Classes are the parts of a cost, in USD.
type Classes struct {
	Input, CacheRead, CacheWrite, Output, Other float64
}

// Numbers of an entry.
const (
	numStart = iota // Unix nanoseconds
	numDuration
	numTTFT
	numOverhead
	numStatus
	numAttempts
	numFallbacks
	numInput
	numOutput
	numCacheRead
	numCacheWrite
	numReasoning
	numCost // amounts: nano-dollars
	numCostInput
	numCostCacheRead
	numCostCacheWrite
	numCostOutput
	numCostOther
	numBaseline
	numCompared
	numFlags
	numCount
)

// Texts of an entry.
const (
	textRequestID = iota // "" when it is the UUID in the entry
	textDialect
	textLabel
	textRule
	textReason
	textOriginal
	textRouted
	textProvider
	textOutcome
	textRejection
	textErrorType
	textKey
	textTeam
	textUser
	textSession
	textBilling
	textFallbackReason
	textCount
)

// Flags of an entry.
const (
	flagStream = 1 << iota
	flagPassthrough
	flagPriced
)

// entry is an exchange in memory. It holds no pointer, so that many of them are nothing to the garbage collector.
type entry struct {
	nums    [numCount]int64
	texts   [textCount]uint16 // numbers in the block's table
	trace   trace.TraceID
	span    trace.SpanID
	request uuid.UUID
	at      uint32 // where the spans begin, in the block's spans
}

// maxText bounds a text of an entry, in bytes: models and sessions are the client's words.
const maxText = 128

func short(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
		if r, _ := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && len(s) > 0 {
			s = s[:len(s)-1]
		}
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// append writes an entry of a block that begins at base, in Unix nanoseconds.
func (e *entry) append(b []byte, base int64) []byte {
	b = append(b, e.trace[:]...)
	b = append(b, e.span[:]...)
	b = append(b, e.request[:]...)
	b = binary.AppendUvarint(b, uint64(e.at))
	for i, n := range e.nums {
		if i == numStart {
			n -= base
		}
		b = binary.AppendVarint(b, n)
	}
	for _, n := range e.texts {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// smallestEntry is the least number of bytes an entry takes.
const smallestEntry = 16 + 8 + 16 + 1 + numCount + textCount

func (e *entry) read(r *reader, base int64, texts int) {
	copy(e.trace[:], r.bytes(16))
	copy(e.span[:], r.bytes(8))
	copy(e.request[:], r.bytes(16))
	e.at = uint32(r.uint())
	for i := range e.nums {
		e.nums[i] = r.int()
	}
	e.nums[numStart] += base
	for i := range e.texts {
		n := r.uint()
		if n >= uint64(texts) {
			r.fail()
			return
		}
		e.texts[i] = uint16(n)
	}
}

// requestID is the exchange's id as clients see it.
func (e *entry) requestID(texts []string) string {
	if s := texts[e.texts[textRequestID]]; s != "" || e.request == (uuid.UUID{}) {
		return s
	}
	return e.request.String()
}

// exchange is what e says, by the texts of its block.
func (e *entry) exchange(seq int64, texts []string) Exchange {
	usd := func(i int) float64 { return float64(e.nums[i]) / 1e9 }
	is := func(flag int64) bool { return e.nums[numFlags]&flag != 0 }
	text := func(i int) string { return texts[e.texts[i]] }
	return Exchange{
		Seq: seq, RequestID: e.requestID(texts), TraceID: e.trace, SpanID: e.span,
		Start: time.Unix(0, e.nums[numStart]).UTC(), Duration: time.Duration(e.nums[numDuration]),
		TTFT: time.Duration(e.nums[numTTFT]), Overhead: time.Duration(e.nums[numOverhead]),
		Dialect: text(textDialect), Label: text(textLabel), Rule: text(textRule), Reason: text(textReason),
		Original: text(textOriginal), Routed: text(textRouted), Provider: text(textProvider),
		Outcome: text(textOutcome), Rejection: text(textRejection), ErrorType: text(textErrorType),
		Key: text(textKey), Team: text(textTeam), User: text(textUser), Session: text(textSession),
		Billing: text(textBilling), FallbackReason: text(textFallbackReason),
		Status: int(e.nums[numStatus]), Attempts: int(e.nums[numAttempts]), Fallbacks: int(e.nums[numFallbacks]),
		Stream: is(flagStream), Passthrough: is(flagPassthrough),
		Input: e.nums[numInput], Output: e.nums[numOutput], CacheRead: e.nums[numCacheRead],
		CacheWrite: e.nums[numCacheWrite], Reasoning: e.nums[numReasoning],
		Cost: usd(numCost), Priced: is(flagPriced),
		Classes:  Classes{usd(numCostInput), usd(numCostCacheRead), usd(numCostCacheWrite), usd(numCostOutput), usd(numCostOther)},
		Baseline: usd(numBaseline), Compared: usd(numCompared),
	}
}

// matches reports whether text, in lower case, is part of an id of e, or of its session.
func (e *entry) matches(text string, texts []string) bool {
	var b [32]byte
	hex.Encode(b[:], e.trace[:])
	if strings.Contains(string(b[:]), text) {
		return true
	}
	hex.Encode(b[:16], e.span[:])
	if strings.Contains(string(b[:16]), text) || strings.Contains(e.requestID(texts), text) {
		return true
	}
	return strings.Contains(strings.ToLower(texts[e.texts[textSession]]), text)
}
