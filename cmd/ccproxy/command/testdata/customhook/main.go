// Command ccproxy with one more hook: a copy of cmd/ccproxy/main.go with one line changed.
package main

import (
	"os"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/command"
	"github.com/ccproxy/ccproxy/hooks"
)

func main() {
	os.Exit(command.Main(os.Args[1:], map[string]hooks.Constructor{"greeter": newGreeter}))
}
