package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// files are the page as it is served.
//
//go:embed page
var files embed.FS

// policy lets the page load its own files and nothing else, run no script or style that stands in the page, and make no HTML
// from text at all.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// asset is a file of the page.
type asset struct {
	kind         string
	body, zipped []byte
	tag          string
}

var assetKinds = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func loadAssets() (map[string]*asset, error) {
	list := map[string]*asset{}
	entries, err := fs.ReadDir(files, "page")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	for _, e := range entries {
		kind := assetKinds[path.Ext(e.Name())]
		if kind == "" {
			continue
		}
		body, err := files.ReadFile("page/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		var zipped bytes.Buffer
		z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		if _, err := z.Write(body); err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		if err := z.Close(); err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		sum := sha256.Sum256(body)
		list[e.Name()] = &asset{kind, body, zipped.Bytes(), `"` + hex.EncodeToString(sum[:12]) + `"`}
	}
	return list, nil
}

// servePage answers every view with the same page, which holds no data.
func (c *Console) servePage(w http.ResponseWriter, r *http.Request) { c.serve(w, r, "index.html") }

func (c *Console) serveAsset(w http.ResponseWriter, r *http.Request) {
	c.serve(w, r, r.PathValue("name"))
}

func (c *Console) serveIcon(w http.ResponseWriter, r *http.Request) { c.serve(w, r, "icon.svg") }

func (c *Console) serve(w http.ResponseWriter, r *http.Request, name string) {
	a := c.files[name]
	if a == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // asked for again each time, and not sent again while it is the same
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.tag)
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := a.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.zipped
	}
	_, _ = w.Write(body) // a client that left is no matter
}
