package gateway

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// maxRatio is how far an encoded answer may expand once the first MiB is out
// (reliability U-21).
const maxRatio = 100

// decodeBody undoes a content encoding the provider used although identity was
// asked for, so that the answer can be observed.
func decodeBody(resp *http.Response) *Error {
	enc := strings.ToLower(resp.Header.Get("Content-Encoding"))
	if enc == "" || enc == "identity" {
		return nil
	}
	counted := &countingReader{r: resp.Body}
	var plain io.Reader
	var err error
	switch enc {
	case "gzip":
		plain, err = gzip.NewReader(counted)
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(counted, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20)); err == nil {
			plain = d.IOReadCloser()
		}
	default:
		err = errors.New("unknown content encoding")
	}
	if err != nil {
		return &Error{Type: names.ErrorResponseDecodeError, Origin: names.ErrorOriginProvider, Status: http.StatusBadGateway,
			Message: "the provider encoded its answer as " + clip(enc) + " although identity was asked for, and it could not be decoded", Err: err}
	}
	resp.Header = resp.Header.Clone()
	resp.Header.Del("Content-Encoding")
	resp.ContentLength = -1
	resp.Body = &decodedBody{Reader: plain, in: counted, body: resp.Body}
	return nil
}

type countingReader struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type decodedBody struct {
	io.Reader
	in   *countingReader
	body io.Closer
	out  int64
}

var errBomb = errors.New("the answer expands beyond all measure")

// Read implements io.Reader.
func (d *decodedBody) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	d.out += int64(n)
	if d.out > 1<<20 && d.out > maxRatio*d.in.n {
		return 0, errBomb
	}
	return n, err
}

// Close implements io.Closer.
func (d *decodedBody) Close() error {
	if c, ok := d.Reader.(io.Closer); ok {
		_ = c.Close() // only frees buffers
	}
	return d.body.Close()
}
