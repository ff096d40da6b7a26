package names

// Names of spans. The SERVER span is named "{method} {route}", the GenAI span "{operation} {model}", the HTTP client span
// by its method alone.
const (
	// SpanPreCall (INTERNAL): hooks, label, route.
	SpanPreCall = "ccproxy.pre_call"
	// SpanHook (INTERNAL, below the phase it ran in): one hook that did something worth a span.
	SpanHook = "ccproxy.hook"
	// SpanModeration (INTERNAL): one moderation of the input, the output or a window of the stream.
	SpanModeration = "ccproxy.moderation"
	// SpanPreAPI (INTERNAL): one attempt's validation, hold and credentials.
	SpanPreAPI = "ccproxy.pre_api"
	// SpanStream (INTERNAL, below the GenAI span): first event to last event.
	SpanStream = "ccproxy.stream"
	// SpanPostAPI (INTERNAL): one attempt's usage, cost, routing analysis and settlement.
	SpanPostAPI = "ccproxy.post_api"
)

// Names of span events.
const (
	// SpanEventHook is a hook that did nothing worth a span of its own.
	SpanEventHook = "ccproxy.hook"
	// SpanEventBudgetAlert is an alert that the exchange raised, on the span that was current.
	SpanEventBudgetAlert = "ccproxy.budget.alert"
)

// Names of instrumentation scopes, one per concern, so that each can carry its own schema.
const (
	// ScopeGateway is the scope of our own spans, metrics and log events.
	ScopeGateway = "github.com/ccproxy/ccproxy"
	// ScopeGenAI is the scope of the GenAI spans and metrics. It has no schema URL: v0.1.0 publishes none.
	ScopeGenAI = "github.com/ccproxy/ccproxy/genai"
	// ScopeHTTP is the scope of our HTTP client spans and metrics.
	ScopeHTTP = "github.com/ccproxy/ccproxy/http"
	// ScopeTelemetry is the scope of the telemetry's metrics about itself and the process.
	ScopeTelemetry = "github.com/ccproxy/ccproxy/telemetry"
)

// Spans lists the constant span names. Read-only.
var Spans = []string{SpanPreCall, SpanHook, SpanModeration, SpanPreAPI, SpanStream, SpanPostAPI}
