package command

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeShowsTheHookThatIsBuilt holds the README's hook against the program
// that another test builds and runs.
func TestReadmeShowsTheHookThatIsBuilt(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	hook, err := os.ReadFile("testdata/customhook/greeter.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, ok := strings.Cut(string(hook), ")\n\n")
	if !ok || !strings.Contains(string(readme), strings.TrimSpace(code)) {
		t.Errorf("README.md does not show testdata/customhook/greeter.go as it is:\n%s", code)
	}
	line, err := os.ReadFile("testdata/customhook/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, call, _ := strings.Cut(string(line), "func main() {\n")
	if call = strings.TrimSuffix(strings.TrimSpace(call), "}"); !strings.Contains(string(readme), strings.TrimSpace(call)) {
		t.Errorf("README.md does not show the line %q", call)
	}
}
