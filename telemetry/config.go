package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Signal is one of the three kinds of telemetry.
type Signal string

// The signals.
const (
	Traces  Signal = names.SignalTraces
	Metrics Signal = names.SignalMetrics
	Logs    Signal = names.SignalLogs
)

// Protocols an exporter can speak.
const (
	ProtocolGRPC    = "grpc"
	ProtocolHTTP    = "http/protobuf"
	ProtocolConsole = "console" // JSON lines on Config.Console
)

// Details, from least to most spans. The package only carries the value; the engine acts on it.
const (
	DetailMinimal  = "minimal"
	DetailStandard = "standard"
	DetailFull     = "full"
)

// Config says what telemetry to make and where to send it. The zero value exports nothing and still serves the
// Prometheus handler.
type Config struct {
	ServiceName    string               // "": ccproxy
	ServiceVersion string               // "": not said
	Resource       []attribute.KeyValue // further resource attributes; those here win over ServiceName and ServiceVersion
	Detail         string               // "": standard
	Compat         []string             // further vocabularies, for the recorder (names.Compat…); only carried here

	Disabled       bool      // OTEL_SDK_DISABLED: every provider does nothing
	Sampling       *Sampling // nil: every trace is exported
	Exporters      []Exporter
	QueueBytes     int           // bound of each exporter's queue of spans, and of log records; 0: 32 MiB
	SpanBatch      Batch         // how spans leave
	LogBatch       Batch         // how log records leave
	MetricInterval time.Duration // between two exports of metrics; 0: 60 s
	MetricTimeout  time.Duration // for one collection and export; 0: 30 s
	Temporality    string        // "" or cumulative, delta, lowmemory
	ExemplarFilter string        // "" or trace_based, always_on, always_off
	SpanLimits     *SpanLimits   // nil: DefaultSpanLimits
	Propagators    []string      // nil: tracecontext, baggage; only carried here

	// SpanProcessors see every recorded span as it ends, sampled away or not; a panic in one is recovered.
	SpanProcessors []sdktrace.SpanProcessor
	// Logger takes the package's own complaints, each kind at most once a minute. It must not be bridged to OTLP, or a
	// failing collector would feed itself. nil: nothing is logged.
	Logger *slog.Logger
	// Console is where console exporters write; nil: they write nothing.
	Console io.Writer
}

// Sampling keeps a share of the traces whole. The gateway records every span and decides when the exchange ends.
type Sampling struct {
	Ratio float64   // share of traces kept whatever happened, 0 to 1
	Keep  KeepRules // what is kept beyond it
}

// KeepRules names the exchanges that are kept whatever the ratio. The zero value keeps none.
type KeepRules struct {
	Error           bool
	Fallback        bool
	ModerationBlock bool
	BudgetDenied    bool
	CostOver        float64       // USD; 0: no rule
	DurationOver    time.Duration // 0: no rule
}

// Exporter is one place telemetry goes to.
type Exporter struct {
	Name     string // in status and logs; "": the host of the end point
	Endpoint string // URL or host:port; "": the exporter is ignored, unless its protocol is console
	// Exact says that Endpoint is the whole URL of its signal; else /v1/<signal> is appended for http/protobuf.
	Exact       bool
	Protocol    string            // "": http/protobuf for port 4318, else grpc
	Headers     map[string]string // sent with every export; values are secrets
	Signals     []Signal          // nil: all
	Compression string            // "" or none, gzip
	Insecure    bool              // no TLS for an end point without scheme; loopback ones never use it
	CA          string            // file of PEM certificates to trust; "": the system's
	Cert, Key   string            // files of the client's certificate and key; "": none
	Timeout     time.Duration     // for one export; 0: 10 s
}

// Batch bounds how items leave a queue. Zero fields take the defaults.
type Batch struct {
	Items int           // most items a batch; 0: 512
	Bytes int           // most bytes a batch; 0: 3 MiB, below the Collector's 4 MiB limit of a gRPC message
	Delay time.Duration // longest wait for a batch to fill; 0: 1 s
}

// SpanLimits bounds a span. Negative: no limit. Zero: none allowed.
type SpanLimits struct {
	Attributes      int
	ValueLength     int // bytes of a string value
	Events          int
	Links           int
	EventAttributes int
	LinkAttributes  int
}

// DefaultSpanLimits returns 128 of each, and values of 8 KiB.
func DefaultSpanLimits() SpanLimits {
	return SpanLimits{Attributes: 128, ValueLength: 8 << 10, Events: 128, Links: 128, EventAttributes: 128, LinkAttributes: 128}
}

const (
	defaultQueueBytes     = 32 << 20
	defaultBatchItems     = 512
	defaultBatchBytes     = 3 << 20
	defaultBatchDelay     = time.Second
	defaultExportTimeout  = 10 * time.Second
	defaultMetricInterval = time.Minute
	defaultMetricTimeout  = 30 * time.Second
	maxLogValue           = 64 << 10 // content is capped there by the recorder, keeping its JSON whole
)

func (b Batch) withDefaults() Batch {
	b.Items = positive(b.Items, defaultBatchItems)
	b.Bytes = positive(b.Bytes, defaultBatchBytes)
	b.Delay = positive(b.Delay, defaultBatchDelay)
	return b
}

// withDefaults fills what is not said and drops exporters that lead nowhere.
func (c Config) withDefaults() Config {
	if c.ServiceName == "" {
		c.ServiceName = "ccproxy"
	}
	if c.Detail == "" {
		c.Detail = DetailStandard
	}
	if c.SpanLimits == nil {
		limits := DefaultSpanLimits()
		c.SpanLimits = &limits
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Console == nil {
		c.Console = io.Discard
	}
	c.QueueBytes = positive(c.QueueBytes, defaultQueueBytes)
	c.SpanBatch = c.SpanBatch.withDefaults()
	c.LogBatch = c.LogBatch.withDefaults()
	c.MetricInterval = positive(c.MetricInterval, defaultMetricInterval)
	c.MetricTimeout = positive(c.MetricTimeout, defaultMetricTimeout)
	c.Exporters = slices.DeleteFunc(slices.Clone(c.Exporters), func(e Exporter) bool {
		return e.Endpoint == "" && e.Protocol != ProtocolConsole
	})
	for i := range c.Exporters {
		e := &c.Exporters[i]
		e.Timeout = positive(e.Timeout, defaultExportTimeout)
		if e.Name == "" {
			e.Name = e.host()
		}
	}
	return c
}

// Validate returns every mistake in c, joined; nil if there is none. Whether a collector answers is not its business.
func (c Config) Validate() error {
	var errs []error
	oneOf := func(what, value string, legal ...string) {
		if value != "" && !slices.Contains(legal, value) {
			errs = append(errs, fmt.Errorf("%s %q: want one of %q", what, value, legal))
		}
	}
	oneOf("detail", c.Detail, DetailMinimal, DetailStandard, DetailFull)
	oneOf("temporality", c.Temporality, "cumulative", "delta", "lowmemory")
	oneOf("exemplar filter", c.ExemplarFilter, "trace_based", "always_on", "always_off")
	if s := c.Sampling; s != nil && !(s.Ratio >= 0 && s.Ratio <= 1) {
		errs = append(errs, fmt.Errorf("sampling ratio %v: want 0 to 1", s.Ratio))
	}
	for _, e := range c.Exporters {
		what := fmt.Sprintf("exporter %q: ", e.Name)
		oneOf(what+"compression", e.Compression, "none", "gzip")
		for _, s := range e.Signals {
			oneOf(what+"signal", string(s), string(Traces), string(Metrics), string(Logs))
		}
		if e.Endpoint == "" || e.Protocol == ProtocolConsole {
			continue
		}
		if _, err := e.resolve(Traces); err != nil {
			errs = append(errs, fmt.Errorf("%s%w", what, err))
		}
		if (e.Cert == "") != (e.Key == "") {
			errs = append(errs, errors.New(what+"a client certificate needs both certificate and key"))
		}
	}
	return errors.Join(errs...)
}

func (e Exporter) carries(s Signal) bool { return len(e.Signals) == 0 || slices.Contains(e.Signals, s) }

// keepsAll reports whether no trace is ever sampled away.
func (c Config) keepsAll() bool { return c.Sampling == nil || c.Sampling.Ratio >= 1 }

func positive[T int | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}
