package hooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// maxFact is the length of a caller fact, in bytes.
const maxFact = 128

// extractSessionID finds who asks in the places configuration names. It fills in only what the engine, which knows where
// the usual clients put it, did not find.
type extractSessionID struct{ session, user, account places }

// places are where a fact may stand, tried in order: headers, then members of the body.
type places struct {
	headers []string
	paths   [][]string
}

func newExtractSessionID(params Params) (gateway.Hook, error) {
	var p struct {
		Headers        []string `yaml:"headers"` // of the session
		Paths          []string `yaml:"paths"`
		UserHeaders    []string `yaml:"user_headers"`
		UserPaths      []string `yaml:"user_paths"`
		AccountHeaders []string `yaml:"account_headers"`
		AccountPaths   []string `yaml:"account_paths"`
	}
	if err := decode(params, &p); err != nil {
		return nil, err
	}
	var h extractSessionID
	err := errors.Join(h.session.set("", p.Headers, p.Paths), h.user.set("user_", p.UserHeaders, p.UserPaths),
		h.account.set("account_", p.AccountHeaders, p.AccountPaths))
	return h, err
}

func (l *places) set(prefix string, headers, paths []string) error {
	for _, h := range headers {
		if err := checkHeaderName(h); err != nil {
			return fmt.Errorf("parameter %sheaders: %w", prefix, err)
		}
		// An id reaches spans; a credential must not pass for one.
		if isCredential(strings.ToLower(h)) {
			return fmt.Errorf("parameter %sheaders: %s carries a credential", prefix, h)
		}
		l.headers = append(l.headers, h)
	}
	for _, p := range paths {
		steps := strings.Split(p, ".")
		if slices.Contains(steps, "") {
			return fmt.Errorf(`parameter %spaths: %q is no path such as "metadata.session_id"`, prefix, p)
		}
		l.paths = append(l.paths, steps)
	}
	return nil
}

// Name implements gateway.Hook.
func (extractSessionID) Name() string { return "extract_session_id" }

// Begin implements gateway.Hook.
func (h extractSessionID) Begin(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	h.session.fill(&x.Caller.Session, x)
	h.user.fill(&x.Caller.User, x)
	h.account.fill(&x.Caller.Account, x)
	return gateway.Phases{}, nil
}

// fill sets *fact to the first usable value, unless it is known already.
func (l places) fill(fact *string, x *gateway.Exchange) {
	if *fact != "" {
		return
	}
	for _, h := range l.headers {
		if v := x.Request.Header.Get(h); usable(v) {
			*fact = v
			return
		}
	}
	for _, path := range l.paths {
		if v, ok := jsonscan.String(x.Body, jsonscan.Get(x.Body, jsonscan.Root(x.Body), path...)); ok && usable(v) {
			*fact = v
			return
		}
	}
}

func usable(v string) bool { return v != "" && len(v) <= maxFact && printable(v) }
