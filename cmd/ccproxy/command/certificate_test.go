package command

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate makes a certificate with a serial number, and its key.
func writeCertificate(t *testing.T, dir string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		var b bytes.Buffer
		if err := pem.Encode(&b, block); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestG09CertificateIsReadAnewAndABadOneIsNot(t *testing.T) {
	dir := t.TempDir()
	writeCertificate(t, dir, 1)
	r := newRig(t, anthropicOnly+"server: { tls: { cert: "+filepath.Join(dir, "cert.pem")+", key: "+filepath.Join(dir, "key.pem")+" } }\n")
	if !strings.HasPrefix(r.server.DataURL(), "https://") {
		t.Fatalf("URL: got %s", r.server.DataURL())
	}
	served := func() (serial, proto string) {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}}
		resp, err := client.Get(r.server.DataURL() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.TLS.PeerCertificates[0].SerialNumber.String(), resp.Proto
	}
	if serial, proto := served(); serial != "1" || proto != "HTTP/2.0" {
		t.Errorf("at start: got serial %s over %s, want 1 over HTTP/2.0", serial, proto)
	}
	writeCertificate(t, dir, 2)
	if _, err := r.server.reloadFile(); err != nil {
		t.Fatal(err)
	}
	if serial, _ := served(); serial != "2" {
		t.Errorf("after a reload: got serial %s, want 2", serial)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.server.reloadFile(); err == nil || !strings.Contains(err.Error(), "server.tls") {
		t.Errorf("reload with a bad key: got %v, want an error that names server.tls", err)
	}
	if serial, _ := served(); serial != "2" {
		t.Errorf("after a failed reload: got serial %s, want 2", serial)
	}
}
