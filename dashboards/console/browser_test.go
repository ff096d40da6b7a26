package console

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// newBrowser starts a headless Chromium that can reach loopback alone.
func newBrowser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no Chromium: install Debian's package chromium")
		}
		t.Skip("there is no Chromium here")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(60*time.Second))
	actx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(actx)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// tab is a page in the browser.
type tab struct {
	t   *testing.T
	ctx context.Context
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of an expression as JSON has it.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// wait waits until an expression is true.
func (b *tab) wait(expression string) {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(15 * time.Second)
	for !eval[bool](b, "!!("+expression+")") {
		select {
		case <-tick.C:
		case <-limit:
			b.t.Fatalf("this did not come true: %s; the page shows:\n%s", expression, eval[string](b, "document.body.innerText"))
		}
	}
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

func TestShots(t *testing.T) {
	dir := os.Getenv("CONSOLE_SHOTS")
	if dir == "" {
		t.Skip()
	}
	r := newRig(t)
	r.playDay(400)
	s := plainScene(3, time.Now())
	s.failFirst = "rate_limit_exceeded"
	s.stream = true
	s.original, s.routed, s.baseline = "claude-opus-5", "claude-sonnet-5", 2.6
	s.label, s.rule = "think", "think"
	id := r.play(s)
	r.settle(t)
	b := &tab{t, newBrowser(t)}
	base := r.server.URL
	shot := func(name string) {
		t.Helper()
		b.do(chromedp.Sleep(500 * time.Millisecond))
		png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatal(name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.do(chromedp.EmulateViewport(1280, 800))
	b.open(base + "/")
	b.wait(`document.querySelector("form.signin")`)
	shot("signin")
	b.open("about:blank")
	b.open(base + "/#" + r.console.Ticket(TicketLife))
	b.wait(`document.querySelector("tbody tr")`)
	shot("requests")
	b.open(base + "/trace/" + id.String())
	b.wait(`document.querySelector(".waterfall")`)
	eval[any](b, `[...document.querySelectorAll("button.span")].at(-4).click()`)
	shot("trace")
	b.open(base + "/money")
	b.wait(`document.querySelector(".chart canvas")`)
	shot("money")
	b.open(base + "/health")
	b.wait(`document.querySelector(".tiles")`)
	shot("health")
	eval[any](b, `localStorage.theme="dark"`)
	b.open(base + "/trace/" + id.String())
	b.wait(`document.querySelector(".waterfall")`)
	shot("dark-trace")
	b.open(base + "/money")
	b.wait(`document.querySelector(".chart canvas")`)
	shot("dark-money")
	eval[any](b, `localStorage.theme="light"`)
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.open(base + "/")
	b.wait(`document.querySelector("tbody tr")`)
	shot("phone-requests")
	b.open(base + "/trace/" + id.String())
	b.wait(`document.querySelector(".waterfall")`)
	shot("phone-trace")
	b.open(base + "/money")
	b.wait(`document.querySelector(".chart canvas")`)
	shot("phone-money")
}
