package command

import (
	"io"
	"os"
	"regexp"
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

// TestReadmeBudgetsLoad loads the README's keys and budgets.
func TestReadmeBudgetsLoad(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(readme), "```yaml\nteams:")
	text, _, end := strings.Cut(text, "```")
	if !ok || !end {
		t.Fatal("README.md shows no teams")
	}
	text = "teams:" + strings.ReplaceAll(text, "${CI_KEY}", aliceKey) + "models: { background: { targets: [anthropic/claude-haiku-4-5] } }\n"
	r := newRig(t, text+"providers: { anthropic: { base_url: \"UPSTREAM\", api_key: sk-upstream-0123456789 } }\n")
	r.wants(200, aliceKey)
	for _, name := range []string{"everything", "research", "each-key", "ci/week"} {
		if v := r.budget(name); v.Spent == 0 {
			t.Errorf("budget %s: nothing is spent", name)
		}
	}
}

// TestReadmeCommandsExist finds every command of the README's section on money.
func TestReadmeCommandsExist(t *testing.T) {
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "## Keys, budgets and the ledger")
	section, _, _ = strings.Cut(section, "\n## ")
	root := (&app{out: io.Discard, err: io.Discard, env: emptyEnv}).root()
	found := 0
	for _, m := range regexp.MustCompile("ccproxy ((?:keys|spend|budgets|ledger)[^#`\n]*)").FindAllStringSubmatch(section, -1) {
		args := strings.Fields(m[1])
		cmd, rest, err := root.Find(args)
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err != nil || cmd == root {
			t.Errorf("ccproxy %s: %v", m[1], err)
		}
		found++
	}
	if found < 6 {
		t.Errorf("got %d commands, want at least 6", found)
	}
}
