package jsonscan_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

func TestValidateNamesReasonAndOffset(t *testing.T) {
	for _, c := range []struct {
		doc    string
		reason string // "": valid
		offset int
	}{
		{`{}`, "", 0},
		{` [1, -0, 0.5, 1e9, 1E+9, 1.25e-7, true, false, null, "", {"a":{}}, [[]]] `, "", 0},
		{`"\u00e9\ud83d\ude00\ufffd é 😀 \" \\ \/ \b\f\n\r\t"`, "", 0},
		{`1e400`, "", 0},
		{`{"a":1,"a":2}`, "", 0},
		{``, jsonscan.ReasonSyntax, 0},
		{`  `, jsonscan.ReasonSyntax, 2},
		{"\ufeff{}", jsonscan.ReasonSyntax, 0},
		{"\x00", jsonscan.ReasonSyntax, 0},
		{"{}\x00", jsonscan.ReasonTrailing, 2},
		{`{} {}`, jsonscan.ReasonTrailing, 3},
		{`{"a":1]`, jsonscan.ReasonSyntax, 6},
		{`[1}`, jsonscan.ReasonSyntax, 2},
		{`[1,]`, jsonscan.ReasonSyntax, 3},
		{`{"a":1,}`, jsonscan.ReasonSyntax, 7},
		{`{a:1}`, jsonscan.ReasonSyntax, 1},
		{`{"a" 1}`, jsonscan.ReasonSyntax, 5},
		{`{"a":}`, jsonscan.ReasonSyntax, 5},
		{`{"a"`, jsonscan.ReasonSyntax, 4},
		{`[1`, jsonscan.ReasonSyntax, 2},
		{`01`, jsonscan.ReasonTrailing, 1},
		{`-`, jsonscan.ReasonSyntax, 1},
		{`1.`, jsonscan.ReasonSyntax, 2},
		{`.5`, jsonscan.ReasonSyntax, 0},
		{`1e`, jsonscan.ReasonSyntax, 2},
		{`+1`, jsonscan.ReasonSyntax, 0},
		{`NaN`, jsonscan.ReasonSyntax, 0},
		{`tru`, jsonscan.ReasonSyntax, 3},
		{`trux`, jsonscan.ReasonSyntax, 3},
		{`"abc`, jsonscan.ReasonSyntax, 4},
		{"\"a\nb\"", jsonscan.ReasonSyntax, 2},
		{"\"12345678\x00\"", jsonscan.ReasonSyntax, 9},
		{`"\x"`, jsonscan.ReasonSyntax, 1},
		{`"\u12g4"`, jsonscan.ReasonSyntax, 1},
		{`"\`, jsonscan.ReasonSyntax, 2},
		{"\"a\xff\"", jsonscan.ReasonInvalidUTF8, 2},
		{"\"\xc0\xaf\"", jsonscan.ReasonInvalidUTF8, 1},     // overlong
		{"\"\xed\xa0\x80\"", jsonscan.ReasonInvalidUTF8, 1}, // a surrogate in UTF-8
		{`"\ud800"`, jsonscan.ReasonInvalidUTF8, 1},
		{`"\ude00\ud83d"`, jsonscan.ReasonInvalidUTF8, 1},
		{`"\ud83d\u0041"`, jsonscan.ReasonInvalidUTF8, 1},
		{`{"\udfff":1}`, jsonscan.ReasonInvalidUTF8, 2},
	} {
		err := jsonscan.Validate([]byte(c.doc), jsonscan.Limits{})
		if c.reason == "" {
			if err != nil {
				t.Errorf("%q: got %v, want nil", c.doc, err)
			}
			continue
		}
		var e *jsonscan.Error
		if !errors.As(err, &e) || e.Reason != c.reason || e.Offset != c.offset {
			t.Errorf("%q: got %+v, want %s at %d", c.doc, err, c.reason, c.offset)
		}
	}
}

func TestValidateHoldsItsLimits(t *testing.T) {
	reason := func(doc string, lim jsonscan.Limits) string {
		var e *jsonscan.Error
		if errors.As(jsonscan.Validate([]byte(doc), lim), &e) {
			return e.Reason
		}
		return ""
	}
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	members := func(n int) string { return `{` + strings.TrimSuffix(strings.Repeat(`"k":0,`, n), ",") + `}` }
	list := func(element string, n int) string {
		return `[` + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + `]`
	}
	for _, c := range []struct {
		name string
		doc  string
		lim  jsonscan.Limits
		want string
	}{
		{"128 deep", nested(128), jsonscan.Limits{}, ""},
		{"129 deep", nested(129), jsonscan.Limits{}, jsonscan.ReasonDepth},
		{"a million open brackets", strings.Repeat("[", 1e6), jsonscan.Limits{}, jsonscan.ReasonDepth},
		{"a million open objects", strings.Repeat(`{"a":`, 1e6), jsonscan.Limits{}, jsonscan.ReasonDepth},
		{"1024 deep when allowed", nested(1024), jsonscan.Limits{Depth: 1 << 30}, ""},
		{"1025 deep", nested(1025), jsonscan.Limits{Depth: 1 << 30}, jsonscan.ReasonDepth},
		{"3 deep of 2", nested(3), jsonscan.Limits{Depth: 2}, jsonscan.ReasonDepth},
		{"100k members", members(100_000), jsonscan.Limits{}, ""},
		{"one more", members(100_001), jsonscan.Limits{}, jsonscan.ReasonMembers},
		{"a million keys", members(1e6), jsonscan.Limits{}, jsonscan.ReasonMembers},
		{"a million strings", list(`""`, 1e6), jsonscan.Limits{}, jsonscan.ReasonMembers},
		{"300k token ids", list(`50256`, 300_000), jsonscan.Limits{}, ""},
		{"10 MB string", `"` + strings.Repeat("x", 10<<20) + `"`, jsonscan.Limits{}, ""},
	} {
		if got := reason(c.doc, c.lim); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

const sample = ` {"model":"claude-sonnet-5", "max_tokens" : 32000,"stream":true,
 "mod\u0065l2":"x\ny", "nothing":null, "list":[1,{"a":[true,"]}"]},"t\"h"], "o":{ "deep" : {"er":-1.5e3 } }, "model":"second"} `

func TestGetReachesValuesByPath(t *testing.T) {
	doc := []byte(sample)
	for path, want := range map[string]string{
		"":            strings.TrimSpace(sample),
		"model":       `"claude-sonnet-5"`,
		"Model":       "",
		"max_tokens":  "32000",
		"model2":      `"x\ny"`,
		"nothing":     "null",
		"list.#0":     "1",
		"list.#1":     `{"a":[true,"]}"]}`,
		"list.#1.a":   `[true,"]}"]`,
		"list.#2":     `"t\"h"`,
		"list.#3":     "",
		"list.#":      "",
		"list.#x":     "",
		"list.1":      "",
		"o.deep.er":   "-1.5e3",
		"model.o":     "",
		"absent.o.p":  "",
		"list.#1.a.o": "",
	} {
		var steps []string
		if path != "" {
			steps = strings.Split(path, ".")
		}
		s := jsonscan.Get(doc, jsonscan.Root(doc), steps...)
		if got := string(doc[s.Start:s.End]); got != want || s.Exists() != (want != "") {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestObjectAndArrayStopWhenTold(t *testing.T) {
	doc := []byte(sample)
	root := jsonscan.Root(doc)
	var keys []string
	jsonscan.Object(doc, root, func(k []byte, _ jsonscan.Span) bool {
		keys = append(keys, string(k))
		return len(keys) < 4
	})
	if got, want := strings.Join(keys, " "), "model max_tokens stream model2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	calls := 0
	jsonscan.Array(doc, jsonscan.Get(doc, root, "list"), func(i int, _ jsonscan.Span) bool { calls++; return i < 1 })
	if calls != 2 {
		t.Errorf("got %d calls, want 2", calls)
	}
	jsonscan.Array(doc, root, func(int, jsonscan.Span) bool { t.Error("Array called back for an object"); return true })
	jsonscan.Object(doc, jsonscan.Span{}, func([]byte, jsonscan.Span) bool { t.Error("Object called back for nothing"); return true })
}

func TestTruncatedDocumentGivesWhatCameBefore(t *testing.T) {
	doc := []byte(`{"id":"msg_1","usage":{"input_tokens":12,"output_tokens":34},"content":[{"text":"hel`)
	root := jsonscan.Root(doc)
	if n, ok := jsonscan.Int(doc, jsonscan.Get(doc, root, "usage", "output_tokens")); n != 34 || !ok {
		t.Errorf("got %d %v, want 34", n, ok)
	}
	if s := jsonscan.Get(doc, root, "content"); s.Exists() {
		t.Errorf("got %v for a value that does not end, want none", s)
	}
}

func TestSpansOutsideTheDocumentAreAbsent(t *testing.T) {
	doc := []byte(`{"a":1}`)
	for _, s := range []jsonscan.Span{{}, {-1, 3}, {0, 99}, {5, 2}, {7, 7}} {
		if k := jsonscan.Kind(doc, s); k != 0 {
			t.Errorf("%v: got kind %q, want 0", s, k)
		}
		if got := jsonscan.Get(doc, s, "a"); got.Exists() {
			t.Errorf("%v: got %v, want absent", s, got)
		}
		if _, ok := jsonscan.String(doc, s); ok {
			t.Errorf("%v: is a string", s)
		}
	}
}

func TestIntTakesAnyNotationOfAnExactInteger(t *testing.T) {
	for doc, want := range map[string]string{
		"0": "0", "-0": "0", "12": "12", "-12": "-12", "1e3": "1000", "1E+3": "1000", "12.0": "12", "12.50e1": "125",
		"1200e-2": "12", "0e999999999999999999999": "0", "0.000": "0",
		"9223372036854775807": "9223372036854775807", "-9223372036854775808": "-9223372036854775808",
		"9223372036854775808": "", "-9223372036854775809": "", "18446744073709551616": "", "1e19": "", "1e400": "",
		"1.5": "", "1e-1": "", "1205e-2": "", "1e-99999999999999999999999": "",
		`"12"`: "", "true": "", "01": "", "1x": "", "-": "", "": "",
	} {
		n, ok := jsonscan.Int([]byte(doc), jsonscan.Span{End: len(doc)})
		got := ""
		if ok {
			got = fmt.Sprint(n)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", doc, got, want)
		}
	}
}

func TestScalars(t *testing.T) {
	span := func(doc string) ([]byte, jsonscan.Span) { return []byte(doc), jsonscan.Root([]byte(doc)) }
	for doc, want := range map[string]byte{`{}`: '{', `[]`: '[', `""`: '"', `true`: 't', `false`: 'f', `null`: 'n', `-1`: '0', `7`: '0', `x`: 0, ``: 0} {
		if got := jsonscan.Kind(span(doc)); got != want {
			t.Errorf("Kind(%s): got %q, want %q", doc, got, want)
		}
	}
	if f, ok := jsonscan.Float(span("-2.5e3")); f != -2500 || !ok {
		t.Errorf("got %v %v, want -2500", f, ok)
	}
	if f, ok := jsonscan.Float(span("1e400")); ok {
		t.Errorf("got %v for 1e400, want none", f)
	}
	if f, ok := jsonscan.Float(span("Inf")); ok || math.IsInf(f, 0) {
		t.Errorf("got %v for Inf, want none", f)
	}
	if v, ok := jsonscan.Bool(span("true")); !v || !ok {
		t.Errorf("got %v %v, want true", v, ok)
	}
	if v, ok := jsonscan.Bool(span("false")); v || !ok {
		t.Errorf("got %v %v, want false", v, ok)
	}
	if _, ok := jsonscan.Bool(span("tree")); ok {
		t.Error("tree is a bool")
	}
	if !jsonscan.IsNull(span("null")) || jsonscan.IsNull(span("")) || jsonscan.IsNull(span(`"null"`)) {
		t.Error("null is not told from others")
	}
	if b, ok := jsonscan.RawString(span(`"plain é"`)); string(b) != "plain é" || !ok {
		t.Errorf("got %q %v", b, ok)
	}
	if b, ok := jsonscan.RawString(span(`"a\nb"`)); ok {
		t.Errorf("got %q raw from a string with escapes", b)
	}
	if s, ok := jsonscan.String(span("\"\xff\\ud800\\q\"")); s != "\ufffd\ufffd\\q" || !ok {
		t.Errorf("got %q, want replacement characters", s)
	}
}

func TestSpliceChangesNothingElse(t *testing.T) {
	doc := []byte(sample)
	got := jsonscan.Splice(doc, jsonscan.Get(doc, jsonscan.Root(doc), "model"), jsonscan.Quote(nil, `a"b`))
	if want := strings.Replace(sample, `"claude-sonnet-5"`, `"a\"b"`, 1); string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if string(doc) != sample {
		t.Error("the document itself changed")
	}
}

// Hostile shapes that would be quadratic or overflow the stack if skipping were naive.
func TestHostileShapesAreLinear(t *testing.T) {
	const n = 4 << 20
	for name, doc := range map[string]string{
		"backslashes":         `{"a":"` + strings.Repeat(`\`, n),
		"escaped quotes":      `{"a":"` + strings.Repeat(`\"`, n/2) + `"}`,
		"open brackets":       strings.Repeat(`[`, n),
		"open objects":        strings.Repeat(`{"":`, n/4),
		"closers":             `{"a":` + strings.Repeat(`]`, n),
		"commas":              `[` + strings.Repeat(`,`, n),
		"space":               `{"a"` + strings.Repeat(" ", n),
		"digits":              strings.Repeat("1", n),
		"exponent and zeroes": "1" + strings.Repeat("0", n) + "e-" + strings.Repeat("9", 5),
	} {
		b := []byte(doc)
		root := jsonscan.Root(b)
		jsonscan.Validate(b, jsonscan.Limits{})
		if s := jsonscan.Get(b, root, "absent"); s.Exists() {
			t.Errorf("%s: got %v, want absent", name, s)
		}
		jsonscan.Object(b, root, func([]byte, jsonscan.Span) bool { return true })
		jsonscan.Array(b, root, func(int, jsonscan.Span) bool { return true })
		jsonscan.Int(b, root)
		jsonscan.String(b, root)
	}
}
