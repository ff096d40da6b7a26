package command

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
)

// certificate is the data port's, which a reload reads anew.
type certificate struct{ current atomic.Pointer[tls.Config] }

func newCertificate(t config.TLS) (*certificate, error) {
	c := &certificate{}
	return c, c.load(t)
}

// load reads the files; an error leaves what was.
func (c *certificate) load(t config.TLS) error {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return fmt.Errorf("server.tls: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if t.ClientCA != "" {
		pem, err := os.ReadFile(t.ClientCA)
		if err != nil {
			return fmt.Errorf("server.tls.client_ca: %w", err)
		}
		out.ClientCAs, out.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !out.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("server.tls.client_ca: no certificate in %s", t.ClientCA)
		}
	}
	c.current.Store(out)
	return nil
}

// config is for a server; each connection gets what is current.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.current.Load(), nil
		},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.current.Load().Certificates[0], nil
		},
	}
}
