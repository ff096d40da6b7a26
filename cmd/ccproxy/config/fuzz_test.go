package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzLoad wants an answer in bounded time for any file, and from what loads a print that loads again.
func FuzzLoad(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range seeds {
		archive, err := txtar.ParseFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.HasSuffix(file.Name, ".yaml") {
				f.Add(file.Data)
			}
		}
	}
	examples, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, example := range append(examples, "template.yaml") {
		data, err := os.ReadFile(example)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		c, _, err := Load(write(t, "ccproxy.yaml", string(data)), Options{Lookup: environment})
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		if err != nil {
			if !strings.Contains(err.Error(), "ccproxy.yaml") {
				t.Errorf("an error that names no file: %v", err)
			}
			return
		}
		out, err := c.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := parse("printed", out); len(problems) > 0 {
			t.Errorf("%v\nin\n%s", joinProblems(problems), out)
		}
	})
}
