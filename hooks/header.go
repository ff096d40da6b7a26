package hooks

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/ccproxy/ccproxy/gateway"
)

// maxHeaderValue is the longest header value a hook may set, in bytes.
const maxHeaderValue = 4 << 10

// framing are the headers that belong to a connection or a message's framing; the engine alone sets them.
var framing = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Proxy-Authenticate": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Content-Length": true, "Content-Type": true, "Content-Encoding": true,
	"Accept-Encoding": true, "Host": true, "Expect": true, "Traceresponse": true, "Traceparent": true, "Tracestate": true, "Baggage": true,
}

func checkHeaderName(name string) error {
	if !httpguts.ValidHeaderFieldName(name) || len(name) > 100 {
		return fmt.Errorf("%q is no name of a header", name)
	}
	return nil
}

func checkHeaderValue(value string) error {
	if !httpguts.ValidHeaderFieldValue(value) || len(value) > maxHeaderValue {
		return fmt.Errorf("the value must be at most %d bytes without line breaks and control characters", maxHeaderValue)
	}
	return nil
}

// checkHeader says why a hook may not touch a header of a message the engine sends.
func checkHeader(name string) error {
	if err := checkHeaderName(name); err != nil {
		return err
	}
	key := http.CanonicalHeaderKey(name)
	switch {
	case framing[key]:
		return fmt.Errorf("%s is set by the gateway alone", name)
	case strings.HasPrefix(key, "X-Ccproxy-"):
		return errors.New("the headers X-CCProxy-… are the gateway's own")
	}
	return nil
}

// checkRequestHeader is checkHeader for requests to providers, whose credentials only the engine chooses.
func checkRequestHeader(name string) error {
	if err := checkHeader(name); err != nil {
		return err
	}
	if isCredential(strings.ToLower(name)) {
		return fmt.Errorf("%s carries a credential, which only the gateway attaches", name)
	}
	return nil
}

func setHeader(a *gateway.Attempt, name, value string) {
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set(name, value)
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
