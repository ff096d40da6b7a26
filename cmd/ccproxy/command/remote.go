package command

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
)

// local is the client for gateways on this machine: no proxy, and a certificate need not bear this machine's name.
func local() *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // only booleans are asked for
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// errNoAdmin says that a running gateway cannot be asked.
var errNoAdmin = errors.New("its admin port is off")

// ask calls the admin API of a running gateway and decodes the answer into out; nil: it is dropped.
func ask(ctx context.Context, run runInfo, method, path string, out any) error {
	if run.Admin == "" {
		return errNoAdmin
	}
	req, err := http.NewRequestWithContext(ctx, method, run.Admin+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+run.Token)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("the gateway answered %s to %s: %s", resp.Status, path, bytes.TrimSpace(body))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}

// storageDir is the storage directory of the configuration; of one with errors what can be read of it, else the usual
// one: a gateway must be found although its file has been broken since.
func (a *app) storageDir() string {
	if path, err := a.find(); err == nil && path != "" {
		if dir, err := config.StoragePath(path, config.Options{Lookup: a.env}); err == nil && dir != a.usualStorage() {
			return dir
		}
	}
	if dir, ok := a.lookup("CCPROXY_CONFIG_DIR"); ok && dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
		return dir
	}
	return a.usualStorage()
}
