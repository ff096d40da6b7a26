// Command generate writes the dashboards into its working directory.
package main

import (
	"fmt"
	"os"

	"github.com/ccproxy/ccproxy/dashboards"
)

func main() {
	for name, d := range dashboards.All() {
		text, err := d.JSON()
		if err == nil {
			err = os.WriteFile(name, text, 0o644)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "generate: %s: %v\n", name, err)
			os.Exit(1)
		}
	}
}
