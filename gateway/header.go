package gateway

import (
	"net/http"
	"strings"
)

// requestDenied are client headers that never go upstream: hop-by-hop,
// credentials (set anew for each attempt), what names other parties, and what
// the engine decides itself.
var requestDenied = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Expect": true, "Host": true,
	"Content-Length": true, "Content-Encoding": true, "Accept-Encoding": true,
	"Authorization": true, "X-Api-Key": true, "X-Goog-Api-Key": true, "Api-Key": true, "Cookie": true,
	"Forwarded": true, "Via": true, "X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true, "X-Real-Ip": true,
	"Traceparent": true, "Tracestate": true, "Baggage": true, "Origin": true, "Referer": true,
}

// responseDenied are provider headers the client does not get (DESIGN §5):
// hop-by-hop, cookies, redirects, CORS, server identity, credentials, account
// ids, and what the engine sets itself.
var responseDenied = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Content-Length": true, "Alt-Svc": true,
	"Set-Cookie": true, "Location": true, "Server": true, "X-Powered-By": true, "Via": true, "Www-Authenticate": true,
	"Strict-Transport-Security": true, "Content-Security-Policy": true, "Authorization": true, "X-Api-Key": true,
	"Openai-Organization": true, "Openai-Project": true, "Anthropic-Organization-Id": true, "Anthropic-Workspace-Id": true,
	"Traceresponse": true, "Refresh": true, "Clear-Site-Data": true, "Link": true,
}

// copyRequestHeader copies what may go upstream. Headers named in Connection
// are hop-by-hop; names with underscores pass for others at some servers.
func copyRequestHeader(src http.Header) http.Header {
	dst := make(http.Header, len(src)+4)
	for k, v := range src {
		if requestDenied[k] || strings.HasPrefix(k, "X-Ccproxy-") || strings.IndexByte(k, '_') >= 0 {
			continue
		}
		dst[k] = v
	}
	for _, v := range src["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			delete(dst, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	return dst
}

// copyResponseHeader copies what the client may see of a provider's answer.
func copyResponseHeader(dst, src http.Header) {
	for k, v := range src {
		if responseDenied[k] || strings.HasPrefix(k, "Access-Control-") || strings.HasPrefix(k, "X-Ccproxy-") {
			continue
		}
		dst[k] = v
	}
	for _, v := range src["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			delete(dst, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
}

// upstreamID is the id the provider gave the request.
func upstreamID(h http.Header) string {
	for _, k := range [...]string{"Request-Id", "X-Request-Id", "Apim-Request-Id", "X-Amzn-Requestid"} {
		if v := h[k]; len(v) > 0 && len(v[0]) <= maxFact {
			return v[0]
		}
	}
	return ""
}
