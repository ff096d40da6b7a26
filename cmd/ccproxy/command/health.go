package command

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func healthCommand(a *app) *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: "health", Short: "Exit with 0 if the gateway takes requests, else with 1", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, err := a.healthURL(address)
			if err != nil {
				return err
			}
			if err := ready(cmd.Context(), base); err != nil {
				return fmt.Errorf("not ready: %w", err)
			}
			_, err = fmt.Fprintln(a.out, "ready")
			return err
		},
	}
	cmd.Flags().StringVar(&address, "url", "", "base `URL` of the gateway; default: the one running here")
	return cmd
}

func (a *app) healthURL(address string) (string, error) {
	if address == "" {
		if run, err := running(a.storageDir()); err == nil {
			return run.URL, nil
		}
		cfg, _, _, err := a.load()
		if err != nil {
			return "", err
		}
		return gatewayURL(cfg), nil
	}
	if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usage(errors.New("--url: want a URL such as http://127.0.0.1:4000"))
	}
	return strings.TrimRight(address, "/"), nil
}
