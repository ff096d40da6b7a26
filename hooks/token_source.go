package hooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/ccproxy/ccproxy/gateway"
)

// TokenConfig says where a provider's token comes from. Exactly one of Command and Source is set.
type TokenConfig struct {
	// Provider is the name of the provider the token is bound to, for messages.
	Provider string
	// Command is given to the shell (sh -c, on Windows cmd /C) with the environment of this process and no input. It prints
	// the token on its first line, or a JSON object with accessToken or access_token, and expiresAt or expires_at in
	// seconds or milliseconds since 1970.
	Command string
	// Source is a built-in source: "claude" reads the token Claude Code keeps in the macOS Keychain or in
	// ~/.claude/.credentials.json.
	Source string
	// UserAgent is sent with the token; "": the client's own.
	UserAgent string
	// TTL is how long a token is taken to live that does not say so itself; 0: 8 h.
	TTL time.Duration
	// RefreshBuffer is how long before its end a token is fetched anew; 0: a tenth of TTL. For a token that names its end
	// it is at most a tenth of the time left.
	RefreshBuffer time.Duration
	// Timeout bounds one run of the command; 0: 5 s.
	Timeout time.Duration
	// Log is told when a refresh fails while the old token is still good; nil: slog.Default().
	Log *slog.Logger
}

// pause is the time between two attempts to get a token. It keeps a broken command, or a provider that refuses every
// token, from starting a process per request.
const pause = 5 * time.Second

// errSameToken says that a refresh brought nothing new.
var errSameToken = errors.New("the source returned the token the provider has refused")

// NewTokenSource returns the source cfg describes. Nothing is run before the first token is needed. No error of it holds
// the output of a command.
func NewTokenSource(cfg TokenConfig) (gateway.TokenSource, error) {
	s := &tokenSource{cfg: cfg}
	switch {
	case (cfg.Command == "") == (cfg.Source == ""):
		return nil, fmt.Errorf("oat_sources.%s: give a command or a source", cfg.Provider)
	case cfg.TTL < 0 || cfg.RefreshBuffer < 0 || cfg.Timeout < 0:
		return nil, fmt.Errorf("oat_sources.%s: durations must not be negative", cfg.Provider)
	case !httpguts.ValidHeaderFieldValue(cfg.UserAgent):
		return nil, fmt.Errorf("oat_sources.%s: user_agent holds characters a header cannot", cfg.Provider)
	case cfg.Command != "":
		s.fetch = func(ctx context.Context) (token, error) { return commandToken(ctx, cfg.Command) }
	case cfg.Source == "claude":
		s.fetch = claudeToken
	default:
		return nil, fmt.Errorf("oat_sources.%s: unknown source %q%s", cfg.Provider, cfg.Source, suggest(cfg.Source, []string{"claude"}))
	}
	if s.cfg.TTL == 0 {
		s.cfg.TTL = 8 * time.Hour
	}
	if s.cfg.RefreshBuffer == 0 {
		s.cfg.RefreshBuffer = s.cfg.TTL / 10
	}
	if s.cfg.RefreshBuffer >= s.cfg.TTL {
		return nil, fmt.Errorf("oat_sources.%s: refresh must be shorter than ttl", cfg.Provider)
	}
	if s.cfg.Timeout == 0 {
		s.cfg.Timeout = 5 * time.Second
	}
	if s.cfg.Log == nil {
		s.cfg.Log = slog.Default()
	}
	return s, nil
}

// tokenSource keeps a token and gets a new one in time. The request that finds the token due fetches it; others go on
// with the old one, or wait when there is none.
type tokenSource struct {
	cfg   TokenConfig
	fetch func(context.Context) (token, error)

	mu      sync.Mutex
	current gateway.Secret
	expires time.Time // end of current
	due     time.Time // when current should be fetched anew
	retry   time.Time // not to be fetched before
	failure error     // of the last fetch, nil when it succeeded
	flight  *flight   // the fetch that is running, or nil
	refused gateway.Secret
}

// flight is a fetch that others may wait for.
type flight struct {
	done chan struct{}
	tok  gateway.Secret // valid once done is closed, like err
	err  error
}

// String implements fmt.Stringer. Without it fmt would print the token, because it asks no unexported field for its String.
func (s *tokenSource) String() string { return "token source of provider " + s.cfg.Provider }

// GoString implements fmt.GoStringer.
func (s *tokenSource) GoString() string { return s.String() }

// UserAgent implements gateway.TokenSource.
func (s *tokenSource) UserAgent() string { return s.cfg.UserAgent }

// Token implements gateway.TokenSource.
func (s *tokenSource) Token(ctx context.Context) (gateway.Secret, error) {
	s.mu.Lock()
	now := time.Now()
	valid := s.valid(now)
	if valid && (now.Before(s.due) || now.Before(s.retry) || s.flight != nil) {
		defer s.mu.Unlock()
		return s.current, nil
	}
	if !valid && s.failure != nil && now.Before(s.retry) {
		defer s.mu.Unlock()
		return "", s.failure
	}
	tok, err := s.fly(ctx)
	if err == nil {
		return tok, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.valid(time.Now()) {
		return s.current, nil
	}
	return "", err
}

// Refresh implements gateway.TokenSource.
func (s *tokenSource) Refresh(ctx context.Context, refused gateway.Secret) (gateway.Secret, error) {
	s.mu.Lock()
	now := time.Now()
	switch {
	case s.valid(now) && s.current != refused:
		defer s.mu.Unlock()
		return s.current, nil // somebody was faster
	case s.flight == nil && s.refused == refused && now.Before(s.retry):
		defer s.mu.Unlock()
		if s.failure != nil {
			return "", s.failure
		}
		return "", s.wrap(errSameToken)
	}
	s.refused = refused
	tok, err := s.fly(ctx)
	if err != nil {
		return "", err
	}
	if tok == refused {
		return "", s.wrap(errSameToken)
	}
	return tok, nil
}

func (s *tokenSource) valid(now time.Time) bool { return s.current != "" && now.Before(s.expires) }

func (s *tokenSource) wrap(err error) error {
	return fmt.Errorf("token for provider %s: %w", s.cfg.Provider, err)
}

// fly fetches a token, or waits for the fetch that is running. It is called with mu held and releases it.
func (s *tokenSource) fly(ctx context.Context) (gateway.Secret, error) {
	if f := s.flight; f != nil {
		s.mu.Unlock()
		select {
		case <-f.done:
			return f.tok, f.err
		case <-ctx.Done():
			return "", s.wrap(context.Cause(ctx))
		}
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	s.mu.Unlock()

	// Others wait for the token too: it must not be lost because this client leaves.
	fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
	defer cancel()
	tok, err := s.fetch(fctx)
	if err != nil && fctx.Err() != nil {
		err = fmt.Errorf("it took longer than %v", s.cfg.Timeout)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	f.tok, f.err = s.store(ctx, tok, err, now)
	s.flight, s.retry = nil, now.Add(pause)
	close(f.done)
	return f.tok, f.err
}

// store keeps what a fetch brought. It is called with mu held.
func (s *tokenSource) store(ctx context.Context, tok token, err error, now time.Time) (gateway.Secret, error) {
	if err == nil && !tok.Expires.IsZero() && !tok.Expires.After(now) {
		err = fmt.Errorf("the token it returned expired at %s", tok.Expires.UTC().Format(time.RFC3339))
	}
	if err != nil {
		s.failure = s.wrap(err)
		if s.valid(now) {
			s.cfg.Log.WarnContext(ctx, "token refresh failed; the old token stays in use", slog.String("provider", s.cfg.Provider),
				slog.String("error", err.Error()), slog.Time("expires", s.expires))
		}
		return "", s.failure
	}
	end, buffer := tok.Expires, s.cfg.RefreshBuffer
	if end.IsZero() {
		end = now.Add(s.cfg.TTL)
	} else {
		buffer = min(buffer, end.Sub(now)/10)
	}
	s.current, s.expires, s.due, s.failure = tok.Value, end, end.Add(-buffer), nil
	return tok.Value, nil
}

// claudeToken reads the token Claude Code keeps.
func claudeToken(ctx context.Context) (token, error) {
	if tok, err := keychainToken(ctx); err == nil {
		return tok, nil
	}
	return claudeFile()
}
