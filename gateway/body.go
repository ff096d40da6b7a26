package gateway

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// readBody reads a request body to its end, within the limits: only then can
// net/http notice that a client leaves (reliability M7).
func readBody(w http.ResponseWriter, r *http.Request, lim Limits) ([]byte, *Error) {
	if len(r.TransferEncoding) > 0 {
		// A front proxy may see other boundaries than we do: do not reuse the connection.
		w.Header().Set("Connection", "close")
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, nil
	}
	if e := checkContentType(r.Header.Get("Content-Type")); e != nil {
		return nil, e
	}
	if r.ContentLength > lim.Body {
		return nil, tooLarge(lim.Body)
	}
	src := io.Reader(r.Body)
	switch enc := strings.ToLower(r.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip":
		zr, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, Invalid("the request body is not the gzip stream its Content-Encoding announces")
		}
		defer zr.Close()
		src = zr
	default:
		e := Invalid("Content-Encoding %q is not supported; send the body plain or with gzip", clip(enc))
		e.Status = http.StatusUnsupportedMediaType
		return nil, e
	}
	body, err := readAtMost(src, lim.Body, r.ContentLength)
	switch {
	case errors.Is(err, errTooLarge):
		w.Header().Set("Connection", "close")
		return nil, tooLarge(lim.Body)
	case err != nil:
		e := Invalid("the request body could not be read to its end")
		e.Err = err
		return nil, e
	}
	return body, nil
}

func checkContentType(v string) *Error {
	t, _, err := mime.ParseMediaType(v)
	if err == nil && (t == "application/json" || strings.HasSuffix(t, "+json")) {
		return nil
	}
	e := Invalid("Content-Type is %q; send application/json", clip(v))
	e.Status = http.StatusUnsupportedMediaType
	return e
}

func tooLarge(limit int64) *Error {
	e := Invalid("the request body is larger than %d bytes (limits.body)", limit)
	e.Status = http.StatusRequestEntityTooLarge
	return e
}

var errTooLarge = errors.New("body too large")

// readAtMost reads r whole, or fails with errTooLarge once it passes limit; what
// was read is returned either way.
// size is a hint, negative when unknown.
func readAtMost(r io.Reader, limit, size int64) ([]byte, error) {
	hint := int64(512)
	if size >= 0 && size <= limit {
		// One byte more lets the last Read report io.EOF without growing.
		hint = min(size, 1<<20) + 1
	}
	buf := make([]byte, 0, hint)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return buf, errTooLarge
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// validate refuses what parsers read differently: what the rules inspect must
// be what the provider sees.
func validate(body []byte, lim Limits) error {
	err := jsonscan.Validate(body, jsonscan.Limits{Depth: lim.JSONDepth, Members: lim.JSONMembers})
	if err == nil {
		return nil
	}
	e := Invalid("the request body is not valid JSON: %v", err)
	e.Err = err
	var je *jsonscan.Error
	if errors.As(err, &je) {
		e.Message = fmt.Sprintf("the request body is not valid JSON: %s at byte %d", je.Msg, je.Offset)
		e.Code = je.Reason
	}
	return e
}

// unknownPath is the answer to a path nothing serves.
func unknownPath(r *http.Request) *Error {
	return &Error{
		Type: names.ErrorNotFoundError, Origin: names.ErrorOriginCaller, Reason: names.RejectionNotFound, Status: http.StatusNotFound,
		Message: fmt.Sprintf("%s %s is not served here; to relay it, list the path under providers.<name>.passthrough", methodName(r.Method), clip(r.URL.Path)),
	}
}
