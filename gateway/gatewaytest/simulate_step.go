package gatewaytest

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Cut is a way in which an answer stops before its end.
type Cut string

const (
	// CutNone lets the answer finish.
	CutNone Cut = ""
	// CutStall sends nothing more until the client leaves or the provider is closed.
	CutStall Cut = "stall"
	// CutReset resets the connection (RST; RST_STREAM on HTTP/2).
	CutReset Cut = "reset"
	// CutTruncate ends the body cleanly, without the dialect's terminator.
	CutTruncate Cut = "truncate"
	// CutError sends the dialect's error event and ends the body. Plain answers
	// have no such event and are not cut.
	CutError Cut = "error"
)

// Step is one scripted behaviour of the simulated provider. The zero value is a
// normal answer. As text (see [ParseStep]) each field has the word in brackets.
type Step struct {
	Status        int           // [status=N] answer with this error and the vendor's body; 0 and 200: succeed. OpenAI and Gemini, which have no 529, send 503
	ContextLength bool          // [context_length] 400, prompt too long
	Quota         bool          // [quota] the account's money or daily quota is used up, as the vendor says it
	RetryAfter    time.Duration // [retry_after=D] hint sent with 429, 503 and 529; 0: 1 s
	Hangup        bool          // [hangup] reset the connection instead of answering

	Events     int           // [events=N] number of text deltas (beside the stream's structural events); 0: as the text needs
	EventBytes int           // [event_bytes=N] bytes of text in each delta; 0: about 16
	Delay      time.Duration // [delay=D] wait before the headers
	EventDelay time.Duration // [event_delay=D] wait before each event but the first
	Cut        Cut           // [stall_after=N, reset_after=N, truncate_after=N, error_after=N, first_event_error]
	CutAfter   int           // events sent before the cut; of a plain body: 0 none, else half
	Chunk      int           // [chunk=N] write and flush N bytes at a time; 0: an event at a time

	NoUsage  bool   // [no_usage] leave usage out
	HTML     bool   // [html] 200 with a web page, as a captive portal does
	Gzip     bool   // [gzip] gzip the body, whether the client accepts that or not
	Redirect bool   // [redirect] 307 to another path of this provider
	EchoKey  bool   // [echo_key] 401 whose message repeats the credential received
	Big      int    // [big=N] a plain body of exactly N bytes, at most 256 MiB
	Text     string // [text=S, URL-escaped] the answer's text, or the message of a failure
	Tool     bool   // [tool] call the first function offered, whatever the text says
	Cached   int    // [cached=N] report N tokens of the prompt as read from cache
	Finish   string // [finish=length|refusal] why the answer ended; "": naturally

	echo string // the credential to repeat
}

const (
	maxBig    = 256 << 20
	maxStream = 64 << 20
)

// ParseStep reads a comma-separated list of the words of [Step], such as
// "delay=50ms,events=20,reset_after=3". Durations are Go's or, without a unit,
// seconds. Empty text is the zero Step.
func ParseStep(text string) (Step, error) {
	var s Step
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		name, value, valued := strings.Cut(word, "=")
		if err := s.set(name, value, valued); err != nil {
			return Step{}, fmt.Errorf("word %q: %w", word, err)
		}
	}
	if s.Events*max(s.EventBytes, 16) > maxStream {
		return Step{}, fmt.Errorf("events × event_bytes is more than %d bytes", maxStream)
	}
	return s, nil
}

func (s *Step) set(name, value string, valued bool) (err error) {
	if flag := s.flag(name); flag != nil {
		if valued {
			return fmt.Errorf("%s takes no value", name)
		}
		*flag = true
		return nil
	}
	switch name {
	case "first_event_error":
		s.Cut, s.CutAfter = CutError, 0
		return nil
	case "status":
		s.Status, err = count(value, 599)
		if err == nil && s.Status != 200 && s.Status < 400 {
			err = fmt.Errorf("status %d is no error", s.Status)
		}
	case "events":
		s.Events, err = count(value, maxStream)
	case "event_bytes":
		s.EventBytes, err = count(value, maxStream)
	case "chunk":
		s.Chunk, err = count(value, maxBig)
	case "big":
		s.Big, err = count(value, maxBig)
	case "cached":
		s.Cached, err = count(value, 1<<40)
	case "delay":
		s.Delay, err = duration(value)
	case "event_delay":
		s.EventDelay, err = duration(value)
	case "retry_after":
		s.RetryAfter, err = duration(value)
	case "stall_after", "reset_after", "truncate_after", "error_after":
		s.Cut = Cut(strings.TrimSuffix(name, "_after"))
		s.CutAfter, err = count(value, maxStream)
	case "text":
		s.Text, err = url.QueryUnescape(value)
	case "finish":
		s.Finish = value
		if value != finishLength && value != finishRefusal {
			err = fmt.Errorf("finish is %s or %s", finishLength, finishRefusal)
		}
	default:
		err = fmt.Errorf("unknown word")
	}
	return err
}

func (s *Step) flag(name string) *bool {
	switch name {
	case "context_length":
		return &s.ContextLength
	case "quota":
		return &s.Quota
	case "hangup":
		return &s.Hangup
	case "no_usage":
		return &s.NoUsage
	case "html":
		return &s.HTML
	case "gzip":
		return &s.Gzip
	case "redirect":
		return &s.Redirect
	case "echo_key":
		return &s.EchoKey
	case "tool":
		return &s.Tool
	}
	return nil
}

func count(value string, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("want a whole number from 0 to %d", most)
	}
	return n, nil
}

func duration(value string) (time.Duration, error) {
	if n, err := strconv.Atoi(value); err == nil {
		value = strconv.Itoa(n) + "s"
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("want a duration such as 50ms")
	}
	return d, nil
}

func joinWords(lines []string) string {
	if len(lines) == 1 {
		return lines[0]
	}
	return strings.Join(lines, ",")
}

// stepOfModel reads the behaviour in a model's name: what follows "simulate-",
// words joined by "+", a bare number being a status. A name that does not parse
// is an ordinary model.
func stepOfModel(model string) (Step, bool) {
	_, words, found := strings.Cut(model, "simulate-")
	if !found || words == "" {
		return Step{}, false
	}
	if _, err := strconv.Atoi(words); err == nil {
		words = "status=" + words
	}
	step, err := ParseStep(strings.ReplaceAll(words, "+", ","))
	return step, err == nil
}
