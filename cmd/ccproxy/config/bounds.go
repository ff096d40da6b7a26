package config

import (
	"fmt"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func defaultLimits() Limits {
	return Limits{
		Body: 32 * mib, Headers: 64 * kib, HeaderCount: 100, URL: 8 * kib,
		JSONDepth: 128, JSONMembers: 100_000,
		StreamLine: 64 * mib, Event: mib, HeldResponse: 8 * mib, DecodeRatio: 100,
		SocketBuffer: 64 * kib, Connections: 10_000, KeyInFlight: 64, InFlightBytes: 512 * mib,
		ClientStreams: 250, UpstreamStreams: 100,
		Attempts: 3, RetryBudget: 0.2, LogRate: 10,
	}
}

func defaultTimeouts() Timeouts {
	return Timeouts{
		HeaderRead: 10 * time.Second, TLSHandshake: 5 * time.Second, Connect: 3 * time.Second, DNS: 2 * time.Second,
		Body: 120 * time.Second, BodyGrace: 5 * time.Second, BodyRate: kib,
		UpstreamHeaders: 300 * time.Second, UpstreamStream: 60 * time.Second,
		Idle: 60 * time.Second, NoProgress: 10 * time.Minute, WriteStall: 60 * time.Second,
		Request: 15 * time.Minute, KeepaliveClient: 75 * time.Second, KeepaliveUpstream: 30 * time.Second,
		DisconnectDrain: 30 * time.Second,
		Drain:           30 * time.Second, TelemetryFlush: 5 * time.Second,
		Hook: 2 * time.Second, Moderation: 3 * time.Second,
		Hold:      250 * time.Millisecond,
		RetryBase: 500 * time.Millisecond, RetryWait: 20 * time.Second, RetryAfter: 5 * time.Minute, Reload: 200 * time.Millisecond,
	}
}

// bounds makes limits and deadlines agree: a default gives way to what the file says, two values of the file that
// contradict each other are a problem.
func (d *decoder) bounds(c *Config) {
	l, t := &c.Limits, &c.Timeouts
	if l.JSONString == 0 {
		l.JSONString = l.Body
	}
	if t.Exit == 0 {
		t.Exit = t.Drain + t.TelemetryFlush + time.Second
	}
	within(d, "limits.url", &l.URL, "limits.headers", l.Headers)
	within(d, "limits.body", &l.Body, "limits.in_flight_bytes", l.InFlightBytes)
	within(d, "limits.json_string", &l.JSONString, "limits.body", l.Body)
	within(d, "limits.event", &l.Event, "limits.stream_line", l.StreamLine)
	within(d, "telemetry.content_bytes", &c.Telemetry.ContentBytes, "telemetry.queue_bytes", c.Telemetry.QueueBytes)

	within(d, "timeouts.body", &t.Body, "timeouts.request", t.Request)
	within(d, "timeouts.body_grace", &t.BodyGrace, "timeouts.body", t.Body)
	within(d, "timeouts.hook", &t.Hook, "timeouts.request", t.Request)
	within(d, "timeouts.moderation", &t.Moderation, "timeouts.request", t.Request)
	within(d, "timeouts.hold", &t.Hold, "timeouts.request", t.Request)
	if need := t.Drain + t.TelemetryFlush; t.Exit < need {
		d.failAt("timeouts.exit", "%s is less than drain and telemetry_flush together (%s); change one", formatDuration(t.Exit), formatDuration(need))
	}
	within(d, "timeouts.dns", &t.DNS, "timeouts.request", t.Request)
	within(d, "timeouts.connect", &t.Connect, "timeouts.request", t.Request)
	within(d, "timeouts.tls_handshake", &t.TLSHandshake, "timeouts.request", t.Request)
	within(d, "timeouts.upstream_headers", &t.UpstreamHeaders, "timeouts.request", t.Request)
	within(d, "timeouts.upstream_stream", &t.UpstreamStream, "timeouts.request", t.Request)
	within(d, "timeouts.no_progress", &t.NoProgress, "timeouts.request", t.Request)
	within(d, "timeouts.retry_wait", &t.RetryWait, "timeouts.request", t.Request)
	within(d, "timeouts.retry_base", &t.RetryBase, "timeouts.retry_wait", t.RetryWait)
	within(d, "timeouts.idle", &t.Idle, "timeouts.no_progress", t.NoProgress)
}

// providerBounds is bounds for the deadlines of one provider.
func (d *decoder) providerBounds(path string, t *ProviderTimeouts) {
	request, progress := join(path, "request"), join(path, "no_progress")
	within(d, join(path, "dns"), &t.DNS, request, t.Request)
	within(d, join(path, "connect"), &t.Connect, request, t.Request)
	within(d, join(path, "tls_handshake"), &t.TLSHandshake, request, t.Request)
	within(d, join(path, "upstream_headers"), &t.UpstreamHeaders, request, t.Request)
	within(d, join(path, "upstream_stream"), &t.UpstreamStream, request, t.Request)
	within(d, progress, &t.NoProgress, request, t.Request)
	within(d, join(path, "idle"), &t.Idle, progress, t.NoProgress)
}

// within keeps less, the value at path, at or under more, the value at other.
func within[T time.Duration | Size](d *decoder, path string, less *T, other string, more T) {
	if *less <= more || more <= 0 {
		return // a bound of 0 has been reported
	}
	if !d.said(path) {
		*less = more
		return
	}
	d.failAt(path, "%s is more than %s (%s); change one", quantity(*less), other, quantity(more))
}

// said reports whether the file has a value at path.
func (d *decoder) said(path string) bool { return d.places[path] != (Place{}) }

// quantity prints a Duration or a Size.
func quantity(v any) string {
	if d, ok := v.(time.Duration); ok {
		return formatDuration(d)
	}
	return fmt.Sprint(v)
}
