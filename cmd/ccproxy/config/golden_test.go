package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what Load says into the golden files")

// environment is what the files under testdata may name.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"HOME": "/home/user", "USERPROFILE": `C:\Users\user`, "SET": "value", "EMPTY": "", "BLANK": " ", "LINE": "a\n",
		"ANTHROPIC_API_KEY": "canary-anthropic", "MIRROR_KEY": "canary-mirror", "GEMINI_API_KEY": "canary-gemini",
		"PERPLEXITY_API_KEY": "canary-perplexity", "ALICE_KEY": "ccp_canary0123456789abcdefghijklm",
		"OPENAI_KEY_A": "canary-a", "OPENAI_KEY_B": "canary-b", "AZURE_KEY": "canary-azure",
	}[name]
	return value, ok
}

// write puts files (name, content, name, content, …) into a directory and returns the path of the first.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, files[0])
}

// load loads content as ccproxy.yaml and wants no error.
func load(t *testing.T, content string) (*Config, []Warning) {
	t.Helper()
	c, warnings, err := Load(write(t, "ccproxy.yaml", content), Options{Lookup: environment})
	if err != nil {
		t.Fatal(err)
	}
	return c, warnings
}

// refuse loads content as ccproxy.yaml and wants an error that has every one of parts in it.
func refuse(t *testing.T, content string, parts ...string) {
	t.Helper()
	c, _, err := Load(write(t, "ccproxy.yaml", content), Options{Lookup: environment})
	if err == nil {
		t.Fatalf("loaded as %+v, want an error with %q", c, parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %q, want it to have %q", err, part)
		}
	}
}

// golden loads each case of testdata/name.txtar (case/ccproxy.yaml, perhaps case/config.yaml) and compares errors and
// warnings with case/want.
func golden(t *testing.T, name string) {
	file := filepath.Join("testdata", name+".txtar")
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	cases := map[string]map[string][]byte{}
	for _, f := range archive.Files {
		dir, base := path.Split(f.Name)
		if cases[dir] == nil {
			order, cases[dir] = append(order, dir), map[string][]byte{}
		}
		cases[dir][base] = f.Data
	}
	out := &txtar.Archive{Comment: archive.Comment}
	for _, dir := range order {
		t.Run(strings.TrimSuffix(dir, "/"), func(t *testing.T) {
			files := []string{"ccproxy.yaml", string(cases[dir]["ccproxy.yaml"])}
			if beside, ok := cases[dir]["config.yaml"]; ok {
				files = append(files, "config.yaml", string(beside))
			}
			got := said(Load(write(t, files...), Options{Lookup: environment}))
			if !*update && got != string(cases[dir]["want"]) {
				t.Errorf("got\n%s\nwant\n%s", got, cases[dir]["want"])
			}
			for i := 0; i < len(files); i += 2 {
				out.Files = append(out.Files, txtar.File{Name: dir + files[i], Data: []byte(files[i+1])})
			}
			out.Files = append(out.Files, txtar.File{Name: dir + "want", Data: []byte(got)})
		})
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// said is what Load reported, as text.
func said(c *Config, warnings []Warning, err error) string {
	var b bytes.Buffer
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	if err != nil {
		fmt.Fprintln(&b, err)
	}
	if (c == nil) != (err != nil) {
		fmt.Fprintf(&b, "a configuration (%v) beside an error (%v)\n", c != nil, err)
	}
	return b.String()
}

func TestG01BrokenFileIsRefusedWithItsPlace(t *testing.T)           { golden(t, "g01") }
func TestG02UnknownKeyNamesNearest(t *testing.T)                    { golden(t, "g02") }
func TestG03EmptySecretOrMissingVariableIsRefused(t *testing.T)     { golden(t, "g03") }
func TestG04DuplicateNameIsRefused(t *testing.T)                    { golden(t, "g04") }
func TestG05DanglingOrCyclicReferenceIsNamed(t *testing.T)          { golden(t, "g05") }
func TestG11ConflictingLimitsAreRefused(t *testing.T)               { golden(t, "g11") }
func TestL17AmountsThatMeanNothingAreRefused(t *testing.T)          { golden(t, "l17") }
func TestS33AddressThatGivesCredentialsAwayIsRefused(t *testing.T)  { golden(t, "s33") }
func TestPythonCannotRunUnlessLenientWhereItIsDropped(t *testing.T) { golden(t, "compat") }
