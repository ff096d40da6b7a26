package gateway_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// h2Upstream is a provider that speaks HTTP/2 frame by frame.
type h2Upstream struct {
	streams uint32 // SETTINGS_MAX_CONCURRENT_STREAMS; 0: not said
	// serve is called for each request that has come whole, with the number of its connection and of the request on it.
	serve func(c *h2Conn, conn, request int, stream uint32)

	url       string
	transport *http.Transport
	conns     atomic.Int64
	asked     atomic.Int64
}

type h2Conn struct {
	net.Conn
	mu sync.Mutex
	fr *http2.Framer
}

func (u *h2Upstream) start(t *testing.T) {
	t.Helper()
	lend := httptest.NewTLSServer(http.NotFoundHandler())
	defer lend.Close()
	cert, pool := lend.TLS.Certificates[0], x509.NewCertPool()
	pool.AddCert(lend.Certificate())
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	u.url, u.transport = "https://"+ln.Addr().String(), gateway.NewTransport()
	u.transport.TLSClientConfig.RootCAs = pool
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { u.talk(c, int(u.conns.Add(1))-1) })
		}
	})
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { ln.Close(); u.transport.CloseIdleConnections() })
}

func (u *h2Upstream) talk(nc net.Conn, number int) {
	defer nc.Close()
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil {
		return
	}
	c := &h2Conn{Conn: nc, fr: http2.NewFramer(nc, nc)}
	var settings []http2.Setting
	if u.streams > 0 {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: u.streams})
	}
	if c.fr.WriteSettings(settings...) != nil {
		return
	}
	for n := 0; ; {
		f, err := c.fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.mu.Lock()
				_ = c.fr.WriteSettingsAck()
				c.mu.Unlock()
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				u.asked.Add(1)
				u.serve(c, number, n, f.StreamID)
				n++
			}
		}
	}
}

func (c *h2Conn) answer(stream uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range [][2]string{{":status", "200"}, {"content-type", "application/json"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true})
	_ = c.fr.WriteData(stream, true, plainAnswer())
}

func (c *h2Conn) reset(stream uint32, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.fr.WriteRSTStream(stream, code)
}

func (c *h2Conn) goAway(last uint32, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.fr.WriteGoAway(last, code, nil)
}

func (u *h2Upstream) rig(t *testing.T) *rig {
	t.Helper()
	u.start(t)
	return newRig(t, rigConfig{baseURL: u.url, provider: func(p *gateway.Provider) { p.Transport = u.transport }})
}

func TestU20WhatHTTP2SaysItHasNotSeenIsSentAgain(t *testing.T) {
	for name, c := range map[string]struct {
		serve        func(c *h2Conn, conn, request int, stream uint32)
		conns, asked int64 // after two exchanges
	}{
		"a refused stream": {func(c *h2Conn, conn, request int, stream uint32) {
			if conn == 0 && request == 1 {
				c.reset(stream, http2.ErrCodeRefusedStream)
				return
			}
			c.answer(stream)
		}, 1, 3},
		"GOAWAY before the stream": {func(c *h2Conn, conn, request int, stream uint32) {
			if conn == 0 && request == 1 {
				c.goAway(stream-2, http2.ErrCodeNo)
				return
			}
			c.answer(stream)
		}, 2, 3},
		"GOAWAY after the stream": {func(c *h2Conn, conn, request int, stream uint32) {
			if conn == 0 && request == 0 {
				c.goAway(stream, http2.ErrCodeNo)
			}
			c.answer(stream)
		}, 2, 2},
		"calm down": {func(c *h2Conn, conn, request int, stream uint32) {
			if conn == 0 && request == 1 {
				c.goAway(stream-2, http2.ErrCodeEnhanceYourCalm)
				return
			}
			c.answer(stream)
		}, 2, 3},
	} {
		t.Run(name, func(t *testing.T) {
			u := &h2Upstream{serve: c.serve}
			r := u.rig(t)
			for range 2 {
				got := r.ask(apis[0], false, "")
				x, _ := r.exchange()
				if got.status != 200 || x.Final().Sends[0].Protocol != "2" {
					t.Fatalf("got %d, %s: %v", got.status, got.body, x.Err)
				}
			}
			if u.conns.Load() != c.conns || u.asked.Load() != c.asked {
				t.Errorf("got %d connections and %d requests, want %d and %d", u.conns.Load(), u.asked.Load(), c.conns, c.asked)
			}
		})
	}
}

func TestU20StreamThatWasSeenIsNotSentAgain(t *testing.T) {
	for name, end := range map[string]func(c *h2Conn, stream uint32){
		"reset": func(c *h2Conn, stream uint32) { c.reset(stream, http2.ErrCodeInternal) },
		"gone":  func(c *h2Conn, _ uint32) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			u := &h2Upstream{serve: func(c *h2Conn, _, request int, stream uint32) {
				if request == 0 {
					c.answer(stream)
					return
				}
				end(c, stream)
			}}
			r := u.rig(t)
			r.ask(apis[0], false, "")
			r.exchange()
			got := r.ask(apis[0], false, "")
			x, _ := r.exchange()
			if got.status != 502 || u.asked.Load() != 2 || len(x.Final().Sends) != 1 || r.ledger.holds[1].settled != 1 {
				t.Errorf("got %d, %d requests, %d sends: %v", got.status, u.asked.Load(), len(x.Final().Sends), x.Err)
			}
		})
	}
}

func TestU20OneStreamAtATimeStallsNobody(t *testing.T) {
	taken, release := make(chan struct{}), make(chan struct{})
	var late sync.WaitGroup
	u := &h2Upstream{streams: 1, serve: func(c *h2Conn, conn, request int, stream uint32) {
		if conn > 0 || request != 1 {
			c.answer(stream)
			return
		}
		close(taken)
		late.Go(func() {
			<-release
			c.answer(stream)
		})
	}}
	r := u.rig(t)
	if got := r.ask(apis[0], false, ""); got.status != 200 { // tells the limit
		t.Fatalf("got %d, %s", got.status, got.body)
	}
	var long sync.WaitGroup
	long.Go(func() {
		if got := r.ask(apis[0], false, ""); got.status != 200 {
			t.Errorf("the long one: got %d, %s", got.status, got.body)
		}
	})
	<-taken
	for range 3 {
		if got := r.ask(apis[0], false, ""); got.status != 200 {
			t.Errorf("got %d, %s", got.status, got.body)
		}
	}
	close(release)
	long.Wait()
	late.Wait()
	if n := u.conns.Load(); n != 2 {
		t.Errorf("got %d connections, want 2", n)
	}
}

func TestU04ConnectionsThatHang(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var held []net.Conn
	wg.Go(func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
		}
		for _, c := range held {
			c.Close()
		}
	})
	defer wg.Wait()
	defer silent.Close()
	handshake := gateway.NewTransport()
	if handshake.TLSHandshakeTimeout != 5*time.Second {
		t.Errorf("handshakes may take %v, want 5s", handshake.TLSHandshakeTimeout)
	}
	handshake.TLSHandshakeTimeout = 50 * time.Millisecond
	connect := gateway.NewTransport()
	connect.DialContext = (&net.Dialer{Timeout: time.Nanosecond}).DialContext
	for name, c := range map[string]struct {
		transport *http.Transport
		errorType []string
	}{
		"no handshake":  {handshake, []string{names.ErrorTimeout, names.ErrorTLSError}},
		"no connection": {connect, []string{names.ErrorConnectError}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _ := backup(t, "https://"+silent.Addr().String())
			cfg.provider = func(p *gateway.Provider) {
				if p.Name != "backup" {
					p.Transport = c.transport
				}
			}
			r := newRig(t, cfg)
			start := time.Now()
			got := r.ask(apis[0], true, "")
			x, _ := r.exchange()
			first := x.Attempts[0]
			if got.status != 200 || time.Since(start) > 5*time.Second || len(x.Attempts) != 2 {
				t.Fatalf("got %d after %v, %d attempts", got.status, time.Since(start), len(x.Attempts))
			}
			if first.Err.Type != c.errorType[0] && first.Err.Type != c.errorType[len(c.errorType)-1] {
				t.Errorf("got %v, want %v", first.Err, c.errorType)
			}
			var te interface{ Timeout() bool }
			if !errors.As(first.Err, &te) || !te.Timeout() {
				t.Errorf("got %v, want a timeout", first.Err)
			}
			if r.ledger.holds[0].voided != 1 {
				t.Error("money is kept for a request that nobody can have seen")
			}
		})
	}
}
