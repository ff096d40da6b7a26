package gatewaytest

import (
	"encoding/hex"
	"fmt"
	"sort"
	"strings"
	"time"

	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
)

// Metric is a metric with the newest point of each attribute set.
type Metric struct {
	Name, Description, Unit string
	Type                    string // "sum", "gauge", "histogram", "exponential_histogram" or "summary"
	Monotonic               bool   // of a sum
	Temporality             string // "cumulative" or "delta"; "" for gauges and summaries
	Boundaries              []float64
	Points                  []Point
	Scope                   string
	Resource                map[string]any
}

// Point is one series of a metric.
type Point struct {
	Attributes   map[string]any // values as in Span.Attributes
	Start, Time  time.Time
	Value        float64 // of a sum or gauge
	Count        uint64  // of a histogram or summary, and the three below
	Sum          float64
	Min, Max     float64 // 0 when not sent
	BucketCounts []uint64
	Exemplars    []Exemplar
}

// Exemplar is a measurement kept with the trace it was made in.
type Exemplar struct {
	TraceID, SpanID string
	Value           float64
	Time            time.Time
	Attributes      map[string]any // those the point left out
}

// Metrics returns the metrics received, in the order they were first seen, each
// with its newest points.
func (s *Sink) Metrics() []Metric {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Metric, 0, len(s.order))
	for _, key := range s.order {
		m := *s.metrics[key]
		m.Points = append([]Point(nil), m.Points...)
		all = append(all, m)
	}
	return all
}

// Metric returns the metric of a name; ok is false when none was received. When
// several scopes or resources use the name it is the one first seen.
func (s *Sink) Metric(name string) (m Metric, ok bool) {
	for _, m := range s.Metrics() {
		if m.Name == name {
			return m, true
		}
	}
	return Metric{}, false
}

// Point returns the point that has at least the given attributes (name, value,
// name, value, …; values compared as printed); ok is false when none has.
func (m Metric) Point(pairs ...any) (p Point, ok bool) {
	for _, p := range m.Points {
		matches := true
		for i := 0; i+1 < len(pairs); i += 2 {
			value, has := p.Attributes[fmt.Sprint(pairs[i])]
			matches = matches && has && fmt.Sprint(value) == fmt.Sprint(pairs[i+1])
		}
		if matches {
			return p, true
		}
	}
	return Point{}, false
}

// addMetrics merges an export into what is known. The caller holds s.mu.
func (s *Sink) addMetrics(m *colmetrics.ExportMetricsServiceRequest) {
	for _, r := range m.ResourceMetrics {
		resource := attributesOf(r.GetResource().GetAttributes())
		for _, scope := range r.ScopeMetrics {
			for _, p := range scope.Metrics {
				one := metricOf(p)
				one.Scope, one.Resource = scope.GetScope().GetName(), resource
				s.merge(one)
			}
		}
	}
}

func (s *Sink) merge(one Metric) {
	key := strings.Join([]string{one.Name, one.Scope, canonical(one.Resource)}, "\x00")
	points := one.Points
	known := s.metrics[key]
	if known == nil {
		known = &Metric{}
		s.metrics[key] = known
		s.order = append(s.order, key)
	}
	one.Points = known.Points
	*known = one
	for _, p := range points {
		series := key + "\x00" + canonical(p.Attributes)
		i, ok := s.points[series]
		if !ok {
			s.points[series] = len(known.Points)
			known.Points = append(known.Points, p)
			continue
		}
		if !p.Time.Before(known.Points[i].Time) {
			known.Points[i] = p
		}
	}
}

// canonical prints attributes with their types, in order of name.
func canonical(attributes map[string]any) string {
	names := make([]string, 0, len(attributes))
	for name := range attributes {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%q=%#v;", name, attributes[name])
	}
	return b.String()
}

func metricOf(p *metrics.Metric) Metric {
	m := Metric{Name: p.Name, Description: p.Description, Unit: p.Unit}
	switch data := p.Data.(type) {
	case *metrics.Metric_Gauge:
		m.Type = "gauge"
		m.Points = numberPoints(data.Gauge.DataPoints)
	case *metrics.Metric_Sum:
		m.Type, m.Monotonic = "sum", data.Sum.IsMonotonic
		m.Temporality = temporality(data.Sum.AggregationTemporality)
		m.Points = numberPoints(data.Sum.DataPoints)
	case *metrics.Metric_Histogram:
		m.Type, m.Temporality = "histogram", temporality(data.Histogram.AggregationTemporality)
		for _, d := range data.Histogram.DataPoints {
			m.Boundaries = d.ExplicitBounds
			point := newPoint(d.Attributes, d.StartTimeUnixNano, d.TimeUnixNano, d.Exemplars)
			point.Count, point.Sum, point.Min, point.Max, point.BucketCounts = d.Count, d.GetSum(), d.GetMin(), d.GetMax(), d.BucketCounts
			m.Points = append(m.Points, point)
		}
	case *metrics.Metric_ExponentialHistogram:
		m.Type, m.Temporality = "exponential_histogram", temporality(data.ExponentialHistogram.AggregationTemporality)
		for _, d := range data.ExponentialHistogram.DataPoints {
			point := newPoint(d.Attributes, d.StartTimeUnixNano, d.TimeUnixNano, d.Exemplars)
			point.Count, point.Sum, point.Min, point.Max = d.Count, d.GetSum(), d.GetMin(), d.GetMax()
			point.BucketCounts = d.GetPositive().GetBucketCounts()
			m.Points = append(m.Points, point)
		}
	case *metrics.Metric_Summary:
		m.Type = "summary"
		for _, d := range data.Summary.DataPoints {
			point := newPoint(d.Attributes, d.StartTimeUnixNano, d.TimeUnixNano, nil)
			point.Count, point.Sum = d.Count, d.Sum
			m.Points = append(m.Points, point)
		}
	}
	return m
}

func temporality(t metrics.AggregationTemporality) string {
	return strings.ToLower(strings.TrimPrefix(t.String(), "AGGREGATION_TEMPORALITY_"))
}

func numberPoints(all []*metrics.NumberDataPoint) []Point {
	points := make([]Point, len(all))
	for i, d := range all {
		points[i] = newPoint(d.Attributes, d.StartTimeUnixNano, d.TimeUnixNano, d.Exemplars)
		points[i].Value = d.GetAsDouble()
		if v, ok := d.Value.(*metrics.NumberDataPoint_AsInt); ok {
			points[i].Value = float64(v.AsInt)
		}
	}
	return points
}

func newPoint(attributes []*common.KeyValue, start, end uint64, exemplars []*metrics.Exemplar) Point {
	p := Point{Attributes: attributesOf(attributes), Start: timeOf(start), Time: timeOf(end)}
	for _, e := range exemplars {
		value := e.GetAsDouble()
		if v, ok := e.Value.(*metrics.Exemplar_AsInt); ok {
			value = float64(v.AsInt)
		}
		p.Exemplars = append(p.Exemplars, Exemplar{
			TraceID: hex.EncodeToString(e.TraceId), SpanID: hex.EncodeToString(e.SpanId),
			Value: value, Time: timeOf(e.TimeUnixNano), Attributes: attributesOf(e.FilteredAttributes),
		})
	}
	return p
}
