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
	"time"
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

// storageDir is the storage directory of the configuration, or of the zero configuration when it cannot be read: a
// gateway must be found although its file has been broken since.
func (a *app) storageDir() string {
	cfg, _, _, err := a.load()
	if err == nil {
		return cfg.Storage.Path
	}
	if dir, ok := a.lookup("CCPROXY_CONFIG_DIR"); ok && dir != "" {
		return dir
	}
	return a.usualStorage()
}
