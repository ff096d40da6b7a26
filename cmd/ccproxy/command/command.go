// Package command is the ccproxy command line: its commands, and the wiring that turns a configuration into a running
// gateway.
//
//	Main → app (cobra) → start → newServer: configuration → telemetry, recorder, providers, router, hooks → gateway
//	                   → status, stop, run, … → run.json → admin port of the running gateway
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
	"github.com/ccproxy/ccproxy/hooks"
)

// Main runs the command line args, without the program's name, and returns the exit code: 0, 1 for a failure, 2 for wrong
// usage, 130 after Ctrl-C, or a child's.
//
// custom are constructors of hooks besides the built-in ones, by the name the configuration lists them under; nil: none.
// While the hooks list is the default one they run after it. A custom hook refuses the exchange when it fails unless its
// entry says on_error: allow.
func Main(args []string, custom map[string]hooks.Constructor) int {
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.LookupEnv, custom: custom}
	return a.main(context.Background(), args)
}

// app is what the commands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      config.Lookup
	custom   map[string]hooks.Constructor

	configFile, configDir string // the persistent flags
}

// exitError ends the program with a code of its own. A nil err prints nothing.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage marks an error as wrong usage.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{2, fmt.Errorf("%w; see `ccproxy --help`", err)}
}

func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := 1
	var exit *exitError
	if errors.As(err, &exit) {
		code, err = exit.code, exit.err
	}
	if err != nil {
		_, _ = fmt.Fprintf(a.err, "ccproxy: %s\n", oneLine(err)) // nowhere else to say it
	}
	return code
}

// oneLine puts the lines of an error beside each other, but for excerpts drawn below a message.
func oneLine(err error) string {
	var lines []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "|") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ccproxy",
		Short: "An OpenTelemetry-native gateway for LLM traffic",
		Long: `ccproxy stands between LLM clients and providers: it routes each request by rules, and makes one trace of it.

  ccproxy start                                            # no configuration needed
  ANTHROPIC_BASE_URL=http://127.0.0.1:4000 claude          # or: ccproxy run claude`,
		SilenceUsage: true, SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %q?", near[0])
			}
			return usage(fmt.Errorf("unknown command %q%s", args[0], hint))
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.Version = buildVersion().Version
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.PersistentFlags().StringVar(&a.configFile, "config", "", "configuration `file` (default: $CCPROXY_CONFIG, else ccproxy.yaml in --config-dir)")
	root.PersistentFlags().StringVar(&a.configDir, "config-dir", "", "`directory` of configuration and storage (default: $CCPROXY_CONFIG_DIR, else ~/.ccproxy)")
	root.AddCommand(a.commands()...)
	return root
}

// noArgs refuses arguments as wrong usage.
func noArgs(cmd *cobra.Command, args []string) error { return usage(cobra.NoArgs(cmd, args)) }

// complete has the shell complete a flag's value from words.
func complete(cmd *cobra.Command, flag string, words ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // a flag that is not there
	}
}

// find returns the configuration file, "" without one.
func (a *app) find() (string, error) {
	path, found, err := config.Find(a.configFile, a.lookup)
	if err != nil || !found {
		return "", err
	}
	return filepath.Abs(path)
}

// lookup is the environment with --config-dir in it.
func (a *app) lookup(name string) (string, bool) {
	if a.configDir != "" {
		switch name {
		case "CCPROXY_CONFIG_DIR":
			return a.configDir, true
		case "CCPROXY_CONFIG":
			return "", false
		}
	}
	return a.env(name)
}

// load reads the configuration. path is "" without a file.
func (a *app) load() (cfg *config.Config, path string, warnings []config.Warning, err error) {
	if path, err = a.find(); err != nil {
		return nil, "", nil, err
	}
	cfg, warnings, err = a.loadFile(path)
	return cfg, path, warnings, err
}

func (a *app) loadFile(path string) (*config.Config, []config.Warning, error) {
	cfg, warnings, err := config.Load(path, config.Options{Lookup: a.env, Hooks: slices.Sorted(maps.Keys(a.custom))})
	if err != nil {
		return nil, warnings, err
	}
	// Whoever names a directory means all of it, run.json and logs included.
	if dir, ok := a.lookup("CCPROXY_CONFIG_DIR"); ok && dir != "" && cfg.Storage.Path == a.usualStorage() {
		if cfg.Storage.Path, err = filepath.Abs(dir); err != nil {
			return nil, warnings, fmt.Errorf("storage: %w", err)
		}
	}
	return cfg, warnings, nil
}

// usualStorage is the storage directory where no file names one.
func (a *app) usualStorage() string {
	cfg, _, err := config.Load("", config.Options{Lookup: a.env})
	if err != nil {
		return config.Default().Storage.Path // nothing but the environment can be wrong without a file
	}
	return cfg.Storage.Path
}

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// colours are the sequences that set one.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// plainWriter passes on what is written, without colours.
type plainWriter struct{ w io.Writer }

// Write implements io.Writer.
func (p plainWriter) Write(b []byte) (int, error) {
	_, err := p.w.Write(colours.ReplaceAll(b, nil))
	return len(b), err
}

// colour reports whether w takes colours (https://no-color.org).
func (a *app) colour(w io.Writer) bool {
	v, _ := a.env("NO_COLOR")
	term, _ := a.env("TERM")
	return v == "" && term != "dumb" && terminal(w)
}
