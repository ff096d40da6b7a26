package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
)

func installCommand(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "install", Short: "Write a commented ccproxy.yaml", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.install(force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a file that exists")
	return cmd
}

func (a *app) install(force bool) error {
	path, err := a.installPath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; --force replaces it", path)
	}
	if err != nil {
		return fmt.Errorf("install: %w", err)
	}
	_, err = f.Write(config.Template())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("install: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "wrote %s\n\nnext:\n  edit it, then        ccproxy config check\n  start the gateway:   ccproxy start\n  use it:              ccproxy run claude\n", path)
	return err
}

// installPath is where the configuration would be looked for.
func (a *app) installPath() (string, error) {
	path := a.configFile
	if path == "" {
		path, _ = a.lookup("CCPROXY_CONFIG")
	}
	if path != "" {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, "ccproxy.yaml")
		}
		return filepath.Abs(path)
	}
	path, _, err := config.Find("", a.lookup)
	if err != nil {
		return "", err
	}
	if path == "" {
		return "", errors.New("install: no home directory; say where with --config-dir")
	}
	return filepath.Abs(filepath.Join(filepath.Dir(path), "ccproxy.yaml"))
}
