package hooks_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
	"github.com/ccproxy/ccproxy/hooks"
)

func TestHooksConform(t *testing.T) {
	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		// Each call a connection of its own: the server's goroutines would else outlive the hook's.
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNoContent)
	}))
	defer guard.Close()
	params := map[string]hooks.Params{
		"webhook": hooks.Map{"url": guard.URL, "phases": []any{"pre_call", "pre_api", "response", "post_api", "end"}, "include": []any{"call", "caller", "body"}},
	}
	for _, name := range hooks.Names() {
		t.Run(name, func(t *testing.T) {
			gatewaytest.TestHook(t, func() gateway.Hook {
				h, err := hooks.New(name, params[name])
				if err != nil {
					t.Fatal(err)
				}
				return h
			})
		})
	}
}
