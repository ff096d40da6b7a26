//go:build stack

package collector

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// The tests of the stack build the real servers, from Go modules, once: they stay in the user's cache directory until a
// version changes. Run them with
//
//	go test -tags stack -timeout 30m ./collector
//
// Nothing listens but on loopback, and nothing is fetched but modules.

// build builds a program: the servers and tools are of the versions that are pinned, the Collector is made of builder.yaml.
func build(t *testing.T, name, out string) {
	t.Helper()
	switch name {
	case "promtool", "prometheus":
		install(t, out, "github.com/prometheus/prometheus/cmd/"+name+"@"+prometheusModule)
	case "amtool":
		install(t, out, "github.com/prometheus/alertmanager/cmd/amtool@"+alertmanagerModule)
	case "builder":
		install(t, out, "go.opentelemetry.io/collector/cmd/builder@"+builderModule)
	case "otelcol":
		buildCollector(t, out)
	case "ccproxy":
		command(t, "..", "go", "build", "-o", out, "./cmd/ccproxy")
	default:
		t.Fatalf("there is no program %s", name)
	}
}

var building sync.Map // name → *sync.Once

// program returns the path of a program, built if need be.
func program(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(cacheDir(t), "ccproxy-stack", versionKey(t))
	if name == "ccproxy" {
		dir = buildDir()
	}
	path := filepath.Join(dir, name)
	once, _ := building.LoadOrStore(name, new(sync.Once))
	once.(*sync.Once).Do(func() {
		if _, err := os.Stat(path); err == nil && name != "ccproxy" {
			return
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		// Under another name first: a build that is cut short leaves nothing that looks whole.
		part := path + ".part"
		build(t, name, part)
		if err := os.Rename(part, path); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s was not built: %v", name, err)
	}
	return path
}

var buildDir = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "ccproxy-stack-")
	if err != nil {
		panic(err)
	}
	return dir
})

// TestMain removes what was built for this run alone.
func TestMain(m *testing.M) {
	code := m.Run()
	if err := os.RemoveAll(buildDir()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func cacheDir(t *testing.T) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// versionKey names what the programs are made of.
func versionKey(t *testing.T) string {
	t.Helper()
	manifest, err := os.ReadFile("builder.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(fmt.Appendf(manifest, "\n%s %s %s", prometheusModule, alertmanagerModule, builderModule))
	return fmt.Sprintf("%x", sum[:8])
}

func install(t *testing.T, out, module string) {
	t.Helper()
	dir := t.TempDir()
	name, _, _ := strings.Cut(filepath.Base(module), "@")
	// Without the service discoveries of clouds the build is a third.
	cmd := exec.Command("go", "install", "-tags", "remove_all_sd", module)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v\n%s", module, err, text)
	}
	copyFile(t, filepath.Join(dir, name), out)
}

// buildCollector makes the Collector of builder.yaml: the builder writes its sources, and modules are resolved by the go
// command alone. (Left to itself the builder runs `go mod tidy`, which wants the modules of all tests as well.)
func buildCollector(t *testing.T, out string) {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile("builder.yaml")
	if err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "builder.yaml")
	text = bytes.Replace(text, []byte("output_path: ./otelcol-ccproxy"), []byte("output_path: "+dir), 1)
	if err := os.WriteFile(manifest, text, 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, dir, program(t, "builder"), "--skip-get-modules", "--skip-compilation", "--config", manifest)
	b := readBuilder(t)
	mod := "module " + b.Dist.Module + "\n\ngo 1.26.0\n\nrequire (\n\tgo.opentelemetry.io/collector/otelcol v" + b.Dist.Version + "\n"
	for _, m := range b.modules() {
		mod += "\t" + m + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod+")\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, dir, "go", "build", "-mod=mod", "-o", out, ".")
}

func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, text)
	}
	return string(text)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o755); err != nil {
		t.Fatal(err)
	}
}
