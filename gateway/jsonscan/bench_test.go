package jsonscan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// bodies are requests in the proportions an agent sends: instructions, tool schemas, messages.
func bodies() map[string][]byte {
	text := func(n int) string {
		line := "You must read the file before you edit it.\n- Prefer `grep -n \"needle\"` to a scan\t(see §3).\n"
		return string(jsonscan.Quote(nil, strings.Repeat(line, n/len(line)+1)[:n]))
	}
	tool := func(i, n int) string {
		return fmt.Sprintf(`{"name":"Tool%d","description":%s,"input_schema":{"$schema":"https://json-schema.org/draft/2020-12/schema",`+
			`"type":"object","properties":{"path":{"type":"string","description":"The absolute path"},"limit":{"type":"integer",`+
			`"minimum":1,"maximum":2000},"mode":{"enum":["a","b","c"]}},"required":["path"],"additionalProperties":false}}`, i, text(n))
	}
	body := func(system, tools, toolText, message int) []byte {
		var list []string
		for i := range tools {
			list = append(list, tool(i, toolText))
		}
		return fmt.Appendf(nil, `{"model":"claude-sonnet-5","messages":[{"role":"user","content":[{"type":"text","text":%s}]}],`+
			`"system":[{"type":"text","text":%s,"cache_control":{"type":"ephemeral"}}],"tools":[%s],"max_tokens":32000,"stream":true}`,
			text(message), text(system), strings.Join(list, ","))
	}
	return map[string][]byte{
		"1kB":  body(300, 0, 0, 400),
		"88kB": body(28_000, 12, 3_500, 11_500),
		"1MB":  body(28_000, 12, 3_500, 900_000),
	}
}

func bench(b *testing.B, f func(doc []byte)) {
	all := bodies()
	for _, size := range []string{"1kB", "88kB", "1MB"} {
		doc := all[size]
		b.Run(size, func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				f(doc)
			}
		})
	}
}

func BenchmarkValidate(b *testing.B) {
	bench(b, func(doc []byte) {
		if err := jsonscan.Validate(doc, jsonscan.Limits{}); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkGetLastMember(b *testing.B) {
	bench(b, func(doc []byte) {
		if v, ok := jsonscan.Bool(doc, jsonscan.Get(doc, jsonscan.Root(doc), "stream")); !v || !ok {
			b.Fatal("stream not found")
		}
	})
}

func BenchmarkObject(b *testing.B) {
	bench(b, func(doc []byte) {
		n := 0
		jsonscan.Object(doc, jsonscan.Root(doc), func(k []byte, v jsonscan.Span) bool { n += len(k); return true })
		if n == 0 {
			b.Fatal("no members")
		}
	})
}

func TestHotPathAllocatesNothing(t *testing.T) {
	doc := bodies()["88kB"]
	n := testing.AllocsPerRun(20, func() {
		if err := jsonscan.Validate(doc, jsonscan.Limits{}); err != nil {
			t.Fatal(err)
		}
		root, seen := jsonscan.Root(doc), 0
		jsonscan.Object(doc, root, func(k []byte, v jsonscan.Span) bool { seen++; return true })
		jsonscan.Array(doc, jsonscan.Get(doc, root, "tools"), func(i int, v jsonscan.Span) bool { seen++; return true })
		jsonscan.Int(doc, jsonscan.Get(doc, root, "max_tokens"))
		jsonscan.Float(doc, jsonscan.Get(doc, root, "max_tokens"))
		jsonscan.RawString(doc, jsonscan.Get(doc, root, "messages", "#0", "role"))
	})
	if n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
}
