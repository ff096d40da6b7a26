package command

import (
	"log/slog"
	"testing"
)

// onFreePorts are options for a server in this process that logs to the test and takes any ports.
func onFreePorts(t *testing.T) serverOptions {
	t.Helper()
	return serverOptions{
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Storage: t.TempDir(), DataAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
		Lookup: func(string) (string, bool) { return "", false },
	}
}
