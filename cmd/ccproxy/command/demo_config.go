package command

import (
	_ "embed" // for demo.yaml
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ccproxy/ccproxy/cmd/ccproxy/config"
)

//go:embed demo.yaml
var demoYAML string

// The addresses of the demonstration's parts, where they are free.
const (
	demoListen    = "127.0.0.1:4000"
	demoAdmin     = "127.0.0.1:4001"
	simulatorAddr = "127.0.0.1:4010"
)

// demoPlaces are where the demonstration's parts are.
type demoPlaces struct {
	listen, admin string // host:port
	simulator     string // host:port
	storage       string // a directory
}

// text is the configuration of a demonstration at these places.
func (p demoPlaces) text() string {
	return strings.NewReplacer("${LISTEN}", p.listen, "${ADMIN}", p.admin, "${SIMULATOR}", p.simulator,
		"${STORAGE}", strconv.Quote(p.storage)).Replace(demoYAML)
}

// load reads the configuration as a file in dir would be: strictly, and with nothing of the user's.
func (p demoPlaces) load(dir string) (*config.Config, error) {
	path := filepath.Join(dir, "ccproxy.yaml")
	if err := os.WriteFile(path, []byte(p.text()), 0o600); err != nil {
		return nil, fmt.Errorf("write the demonstration's configuration: %w", err)
	}
	cfg, _, err := config.Load(path, config.Options{Lookup: func(string) (string, bool) { return "", false }})
	if err != nil {
		return nil, fmt.Errorf("the demonstration's configuration: %w", err)
	}
	return cfg, nil
}
