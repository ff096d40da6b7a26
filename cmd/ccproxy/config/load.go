package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"
)

const (
	fileName    = "ccproxy.yaml"
	litellmName = "config.yaml"
)

// Options change how Load reads. The zero value is right for a gateway.
type Options struct {
	// Lookup is the environment. Nil: the process's.
	Lookup Lookup
	// Lenient is compat: lenient whatever the file says.
	Lenient bool
	// Hooks are the names of hooks this binary has besides the built-in ones.
	Hooks []string
}

// Default returns the zero configuration: loopback, the three vendors at their public addresses with the clients' own
// credentials, the default hooks.
func Default() *Config {
	d := newDecoder(os.LookupEnv, false)
	c := base()
	d.finish(c, "")
	c.places, c.env = d.places, d.env
	return c
}

// base is what a file is laid over.
func base() *Config {
	c := &Config{
		Version: 1, Compat: "strict",
		Server: Server{Listen: "127.0.0.1:4000", Admin: "127.0.0.1:4001"},
		CCProxy: CCProxy{
			MetricsEnabled: true, DefaultModelPassthrough: true,
			Logging:  Logging{PreAPICall: true, PostAPICall: true, RoutingAnalysis: true, CostTracking: true},
			OAuthTTL: 8 * time.Hour, OAuthRefreshBuffer: 0.1,
		},
		Budgets: Budgets{HoldPercentile: 0.95},
		Telemetry: Telemetry{
			Detail: "standard", Content: "none", ContentBytes: 64 * kib,
			Sampling:      Sampling{Ratio: 1, Keep: Keep{Error: true, Fallback: true, Moderation: true, Budget: true}},
			TrustIncoming: "loopback", UserID: "hash", BudgetSubjects: 500, QueueBytes: 32 * mib,
		},
		Storage: Storage{Path: "~/.ccproxy", Synchronous: "normal"},
		Limits:  defaultLimits(), Timeouts: defaultTimeouts(),
	}
	for _, name := range defaultHooks {
		c.CCProxy.Hooks = append(c.CCProxy.Hooks, Hook{Name: name})
	}
	return c
}

// Find returns the configuration file: flag (a file or a directory), else $CCPROXY_CONFIG, else the file in
// $CCPROXY_CONFIG_DIR, else the one in ~/.ccproxy. The working directory is never looked at: the file may name commands
// to run. A directory's file is ccproxy.yaml, or LiteLLM's config.yaml when that is all there is.
//
// Without a file found is false and path is where one would be; only a file that was asked for by flag or $CCPROXY_CONFIG
// and is not there is an error. A nil env is the process's environment.
func Find(flag string, env Lookup) (path string, found bool, err error) {
	if env == nil {
		env = os.LookupEnv
	}
	asked := flag
	if asked == "" {
		asked, _ = env("CCPROXY_CONFIG")
	}
	if asked != "" {
		info, err := os.Stat(asked)
		if err != nil {
			return asked, false, fmt.Errorf("find configuration: %w", err)
		}
		if !info.IsDir() {
			return asked, true, nil
		}
		if path, found = inDirectory(asked); !found {
			return path, false, fmt.Errorf("find configuration: %s: %w", path, fs.ErrNotExist)
		}
		return path, true, nil
	}
	dir, _ := env("CCPROXY_CONFIG_DIR")
	if dir == "" {
		home, err := homeDirectory(env)
		if err != nil {
			return "", false, nil // a container without a home: the zero configuration
		}
		dir = filepath.Join(home, ".ccproxy")
	}
	path, found = inDirectory(dir)
	return path, found, nil
}

func inDirectory(dir string) (path string, found bool) {
	for _, name := range []string{fileName, litellmName} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, true
		}
	}
	return filepath.Join(dir, fileName), false
}

func homeDirectory(env Lookup) (string, error) {
	name := "HOME"
	if runtime.GOOS == "windows" {
		name = "USERPROFILE"
	}
	if home, ok := env(name); ok && home != "" {
		return home, nil
	}
	return "", fmt.Errorf("no home directory: %s is not set", name)
}

// Load reads the file at path and a LiteLLM config.yaml beside it. An empty path is the zero configuration. The error
// joins every *Problem found, in the order of the file; warnings are given with and without an error.
func Load(path string, opt Options) (*Config, []Warning, error) {
	if opt.Lookup == nil {
		opt.Lookup = os.LookupEnv
	}
	d := newDecoder(opt.Lookup, opt.Lenient)
	d.hooks = opt.Hooks
	c := base()
	if path != "" {
		if err := d.files(c, path); err != nil {
			return nil, d.warnings, err
		}
	}
	dir := ""
	if path != "" {
		dir = filepath.Dir(path)
	}
	d.finish(c, dir)
	slices.SortStableFunc(d.warnings, func(a, b Warning) int { return a.Place.compare(b.Place) })
	if err := joinProblems(d.problems); err != nil {
		return nil, d.warnings, err
	}
	c.places, c.env = d.places, d.env
	return c, d.warnings, nil
}

// StoragePath returns the storage directory that the file at path names, or the usual one, although other parts of the
// file may be wrong. The error is of a file that cannot be read at all. A nil opt.Lookup means os.LookupEnv.
func StoragePath(path string, opt Options) (string, error) {
	if opt.Lookup == nil {
		opt.Lookup = os.LookupEnv
	}
	d := newDecoder(opt.Lookup, opt.Lenient)
	c := base()
	if err := d.files(c, path); err != nil {
		return "", err
	}
	d.paths(c, filepath.Dir(path))
	return c.Storage.Path, nil
}

// Place returns where the key at path stands ("providers.mirror.base_url"), or the nearest key above it.
func (c *Config) Place(path string) Place { return placeOf(c.places, path) }

// files decodes the file at path, and the LiteLLM file beside it, into c. Problems in what they say are left in d.
func (d *decoder) files(c *Config, path string) error {
	root, open, err := read(path)
	if err != nil {
		return err
	}
	c.Files = append(c.Files, path)
	if compat := root.get("compat"); compat != nil && compat.text == "lenient" {
		d.lenient = true
	}
	own, litellm := split(root)
	d.value(own, "", reflect.ValueOf(c).Elem(), "")
	if c.Version != 1 {
		d.fail(d.at("version"), "version", "this gateway reads version 1, not %d", c.Version)
	}
	if own.get("server").get("listen") == nil {
		d.litellmListen(c)
	}
	d.litellm(c, litellm)
	d.warnReadable(path, open)
	if filepath.Base(path) == litellmName {
		return nil
	}
	return d.beside(c, filepath.Join(filepath.Dir(path), litellmName))
}

// beside adds LiteLLM's file at path, if there is one.
func (d *decoder) beside(c *Config, path string) error {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	root, open, err := read(path)
	if err != nil {
		return err
	}
	c.Files = append(c.Files, path)
	ours, theirs := split(root)
	if len(theirs.pairs) == 0 || len(ours.pairs) > 0 {
		d.warn(Place{File: litellmName}, "", "not LiteLLM's file; ignored")
		return nil
	}
	d.literal = false
	d.litellm(c, theirs)
	d.warnReadable(path, open)
	return nil
}

// read opens, checks and parses a file. open reports that others than the owner may read it.
func read(path string) (root *node, open bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, false, fmt.Errorf("read configuration: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, false, fmt.Errorf("read configuration: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, false, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, false, fmt.Errorf("read configuration: %w", err)
	}
	name := filepath.Base(path)
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return nil, false, &Problem{Place: Place{File: name}, Message: fmt.Sprintf(
			"others may write this file (mode %04o), and it may name commands to run; chmod go-w %s", info.Mode().Perm(), path)}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, false, fmt.Errorf("read configuration: %w", err)
	}
	root, problems := parse(name, data)
	return root, info.Mode().Perm()&0o044 != 0, joinProblems(problems)
}

func (d *decoder) warnReadable(path string, open bool) {
	if d.literal && open && runtime.GOOS != "windows" {
		d.warn(Place{File: filepath.Base(path)}, "", "holds secrets and others may read it; chmod 600 %s, or write the secrets as ${NAME}", path)
	}
}

// finish fills in what follows from other values, resolves references and checks the whole.
func (d *decoder) finish(c *Config, dir string) {
	d.credentials(&c.CCProxy)
	d.paths(c, dir)
	d.bounds(c)
	d.providers(c)
	oauthDefaults(&c.CCProxy)
	for i := range c.CCProxy.Hooks {
		if h := &c.CCProxy.Hooks[i]; h.Timeout == 0 {
			h.Timeout = c.Timeouts.Hook
		}
	}
	for i := range c.Moderation.Backends {
		if b := &c.Moderation.Backends[i]; b.Timeout == 0 {
			b.Timeout = c.Timeouts.Moderation
		}
	}
	d.resolve(c)
	d.validate(c)
}

// paths makes the paths in c absolute.
func (d *decoder) paths(c *Config, dir string) {
	for path, p := range map[string]*string{
		"storage.path": &c.Storage.Path, "server.tls.cert": &c.Server.TLS.Cert, "server.tls.key": &c.Server.TLS.Key,
		"server.tls.client_ca": &c.Server.TLS.ClientCA,
	} {
		if err := d.absolute(p, dir); err != nil {
			d.fail(d.at(path), path, "%v", err)
		}
	}
}

func (d *decoder) absolute(p *string, dir string) error {
	if *p == "" {
		return nil
	}
	if rest, ok := strings.CutPrefix(*p, "~"); ok && (rest == "" || rest[0] == '/' || rest[0] == filepath.Separator) {
		home, err := homeDirectory(d.lookup)
		if err != nil {
			return nil // kept as "~/…": whoever needs the directory says so
		}
		*p = filepath.Join(home, rest)
		return nil
	}
	if filepath.IsAbs(*p) {
		return nil
	}
	abs, err := filepath.Abs(filepath.Join(dir, *p))
	if err != nil {
		return errors.New("cannot be made absolute; give the whole path")
	}
	*p = abs
	return nil
}
