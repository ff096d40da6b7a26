package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
)

func TestEnvironmentGoesOnTop(t *testing.T) {
	all := []Signal{Traces, Metrics, Logs}
	configured := Config{Exporters: []Exporter{
		{Name: "main", Endpoint: "https://vendor:4317", Headers: map[string]string{"key": "secret"}, CA: "ca.pem"},
		{Name: "second", Endpoint: "other:4317"},
	}}
	second := Exporter{Name: "second", Endpoint: "other:4317"}
	tests := map[string]struct {
		from Config
		env  string // NAME=value lines
		want Config
	}{
		"nothing set":    {env: "", want: Config{}},
		"empty is unset": {env: "OTEL_EXPORTER_OTLP_ENDPOINT=\nOTEL_SDK_DISABLED=", want: Config{}},
		"end point": {
			env:  "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318",
			want: Config{Exporters: []Exporter{{Name: "otlp", Endpoint: "http://localhost:4318", Signals: all}}},
		},
		"everything said": {
			env: "OTEL_EXPORTER_OTLP_ENDPOINT=https://c\nOTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nOTEL_EXPORTER_OTLP_HEADERS=a=b%20c, d=e\n" +
				"OTEL_EXPORTER_OTLP_TIMEOUT=2500\nOTEL_EXPORTER_OTLP_COMPRESSION=gzip\nOTEL_EXPORTER_OTLP_CERTIFICATE=ca\n" +
				"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=cert\nOTEL_EXPORTER_OTLP_CLIENT_KEY=key\nOTEL_EXPORTER_OTLP_INSECURE=true",
			want: Config{Exporters: []Exporter{{
				Name: "otlp", Endpoint: "https://c", Protocol: ProtocolHTTP, Headers: map[string]string{"a": "b c", "d": "e"}, Signals: all,
				Timeout: 2500 * time.Millisecond, Compression: "gzip", CA: "ca", Cert: "cert", Key: "key", Insecure: true,
			}}},
		},
		"a signal of its own": {
			env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318\nOTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://t:4318/x\nOTEL_EXPORTER_OTLP_TRACES_HEADERS=a=b",
			want: Config{Exporters: []Exporter{
				{Name: "otlp", Endpoint: "http://t:4318/x", Exact: true, Headers: map[string]string{"a": "b"}, Signals: []Signal{Traces}},
				{Name: "otlp", Endpoint: "http://c:4318", Signals: []Signal{Metrics, Logs}},
			}},
		},
		"secrets stay with the server they are for": {
			from: configured, env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317",
			want: Config{Exporters: []Exporter{{Name: "main", Endpoint: "http://localhost:4317", Signals: all}, second}},
		},
		"the configured end point keeps its secrets": {
			from: configured, env: "OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
			want: Config{Exporters: []Exporter{
				{Name: "main", Endpoint: "https://vendor:4317", Headers: map[string]string{"key": "secret"}, CA: "ca.pem", Compression: "gzip", Signals: all}, second,
			}},
		},
		"none takes a signal from everyone": {
			from: Config{Exporters: []Exporter{{Name: "main", Endpoint: "a:1"}, {Name: "b", Endpoint: "b:1", Signals: []Signal{Logs}}}},
			env:  "OTEL_LOGS_EXPORTER=none",
			want: Config{Exporters: []Exporter{{Name: "main", Endpoint: "a:1", Signals: []Signal{Traces, Metrics}}}},
		},
		"otlp by name goes to the standard place": {
			env:  "OTEL_TRACES_EXPORTER=otlp",
			want: Config{Exporters: []Exporter{{Name: "otlp", Endpoint: "http://localhost:4318", Signals: []Signal{Traces}}}},
		},
		"console": {
			env:  "OTEL_TRACES_EXPORTER=console\nOTEL_LOGS_EXPORTER=console",
			want: Config{Exporters: []Exporter{{Name: "console", Protocol: ProtocolConsole, Signals: []Signal{Traces, Logs}}}},
		},
		"disabled": {env: "OTEL_SDK_DISABLED=TRUE", want: Config{Disabled: true}},
		"service and resource": {
			from: Config{ServiceName: "cfg", Resource: []attribute.KeyValue{attribute.String("team", "a")}},
			env:  "OTEL_SERVICE_NAME=env\nOTEL_RESOURCE_ATTRIBUTES=service.name=lost,deployment.environment.name=prod%2C1",
			want: Config{ServiceName: "env", Resource: []attribute.KeyValue{attribute.String("team", "a"), attribute.String("deployment.environment.name", "prod,1")}},
		},
		"sampler": {
			from: Config{Sampling: &Sampling{Ratio: 0.5, Keep: KeepRules{Error: true}}},
			env:  "OTEL_TRACES_SAMPLER=parentbased_traceidratio\nOTEL_TRACES_SAMPLER_ARG=0.25",
			want: Config{Sampling: &Sampling{Ratio: 0.25, Keep: KeepRules{Error: true}}},
		},
		"sampler on":  {from: Config{Sampling: &Sampling{}}, env: "OTEL_TRACES_SAMPLER=always_on", want: Config{}},
		"sampler off": {from: Config{Sampling: &Sampling{Keep: KeepRules{Error: true}}}, env: "OTEL_TRACES_SAMPLER=always_off", want: Config{Sampling: &Sampling{}}},
		"times": {
			env: "OTEL_METRIC_EXPORT_INTERVAL=1000\nOTEL_METRIC_EXPORT_TIMEOUT=500\nOTEL_BSP_SCHEDULE_DELAY=200\nOTEL_BLRP_SCHEDULE_DELAY=300\nOTEL_BSP_MAX_EXPORT_BATCH_SIZE=10\nOTEL_BLRP_MAX_EXPORT_BATCH_SIZE=20",
			want: Config{MetricInterval: time.Second, MetricTimeout: time.Second / 2,
				SpanBatch: Batch{Delay: 200 * time.Millisecond, Items: 10}, LogBatch: Batch{Delay: 300 * time.Millisecond, Items: 20}},
		},
		"metrics": {
			env:  "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=Delta\nOTEL_METRICS_EXEMPLAR_FILTER=always_off\nOTEL_PROPAGATORS=tracecontext, b3",
			want: Config{Temporality: "delta", ExemplarFilter: "always_off", Propagators: []string{"tracecontext", "b3"}},
		},
		"limits": {
			env:  "OTEL_ATTRIBUTE_COUNT_LIMIT=5\nOTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT=100\nOTEL_SPAN_EVENT_COUNT_LIMIT=1\nOTEL_SPAN_LINK_COUNT_LIMIT=2\nOTEL_EVENT_ATTRIBUTE_COUNT_LIMIT=3\nOTEL_LINK_ATTRIBUTE_COUNT_LIMIT=4",
			want: Config{SpanLimits: &SpanLimits{Attributes: 5, ValueLength: 100, Events: 1, Links: 2, EventAttributes: 3, LinkAttributes: 4}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := FromEnv(tt.from, environ(tt.env))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(attribute.Value{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func environ(lines string) func(string) (string, bool) {
	vars := map[string]string{}
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		vars[name] = value
	}
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestBadEnvironmentIsNamedWithoutSecrets(t *testing.T) {
	_, err := FromEnv(Config{}, environ("OTEL_SDK_DISABLED=maybe\nOTEL_TRACES_SAMPLER=sometimes\nOTEL_METRIC_EXPORT_INTERVAL=1s\nOTEL_TRACES_EXPORTER=zipkin\n"+
		"OTEL_EXPORTER_OTLP_ENDPOINT=a:1\nOTEL_EXPORTER_OTLP_HEADERS=hunter2"))
	if err == nil {
		t.Fatal("got no error")
	}
	for _, name := range []string{"OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_METRIC_EXPORT_INTERVAL", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_HEADERS"} {
		if n := strings.Count(err.Error(), name+":"); n != 1 {
			t.Errorf("%s is named %d times, want once", name, n)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error repeats a header: %v", err)
	}
}

func FuzzKeyValues(f *testing.F) {
	f.Add("a=b%20c, d=e")
	f.Fuzz(func(t *testing.T, v string) {
		pairs, _ := keyValues(v)
		for _, kv := range pairs {
			if kv[0] == "" {
				t.Errorf("empty key from %q", v)
			}
		}
	})
}

func TestEndpointsAreReadAsTheSpecificationSays(t *testing.T) {
	tests := []struct {
		e    Exporter
		want endpoint
	}{
		{Exporter{Endpoint: "http://c:4317"}, endpoint{ProtocolGRPC, "c:4317", false}},
		{Exporter{Endpoint: "https://c:4317"}, endpoint{ProtocolGRPC, "c:4317", true}},
		{Exporter{Endpoint: "https://c"}, endpoint{ProtocolGRPC, "c:4317", true}},
		{Exporter{Endpoint: "c:4317"}, endpoint{ProtocolGRPC, "c:4317", true}},
		{Exporter{Endpoint: "c:4317", Insecure: true}, endpoint{ProtocolGRPC, "c:4317", false}},
		{Exporter{Endpoint: "localhost:4317"}, endpoint{ProtocolGRPC, "localhost:4317", false}},
		{Exporter{Endpoint: "127.0.0.1:1"}, endpoint{ProtocolGRPC, "127.0.0.1:1", false}},
		{Exporter{Endpoint: "[::1]:4317"}, endpoint{ProtocolGRPC, "[::1]:4317", false}},
		{Exporter{Endpoint: "unix:///run/c.sock"}, endpoint{ProtocolGRPC, "unix:///run/c.sock", false}},
		{Exporter{Endpoint: "http://c:4318"}, endpoint{ProtocolHTTP, "http://c:4318/v1/traces", false}},
		{Exporter{Endpoint: "localhost:4318"}, endpoint{ProtocolHTTP, "http://localhost:4318/v1/traces", false}},
		{Exporter{Endpoint: "http://c:4318", Protocol: ProtocolGRPC}, endpoint{ProtocolGRPC, "c:4318", false}},
		{Exporter{Endpoint: "https://v/api/otel", Protocol: ProtocolHTTP}, endpoint{ProtocolHTTP, "https://v/api/otel/v1/traces", true}},
		{Exporter{Endpoint: "https://v/api/otel/", Protocol: "http"}, endpoint{ProtocolHTTP, "https://v/api/otel/v1/traces", true}},
		{Exporter{Endpoint: "https://v/api?x=1", Protocol: ProtocolHTTP, Exact: true}, endpoint{ProtocolHTTP, "https://v/api?x=1", true}},
		{Exporter{Endpoint: "https://v", Protocol: ProtocolHTTP, Exact: true}, endpoint{ProtocolHTTP, "https://v/", true}},
	}
	for _, tt := range tests {
		got, err := tt.e.resolve(Traces)
		if err != nil || got != tt.want {
			t.Errorf("%+v: got %+v, %v; want %+v", tt.e, got, err, tt.want)
		}
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	tests := map[string]Config{
		"has a path":      {Exporters: []Exporter{{Endpoint: "https://v/api/otel"}}},
		"protocol":        {Exporters: []Exporter{{Endpoint: "http://v", Protocol: "http/json"}}},
		"scheme":          {Exporters: []Exporter{{Endpoint: "ftp://v"}}},
		"host":            {Exporters: []Exporter{{Endpoint: "http://"}}},
		"compression":     {Exporters: []Exporter{{Endpoint: "a:1", Compression: "zip"}}},
		"signal":          {Exporters: []Exporter{{Endpoint: "a:1", Signals: []Signal{"profiles"}}}},
		"both":            {Exporters: []Exporter{{Endpoint: "a:1", Cert: "x"}}},
		"sampling ratio":  {Sampling: &Sampling{Ratio: 2}},
		"detail":          {Detail: "everything"},
		"temporality":     {Temporality: "sometimes"},
		"exemplar filter": {ExemplarFilter: "all"},
		"no such file":    {Exporters: []Exporter{{Endpoint: "https://a:1", CA: "absent.pem"}}},
	}
	for want, cfg := range tests {
		if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func TestStatusShowsNoCredentials(t *testing.T) {
	tel := start(t, Config{Exporters: []Exporter{{Endpoint: "http://user:hunter2@" + refused(t) + "/x?key=hunter2", Protocol: ProtocolHTTP}}})
	makeSpans(tel, 1)
	_ = tel.Shutdown(t.Context())
	for _, st := range tel.Status() {
		if strings.Contains(st.Endpoint+st.Name+st.LastError, "hunter2") {
			t.Errorf("got %+v", st)
		}
	}
}
