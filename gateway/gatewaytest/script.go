package gatewaytest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/tools/txtar"
)

// Script is one exchange written down: what the client sends, what the
// provider answers, and what is expected of the gateway in between. It is a
// txtar archive with these files, all but the first optional:
//
//	request     method and path, header lines, an empty line, the body
//	client      how the client behaves: "leave after N events", "leave before"
//	config      a ccproxy.yaml; ${UPSTREAM} is the scripted provider's address
//	upstream    one answer: a status line with directives, header lines, an
//	            empty line, the body. Repeated for further requests.
//	sent        expected: what the provider received
//	reply       expected: what the client received; "= upstream" for the last
//	            upstream body, byte for byte
//	spans, metrics, logs
//	            expected: telemetry, as the test renders it
//
// An upstream status line is "200 text/event-stream" followed by directives:
// chunk=N (write N bytes at a time), reset (break the connection after the
// body), cut (end the connection without HTTP's own end), hang (send no more
// until the client leaves), silent (send nothing at all until then), refuse
// (nobody listens).
type Script struct {
	Path    string
	Comment string
	archive *txtar.Archive
}

// LoadScripts reads every *.txtar file in dir, by name.
func LoadScripts(dir string) ([]*Script, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	scripts := make([]*Script, 0, len(paths))
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			return nil, fmt.Errorf("read script %s: %w", p, err)
		}
		scripts = append(scripts, &Script{Path: p, Comment: string(bytes.TrimSpace(a.Comment)), archive: a})
	}
	if len(scripts) == 0 {
		return nil, fmt.Errorf("no scripts in %s", dir)
	}
	return scripts, nil
}

// Name is the script's file name without its ending.
func (s *Script) Name() string {
	return strings.TrimSuffix(filepath.Base(s.Path), ".txtar")
}

// File returns the section called name and whether it exists.
func (s *Script) File(name string) (string, bool) {
	for _, f := range s.archive.Files {
		if f.Name == name {
			return string(f.Data), true
		}
	}
	return "", false
}

// Set replaces a section, or adds it at the end. Save writes it to the file.
func (s *Script) Set(name, data string) {
	if data != "" && !strings.HasSuffix(data, "\n") {
		data += "\n"
	}
	for i := range s.archive.Files {
		if s.archive.Files[i].Name == name {
			s.archive.Files[i].Data = []byte(data)
			return
		}
	}
	s.archive.Files = append(s.archive.Files, txtar.File{Name: name, Data: []byte(data)})
}

// Save writes the script back to its file.
func (s *Script) Save() error {
	return os.WriteFile(s.Path, txtar.Format(s.archive), 0o644)
}

// answers are the upstream sections in order.
func (s *Script) answers() ([]*scriptedAnswer, error) {
	var out []*scriptedAnswer
	for _, f := range s.archive.Files {
		if f.Name != "upstream" {
			continue
		}
		a, err := parseAnswer(string(f.Data))
		if err != nil {
			return nil, fmt.Errorf("%s: upstream: %w", s.Path, err)
		}
		out = append(out, a)
	}
	return out, nil
}

type scriptedAnswer struct {
	status                   int
	header                   http.Header
	body                     []byte
	chunk                    int
	reset, cut, hang, refuse bool
	silent                   bool
}

func parseAnswer(text string) (*scriptedAnswer, error) {
	first, rest, _ := strings.Cut(text, "\n")
	fields := strings.Fields(first)
	if len(fields) == 0 {
		return nil, fmt.Errorf("no status line")
	}
	a := &scriptedAnswer{header: http.Header{}}
	if fields[0] == "refuse" {
		a.refuse = true
		return a, nil
	}
	var err error
	if a.status, err = strconv.Atoi(fields[0]); err != nil {
		return nil, fmt.Errorf("status %q: %w", fields[0], err)
	}
	for _, f := range fields[1:] {
		name, value, _ := strings.Cut(f, "=")
		switch {
		case name == "chunk":
			if a.chunk, err = strconv.Atoi(value); err != nil {
				return nil, err
			}
		case name == "reset":
			a.reset = true
		case name == "cut":
			a.cut = true
		case name == "silent":
			a.silent = true
		case name == "hang":
			a.hang = true
		case name == "crlf":
			rest = strings.ReplaceAll(rest, "\n", "\r\n")
		case strings.Contains(name, "/"):
			a.header.Set("Content-Type", f)
		default:
			return nil, fmt.Errorf("unknown directive %q", f)
		}
	}
	head, body, ok := cutHead(rest)
	if !ok {
		return nil, fmt.Errorf("no empty line before the body")
	}
	if err := readHeader(a.header, head); err != nil {
		return nil, err
	}
	// txtar ends every file with a line end; an event stream's own empty line
	// stays, a JSON body has none.
	if !strings.Contains(a.header.Get("Content-Type"), "event-stream") {
		body = strings.TrimSuffix(strings.TrimSuffix(body, "\n"), "\r")
	}
	a.body = []byte(body)
	return a, nil
}

// cutHead separates header lines from the body at the first empty line.
func cutHead(s string) (head, body string, ok bool) {
	if b, found := strings.CutPrefix(s, "\n"); found {
		return "", b, true
	}
	if b, found := strings.CutPrefix(s, "\r\n"); found {
		return "", b, true
	}
	for _, sep := range [2]string{"\r\n\r\n", "\n\n"} {
		if h, b, found := strings.Cut(s, sep); found {
			return h, b, true
		}
	}
	return s, "", strings.TrimSpace(s) == "" || strings.Contains(s, ":")
}

func readHeader(h http.Header, lines string) error {
	for line := range strings.Lines(lines) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		k, v, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("header line %q has no colon", line)
		}
		h.Add(k, strings.TrimSpace(v))
	}
	return nil
}

// ScriptedProvider plays a script's upstream sections, one a request.
type ScriptedProvider struct {
	URL string // http://127.0.0.1:port

	answers  []*scriptedAnswer
	srv      *http.Server
	ln       net.Listener
	done     chan struct{}
	mu       sync.Mutex
	received []string
	bodies   [][]byte // sent, by request
	left     int      // clients that left while an answer hung
	cond     *sync.Cond
}

// Start listens on loopback. Close ends it.
func (s *Script) Start() (*ScriptedProvider, error) {
	answers, err := s.answers()
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &ScriptedProvider{URL: "http://" + ln.Addr().String(), answers: answers, ln: ln, done: make(chan struct{})}
	p.cond = sync.NewCond(&p.mu)
	if len(answers) > 0 && answers[0].refuse {
		// The port stays known and nobody listens on it.
		close(p.done)
		return p, ln.Close()
	}
	p.srv = &http.Server{Handler: p}
	go func() {
		defer close(p.done)
		_ = p.srv.Serve(ln) // ends with Close
	}()
	return p, nil
}

// Close stops the provider and waits for it.
func (p *ScriptedProvider) Close() {
	if p.srv != nil {
		_ = p.srv.Close() // cuts whatever hangs
	}
	<-p.done
}

// ServeHTTP implements http.Handler.
func (p *ScriptedProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p.mu.Lock()
	n := len(p.received)
	p.received = append(p.received, renderSent(r, body))
	var a *scriptedAnswer
	if len(p.answers) > 0 {
		a = p.answers[min(n, len(p.answers)-1)] // a provider that fails goes on failing
		p.bodies = append(p.bodies, a.body)
	}
	p.mu.Unlock()
	if a == nil {
		http.Error(w, "the script has no answer for this request", http.StatusTeapot)
		return
	}
	a.write(w, r)
	if r.Context().Err() != nil {
		p.mu.Lock()
		p.left++
		p.cond.Broadcast()
		p.mu.Unlock()
	}
}

func (a *scriptedAnswer) write(w http.ResponseWriter, r *http.Request) {
	if a.silent {
		<-r.Context().Done()
		return
	}
	for k, v := range a.header {
		w.Header()[k] = v
	}
	if !a.reset && !a.cut && !a.hang && a.chunk == 0 && !strings.Contains(a.header.Get("Content-Type"), "event-stream") {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	rc := http.NewResponseController(w)
	size := a.chunk
	if size == 0 {
		size = max(1, len(a.body))
	}
	for piece := range slices.Chunk(a.body, size) {
		if _, err := w.Write(piece); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
	}
	switch {
	case a.hang:
		<-r.Context().Done()
	case a.reset:
		hijackReset(rc)
	case a.cut:
		panic(http.ErrAbortHandler)
	}
}

// hijackReset closes the connection with RST instead of FIN.
func hijackReset(rc *http.ResponseController) {
	conn, _, err := rc.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tc, ok := conn.(*net.TCPConn); ok {
		_ = tc.SetLinger(0) // without it the close is only less abrupt
	}
	conn.Close()
}

// renderSent writes what the provider received in a stable form: the request
// line, credentials and vendor headers, and the body.
func renderSent(r *http.Request, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Method, r.URL.RequestURI())
	keys := make([]string, 0, len(r.Header))
	for k := range r.Header {
		switch k {
		case "Content-Length", "User-Agent":
		default:
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		for _, v := range r.Header[k] {
			fmt.Fprintf(&b, "%s: %s\n", k, v)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", body)
	return b.String()
}

// Sent renders the requests received so far.
func (p *ScriptedProvider) Sent() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.received, "\n")
}

// LastBody is the body of the last answer given.
func (p *ScriptedProvider) LastBody() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.bodies) == 0 {
		return nil
	}
	return p.bodies[len(p.bodies)-1]
}

// WaitLeft waits until n clients left before their answer's end.
func (p *ScriptedProvider) WaitLeft(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.left < n {
		p.cond.Wait()
	}
}
