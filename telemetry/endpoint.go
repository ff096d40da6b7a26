package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// endpoint is where one signal of one exporter goes.
type endpoint struct {
	protocol string // ProtocolGRPC or ProtocolHTTP
	target   string // gRPC target, or the whole URL
	secure   bool   // TLS
}

// String returns the end point without credentials or query, for status and logs.
func (e endpoint) String() string {
	if e.protocol == ProtocolGRPC {
		return e.target
	}
	u, err := url.Parse(e.target)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// resolve says where s goes. Rules: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ (read 2026-10); the
// protocol that is not said is ours to choose.
func (e Exporter) resolve(s Signal) (endpoint, error) {
	if scheme, _, ok := strings.Cut(e.Endpoint, ":"); ok && (scheme == "unix" || scheme == "unix-abstract") {
		return endpoint{protocol: ProtocolGRPC, target: e.Endpoint}, nil
	}
	u, err := e.url()
	if err != nil {
		return endpoint{}, err
	}
	switch protocol := e.protocol(u); protocol {
	case ProtocolGRPC:
		if strings.Trim(u.Path, "/") != "" {
			return endpoint{}, fmt.Errorf("end point %q has a path, which gRPC has no use for: set protocol %s", u.Redacted(), ProtocolHTTP)
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "4317")
		}
		return endpoint{protocol: ProtocolGRPC, target: host, secure: u.Scheme == "https"}, nil
	case ProtocolHTTP:
		if u.Path == "" {
			u.Path = "/"
		}
		if !e.Exact {
			u = u.JoinPath("v1", string(s))
		}
		return endpoint{protocol: ProtocolHTTP, target: u.String(), secure: u.Scheme == "https"}, nil
	default:
		return endpoint{}, fmt.Errorf("protocol %q: want %s or %s", protocol, ProtocolGRPC, ProtocolHTTP)
	}
}

// url parses the end point, giving one without scheme the one its security asks for.
func (e Exporter) url() (*url.URL, error) {
	raw := e.Endpoint
	if !strings.Contains(raw, "://") {
		scheme := "https://"
		if e.Insecure || isLoopback(raw) {
			scheme = "http://"
		}
		raw = scheme + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("end point is no URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("end point scheme %q: want http or https", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("end point %q has no host", u.Redacted())
	}
	return u, nil
}

// host returns a name for e that holds no credentials.
func (e Exporter) host() string {
	if u, err := e.url(); err == nil {
		return u.Host
	}
	return "otlp"
}

func (e Exporter) protocol(u *url.URL) string {
	switch {
	case e.Protocol == "http":
		return ProtocolHTTP
	case e.Protocol != "":
		return e.Protocol
	case u.Port() == "4318":
		return ProtocolHTTP
	}
	return ProtocolGRPC
}

func isLoopback(hostport string) bool {
	host, _, _ := strings.Cut(hostport, "/")
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// tlsConfig reads the exporter's certificates.
func (e Exporter) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CA != "" {
		pem, err := os.ReadFile(e.CA)
		if err != nil {
			return nil, fmt.Errorf("read certificates to trust: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", e.CA)
		}
	}
	if e.Cert != "" {
		pair, err := tls.LoadX509KeyPair(e.Cert, e.Key)
		if err != nil {
			return nil, fmt.Errorf("load client certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
