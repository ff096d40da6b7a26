package command

import "testing"

// testOptions are those of a gateway under test: the environment does not
// reach it, and it logs nothing.
func testOptions(*testing.T) serverOptions {
	return serverOptions{Lookup: func(string) (string, bool) { return "", false }}
}
