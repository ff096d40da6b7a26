package config

import "time"

// Telemetry says what is recorded and where it goes.
type Telemetry struct {
	// Detail is minimal, standard or full.
	Detail string `yaml:"detail" enum:"minimal standard full"`
	// Content is none, redacted or full.
	Content string `yaml:"content" enum:"none redacted full"`
	// ContentLabels overrides Content by label.
	ContentLabels map[string]string `yaml:"content_labels" enum:"none redacted full"`
	// ContentBytes caps the captured content of one exchange.
	ContentBytes Size `yaml:"content_bytes" check:"positive"`
	// Exporters in order. Empty: only what OTEL_* in the environment asks for, else nothing leaves.
	Exporters []Exporter `yaml:"exporters"`
	Sampling  Sampling   `yaml:"sampling"`
	// TrustIncoming is none, loopback or all: whose traceparent becomes the parent.
	TrustIncoming string `yaml:"trust_incoming" enum:"none loopback all"`
	// Baggage lists the members let in. Empty: none.
	Baggage []string `yaml:"baggage"`
	// UserID is none, hash or plain: how user.id stands on spans.
	UserID string `yaml:"user_id" enum:"none hash plain"`
	// Compat adds older or other vocabularies.
	Compat []string `yaml:"compat" enum:"genai_1_41 openinference langfuse"`
	// BudgetSubjects is the number of subjects a budget may show by name.
	BudgetSubjects int `yaml:"budget_subjects" check:"positive"`
	// Resource adds resource attributes.
	Resource map[string]string `yaml:"resource"`
	// QueueBytes bounds the queue of each signal.
	QueueBytes Size `yaml:"queue_bytes" check:"positive"`
	// Dimensions are the caller attributes allowed on cost metrics: team, key_alias.
	Dimensions []string `yaml:"dimensions" enum:"team key_alias"`
	// GrafanaURL is where the console links to. Empty: nowhere.
	GrafanaURL string `yaml:"grafana_url" check:"url"`
	// TraceURL is where a trace can be seen elsewhere; {trace_id} stands for its id. Empty: nowhere.
	TraceURL string `yaml:"trace_url" check:"url"`
}

// Exporter is one OTLP destination.
type Exporter struct {
	Name string `yaml:"name"`
	// Endpoint is a URL or host:port. Empty: the environment's, else this exporter is off.
	Endpoint string `yaml:"endpoint"`
	// Protocol is grpc or http. Empty: http for port 4318, else grpc.
	Protocol string `yaml:"protocol" enum:"grpc http"`
	// Headers go with every export.
	Headers map[string]Secret `yaml:"headers"`
	// Signals are traces, metrics and logs.
	Signals []string `yaml:"signals" enum:"traces metrics logs"`
	// Timeout of one export.
	Timeout time.Duration `yaml:"timeout" check:"positive"`
	// Compression is gzip or none, which is the default as in the OTLP specification: it costs more CPU than the rest of
	// the export together, and pays where traffic leaves the machine.
	Compression string `yaml:"compression" enum:"gzip none"`
}

func (e *Exporter) setDefaults() {
	e.Signals = []string{"traces", "metrics", "logs"}
	e.Timeout, e.Compression = 10*time.Second, "none"
}

// Sampling decides which traces are kept.
type Sampling struct {
	// Ratio of traces kept, 0 to 1.
	Ratio float64 `yaml:"ratio"`
	Keep  Keep    `yaml:"keep"`
}

// Keep lists what is kept whatever the ratio.
type Keep struct {
	Error      bool `yaml:"error"`
	Fallback   bool `yaml:"fallback"`
	Moderation bool `yaml:"moderation"`
	Budget     bool `yaml:"budget"`
	// Cost keeps exchanges that cost more. Zero: off.
	Cost USD `yaml:"cost"`
	// Duration keeps exchanges that took longer. Zero: off.
	Duration time.Duration `yaml:"duration" check:"positive"`
}
