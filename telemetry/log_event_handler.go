package telemetry

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ccproxy/ccproxy/telemetry/names"
)

// NewLogHandler returns a handler that writes to w: for a terminal, short coloured lines for people; else JSON, a line a
// record. level is the least that is written; nil: INFO. Each record is one write. Give it a [LogWriter] to never wait for
// w; then lines dropped are reported once there is room again.
func NewLogHandler(w io.Writer, terminal bool, level slog.Leveler) slog.Handler {
	if level == nil {
		level = slog.LevelInfo
	}
	var h slog.Handler
	if terminal {
		h = &terminalHandler{w: w, level: level, mu: &sync.Mutex{}}
	} else {
		h = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	}
	if l, ok := w.(*LogWriter); ok {
		return dropReporter{h, h, l}
	}
	return h
}

// dropReporter logs, before a record, how many were dropped since the last one.
type dropReporter struct {
	slog.Handler
	root slog.Handler // without groups and attributes
	w    *LogWriter
}

// Handle implements [slog.Handler].
func (h dropReporter) Handle(ctx context.Context, r slog.Record) error {
	if n := h.w.unreported(); n > 0 {
		lost := slog.NewRecord(r.Time, slog.LevelWarn, "log lines dropped", 0)
		lost.AddAttrs(slog.Int64("count", n))
		_ = h.root.Handle(ctx, lost) // a LogWriter's writes do not fail
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h dropReporter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return dropReporter{h.Handler.WithAttrs(attrs), h.root, h.w}
}

// WithGroup implements [slog.Handler].
func (h dropReporter) WithGroup(name string) slog.Handler {
	return dropReporter{h.Handler.WithGroup(name), h.root, h.w}
}

// maxShown bounds a value on a terminal, in bytes.
const maxShown = 2 << 10

// terminalHandler writes "15:04:05.000 INFO  event key=value …", or the message where there is no event.
type terminalHandler struct {
	w      io.Writer
	level  slog.Leveler
	prefix string // of keys: the groups open
	attrs  string // formatted already
	mu     *sync.Mutex
}

// Enabled implements [slog.Handler].
func (h *terminalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithGroup implements [slog.Handler].
func (h *terminalHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.prefix += name + "."
	return &c
}

// WithAttrs implements [slog.Handler].
func (h *terminalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	var b strings.Builder
	for _, a := range attrs {
		appendAttr(&b, h.prefix, a)
	}
	c.attrs += b.String()
	return &c
}

// Handle implements [slog.Handler].
func (h *terminalHandler) Handle(_ context.Context, r slog.Record) error {
	var b, rest strings.Builder
	event := ""
	rest.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		switch {
		case a.Key == "event" && h.prefix == "":
			event = a.Value.String()
		case a.Key == names.FieldSpanID && event != "":
			// The trace id finds it; a line has to end somewhere.
		default:
			appendAttr(&rest, h.prefix, a)
		}
		return true
	})
	if !r.Time.IsZero() {
		b.WriteString(colourDim)
		b.WriteString(r.Time.Format("15:04:05.000"))
		b.WriteString(colourReset + " ")
	}
	label, colour := r.Level.String(), levelColour(r.Level)
	b.WriteString(colour + label + colourReset + strings.Repeat(" ", max(1, 6-len(label))))
	if event == "" {
		event = r.Message
	}
	b.WriteString(clean(event, maxShown))
	b.WriteString(rest.String())
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

func levelColour(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return colourRed
	case l >= slog.LevelWarn:
		return colourYellow
	case l >= slog.LevelInfo:
		return colourGreen
	}
	return colourDim
}

// appendAttr writes " key=value"; the members of a group one by one, each with the group's name before its own.
func appendAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, m := range v.Group() {
			appendAttr(b, prefix, m)
		}
		return
	}
	b.WriteString(" " + colourDim + clean(prefix+a.Key, maxName) + "=" + colourReset)
	text := v.String()
	if v.Kind() == slog.KindTime {
		text = v.Time().Format(time.RFC3339Nano)
	}
	if text = clean(text, maxShown); text == "" || strings.ContainsAny(text, " =\"") {
		text = `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
	}
	b.WriteString(text)
}
