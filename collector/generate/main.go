// Command generate writes what is generated in the folder collector, which is its working directory.
package main

import (
	"fmt"
	"os"

	"github.com/ccproxy/ccproxy/collector"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	anchored, err := os.ReadFile("rules/recording.anchored.yaml")
	if err != nil {
		return err
	}
	portable, err := collector.Portable(anchored)
	if err != nil {
		return err
	}
	return os.WriteFile("rules/recording.portable.yaml", portable, 0o644)
}
