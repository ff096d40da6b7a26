package store

import (
	"math"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// role is what the summary makes of the values of a key: a place in the entry, how to get there, and on which spans.
type role uint16

const (
	rolePlace role = 0xff // the place in nums or texts

	roleText   role = 1 << 8  // goes to texts
	roleSum    role = 1 << 9  // is added, in billionths if it is a float
	roleSet    role = 1 << 10 // replaces
	roleServer role = 1 << 11 // of the SERVER span
	roleGen    role = 1 << 12 // of GenAI spans
	roleOurs   role = 1 << 13 // of our other spans
	roleAlone  role = 1 << 14 // an id, which does not come twice: a table is no gain
	roleOther  role = 1 << 15 // see note

	roleNone role = 0
)

func roleOf(key attribute.Key) role { return roles[key] }

// roles has the keys that matter to a summary. Read-only.
var roles = map[attribute.Key]role{
	names.KeyRequestID:         roleOther | roleServer | roleAlone,
	names.KeyGenAIResponseID:   roleAlone,
	names.KeyUpstreamRequestID: roleAlone,

	names.KeyDialect:         textDialect | roleText | roleServer,
	names.KeyLabel:           textLabel | roleText | roleServer,
	names.KeyRouteRule:       textRule | roleText | roleServer,
	names.KeyRouteReason:     textReason | roleText | roleServer,
	names.KeyModelOriginal:   textOriginal | roleText | roleServer,
	names.KeyModelRouted:     textRouted | roleText | roleServer,
	names.KeyProvider:        textProvider | roleText | roleServer,
	names.KeyOutcome:         textOutcome | roleText | roleServer,
	names.KeyRejectionReason: textRejection | roleText | roleServer,
	names.KeyErrorType:       textErrorType | roleText | roleServer,
	names.KeyKeyID:           textKey | roleText | roleServer,
	names.KeyTeam:            textTeam | roleText | roleServer,
	names.KeyUserID:          textUser | roleText | roleServer,
	names.KeySessionID:       textSession | roleText | roleServer,
	names.KeyFallbackReason:  textFallbackReason | roleText | roleServer,
	names.KeyCostBilling:     textBilling | roleText | roleGen,

	names.KeyHTTPResponseStatusCode: numStatus | roleSet | roleServer,
	names.KeyAttempts:               numAttempts | roleSet | roleServer,
	names.KeyFallbacks:              numFallbacks | roleSet | roleServer,
	names.KeyOverhead:               numOverhead | roleSet | roleServer,
	names.KeyCost:                   numCost | roleSet | roleServer | roleOther,
	names.KeyRoutePassthrough:       roleOther | roleServer,

	names.KeyGenAIUsageInputTokens:           numInput | roleSum | roleGen,
	names.KeyGenAIUsageOutputTokens:          numOutput | roleSum | roleGen,
	names.KeyGenAIUsageCacheReadInputTokens:  numCacheRead | roleSum | roleGen,
	names.KeyGenAIUsageCacheWriteInputTokens: numCacheWrite | roleSum | roleGen,
	names.KeyGenAIUsageReasoningOutputTokens: numReasoning | roleSum | roleGen,
	names.KeyCostInput:                       numCostInput | roleSum | roleGen,
	names.KeyCostCacheRead:                   numCostCacheRead | roleSum | roleGen,
	names.KeyCostCacheWrite:                  numCostCacheWrite | roleSum | roleGen,
	names.KeyCostOutput:                      numCostOutput | roleSum | roleGen,
	names.KeyCostOther:                       numCostOther | roleSum | roleGen,
	names.KeyGenAIRequestStream:              roleOther | roleGen,
	names.KeyGenAIResponseTimeToFirstChunk:   numTTFT | roleSet | roleGen,

	names.KeyStreamTimeToFirstToken: numTTFT | roleSet | roleOurs,
	names.KeyRoutingBaselineCost:    numBaseline | roleSum | roleOurs,
}

// kindOf is what a span is to the summary.
func kindOf(kind trace.SpanKind, scope string) role {
	switch {
	case kind == trace.SpanKindServer:
		return roleServer
	case scope == names.ScopeGenAI:
		return roleGen
	case scope == names.ScopeGateway:
		return roleOurs
	}
	return roleNone
}

// summary fills an entry while the exchange's spans are written.
type summary struct {
	*entry
	rows *table
}

// begin reads what is no attribute from the SERVER span.
func (s *summary) begin(server sdktrace.ReadOnlySpan) {
	empty := uint16(s.rows.id(""))
	for i := range s.texts {
		s.texts[i] = empty
	}
	sc := server.SpanContext()
	s.trace, s.span = sc.TraceID(), sc.SpanID()
	s.nums[numStart] = server.StartTime().UnixNano()
	s.nums[numDuration] = max(0, int64(server.EndTime().Sub(server.StartTime())))
}

// note takes a value in.
func (s *summary) note(r role, v *attribute.Value) {
	at := r & rolePlace
	switch {
	case r&roleText != 0:
		s.texts[at] = uint16(s.rows.id(short(v.AsString())))
	case r&roleSum != 0:
		s.nums[at] += number(v)
	case at == numTTFT && r&roleGen != 0 && s.nums[numTTFT] > 0:
		// The stream's span has said when the first token came, which is not always in the first chunk.
	case r&roleSet != 0:
		s.nums[at] = number(v)
		if r&roleOther != 0 {
			s.nums[numFlags] |= flagPriced
		}
	case r&roleOther == 0:
	case v.Type() == attribute.BOOL:
		flag := int64(flagPassthrough)
		if r&roleGen != 0 {
			flag = flagStream
		}
		if v.AsBool() {
			s.nums[numFlags] |= flag
		}
	default:
		if id, err := uuid.Parse(v.AsString()); err == nil {
			s.request = id
		} else {
			s.texts[textRequestID] = uint16(s.rows.id(short(v.AsString())))
		}
	}
}

// end compares what can be compared.
func (s *summary) end() {
	if s.nums[numBaseline] > 0 {
		s.nums[numCompared] = s.nums[numCost]
	}
}

// number is an integer, or a float in billionths; 0 for what cannot be counted.
func number(v *attribute.Value) int64 {
	if v.Type() == attribute.INT64 {
		return v.AsInt64()
	}
	f := v.AsFloat64() * 1e9
	if !(math.Abs(f) < math.MaxInt64/2) {
		return 0
	}
	return int64(math.Round(f))
}
