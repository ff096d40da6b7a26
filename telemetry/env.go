package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// FromEnv returns cfg with the standard OTEL_* variables applied on top; lookup is os.LookupEnv or a test's. A variable that
// is set but empty counts as unset. The variables are those of
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ (read 2026-10), with these differences:
//
//   - Nothing is exported unless an end point is given, in cfg or here, or OTEL_<SIGNAL>_EXPORTER says otlp in so many words.
//   - OTEL_EXPORTER_OTLP_* describe the first of cfg.Exporters, others are left alone. An end point that differs from the
//     configured one starts afresh: headers and certificates meant for one server are not sent to another.
//   - Queues are bounded in bytes, so OTEL_BSP_MAX_QUEUE_SIZE and OTEL_BLRP_MAX_QUEUE_SIZE have no effect.
//   - Samplers decide when an exchange ends, and parents' sampled flags are not obeyed; always_off exports no trace at all.
//
// The error joins every malformed variable; the returned Config holds the rest.
func FromEnv(cfg Config, lookup func(string) (string, bool)) (Config, error) {
	e := &environment{lookup: lookup}
	e.bool("OTEL_SDK_DISABLED", &cfg.Disabled)
	e.resource(&cfg)
	e.sampling(&cfg)
	cfg.Exporters = e.exporters(cfg.Exporters)

	e.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", &cfg.MetricInterval)
	e.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", &cfg.MetricTimeout)
	e.milliseconds("OTEL_BSP_SCHEDULE_DELAY", &cfg.SpanBatch.Delay)
	e.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", &cfg.SpanBatch.Items)
	e.milliseconds("OTEL_BLRP_SCHEDULE_DELAY", &cfg.LogBatch.Delay)
	e.number("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", &cfg.LogBatch.Items)
	e.lower("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", &cfg.Temporality, "cumulative", "delta", "lowmemory")
	e.lower("OTEL_METRICS_EXEMPLAR_FILTER", &cfg.ExemplarFilter, "trace_based", "always_on", "always_off")
	e.limits(&cfg)
	if v, ok := e.get("OTEL_PROPAGATORS"); ok {
		cfg.Propagators = list(v)
	}
	return cfg, errors.Join(e.errs...)
}

// environment reads variables and collects what is wrong with them.
type environment struct {
	lookup func(string) (string, bool)
	errs   []error
}

func (e *environment) get(name string) (string, bool) {
	v, ok := e.lookup(name)
	v = strings.TrimSpace(v)
	return v, ok && v != ""
}

func (e *environment) fail(name, format string, args ...any) {
	err := fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...))
	for _, have := range e.errs { // a variable for all signals is read once for each
		if have.Error() == err.Error() {
			return
		}
	}
	e.errs = append(e.errs, err)
}

func (e *environment) bool(name string, into *bool) {
	v, ok := e.get(name)
	if !ok {
		return
	}
	switch strings.ToLower(v) {
	case "true":
		*into = true
	case "false":
		*into = false
	default:
		e.fail(name, "%q: want true or false", v)
	}
}

func (e *environment) number(name string, into *int) {
	v, ok := e.get(name)
	if !ok {
		return
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		e.fail(name, "%q: want a whole number", v)
		return
	}
	*into = n
}

func (e *environment) milliseconds(name string, into *time.Duration) {
	if _, ok := e.get(name); !ok {
		return
	}
	ms := -1
	if e.number(name, &ms); ms > 0 {
		*into = time.Duration(ms) * time.Millisecond
	}
}

func (e *environment) lower(name string, into *string, legal ...string) {
	v, ok := e.get(name)
	if !ok {
		return
	}
	v = strings.ToLower(v)
	if !slices.Contains(legal, v) {
		e.fail(name, "%q: want one of %q", v, legal)
		return
	}
	*into = v
}

func (e *environment) resource(cfg *Config) {
	if v, ok := e.get("OTEL_RESOURCE_ATTRIBUTES"); ok {
		pairs, err := keyValues(v)
		if err != nil {
			e.fail("OTEL_RESOURCE_ATTRIBUTES", "%w", err)
		}
		// The configuration's come first, so that the environment's win.
		cfg.Resource = slices.Clone(cfg.Resource)
		for _, kv := range pairs {
			cfg.Resource = append(cfg.Resource, attribute.String(kv[0], kv[1]))
		}
	}
	if v, ok := e.get("OTEL_SERVICE_NAME"); ok {
		cfg.ServiceName = v
		cfg.Resource = slices.DeleteFunc(slices.Clone(cfg.Resource), func(kv attribute.KeyValue) bool {
			return kv.Key == names.KeyServiceName
		})
	}
}

func (e *environment) sampling(cfg *Config) {
	const name, argument = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	sampler, ok := e.get(name)
	if !ok {
		return
	}
	switch strings.TrimPrefix(sampler, "parentbased_") {
	case "always_on":
		cfg.Sampling = nil
	case "always_off":
		cfg.Sampling = &Sampling{}
	case "traceidratio":
		ratio := 1.0
		if v, ok := e.get(argument); ok {
			r, err := strconv.ParseFloat(v, 64)
			if err != nil || !(r >= 0 && r <= 1) {
				e.fail(argument, "%q: want a ratio from 0 to 1", v)
				return
			}
			ratio = r
		}
		next := Sampling{Ratio: ratio}
		if cfg.Sampling != nil {
			next.Keep = cfg.Sampling.Keep
		}
		cfg.Sampling = &next
	default:
		e.fail(name, "%q: want always_on, always_off, traceidratio or their parentbased_ forms", sampler)
	}
}

func (e *environment) limits(cfg *Config) {
	limits := DefaultSpanLimits()
	if cfg.SpanLimits != nil {
		limits = *cfg.SpanLimits
	}
	before := limits
	e.number("OTEL_ATTRIBUTE_COUNT_LIMIT", &limits.Attributes)
	e.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", &limits.ValueLength)
	e.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", &limits.Attributes)
	e.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", &limits.ValueLength)
	e.number("OTEL_SPAN_EVENT_COUNT_LIMIT", &limits.Events)
	e.number("OTEL_SPAN_LINK_COUNT_LIMIT", &limits.Links)
	e.number("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", &limits.EventAttributes)
	e.number("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", &limits.LinkAttributes)
	if limits != before {
		cfg.SpanLimits = &limits
	}
}

// exporters applies the exporter variables to configured, whose first member is the one they describe.
func (e *environment) exporters(configured []Exporter) []Exporter {
	main := Exporter{Name: "otlp"}
	var others []Exporter
	if len(configured) > 0 {
		main, others = configured[0], slices.Clone(configured[1:])
	}
	var result []Exporter
	for _, s := range []Signal{Traces, Metrics, Logs} {
		kinds, said := e.kinds(s)
		if said && !slices.Contains(kinds, "otlp") {
			others = without(others, s)
		} else if x, ok := e.exporter(main, s, said && len(others) == 0); ok {
			result = appendExporter(result, x, s)
		}
		if slices.Contains(kinds, "console") {
			result = appendExporter(result, Exporter{Name: "console", Protocol: ProtocolConsole}, s)
		}
	}
	return append(result, others...)
}

// kinds returns what OTEL_<SIGNAL>_EXPORTER says, and whether it says anything. prometheus is always served.
func (e *environment) kinds(s Signal) ([]string, bool) {
	name := "OTEL_" + strings.ToUpper(string(s)) + "_EXPORTER"
	v, ok := e.get(name)
	if !ok {
		return nil, false
	}
	kinds := list(v)
	for _, kind := range kinds {
		if !slices.Contains([]string{"none", "otlp", "console", "prometheus"}, kind) {
			e.fail(name, "%q: want none, otlp or console", kind)
			return nil, false
		}
	}
	return kinds, true
}

// exporter returns main as the environment changes it for s; not ok if s goes nowhere.
func (e *environment) exporter(main Exporter, s Signal, byName bool) (Exporter, bool) {
	const prefix = "OTEL_EXPORTER_OTLP_"
	own := prefix + strings.ToUpper(string(s)) + "_"
	pick := func(field string) (name, value string, ok bool) {
		for _, name := range []string{own + field, prefix + field} {
			if v, ok := e.get(name); ok {
				return name, v, true
			}
		}
		return "", "", false
	}
	x := main
	x.Headers, x.Signals = main.Headers, nil
	name, value, given := pick("ENDPOINT")
	if given && value != main.Endpoint {
		x = Exporter{Name: main.Name, Endpoint: value, Exact: name != prefix+"ENDPOINT"}
	}
	if _, v, ok := pick("PROTOCOL"); ok {
		x.Protocol = v
	}
	if name, v, ok := pick("HEADERS"); ok {
		pairs, err := keyValues(v)
		if err != nil {
			e.fail(name, "%w", err)
		}
		x.Headers = map[string]string{}
		for _, kv := range pairs {
			x.Headers[kv[0]] = kv[1]
		}
	}
	for field, into := range map[string]*string{"COMPRESSION": &x.Compression, "CERTIFICATE": &x.CA, "CLIENT_CERTIFICATE": &x.Cert, "CLIENT_KEY": &x.Key} {
		if _, v, ok := pick(field); ok {
			*into = v
		}
	}
	if name, _, ok := pick("TIMEOUT"); ok {
		e.milliseconds(name, &x.Timeout)
	}
	if name, _, ok := pick("INSECURE"); ok {
		e.bool(name, &x.Insecure)
	}
	if x.Endpoint == "" && byName {
		x.Endpoint = "http://localhost:4318"
		if x.Protocol == ProtocolGRPC {
			x.Endpoint = "http://localhost:4317"
		}
	}
	return x, x.Endpoint != "" && (given || main.carries(s)) || x.Protocol == ProtocolConsole && main.carries(s)
}

// appendExporter adds s to the member of list that equals x but for its signals, or adds x.
func appendExporter(list []Exporter, x Exporter, s Signal) []Exporter {
	for i := range list {
		same := list[i]
		same.Signals = nil
		if reflect.DeepEqual(same, x) {
			list[i].Signals = append(list[i].Signals, s)
			return list
		}
	}
	x.Signals = []Signal{s}
	return append(list, x)
}

// without returns list with s taken out of every exporter, and those left with nothing removed.
func without(list []Exporter, s Signal) []Exporter {
	var kept []Exporter
	for _, x := range list {
		signals := x.Signals
		if len(signals) == 0 {
			signals = []Signal{Traces, Metrics, Logs}
		}
		x.Signals = slices.DeleteFunc(slices.Clone(signals), func(have Signal) bool { return have == s })
		if len(x.Signals) > 0 {
			kept = append(kept, x)
		}
	}
	return kept
}

func list(v string) []string {
	var items []string
	for item := range strings.SplitSeq(v, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// keyValues parses key=value pairs separated by commas, values percent-encoded as in W3C baggage. Errors do not repeat
// values: they may be secrets.
func keyValues(v string) ([][2]string, error) {
	var pairs [][2]string
	var errs []error
	for i, item := range list(v) {
		key, value, ok := strings.Cut(item, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			errs = append(errs, fmt.Errorf("item %d is not key=value", i+1))
			continue
		}
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil {
			errs = append(errs, fmt.Errorf("value of %q is not percent-encoded well", key))
			continue
		}
		pairs = append(pairs, [2]string{key, decoded})
	}
	return pairs, errors.Join(errs...)
}
