package gateway_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/ccproxy/ccproxy/"

// leaves import nothing of ours but names, and may be imported by all.
var leaves = []string{"telemetry/names", "gateway/jsonscan", "gateway/sse", "gateway/tokens"}

// layer gives the place of a package in the one direction that imports go:
// cmd → dashboards → telemetry, hooks → gateway/* → gateway → leaves. The console
// under dashboards shows what telemetry/store keeps.
func layer(pkg string) int {
	for _, l := range leaves {
		if pkg == l {
			return 0
		}
	}
	first, _, nested := strings.Cut(pkg, "/")
	switch {
	case first == "gateway" && !nested:
		return 1
	case first == "gateway":
		return 2
	case first == "telemetry", first == "hooks":
		return 3
	case first == "dashboards", first == "collector":
		return 4
	}
	return 5
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath        string
	Doc               string
	Imports           []string
	GoFiles, CgoFiles []string
	Name              string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles,CgoFiles,Name", "../...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

func TestImportsGoOneWay(t *testing.T) {
	for _, p := range listPackages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			sameTop := strings.SplitN(from, "/", 2)[0] == strings.SplitN(to, "/", 2)[0]
			if layer(to) > layer(from) || layer(to) == layer(from) && layer(to) == 3 && !sameTop {
				t.Errorf("%s imports %s, against the direction of imports", from, to)
			}
		}
	}
}

func TestOnlyTelemetryKnowsTheSDK(t *testing.T) {
	for _, p := range listPackages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(from, "telemetry") || strings.HasPrefix(from, "cmd/") {
			continue
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "go.opentelemetry.io/otel/sdk") || strings.HasPrefix(imp, "go.opentelemetry.io/otel/exporters") {
				t.Errorf("%s imports %s: only telemetry knows the SDK", from, imp)
			}
			// The global providers live in the root package; attribute, trace and metric are the API.
			if imp == "go.opentelemetry.io/otel" {
				t.Errorf("%s imports the OpenTelemetry globals", from)
			}
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo", p.ImportPath)
		}
	}
}
