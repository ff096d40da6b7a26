package config

import "time"

// Limits are the bounds on sizes and counts. None may be zero: there is no "unlimited".
type Limits struct {
	// Body is the largest request body.
	Body Size `yaml:"body" check:"positive"`
	// Headers is the largest request head.
	Headers     Size `yaml:"headers" check:"positive"`
	HeaderCount int  `yaml:"header_count" check:"positive"`
	URL         Size `yaml:"url" check:"positive"`
	// JSONDepth, JSONMembers and JSONString bound the shape of a request body. JSONString is Body unless given.
	JSONDepth   int  `yaml:"json_depth" check:"positive"`
	JSONMembers int  `yaml:"json_members" check:"positive"`
	JSONString  Size `yaml:"json_string" check:"positive"`
	// StreamLine is the longest line relayed from a stream.
	StreamLine Size `yaml:"stream_line" check:"positive"`
	// Event is the largest event that is looked into; a larger one is relayed unread.
	Event Size `yaml:"event" check:"positive"`
	// HeldResponse is the largest plain answer held whole before it is sent.
	HeldResponse Size `yaml:"held_response" check:"positive"`
	// DecodeRatio is how much larger than its encoded form an upstream body may become.
	DecodeRatio int `yaml:"decode_ratio" check:"positive"`
	// SocketBuffer of each side of a connection.
	SocketBuffer Size `yaml:"socket_buffer" check:"positive"`
	Connections  int  `yaml:"connections" check:"positive"`
	// KeyInFlight is the number of exchanges a virtual key may have open.
	KeyInFlight int `yaml:"key_in_flight" check:"positive"`
	// InFlightBytes bounds the request bodies held at once.
	InFlightBytes Size `yaml:"in_flight_bytes" check:"positive"`
	// ClientStreams and UpstreamStreams are HTTP/2 streams per connection.
	ClientStreams   int `yaml:"client_streams" check:"positive"`
	UpstreamStreams int `yaml:"upstream_streams" check:"positive"`
	// Attempts is how often an exchange is sent, to other targets or the same one again.
	Attempts int `yaml:"attempts" check:"positive"`
	// RetryBudget is the share of exchanges that may be sent to the same target again, 0 to 1. Zero: none.
	RetryBudget float64 `yaml:"retry_budget"`
	// LogRate is log records a second per message, the rest counted.
	LogRate int `yaml:"log_rate" check:"positive"`
}

// Timeouts are the deadlines. None may be zero.
type Timeouts struct {
	HeaderRead   time.Duration `yaml:"header_read" check:"positive"`
	TLSHandshake time.Duration `yaml:"tls_handshake" check:"positive"`
	Connect      time.Duration `yaml:"connect" check:"positive"`
	DNS          time.Duration `yaml:"dns" check:"positive"`
	// Body is for the whole request body, which must come at BodyRate a second after BodyGrace.
	Body      time.Duration `yaml:"body" check:"positive"`
	BodyGrace time.Duration `yaml:"body_grace" check:"positive"`
	BodyRate  Size          `yaml:"body_rate" check:"positive"`
	// UpstreamHeaders is the wait for a plain answer's head, UpstreamStream for a stream's.
	UpstreamHeaders time.Duration `yaml:"upstream_headers" check:"positive"`
	UpstreamStream  time.Duration `yaml:"upstream_stream" check:"positive"`
	// Idle is the longest gap in a stream; a ping ends it. NoProgress is the longest without content.
	Idle       time.Duration `yaml:"idle" check:"positive"`
	NoProgress time.Duration `yaml:"no_progress" check:"positive"`
	// WriteStall is how long a client may take no byte.
	WriteStall time.Duration `yaml:"write_stall" check:"positive"`
	// Request is for the whole exchange.
	Request           time.Duration `yaml:"request" check:"positive"`
	KeepaliveClient   time.Duration `yaml:"keepalive_client" check:"positive"`
	KeepaliveUpstream time.Duration `yaml:"keepalive_upstream" check:"positive"`
	// DisconnectDrain bounds reading on after the client has gone, for providers with on_disconnect: drain.
	DisconnectDrain time.Duration `yaml:"disconnect_drain" check:"positive"`
	// Drain, TelemetryFlush and Exit bound the shutdown. Exit is the sum of the others and a second unless given.
	Drain          time.Duration `yaml:"drain" check:"positive"`
	TelemetryFlush time.Duration `yaml:"telemetry_flush" check:"positive"`
	Exit           time.Duration `yaml:"exit" check:"positive"`
	Hook           time.Duration `yaml:"hook" check:"positive"`
	Moderation     time.Duration `yaml:"moderation" check:"positive"`
	// Hold is the wait for a ledger that falls behind, before a request is refused.
	Hold time.Duration `yaml:"hold" check:"positive"`
	// RetryBase is the longest wait before a first retry whose provider does not say when to come back; it doubles.
	RetryBase time.Duration `yaml:"retry_base" check:"positive"`
	// RetryWait is the longest an exchange waits before it asks the same target again; a provider that wants more is not
	// asked, and the client learns when to come back.
	RetryWait time.Duration `yaml:"retry_wait" check:"positive"`
	// RetryAfter is the longest a target is left alone because it says so.
	RetryAfter time.Duration `yaml:"retry_after" check:"positive"`
	// Reload is the quiet time after a change of the file before it is read.
	Reload time.Duration `yaml:"reload" check:"positive"`
}

// ProviderTimeouts are the deadlines a provider may have of its own. Zero in the file: the gateway's.
type ProviderTimeouts struct {
	TLSHandshake    time.Duration `yaml:"tls_handshake" check:"positive"`
	Connect         time.Duration `yaml:"connect" check:"positive"`
	DNS             time.Duration `yaml:"dns" check:"positive"`
	UpstreamHeaders time.Duration `yaml:"upstream_headers" check:"positive"`
	UpstreamStream  time.Duration `yaml:"upstream_stream" check:"positive"`
	Idle            time.Duration `yaml:"idle" check:"positive"`
	NoProgress      time.Duration `yaml:"no_progress" check:"positive"`
	Request         time.Duration `yaml:"request" check:"positive"`
	Keepalive       time.Duration `yaml:"keepalive_upstream" check:"positive"`
	DisconnectDrain time.Duration `yaml:"disconnect_drain" check:"positive"`
}
