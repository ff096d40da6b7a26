package store

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs a child instead of the tests when it is one.
func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		children[name]()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
