package telemetry

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// console writes JSON lines for people to read, all signals to one writer.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

func (c *console) write(lines ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	encoder := json.NewEncoder(c.w)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("write to console: %w", err)
		}
	}
	return nil
}

// consoleSender prints the spans or log records of a request, one a line.
type consoleSender struct {
	console *console
	signal  Signal
}

type consoleSpan struct {
	Trace      string         `json:"trace_id"`
	Span       string         `json:"span_id"`
	Parent     string         `json:"parent_span_id,omitempty"`
	Name       string         `json:"name"`
	Kind       string         `json:"kind"`
	Start      time.Time      `json:"start"`
	End        time.Time      `json:"end"`
	Status     string         `json:"status"`
	Attributes map[string]any `json:"attributes,omitempty"`
	Events     []string       `json:"events,omitempty"`
}

type consoleLog struct {
	Time       time.Time      `json:"time"`
	Severity   string         `json:"severity"`
	Event      string         `json:"event,omitempty"`
	Body       any            `json:"body,omitempty"`
	Trace      string         `json:"trace_id,omitempty"`
	Span       string         `json:"span_id,omitempty"`
	Attributes map[string]any `json:"attributes,omitempty"`
}

func (s *consoleSender) send(_ context.Context, pieces [][]byte) (int64, string, error) {
	request := slices.Concat(pieces...)
	var lines []any
	var err error
	if s.signal == Traces {
		lines, err = spanLines(request)
	} else {
		lines, err = logLines(request)
	}
	if err == nil {
		err = s.console.write(lines...)
	}
	if err != nil {
		return 0, "", &sendError{err: err}
	}
	return 0, "", nil
}

func (s *consoleSender) close() error { return nil }

func spanLines(request []byte) (lines []any, err error) {
	var data tracepb.TracesData // the same shape as ExportTraceServiceRequest
	if err := proto.Unmarshal(request, &data); err != nil {
		return nil, err
	}
	for _, rs := range data.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				line := consoleSpan{
					Trace: hex.EncodeToString(s.TraceId), Span: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Name: s.Name, Kind: s.Kind.String(), Start: unixNano(s.StartTimeUnixNano), End: unixNano(s.EndTimeUnixNano),
					Status: s.Status.GetCode().String(), Attributes: plainMap(s.Attributes),
				}
				for _, e := range s.Events {
					line.Events = append(line.Events, e.Name)
				}
				lines = append(lines, line)
			}
		}
	}
	return lines, nil
}

func logLines(request []byte) (lines []any, err error) {
	var data logspb.LogsData // the same shape as ExportLogsServiceRequest
	if err := proto.Unmarshal(request, &data); err != nil {
		return nil, err
	}
	for _, rl := range data.ResourceLogs {
		for _, sl := range rl.ScopeLogs {
			for _, r := range sl.LogRecords {
				at := r.TimeUnixNano
				if at == 0 {
					at = r.ObservedTimeUnixNano
				}
				lines = append(lines, consoleLog{
					Time: unixNano(at), Severity: r.SeverityText, Event: r.EventName, Body: plainValue(r.Body),
					Trace: hex.EncodeToString(r.TraceId), Span: hex.EncodeToString(r.SpanId), Attributes: plainMap(r.Attributes),
				})
			}
		}
	}
	return lines, nil
}

func unixNano(n uint64) time.Time { return time.Unix(0, int64(n)).UTC() }

func plainMap(kvs []*commonpb.KeyValue) map[string]any {
	m := make(map[string]any, len(kvs))
	for _, kv := range kvs {
		m[kv.Key] = plainValue(kv.Value)
	}
	return m
}

func plainValue(v *commonpb.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return fmt.Sprint(v.DoubleValue) // JSON has no NaN
	case *commonpb.AnyValue_BytesValue:
		return v.BytesValue
	case *commonpb.AnyValue_ArrayValue:
		var items []any
		for _, item := range v.ArrayValue.Values {
			items = append(items, plainValue(item))
		}
		return items
	case *commonpb.AnyValue_KvlistValue:
		return plainMap(v.KvlistValue.Values)
	}
	return nil
}

// consoleMetrics prints each instrument of a collection, one a line.
type consoleMetrics struct {
	console *console
	sdkmetric.TemporalitySelector
}

func (c consoleMetrics) Temporality(k sdkmetric.InstrumentKind) metricdata.Temporality {
	return c.TemporalitySelector(k)
}

func (c consoleMetrics) Aggregation(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(k)
}

func (c consoleMetrics) Export(_ context.Context, rm *metricdata.ResourceMetrics) error {
	var lines []any
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			lines = append(lines, m)
		}
	}
	return c.console.write(lines...)
}

func (c consoleMetrics) ForceFlush(context.Context) error { return nil }
func (c consoleMetrics) Shutdown(context.Context) error   { return nil }
