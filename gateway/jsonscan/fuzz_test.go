package jsonscan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

func seed(f *testing.F) {
	for _, s := range []string{sample, `{}`, `[]`, `"\ud83d\ude00"`, `"\ud800"`, "\"\xff\"", `-0.5e+7`, `[1,[2,[3,{"a":"\\\""}]]]`,
		`{"a":1,}`, `nul`, "\ufeff1", `{"":{"":[""]}}`, `12.0`, `1e3`, `"` + "\\", `[{},{}] x`, "{\"k\xff\":1}"} {
		f.Add([]byte(s))
	}
}

// decode rebuilds a document with nothing but the package's own functions, in the shape encoding/json gives it.
func decode(doc []byte, s jsonscan.Span) any {
	switch jsonscan.Kind(doc, s) {
	case '{':
		m := map[string]any{}
		jsonscan.Object(doc, s, func(k []byte, v jsonscan.Span) bool { m[string(k)] = decode(doc, v); return true })
		return m
	case '[':
		a := []any{}
		jsonscan.Array(doc, s, func(i int, v jsonscan.Span) bool {
			if i != len(a) {
				panic("index out of step")
			}
			a = append(a, decode(doc, v))
			return true
		})
		return a
	case '"':
		v, _ := jsonscan.String(doc, s)
		return v
	case '0':
		return json.Number(doc[s.Start:s.End])
	case 'n':
		if jsonscan.IsNull(doc, s) {
			return nil
		}
	}
	v, _ := jsonscan.Bool(doc, s)
	return v
}

func FuzzValidateAgreesWithEncodingJSON(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		err := jsonscan.Validate(doc, jsonscan.Limits{Depth: 1024, Members: math.MaxInt})
		valid := json.Valid(doc)
		if err == nil {
			if !valid || !utf8.Valid(doc) {
				t.Fatalf("accepted %q", doc)
			}
			return
		}
		var e *jsonscan.Error
		if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(doc) {
			t.Fatalf("%q: got %v, want an offset inside", doc, err)
		}
		// encoding/json is more lenient in these two alone.
		if valid && e.Reason != jsonscan.ReasonInvalidUTF8 && e.Reason != jsonscan.ReasonDepth {
			t.Fatalf("refused %q: %v", doc, err)
		}
		if valid && e.Reason == jsonscan.ReasonInvalidUTF8 && utf8.Valid(doc) && !bytes.Contains(doc, []byte(`\u`)) {
			t.Fatalf("refused the UTF-8 of %q: %v", doc, err)
		}
	})
}

func FuzzWalkAgreesWithEncodingJSON(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, doc []byte) {
		root := jsonscan.Root(doc)
		if jsonscan.Validate(doc, jsonscan.Limits{}) != nil {
			decode(doc, root) // must return, whatever it says
			return
		}
		d := json.NewDecoder(bytes.NewReader(doc))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if got := decode(doc, root); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", doc, got, want)
		}
		jsonscan.Object(doc, root, func(k []byte, _ jsonscan.Span) bool {
			s := jsonscan.Get(doc, root, string(k))
			if !s.Exists() {
				t.Fatalf("%q: Get misses %q", doc, k)
			}
			spliceAt(t, doc, s)
			return true
		})
		numbers(t, doc, root)
	})
}

// spliceAt replaces the value at s and checks that nothing else moved.
func spliceAt(t *testing.T, doc []byte, s jsonscan.Span) {
	was := bytes.Clone(doc)
	got := jsonscan.Splice(doc, s, []byte(`"new"`))
	want := string(doc[:s.Start]) + `"new"` + string(doc[s.End:])
	if string(got) != want || !bytes.Equal(doc, was) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if err := jsonscan.Validate(got, jsonscan.Limits{}); err != nil {
		t.Fatalf("splice of %q broke it: %v", doc, err)
	}
}

func numbers(t *testing.T, doc []byte, s jsonscan.Span) {
	if jsonscan.Kind(doc, s) != '0' {
		return
	}
	text := string(doc[s.Start:s.End])
	f, err := strconv.ParseFloat(text, 64)
	if got, ok := jsonscan.Float(doc, s); ok != (err == nil) || ok && got != f {
		t.Fatalf("Float(%s): got %v %v, want %v", text, got, ok, f)
	}
	n, ok := jsonscan.Int(doc, s)
	if want, err := strconv.ParseInt(text, 10, 64); err == nil && (!ok || n != want) {
		t.Fatalf("Int(%s): got %d %v, want %d", text, n, ok, want)
	}
	if ok && float64(n) != f {
		t.Fatalf("Int(%s): got %d, want %v", text, n, f)
	}
	if !ok && err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 && f != 0 && len(text) < 16 {
		t.Fatalf("Int(%s): got none, want %v", text, f)
	}
}

func FuzzQuoteRoundTrips(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\r\t\x00\x1f\x7f", "é😀\u2028", "\xff\xc0a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q := jsonscan.Quote([]byte("x"), s)
		if q[0] != 'x' {
			t.Fatal("Quote does not append")
		}
		q = q[1:]
		if err := jsonscan.Validate(q, jsonscan.Limits{}); err != nil {
			t.Fatalf("%q: %v", q, err)
		}
		got, ok := jsonscan.String(q, jsonscan.Root(q))
		var want string
		if err := json.Unmarshal(q, &want); err != nil {
			t.Fatal(err)
		}
		if !ok || got != want || utf8.ValidString(s) && got != s {
			t.Fatalf("%q: got %q, want %q", s, got, want)
		}
	})
}

func FuzzStringSizeIsTheLengthOfTheString(f *testing.F) {
	for _, s := range []string{``, `plain`, `\"\\\n`, `\u0041\u00e9\u20ac`, `\ud83d\ude00`, `\ud83dx`, `\u12`, `\x\`, `é\/`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, inside string) {
		doc := []byte(`"` + inside + `"`)
		s := jsonscan.Span{End: len(doc)}
		got := jsonscan.StringSize(doc, s)
		if want, ok := jsonscan.String(doc, s); utf8.ValidString(inside) && ok && got != len(want) {
			t.Fatalf("%q: got %d, want %d", inside, got, len(want))
		}
		if got < 0 || got > len(inside) {
			t.Fatalf("%q: got %d", inside, got)
		}
	})
}
