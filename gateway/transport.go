package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Causes with which the engine cancels what it sent.
var (
	errClientGone      = errors.New("the client has left")
	errRevoked         = errors.New("the key has been revoked")
	errHeaderTimeout   = errors.New("the provider sent no response headers in time")
	errIdleTimeout     = errors.New("the provider fell silent in the middle of a stream")
	errExchangeTimeout = errors.New("the exchange took longer than it may")
)

// NewTransport returns the transport to providers: no redirects are its
// caller's business, no compression, no proxy from the environment, HTTP/2
// where offered, the deadlines of reliability §4.1.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    5 * time.Second,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    256,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}
}

// TraceTransport is a RoundTripper that makes one CLIENT span per send, by the
// HTTP conventions. The span ends with the response body: a body that breaks
// off is an error of the send. Trace context is not propagated.
type TraceTransport struct {
	base   http.RoundTripper
	tracer trace.Tracer
}

// NewTraceTransport returns a TraceTransport over base.
func NewTraceTransport(base http.RoundTripper, tp trace.TracerProvider) *TraceTransport {
	return &TraceTransport{base: base, tracer: tp.Tracer(names.ScopeHTTP)}
}

// sendInfo is what the engine tells the transport of a send.
type sendInfo struct {
	resend    int
	phase     bool // mark the span as the upstream phase: there is no GenAI span above
	propagate bool
	attempt   *Attempt // gets the Send; nil: nobody

	trace     httptrace.ClientTrace
	conn      net.Conn // an idle connection that was used again; nil: a fresh one
	connected time.Time
}

// watch returns hooks that note which connection the send goes out on. The
// transport calls them on the goroutine that sends.
func (i *sendInfo) watch() *httptrace.ClientTrace {
	i.trace.GotConn = i.gotConn
	return &i.trace
}

func (i *sendInfo) gotConn(got httptrace.GotConnInfo) {
	if i.conn = nil; got.Reused {
		i.conn, i.connected = got.Conn, time.Now()
	}
}

// RoundTrip implements http.RoundTripper.
func (t *TraceTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.roundTrip(t.base, req, &sendInfo{})
}

func (t *TraceTransport) roundTrip(base http.RoundTripper, req *http.Request, info *sendInfo) (*http.Response, error) {
	ctx := req.Context()
	s := &sendSpan{ctx: ctx, info: info, start: time.Now()}
	sctx, span := t.tracer.Start(ctx, req.Method, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(s.start), trace.WithAttributes(sendAttributes(req, info)...))
	s.span = span
	if info.propagate {
		parent := ctx // the attempt's span (TELEMETRY §1)
		if info.phase {
			parent = sctx // there is none
		}
		propagation.TraceContext{}.Inject(parent, propagation.HeaderCarrier(req.Header))
		req.Header.Del("Tracestate") // what others keep in it is not the provider's to see
	}
	resp, err := base.RoundTrip(req)
	if err != nil {
		s.end(err)
		return nil, err
	}
	s.status, s.proto = resp.StatusCode, protocol(resp)
	resp.Body = &sendBody{ReadCloser: resp.Body, s: s}
	return resp, nil
}

func sendAttributes(req *http.Request, info *sendInfo) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 8)
	host, port := hostPort(req.URL)
	attrs = append(attrs, names.KeyHTTPRequestMethod.String(req.Method), names.KeyURLFull.String(safeURL(req.URL)),
		names.KeyServerAddress.String(host), names.KeyServerPort.Int(port))
	if info.resend > 0 {
		attrs = append(attrs, names.KeyHTTPRequestResendCount.Int(info.resend))
	}
	if info.phase {
		attrs = append(attrs, names.KeyPhase.String(names.PhaseUpstream))
	}
	return attrs
}

// safeURL is the URL without user info and query, which may hold keys.
func safeURL(u *url.URL) string {
	return u.Scheme + "://" + u.Host + u.EscapedPath()
}

func hostPort(u *url.URL) (string, int) {
	if p := u.Port(); p != "" {
		n, _ := strconv.Atoi(p)
		return u.Hostname(), n
	}
	if u.Scheme == "http" {
		return u.Hostname(), 80
	}
	return u.Hostname(), 443
}

func protocol(r *http.Response) string {
	if r.ProtoMajor == 2 {
		return "2"
	}
	return strconv.Itoa(r.ProtoMajor) + "." + strconv.Itoa(r.ProtoMinor)
}

// sendSpan is the CLIENT span of one send.
type sendSpan struct {
	ctx    context.Context
	info   *sendInfo
	span   trace.Span
	start  time.Time
	status int
	proto  string
	over   bool
}

// end closes the span. A send that was cancelled because the client left is
// no error (HTTP conventions: intentional cancellation).
func (s *sendSpan) end(err error) {
	if s.over {
		return
	}
	s.over = true
	now := time.Now()
	errType := ""
	switch {
	case err != nil && context.Cause(s.ctx) == errClientGone:
	case err != nil:
		errType = sendErrorType(s.ctx, err)
		if s.status != 0 && errType == names.ErrorConnectError {
			errType = names.ErrorStreamTruncated
		}
	case s.status >= 400:
		errType = strconv.Itoa(s.status)
	}
	if s.span.IsRecording() {
		attrs := make([]attribute.KeyValue, 0, 3)
		if s.status != 0 {
			attrs = append(attrs, names.KeyHTTPResponseStatusCode.Int(s.status), names.KeyNetworkProtocolVersion.String(s.proto))
		}
		if errType != "" {
			attrs = append(attrs, names.KeyErrorType.String(errType))
			s.span.SetStatus(codes.Error, "")
		}
		s.span.SetAttributes(attrs...)
	}
	s.span.End(trace.WithTimestamp(now))
	if a := s.info.attempt; a != nil {
		a.Sends = append(a.Sends, Send{Start: s.start, End: now, Status: s.status, ErrorType: errType, Protocol: s.proto})
	}
}

type sendBody struct {
	io.ReadCloser
	s *sendSpan
}

// Read implements io.Reader.
func (b *sendBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.s.end(nil)
	} else if err != nil {
		b.s.end(err)
	}
	return n, err
}

// Close implements io.Closer. A body closed early was not wanted any further,
// which is no error.
func (b *sendBody) Close() error {
	err := b.ReadCloser.Close()
	b.s.end(nil)
	return err
}

// sendErrorType classifies a transport error: names.ErrorType….
func sendErrorType(ctx context.Context, err error) string {
	switch context.Cause(ctx) {
	case errHeaderTimeout, errExchangeTimeout:
		return names.ErrorTimeout
	case errIdleTimeout:
		return names.ErrorIdleTimeout
	}
	var dns *net.DNSError
	var op *net.OpError
	var record tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	var alert tls.AlertError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &dns):
		return names.ErrorDNSError
	case errors.As(err, &record), errors.As(err, &cert), errors.As(err, &alert), errors.As(err, &unknown), errors.As(err, &host):
		return names.ErrorTLSError
	case errors.As(err, &op) && op.Op == "dial":
		return names.ErrorConnectError
	case isTimeout(err):
		return names.ErrorTimeout
	case errors.Is(err, io.ErrUnexpectedEOF):
		return names.ErrorStreamTruncated
	}
	return names.ErrorConnectError
}

// neverSent reports whether a send failed before a byte of its request can have
// been written: there was no connection to write it to.
func neverSent(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	if strings.Contains(err.Error(), "TLS handshake timeout") { // net/http has no name for it
		return true
	}
	t := sendErrorType(context.Background(), err)
	return t == names.ErrorDNSError || t == names.ErrorTLSError
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
