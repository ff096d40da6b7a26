package names

// ccproxy.routing.reason: why a routing decision counts as effective or not.
// Beside these the reasons an answer is cut short are used: max_tokens,
// context_window, content_filter.
const (
	RoutingReasonOK         = "ok"
	RoutingReasonFallback   = "fallback"    // another target had to answer
	RoutingReasonFailed     = "failed"      // the attempt failed
	RoutingReasonLatency    = "latency"     // the rule's latency target was missed
	RoutingReasonCost       = "cost"        // the rule's cost target was exceeded
	RoutingReasonClientGone = "client_gone" // the client left before the end
)

// RoutingReasons lists every value of ccproxy.routing.reason. Read-only.
var RoutingReasons = []string{RoutingReasonOK, RoutingReasonFallback, RoutingReasonFailed, RoutingReasonLatency, RoutingReasonCost, RoutingReasonClientGone,
	"max_tokens", "context_window", "content_filter"}

// SpanEventFirstToken is a milestone on ccproxy.stream at detail full: the
// first generated output.
const SpanEventFirstToken = "ccproxy.stream.first_token"
