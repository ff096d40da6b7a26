// Package telemetry makes the traces, metrics and logs of the gateway and sends them on. It is the only package that knows
// the OpenTelemetry SDK; others see the API's providers.
//
//	span ends ──┐                 ┌─ queue (bytes) ─ worker ─ exporter "main"   ─ OTLP over gRPC or HTTP
//	log record ─┴─ encoded once ──┤
//	                              └─ queue (bytes) ─ worker ─ exporter "second" …
//	metrics ─── reader per exporter, and one for the Prometheus handler
//
// Telemetry never slows or fails a request: spans and log records are encoded as they end, queues are bounded in bytes, a
// full queue drops and counts, and a collector that is down, slow or hostile costs no more than its queue.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	lognoop "go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// shutdownTime bounds Shutdown whatever its context allows.
const shutdownTime = 5 * time.Second

// perSeriesStart makes the SDK give each series the time it began, not the process: without it a rate over a series that
// comes late misses its first increase. The SDK has no other switch.
const perSeriesStart = "OTEL_GO_X_PER_SERIES_START_TIMESTAMPS"

// Telemetry is running telemetry. Its methods may be called concurrently.
type Telemetry struct {
	config     Config
	traces     trace.TracerProvider
	meters     metric.MeterProvider
	loggers    log.LoggerProvider
	prometheus http.Handler

	scopes    scopes
	tail      *tail // nil: every trace is kept
	tailDrops drops
	states    []*exporterState
	workers   []*worker
	conns     map[connKey]*grpc.ClientConn
	senders   []sender
	stops     []func(context.Context) error // the SDK's providers
	cancel    context.CancelFunc            // ends the workers' sends

	closing     atomic.Bool // shutdown has begun
	once        sync.Once
	shutdownErr error
}

// Start makes telemetry as cfg says. It fails on a configuration that cannot work (see Config.Validate, and files that
// cannot be read), never because a collector does not answer, and waits for nothing. It sets no global provider, but the
// SDK's environment switch for start times. ctx carries values only; cancelling it later changes nothing. Call Shutdown
// when the last exchange has ended.
func Start(ctx context.Context, cfg Config) (*Telemetry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("telemetry configuration: %w", err)
	}
	t := &Telemetry{config: cfg.withDefaults(), conns: map[connKey]*grpc.ClientConn{}, cancel: func() {}}
	if cfg.Disabled {
		t.traces, t.meters, t.loggers = tracenoop.NewTracerProvider(), metricnoop.NewMeterProvider(), lognoop.NewLoggerProvider()
		t.prometheus = http.NotFoundHandler()
		return t, nil
	}
	if err := t.start(ctx); err != nil {
		_ = t.Shutdown(ctx) // releases what was made; err says what matters
		return nil, fmt.Errorf("start telemetry: %w", err)
	}
	return t, nil
}

func (t *Telemetry) start(ctx context.Context) error {
	if _, set := os.LookupEnv(perSeriesStart); !set {
		if err := os.Setenv(perSeriesStart, "true"); err != nil {
			return err
		}
	}
	res, err := t.config.resource(ctx)
	if err != nil {
		return err
	}
	outs, err := t.newOutlets(ctx)
	if err != nil {
		return err
	}
	t.startTraces(res, outs)
	t.startLogs(outs)
	if err := t.startMetrics(res, outs); err != nil {
		return err
	}
	t.startWorkers(ctx, res, outs)
	return nil
}

func (c Config) resource(ctx context.Context) (*resource.Resource, error) {
	attrs := []attribute.KeyValue{
		semconv.ServiceName(c.ServiceName),
		semconv.ServiceInstanceID(uuid.NewString()), // replicas' series would collide without it
	}
	if c.ServiceVersion != "" {
		attrs = append(attrs, semconv.ServiceVersion(c.ServiceVersion))
	}
	res, err := resource.New(ctx,
		resource.WithSchemaURL(semconv.SchemaURL),
		resource.WithTelemetrySDK(),
		resource.WithAttributes(attrs...),
		resource.WithAttributes(c.Resource...))
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return nil, fmt.Errorf("describe this process: %w", err)
	}
	return res, nil
}

func (t *Telemetry) startTraces(res *resource.Resource, outs outlets) {
	limits := t.config.SpanLimits
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res),
		sdktrace.WithoutPanicRecording(),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeCountLimit:         limits.Attributes,
			AttributeValueLengthLimit:   limits.ValueLength,
			AttributeValueDepthLimit:    sdktrace.DefaultAttributeValueDepthLimit,
			EventCountLimit:             limits.Events,
			LinkCountLimit:              limits.Links,
			AttributePerEventCountLimit: limits.EventAttributes,
			AttributePerLinkCountLimit:  limits.LinkAttributes,
		}),
	}
	sampler := sdktrace.AlwaysSample() // callers' sampled flags are not obeyed; whether a trace leaves is decided at its end
	if len(outs.traces) == 0 && len(t.config.SpanProcessors) == 0 {
		sampler = sdktrace.NeverSample() // nobody looks: spans get ids and cost next to nothing
	}
	options = append(options, sdktrace.WithSampler(sampler))
	for _, p := range t.config.SpanProcessors {
		options = append(options, sdktrace.WithSpanProcessor(guarded{p}))
	}
	if len(outs.traces) > 0 {
		p := &spanProcessor{encoder: encoder{maxString: limits.ValueLength}, scopes: &t.scopes, queues: outs.traces}
		if !t.config.keepsAll() {
			t.tail = newTail(t.config.Sampling.Ratio, t.config.QueueBytes, &t.tailDrops, p.forward)
			p.tail = t.tail
		}
		options = append(options, sdktrace.WithSpanProcessor(p))
	}
	provider := sdktrace.NewTracerProvider(options...)
	t.traces = provider
	t.stops = append(t.stops, provider.Shutdown)
}

func (t *Telemetry) startLogs(outs outlets) {
	if len(outs.logs) == 0 {
		t.loggers = lognoop.NewLoggerProvider() // says it is not enabled, so nothing is built for it
		return
	}
	t.loggers = &loggerProvider{encoder: encoder{maxString: maxLogValue}, scopes: &t.scopes, queues: outs.logs}
}

func (t *Telemetry) startMetrics(res *resource.Resource, outs outlets) error {
	scrape, handler, err := newPrometheus()
	if err != nil {
		return err
	}
	options := []sdkmetric.Option{
		sdkmetric.WithResource(res),
		sdkmetric.WithReader(scrape),
		sdkmetric.WithView(views()...),
		sdkmetric.WithExemplarFilter(t.config.exemplars()),
		sdkmetric.WithCardinalityLimit(seriesLimit),
	}
	// The reader that scrapes use is cumulative; another temporality needs readers of its own.
	shared := t.config.Temporality == "" || t.config.Temporality == "cumulative"
	for _, exporter := range outs.metrics {
		if shared {
			break
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter,
			sdkmetric.WithInterval(t.config.MetricInterval),
			sdkmetric.WithTimeout(t.config.MetricTimeout))))
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.meters, t.prometheus = provider, handler
	stop := provider.Shutdown
	if shared && len(outs.metrics) > 0 {
		p := newPusher(scrape, outs.metrics, t.config.MetricInterval, t.config.MetricTimeout)
		stop = func(ctx context.Context) error { return errors.Join(p.shutdown(ctx), provider.Shutdown(ctx)) }
	}
	t.stops = append(t.stops, stop)
	if err := t.observe(); err != nil {
		return fmt.Errorf("observe own process: %w", err)
	}
	return nil
}

func (t *Telemetry) startWorkers(ctx context.Context, res *resource.Resource, outs outlets) {
	e := encoder{maxString: maxLogValue}
	header, footer := e.resource(nil, res), e.optionalText(nil, 3, res.SchemaURL())
	prepare := func(b *batch) [][]byte { return b.request(header, footer, t.scopes.all()) }
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, w := range outs.workers {
		w.prepare = prepare
		t.workers = append(t.workers, w)
		go w.run(ctx)
	}
}

// TracerProvider returns the provider of tracers. With nothing to see spans, they have ids but do not record.
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.traces }

// MeterProvider returns the provider of meters.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.meters }

// LoggerProvider returns the provider of loggers, whose loggers are not enabled when no exporter takes logs.
func (t *Telemetry) LoggerProvider() log.LoggerProvider { return t.loggers }

// PrometheusHandler serves the metrics for those who scrape, collected at most once a second. When telemetry is disabled
// it answers 404.
func (t *Telemetry) PrometheusHandler() http.Handler { return t.prometheus }

// Detail returns the configured detail, one of the Detail constants.
func (t *Telemetry) Detail() string { return t.config.Detail }

// Shed, while on, gives up queued content and all but an eighth of each queue: telemetry goes first when memory is short.
func (t *Telemetry) Shed(on bool) {
	for _, w := range t.workers {
		w.queue.press(on)
	}
}

// Shutdown sends what is left, all signals at once, and ends every goroutine. It takes no longer than 5 s, or ctx if that
// is sooner; with a collector that refuses connections a fraction of a second. What could not be sent is reported as a
// *LostError. Calling it again returns the same.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	t.once.Do(func() { t.shutdownErr = t.shutdown(ctx) })
	return t.shutdownErr
}

func (t *Telemetry) shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	defer context.AfterFunc(ctx, t.cancel)()
	t.closing.Store(true)
	if t.tail != nil {
		t.tail.close()
	}
	before := t.lostSoFar()

	var all sync.WaitGroup
	errs := make([]error, len(t.stops))
	for i, stop := range t.stops {
		all.Go(func() { errs[i] = stop(ctx) })
	}
	for _, w := range t.workers {
		all.Go(w.shutdown)
	}
	all.Wait()
	t.cancel()
	for _, s := range t.senders {
		errs = append(errs, s.close())
	}
	for _, conn := range t.conns {
		errs = append(errs, conn.Close())
	}
	if lost := t.lostSince(before); len(lost) > 0 {
		errs = append(errs, &LostError{Lost: lost})
	}
	return errors.Join(errs...)
}

func (t *Telemetry) lostSoFar() map[Signal]int64 {
	lost := map[Signal]int64{}
	for _, signal := range []Signal{Traces, Metrics, Logs} {
		for reason, n := range t.losses(signal) {
			if reason != names.DropShutdown { // those are all of this moment
				lost[signal] += n
			}
		}
	}
	return lost
}

func (t *Telemetry) lostSince(before map[Signal]int64) map[Signal]int64 {
	lost := map[Signal]int64{}
	for _, signal := range []Signal{Traces, Metrics, Logs} {
		var n int64
		for _, count := range t.losses(signal) {
			n += count
		}
		if n -= before[signal]; n > 0 {
			lost[signal] = n
		}
	}
	return lost
}
