package store

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// journalBytes returns a journal with a bit of everything, and its bodies.
func journalBytes() (data []byte, bodies map[string]bool) {
	h := header{number: 3, process: [16]byte{4}, boot: [16]byte{5}}
	data = h.append(nil)
	bodies = map[string]bool{}
	add := func(kind byte, body []byte) {
		f := append(make([]byte, frameSize), body...)
		seal(f, kind, h.seed(), int64(len(data)))
		data = append(data, f...)
		bodies[string(body)] = true
	}
	p := progress{id: "a", amount: 7, tokens: 3}
	add(kindHold, appendHold(nil, childHold("a")))
	add(kindCheckpoint, p.append(nil))
	add(kindMark, (&progress{tokens: 100}).append(nil))
	add(kindExtend, p.append(nil))
	add(kindSettled, appendSettled(nil, lineAt(3), childAccounts, []AlertState{{Account: childAccounts[0], Level: 2, Crossed: true}}))
	add(kindDrop, p.append(nil))
	return data, bodies
}

// FuzzJournal changes a journal at random: what is read was written, or there is
// an error.
func FuzzJournal(f *testing.F) {
	whole, bodies := journalBytes()
	f.Add(0, []byte{}, 0, false)
	f.Add(80, []byte("x"), 0, true)
	f.Add(headerSize, []byte{frameMagic, kindHold, 0xff, 0xff, 0xff, 0x7f}, 3, true)
	f.Add(len(whole), whole[headerSize:], 0, true)
	f.Add(len(whole)-5, []byte{}, 5, false)
	f.Add(200, make([]byte, 100), 100, true)
	f.Fuzz(func(t *testing.T, at int, put []byte, cut int, lenient bool) {
		at = min(max(at, 0), len(whole))
		end := min(at+max(cut, 0), len(whole))
		data := append(append(bytes.Clone(whole[:at]), put...), whole[end:]...)
		for _, boot := range [][16]byte{{5}, {6}} {
			last := int64(0)
			sc, err := scan(data, "journal", boot, lenient, func(at int64, f frame) error {
				if at < last {
					t.Fatalf("record at %d after one at %d", at, last)
				}
				last = at
				if !bodies[string(f.body)] {
					t.Fatalf("record at %d was never written: %x", at, f.body)
				}
				return (&replayed{holds: map[string]*foundHold{}}).apply(f)
			})
			if err == nil && sc.end+sc.torn > int64(len(data)) {
				t.Fatalf("%d bytes read, %d torn, of %d", sc.end, sc.torn, len(data))
			}
		}
	})
}

// FuzzRecord decodes anything as each kind of record.
func FuzzRecord(f *testing.F) {
	_, bodies := journalBytes()
	for body := range bodies {
		for kind := byte(kindHold); kind <= kindMark; kind++ {
			f.Add(kind, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		r := &replayed{holds: map[string]*foundHold{"a": {}}}
		if err := r.apply(frame{kind: kind, body: body}); err != nil {
			return
		}
		for id, h := range r.holds {
			if kind != kindHold || h.body == nil {
				continue
			}
			record, err := decodeHold(h.body)
			if err != nil || record.Line.ID != id {
				t.Fatalf("hold %q: %v", id, err)
			}
			again, err := decodeHold(appendHold(nil, record))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(record.Line.Held, again.Line.Held); d != "" {
				t.Error(d)
			}
		}
	})
}

// FuzzLine settles a line with any texts and numbers: it is read back as it was
// encoded, and the chain holds.
func FuzzLine(f *testing.F) {
	f.Add("a", "b", "c=d", int64(1), int64(-1), true)
	f.Add("\x00\xff", "ab\xc3", "\"\\<\u2028", int64(-1<<63), int64(1<<63-1), false)
	f.Add("0192f0c0-0000-7000-8000-00000000000A", "0192f0c0000070008000000000000001", "😀", int64(0), int64(1<<40), true)
	s, _ := openStore(f, f.TempDir())
	n := 0
	f.Fuzz(func(t *testing.T, id, text, tag string, a, b int64, set bool) {
		n++
		l := &Line{ID: fmt.Sprint(n, id), Exchange: text, Trace: id, Node: text, Time: time.UnixMilli(b >> 8), Duration: time.Duration(a), Attempt: int(a),
			KeyID: text, User: tag, Session: id, Tags: map[string]string{tag: text, id: tag}, OriginalModel: text, Streamed: set, Status: int(b),
			Usage: gateway.Usage{Input: a, WebSearches: b, Others: text}, Held: gateway.NanoUSD(a), Estimated: set, Outcome: tag}
		if set {
			l.Cost = gateway.Cost{Total: gateway.NanoUSD(b), Source: names.CostSourceLocal, Entry: text}
			l.Cost.Classes[gateway.CostUndivided] = gateway.NanoUSD(a)
			l.Baseline = gateway.Some(gateway.NanoUSD(0))
		}
		want, err := decodeLine(l.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		texts, shaped := want.texts(), want.shaped()
		for _, s := range append(texts[:], shaped[:]...) {
			if !utf8.ValidString(*s) || bytes.IndexByte([]byte(*s), 0) >= 0 {
				t.Fatalf("%q is stored", *s)
			}
		}
		if err := s.Settled(l, nil, nil); err != nil {
			t.Fatal(err)
		}
		lines, err := s.Line(context.Background(), want.ID)
		if err != nil || len(lines) == 0 {
			t.Fatalf("%v %v", lines, err)
		}
		found := false
		for i := range lines {
			found = found || cmp.Equal(*want, lines[i])
		}
		if !found {
			t.Errorf("got %s", cmp.Diff(*want, lines[0]))
		}
		if n%16 == 0 {
			verified(t, s)
		}
	})
}
