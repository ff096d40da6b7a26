package command

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func configCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Check, show or find the configuration", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check", Short: "Check the configuration and list what is odd about it", Args: noArgs,
			RunE: func(*cobra.Command, []string) error { return a.checkConfig() },
		},
		&cobra.Command{
			Use: "show", Short: "Print the effective configuration, secrets masked", Args: noArgs,
			RunE: func(*cobra.Command, []string) error {
				cfg, _, _, err := a.load()
				if err != nil {
					return err
				}
				text, err := cfg.YAML()
				if err != nil {
					return err
				}
				_, err = a.out.Write(text)
				return err
			},
		},
		&cobra.Command{
			Use: "path", Short: "Print where the configuration file is", Args: noArgs,
			RunE: func(*cobra.Command, []string) error {
				path, err := a.find()
				if err != nil {
					return err
				}
				if path == "" {
					return errors.New("there is no configuration file, and none is needed; `ccproxy install` writes one")
				}
				_, err = fmt.Fprintln(a.out, path)
				return err
			},
		},
	)
	return cmd
}

// checkConfig prints every warning and every error, a line each, and fails if there is an error.
func (a *app) checkConfig() error {
	cfg, path, warnings, err := a.load()
	for _, w := range warnings {
		a.note("warning: " + w.String())
	}
	if err != nil {
		return a.refused(err)
	}
	snapshot, err := newWiring(a.custom, slog.New(slog.DiscardHandler)).snapshot(cfg)
	if err != nil {
		return a.refused(err)
	}
	tc, err := telemetryConfig(cfg, a.env)
	if err == nil {
		err = tc.Validate()
	}
	if err != nil {
		return a.refused(err)
	}
	for _, text := range oddities(cfg, snapshot) {
		a.note("warning: " + text)
	}
	if err := checkOpen(cfg, cfg.Server.Listen, len(cfg.Keys) > 0); err != nil {
		// The ledger may hold keys, which only the gateway may look for while it runs.
		if !exists(filepath.Join(cfg.Storage.Path, ledgerName)) {
			return a.refused(err)
		}
		a.note("warning: unless a key has been made by command, the gateway will not start: " + err.Error())
	}
	_, err = fmt.Fprintf(a.out, "%s: ok\n", orElse(path, "defaults (no configuration file)"))
	return err
}

// refused prints each part of err and returns what the command ends with.
func (a *app) refused(err error) error {
	list := parts(err)
	for _, part := range list {
		a.note("error: " + strings.ReplaceAll(part.Error(), "\n", "\n  "))
	}
	what := "errors"
	if len(list) == 1 {
		what = "error"
	}
	return fmt.Errorf("the configuration is not valid (%d %s)", len(list), what)
}

// parts takes joined errors apart; one that wraps several in a sentence of its own stays whole.
func parts(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, parts(e)...)
	}
	return out
}

// note prints a line beside the output.
func (a *app) note(line string) { _, _ = fmt.Fprintln(a.err, line) } // nowhere else to say it
