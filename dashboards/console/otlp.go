package console

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"

	"github.com/ccproxy/ccproxy/telemetry/names"
	"github.com/ccproxy/ccproxy/telemetry/store"
)

// OTLP in JSON: ids in hexadecimal, 64-bit numbers as text, enumerations as numbers
// (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding, read 2026-11).

type otlpTraces struct {
	ResourceSpans []otlpResource `json:"resourceSpans"`
}

type otlpResource struct {
	Resource   otlpAttributes `json:"resource"`
	ScopeSpans []otlpScope    `json:"scopeSpans"`
}

type otlpAttributes struct {
	Attributes []otlpPair `json:"attributes"`
}

type otlpScope struct {
	Scope struct {
		Name string `json:"name"`
	} `json:"scope"`
	Spans []otlpSpan `json:"spans"`
}

type otlpSpan struct {
	TraceID    string      `json:"traceId"`
	SpanID     string      `json:"spanId"`
	Parent     string      `json:"parentSpanId,omitempty"`
	Name       string      `json:"name"`
	Kind       int         `json:"kind"`
	Start      string      `json:"startTimeUnixNano"`
	End        string      `json:"endTimeUnixNano"`
	Attributes []otlpPair  `json:"attributes"`
	Events     []otlpEvent `json:"events,omitempty"`
	Links      []otlpLink  `json:"links,omitempty"`
	Status     otlpStatus  `json:"status"`
}

type otlpEvent struct {
	Time       string     `json:"timeUnixNano"`
	Name       string     `json:"name"`
	Attributes []otlpPair `json:"attributes"`
}

type otlpLink struct {
	TraceID    string     `json:"traceId"`
	SpanID     string     `json:"spanId"`
	Attributes []otlpPair `json:"attributes"`
}

type otlpStatus struct {
	Message string `json:"message,omitempty"`
	Code    int    `json:"code,omitempty"`
}

type otlpPair struct {
	Key   string    `json:"key"`
	Value otlpValue `json:"value"`
}

type otlpValue struct {
	String *string    `json:"stringValue,omitempty"`
	Bool   *bool      `json:"boolValue,omitempty"`
	Int    *string    `json:"intValue,omitempty"`
	Double *float64   `json:"doubleValue,omitempty"`
	Array  *otlpArray `json:"arrayValue,omitempty"`
	Bytes  *string    `json:"bytesValue,omitempty"`
}

type otlpArray struct {
	Values []otlpValue `json:"values"`
}

// serveOTLP answers GET /api/requests/{id}/otlp: the trace as a file that takes other tools further.
func (c *Console) serveOTLP(w http.ResponseWriter, r *http.Request) {
	traces, ok := c.find(w, r)
	if !ok {
		return
	}
	// The id is the store's, in hexadecimal: it cannot break out of the quotes.
	w.Header().Set("Content-Disposition", `attachment; filename="trace-`+traces[0].Exchange.TraceID.String()+`.json"`)
	writeJSON(w, http.StatusOK, otlpOf(traces))
}

func otlpOf(traces []store.Trace) otlpTraces {
	var res otlpResource
	res.Resource.Attributes = otlpPairs([]attribute.KeyValue{names.KeyServiceName.String(serviceName)})
	at := map[string]int{} // :: scope → its place
	for i := range traces {
		for _, o := range Order(traces[i].Spans) {
			n, ok := at[o.Scope]
			if !ok {
				n = len(res.ScopeSpans)
				at[o.Scope] = n
				res.ScopeSpans = append(res.ScopeSpans, otlpScope{})
				res.ScopeSpans[n].Scope.Name = o.Scope
			}
			res.ScopeSpans[n].Spans = append(res.ScopeSpans[n].Spans, otlpSpanOf(o.Span))
		}
	}
	return otlpTraces{[]otlpResource{res}}
}

func otlpSpanOf(s *store.Span) otlpSpan {
	v := otlpSpan{
		TraceID: s.TraceID.String(), SpanID: s.SpanID.String(), Name: s.Name, Kind: int(s.Kind), // the SDK numbers kinds as OTLP does
		Start: strconv.FormatInt(s.Start.UnixNano(), 10), End: strconv.FormatInt(s.End.UnixNano(), 10), Attributes: otlpPairs(s.Attributes),
	}
	if s.Parent.IsValid() {
		v.Parent = s.Parent.String()
	}
	for i := range s.Events {
		e := &s.Events[i]
		v.Events = append(v.Events, otlpEvent{strconv.FormatInt(e.Time.UnixNano(), 10), e.Name, otlpPairs(e.Attributes)})
	}
	for i := range s.Links {
		l := &s.Links[i]
		v.Links = append(v.Links, otlpLink{l.TraceID.String(), l.SpanID.String(), otlpPairs(l.Attributes)})
	}
	switch v.Status.Message = s.StatusText; s.Status { // OTLP numbers Ok and Error the other way round
	case codes.Ok:
		v.Status.Code = 1
	case codes.Error:
		v.Status.Code = 2
	}
	return v
}

func otlpPairs(kvs []attribute.KeyValue) []otlpPair {
	out := make([]otlpPair, 0, len(kvs))
	for _, kv := range kvs {
		out = append(out, otlpPair{string(kv.Key), otlpValueOf(kv.Value)})
	}
	return out
}

func otlpValueOf(v attribute.Value) otlpValue {
	switch v.Type() {
	case attribute.BOOL:
		b := v.AsBool()
		return otlpValue{Bool: &b}
	case attribute.INT64:
		n := strconv.FormatInt(v.AsInt64(), 10)
		return otlpValue{Int: &n}
	case attribute.FLOAT64:
		if f := v.AsFloat64(); f-f == 0 { // JSON has neither infinite numbers nor NaN
			return otlpValue{Double: &f}
		}
	case attribute.STRINGSLICE:
		a := &otlpArray{Values: []otlpValue{}}
		for _, s := range v.AsStringSlice() {
			a.Values = append(a.Values, otlpValue{String: &s})
		}
		return otlpValue{Array: a}
	case attribute.BYTESLICE:
		s := base64.StdEncoding.EncodeToString(v.AsByteSlice())
		return otlpValue{Bytes: &s}
	case attribute.EMPTY:
		return otlpValue{}
	}
	s := v.String()
	return otlpValue{String: &s}
}
