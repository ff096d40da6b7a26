// Command ccproxy is an OpenTelemetry-native gateway for LLM traffic. `ccproxy start` serves with no configuration at
// all; `ccproxy --help` lists the rest.
//
// A copy of this file with a map in place of nil is all that a hook of one's own needs; see [command.Main].
package main

import (
	"os"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/command"
)

func main() { os.Exit(command.Main(os.Args[1:], nil)) }
