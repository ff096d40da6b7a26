package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ccproxy/ccproxy/gateway/gatewaytest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ccproxy": func() { os.Exit(Main(os.Args[1:], nil)) },
		"stuck":   func() { os.Exit(stuck(os.Args[1])) },
	})
}

// stuck is a gateway with the storage dir that does not end when it is asked to.
func stuck(dir string) int {
	signal.Ignore(endSignals...)
	s, err := openStorage(dir)
	if err == nil {
		err = s.publish(runInfo{PID: os.Getpid(), URL: "http://127.0.0.1:1"})
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	<-time.After(time.Minute) // longer than the test
	return 1
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("Windows has no signals to ignore")
		return
	}
	home, _ := homeWith(t, "timeouts: { drain: 100ms, telemetry_flush: 100ms }\n")
	path, err := exec.LookPath("stuck")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, filepath.Join(home, ".ccproxy"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	eventually(t, func() bool {
		_, err := running(filepath.Join(home, ".ccproxy"))
		return err == nil
	})
	stop, out := process(t, home, "stop")
	if err := stop.Wait(); err != nil {
		t.Errorf("stop: %v; output: %s", err, out)
	}
	if !strings.Contains(out.String(), "killed pid") || !strings.Contains(out.String(), "stopped") {
		t.Errorf("output: got %s", out)
	}
	if err := <-done; err == nil || endedBy(cmd.ProcessState) != int(syscall.SIGKILL) {
		t.Errorf("the process ended with %v, want killed", err)
	}
}

func TestLogsFollowReplacedAndCutFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, logName)
	add := func(text string, flags int) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	add("one\ntwo\n", os.O_APPEND)
	out := &syncBuffer{}
	a := &app{out: out, err: out, env: emptyEnv, configDir: dir}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.logs(ctx, 1, true) }()
	shows := func(text string) {
		t.Helper()
		eventually(t, func() bool { return strings.HasSuffix(out.String(), text) })
	}
	shows("two\n")
	add("three\n", os.O_APPEND)
	shows("three\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	add("four\n", os.O_APPEND)
	shows("four\n")
	add("5\n", os.O_TRUNC)
	shows("5\n")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got, want := out.String(), "two\nthree\nfour\n5\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCommands runs the scripts of testdata/commands, each with a home directory of its own and a simulated provider at
// $UPSTREAM.
func TestCommands(t *testing.T) {
	provider := gatewaytest.NewProvider(gatewaytest.ProviderOptions{})
	upstream := httptest.NewServer(provider)
	t.Cleanup(provider.Close)
	t.Cleanup(upstream.Close)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "commands"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("USERPROFILE", filepath.Join(e.WorkDir, "home"))
			e.Setenv("UPSTREAM", upstream.URL)
			e.Defer(func() { stopAll(e.WorkDir) })
			return os.MkdirAll(filepath.Join(e.WorkDir, "home"), 0o700)
		},
		Condition: func(cond string) (bool, error) {
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// exits CODE command…: the command ends with that code.
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					code = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if got := fmt.Sprint(code); (got == args[0]) == neg {
					ts.Fatalf("exit code %s", got)
				}
			},
			// secret NAME: the key that was printed as JSON last goes to the environment.
			"secret": func(ts *testscript.TestScript, _ bool, args []string) {
				var made newKey
				ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &made))
				ts.Setenv(args[0], made.Secret)
			},
			// asks CODE PATH [Header:value…]: the gateway of the home directory answers a message with that status. The
			// request's id goes to $REQUEST, its trace's to $TRACE.
			"asks": func(ts *testscript.TestScript, neg bool, args []string) {
				run, err := running(filepath.Join(ts.Getenv("HOME"), ".ccproxy"))
				ts.Check(err)
				req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, run.URL+args[1], strings.NewReader(question))
				ts.Check(err)
				req.Header.Set("Content-Type", "application/json")
				for _, header := range args[2:] {
					name, value, _ := strings.Cut(header, ":")
					req.Header.Set(name, value)
				}
				resp, err := http.DefaultClient.Do(req)
				ts.Check(err)
				ts.Check(resp.Body.Close())
				ts.Setenv("REQUEST", resp.Header.Get("X-CCProxy-Request-Id"))
				ts.Setenv("TRACE", resp.Header.Get("X-CCProxy-Trace-Id"))
				if got := fmt.Sprint(resp.StatusCode); (got == args[0]) == neg {
					ts.Fatalf("status %s", got)
				}
			},
		},
	})
}

// stopAll ends gateways a failed script left behind.
func stopAll(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error { // what cannot be read holds none
		if err == nil && d.Name() == runName {
			if run, err := running(filepath.Dir(path)); err == nil {
				if p, err := os.FindProcess(run.PID); err == nil {
					_ = p.Kill()
				}
			}
		}
		return nil
	})
}

// process starts ccproxy as a process of its own with a home directory, and returns its output.
func process(t *testing.T, home string, args ...string) (*exec.Cmd, *syncBuffer) {
	t.Helper()
	path, err := exec.LookPath("ccproxy") // TestMain put it there
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	out := &syncBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(os.Environ(), "HOME="+home, "USERPROFILE="+home)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // most have ended
		_ = cmd.Wait()
	})
	return cmd, out
}

// homeWith returns a home directory with a configuration.
func homeWith(t *testing.T, text string) (home, path string) {
	t.Helper()
	home = t.TempDir()
	path = filepath.Join(home, ".ccproxy", "ccproxy.yaml")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return home, path
}

const freePorts = "server: { listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\" }\n"

func awaitRun(t *testing.T, home string) runInfo {
	t.Helper()
	var run runInfo
	eventually(t, func() (ok bool) {
		var err error
		run, err = running(filepath.Join(home, ".ccproxy"))
		return err == nil && ready(t.Context(), run.URL) == nil
	})
	return run
}

func TestD01SignalsEndTheGatewayWithTheOriginalsCodes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("Windows has no signals to send")
		return
	}
	for sig, want := range map[os.Signal]int{syscall.SIGTERM: 0, os.Interrupt: 130} {
		home, _ := homeWith(t, freePorts)
		cmd, out := process(t, home, "start")
		awaitRun(t, home)
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the code is looked at below
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%v: exit code %d, want %d; output: %s", sig, got, want, out)
		}
	}
}

func TestD04HangUpReloads(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("Windows has no signals to send")
		return
	}
	home, path := homeWith(t, freePorts)
	cmd, out := process(t, home, "start", "--config", path)
	awaitRun(t, home)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Contains(out.String(), "configuration reloaded") })
	if err := os.WriteFile(path, []byte("server: { listne: x }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return strings.Contains(out.String(), "ccproxy.yaml:1:11") })
	awaitRun(t, home)
}

func TestD04OutputNobodyReadsIsNoMatter(t *testing.T) {
	home, _ := homeWith(t, freePorts)
	path, err := exec.LookPath("ccproxy")
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "start")
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Env = append(os.Environ(), "HOME="+home, "USERPROFILE="+home)
	if err := r.Close(); err != nil { // before the first line is printed
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = w.Close()
	})
	run := awaitRun(t, home)
	resp, body := send(t, "POST", run.URL+"/nowhere", "") // is logged
	if resp.StatusCode != 404 {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	if err := ready(t.Context(), run.URL); err != nil {
		t.Errorf("after logging to a broken pipe: %v", err)
	}
}

func TestRunPassesCtrlCOn(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("Windows has no signals to send")
		return
	}
	home, _ := homeWith(t, freePorts)
	cmd, out := process(t, home, "run", "sh", "-c", "echo ready; kill -INT $$; sleep 60")
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Fatalf("the command goes on; output: %s", out)
	}
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("exit code %d, want 130", got)
	}
}

// TestCustomHookNeedsOneLineInMain builds a copy of main with a hook of its own, as the README says.
func TestCustomHookNeedsOneLineInMain(t *testing.T) {
	provider := gatewaytest.NewProvider(gatewaytest.ProviderOptions{})
	upstream := httptest.NewServer(provider)
	t.Cleanup(provider.Close)
	t.Cleanup(upstream.Close)
	binary := filepath.Join(t.TempDir(), "ccproxy-custom")
	if out, err := exec.Command("go", "build", "-o", binary, "./testdata/customhook").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, c := range []struct{ name, config, want string }{
		{"default list", "", "hello"},
		{"listed with parameters", "ccproxy: { hooks: [rule_evaluator, model_router, { hook: greeter, params: { text: good day } }] }\n", "good day"},
		{"not listed", "ccproxy: { hooks: [rule_evaluator, model_router] }\n", ""},
	} {
		home, _ := homeWith(t, freePorts+"providers: { anthropic: { base_url: \""+upstream.URL+"\" } }\n"+c.config)
		cmd := exec.Command(binary, "start")
		cmd.Env = append(os.Environ(), "HOME="+home, "USERPROFILE="+home)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		run := awaitRun(t, home)
		resp, body := send(t, "POST", run.URL+"/v1/messages", question, "Content-Type", "application/json")
		if got := resp.Header.Get("X-Greeting"); resp.StatusCode != 200 || got != c.want {
			t.Errorf("%s: got %d, greeting %q, want %q; %s", c.name, resp.StatusCode, got, c.want, body)
		}
		_ = cmd.Process.Kill() // nothing is checked of its end
		_ = cmd.Wait()
	}
}
