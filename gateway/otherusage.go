package gateway

import (
	"iter"
	"strconv"
	"strings"
)

// maxOthers bounds the parts [Usage.AddOther] keeps apart.
const maxOthers = 32

// AddOther notes tokens used besides the answer's own, by another model or, with
// model "", by the same one: Anthropic compacts a conversation, asks an advisor
// and falls back to other models within one request. Of used the classes Input,
// CacheRead, CacheWrite, CacheWrite1h and Output count. Parts of the same model
// become one; what is beyond 32 models is added to the last.
func (u *Usage) AddOther(model string, used Usage) {
	type part struct {
		model string
		used  Usage
	}
	model = strings.Map(func(r rune) rune {
		if r <= ' ' || r == ';' || r == 0x7F {
			return '_'
		}
		return r
	}, model)
	var parts []part
	for m, o := range u.OtherParts() {
		parts = append(parts, part{m, o})
	}
	at := len(parts)
	for i := range parts {
		if parts[i].model == model {
			at = i
		}
	}
	switch {
	case at < len(parts):
	case at == maxOthers:
		at--
	default:
		parts = append(parts, part{model: model})
	}
	to := &parts[at].used
	to.Input += used.Input
	to.CacheRead += used.CacheRead
	to.CacheWrite += used.CacheWrite
	to.CacheWrite1h += used.CacheWrite1h
	to.Output += used.Output
	var b []byte
	for i, p := range parts {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, p.model...)
		for _, n := range [...]int64{p.used.Input, p.used.CacheRead, p.used.CacheWrite, p.used.CacheWrite1h, p.used.Output} {
			b = strconv.AppendInt(append(b, ' '), n, 10)
		}
	}
	u.Others = string(b)
}

// OtherParts yields what AddOther noted: the model, "" for the answer's own, and
// its tokens. A text that AddOther did not write ends it.
func (u *Usage) OtherParts() iter.Seq2[string, Usage] {
	return func(yield func(string, Usage) bool) {
		if u.Others == "" {
			return
		}
		for text := range strings.SplitSeq(u.Others, ";") {
			f := strings.Split(text, " ")
			if len(f) != 6 {
				return
			}
			var n [5]int64
			for i := range n {
				var err error
				if n[i], err = strconv.ParseInt(f[i+1], 10, 64); err != nil || n[i] < 0 {
					return
				}
			}
			if !yield(f[0], Usage{Input: n[0], CacheRead: n[1], CacheWrite: n[2], CacheWrite1h: n[3], Output: n[4]}) {
				return
			}
		}
	}
}
