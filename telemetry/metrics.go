package telemetry

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

const (
	seriesLimit    = 2000 // attribute sets an instrument; what is beyond goes to one series marked otel.metric.overflow
	readMemStats   = 15 * time.Second
	metricRetry    = time.Second
	metricRetryMax = 5 * time.Second
)

// views give every histogram of the contract its boundaries, whoever makes the instrument, and leave out what the
// contract does not have but libraries record.
func views() []sdkmetric.View {
	var list []sdkmetric.View
	for _, m := range names.Metrics {
		if m.Kind == names.Histogram {
			list = append(list, sdkmetric.NewView(sdkmetric.Instrument{Name: m.Name}, sdkmetric.Stream{
				Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: m.Boundaries},
			}))
		}
	}
	return append(list, sdkmetric.NewView(sdkmetric.Instrument{Name: "http.*.body.size"}, sdkmetric.Stream{
		Aggregation: sdkmetric.AggregationDrop{},
	}))
}

func (c Config) exemplars() exemplar.Filter {
	switch c.ExemplarFilter {
	case "always_on":
		return exemplar.AlwaysOnFilter
	case "always_off":
		return exemplar.AlwaysOffFilter
	}
	return exemplar.TraceBasedFilter
}

func (c Config) temporality() sdkmetric.TemporalitySelector {
	switch c.Temporality {
	case "delta":
		return sdkmetric.DeltaTemporalitySelector
	case "lowmemory":
		return sdkmetric.LowMemoryTemporalitySelector
	}
	return sdkmetric.CumulativeTemporalitySelector
}

// newMetricExporter returns the library's exporter for e. Every setting the library would else take from the process's
// environment is given, as that has been applied to the configuration already.
func newMetricExporter(ctx context.Context, e Exporter, to endpoint, conn *grpc.ClientConn, t sdkmetric.TemporalitySelector, retry bool) (sdkmetric.Exporter, error) {
	headers := e.Headers
	if headers == nil {
		headers = map[string]string{}
	}
	if to.protocol == ProtocolGRPC {
		return otlpmetricgrpc.New(ctx,
			otlpmetricgrpc.WithGRPCConn(conn),
			otlpmetricgrpc.WithHeaders(headers),
			otlpmetricgrpc.WithTimeout(e.Timeout),
			otlpmetricgrpc.WithTemporalitySelector(t),
			otlpmetricgrpc.WithAggregationSelector(sdkmetric.DefaultAggregationSelector),
			otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: retry, InitialInterval: metricRetry, MaxInterval: metricRetryMax, MaxElapsedTime: e.Timeout}))
	}
	client, err := e.httpClient(to)
	if err != nil {
		return nil, err
	}
	compression := otlpmetrichttp.NoCompression
	if e.Compression == "gzip" {
		compression = otlpmetrichttp.GzipCompression
	}
	exporter, err := otlpmetrichttp.New(ctx,
		otlpmetrichttp.WithTLSClientConfig(nil), // the client has it
		otlpmetrichttp.WithHTTPClient(client),
		otlpmetrichttp.WithEndpointURL(to.target),
		otlpmetrichttp.WithHeaders(headers),
		otlpmetrichttp.WithTimeout(e.Timeout),
		otlpmetrichttp.WithCompression(compression),
		otlpmetrichttp.WithMaxResponseSize(maxResponse),
		otlpmetrichttp.WithTemporalitySelector(t),
		otlpmetrichttp.WithAggregationSelector(sdkmetric.DefaultAggregationSelector),
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: retry, InitialInterval: metricRetry, MaxInterval: metricRetryMax, MaxElapsedTime: e.Timeout}))
	if err != nil {
		return nil, err
	}
	return idleCloser{exporter, client.CloseIdleConnections}, nil
}

// idleCloser closes the connections of an HTTP exporter when it ends.
type idleCloser struct {
	sdkmetric.Exporter
	closeIdle func()
}

func (c idleCloser) Shutdown(ctx context.Context) error {
	defer c.closeIdle()
	return c.Exporter.Shutdown(ctx)
}

// metricExporter keeps the state of an exporter. Its errors end here: the SDK would hand them to a global handler that
// prints each.
type metricExporter struct {
	sdkmetric.Exporter
	last    sdkmetric.Exporter // for the export at shutdown, which must not wait and try again
	closing *atomic.Bool       // shutdown has begun
	state   *exporterState
	delta   bool // what is not delivered is lost; else the next export repeats it
}

// partialSuccessError matches how the library's exporters report a partial success, whose type they keep to themselves.
var partialSuccessError = regexp.MustCompile(`OTLP partial success: (.*) \((\d+) metric data points rejected\)`)

func (m metricExporter) Export(ctx context.Context, rm *metricdata.ResourceMetrics) error {
	points := countPoints(rm)
	err := m.export(ctx, rm)
	if err == nil {
		m.state.succeeded(points, 0, "")
		return nil
	}
	if match := partialSuccessError.FindStringSubmatch(err.Error()); match != nil {
		rejected, _ := strconv.ParseInt(match[2], 10, 64)
		m.state.succeeded(points-min(rejected, points), rejected, match[1])
		return nil
	}
	m.state.failed(err)
	if m.delta {
		m.state.drops.add(names.DropExportFailed, points)
	}
	return nil
}

func (m metricExporter) export(ctx context.Context, rm *metricdata.ResourceMetrics) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("exporter panicked: %v", p)
		}
	}()
	if m.closing.Load() {
		return m.last.Export(ctx, rm)
	}
	return m.Exporter.Export(ctx, rm)
}

// Shutdown ends both exporters.
func (m metricExporter) Shutdown(ctx context.Context) error {
	return errors.Join(m.Exporter.Shutdown(ctx), m.last.Shutdown(ctx))
}

func countPoints(rm *metricdata.ResourceMetrics) (n int64) {
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				n += int64(len(data.DataPoints))
			case metricdata.Sum[float64]:
				n += int64(len(data.DataPoints))
			case metricdata.Gauge[int64]:
				n += int64(len(data.DataPoints))
			case metricdata.Gauge[float64]:
				n += int64(len(data.DataPoints))
			case metricdata.Histogram[int64]:
				n += int64(len(data.DataPoints))
			case metricdata.Histogram[float64]:
				n += int64(len(data.DataPoints))
			}
		}
	}
	return n
}

// observe registers the telemetry's metrics about itself, the process and the Go runtime.
func (t *Telemetry) observe() error {
	meter := t.meters.Meter(names.ScopeTelemetry)
	description, unit := described(names.MetricTelemetryDropped)
	dropped, err1 := meter.Int64ObservableCounter(names.MetricTelemetryDropped, description, unit)
	description, unit = described(names.MetricTelemetryQueueBytes)
	queued, err2 := meter.Int64ObservableGauge(names.MetricTelemetryQueueBytes, description, unit)
	description, unit = described(names.MetricProcessCPUTime)
	cpu, err3 := meter.Float64ObservableCounter(names.MetricProcessCPUTime, description, unit)
	description, unit = described(names.MetricProcessMemoryUsage)
	memory, err4 := meter.Int64ObservableUpDownCounter(names.MetricProcessMemoryUsage, description, unit)
	_, err5 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		t.observeQueues(o, dropped, queued)
		return nil
	}, dropped, queued)
	_, err6 := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		observeProcess(o, cpu, memory)
		return nil
	}, cpu, memory)
	err7 := runtime.Start(runtime.WithMeterProvider(t.meters), runtime.WithMinimumReadMemStatsInterval(readMemStats))
	return errors.Join(err1, err2, err3, err4, err5, err6, err7)
}

// observeQueues reports, per signal, losses since the start and bytes waiting now. Every reason is reported from the
// start, at zero, so that a rate exists before the first loss.
func (t *Telemetry) observeQueues(o metric.Observer, dropped metric.Int64Observable, queued metric.Int64Observable) {
	for _, signal := range []Signal{Traces, Metrics, Logs} {
		byReason, bytes := t.losses(signal), t.waiting(signal)
		key := names.KeyTelemetrySignal.String(string(signal))
		for _, reason := range names.TelemetryDropReasons {
			o.ObserveInt64(dropped, byReason[reason], metric.WithAttributes(key, names.KeyTelemetryDropReason.String(reason)))
		}
		if signal != Metrics {
			o.ObserveInt64(queued, bytes, metric.WithAttributes(key))
		}
	}
}

func observeProcess(o metric.Observer, cpu metric.Float64Observable, memory metric.Int64Observable) {
	if user, system, ok := cpuTimes(); ok {
		o.ObserveFloat64(cpu, user.Seconds(), metric.WithAttributes(names.KeyCPUMode.String(names.CPUModeUser)))
		o.ObserveFloat64(cpu, system.Seconds(), metric.WithAttributes(names.KeyCPUMode.String(names.CPUModeSystem)))
	}
	if rss, ok := residentMemory(); ok {
		o.ObserveInt64(memory, rss)
	}
}

// described returns the description and the unit the contract gives a metric.
func described(name string) (description, unit metric.InstrumentOption) {
	for _, m := range names.Metrics {
		if m.Name == name {
			return metric.WithDescription(m.Description), metric.WithUnit(m.Unit)
		}
	}
	return metric.WithDescription(""), metric.WithUnit("")
}
