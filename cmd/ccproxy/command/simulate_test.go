package command

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

func TestSimulatorServesUntilStopped(t *testing.T) {
	leakFree(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	// The base URL is the first thing that is printed with an address.
	printed := make(chan string, 1)
	w := writerFunc(func(p []byte) (int, error) {
		out.Write(p)
		if strings.Contains(string(p), "Ctrl-C") {
			printed <- out.String()
		}
		return len(p), nil
	})
	ended := make(chan error, 1)
	go func() { ended <- runSimulator(ctx, paper(w), "127.0.0.1:0", false) }()
	text := <-printed
	base := "http://" + addressPattern.FindString(text)
	for _, e := range examples {
		if !strings.Contains(text, e.curl(base)) {
			t.Errorf("the output has no curl for %s:\n%s", e.name, text)
		}
		want := http.StatusOK
		if strings.Contains(e.body, "529") {
			want = 529
		}
		tryExample(t, base, e, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	compareGolden(t, "testdata/demo/simulate.txt", maskStory(text))
}

func TestSimulatorStaysOnLoopback(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		if err := runSimulator(ctx, paper(io.Discard), address, false); err == nil || !strings.Contains(err.Error(), "--open") {
			t.Errorf("%s: got error %v, want one that names --open", address, err)
		}
	}
	if err := runSimulator(ctx, paper(io.Discard), "0.0.0.0:0", true); err != nil {
		t.Errorf("with --open: %v", err)
	}
}

func TestSimulatorSaysThatItsPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := runSimulator(t.Context(), paper(io.Discard), l.Addr().String(), false); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("got error %v, want one that names --listen", err)
	}
}
