package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestPageIsLightAndStrict(t *testing.T) {
	r := newRig(t)
	total, zipped := 0, 0
	for name, a := range r.console.files {
		total += len(a.body)
		zipped += len(a.zipped)
		if strings.Contains(string(a.body), "//cdn") || strings.Contains(string(a.body), "https://") && name != "uplot.js" {
			t.Errorf("%s names another host", name)
		}
		if name != "uplot.js" && (strings.Contains(string(a.body), "innerHTML") || strings.Contains(string(a.body), "insertAdjacentHTML") || strings.Contains(string(a.body), "document.write") || strings.Contains(string(a.body), "eval(")) {
			t.Errorf("%s makes HTML or code of text", name)
		}
	}
	t.Logf("the page weighs %d bytes, %d as sent", total, zipped)
	if total > 300_000 {
		t.Errorf("the page weighs %d bytes, want 300,000 at most", total)
	}
	html := string(r.console.files["index.html"].body)
	if strings.Contains(html, "<style") || strings.Contains(html, " style=") || strings.Contains(html, " onclick=") {
		t.Error("the page has style or script inline")
	}
	for _, path := range []string{"/", "/trace/0123456789abcdef", "/money", "/health", "/assets/page.js", "/favicon.ico"} {
		resp := r.ask(t, "GET", path, nil)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s", path, resp.Status)
		}
		csp := resp.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy lacks %q", path, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "data:") || resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: got headers %v", path, resp.Header)
		}
	}
	for _, path := range []string{"/assets/..%2fconsole.go", "/assets/%2e%2e/doc.go", "/assets/nope.js", "/assets/", "/assets/API.md"} {
		if resp := r.ask(t, "GET", path, nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %s, want 404", path, resp.Status)
		}
	}
}

func TestPageIsSentOnce(t *testing.T) {
	r := newRig(t)
	a := r.console.files["page.css"]
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.server.URL+"/assets/page.css", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("If-None-Match", a.tag)
	resp, err := r.server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotModified {
		t.Errorf("got %s, want 304", resp.Status)
	}
	z, err := gzip.NewReader(bytes.NewReader(a.zipped))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(z); err != nil || !bytes.Equal(got, a.body) {
		t.Errorf("the zipped form is another, %v", err)
	}
}

// TestChartLibraryIsThePublishedOne holds the vendored files against what the registry serves: uPlot 1.6.32,
// dist/uPlot.iife.min.js and dist/uPlot.min.css. One line makes the script a module.
func TestChartLibraryIsThePublishedOne(t *testing.T) {
	for name, want := range map[string]string{
		"uplot.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f", "uplot.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
	} {
		body, err := files.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.TrimSuffix(body, []byte("export default uPlot;\n"))
		sum, line := sha256.Sum256(body), sha256.Sum256(bytes.TrimSuffix(body, []byte("\n")))
		if hex.EncodeToString(sum[:]) != want && hex.EncodeToString(line[:]) != want {
			t.Errorf("%s is not the published one", name)
		}
	}
}
