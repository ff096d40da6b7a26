// Package tokens says how many tokens a prompt has, well enough to route by and without stalling the request.
//
// [Estimate] walks the texts of a request and counts their bytes: microseconds, and within some 20 % of what a tokenizer finds. A
// [Counter] asks a real tokenizer (milliseconds) only when that cannot decide, remembers its answers by text, because a
// conversation sends its past again with every turn, and learns from answers how far off it is for each model.
package tokens

import (
	"encoding/binary"
	"math/bits"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// Mode says which parts of a request count.
type Mode uint8

const (
	// All counts what the model reads: messages, instructions, tools with their schemas, tool calls and results. Images,
	// files and encrypted parts are not text and do not count.
	All Mode = iota
	// Messages counts the contents of messages that are strings, and their blocks of type "text", and nothing else.
	Messages
)

// Count is what Estimate found.
type Count struct {
	Tokens int64 // estimated, not calibrated
	Bytes  int64 // of text, escapes resolved
	Texts  int   // strings and pieces of JSON
	Media  int   // images, files and recordings left out
	// Unseen counts those of Media whose tokens no number of bytes tells: named by URL or id, or made of pages or frames.
	Unseen int
}

// A byte of text is a quarter of a token, a rune of the scripts from U+2E80 up (Chinese, Japanese, Korean, emoji) a whole one.
// Measured on Chinese prose that is 17 % more than o200k finds and 20 % less than cl100k.
const (
	perToken = 20
	perByte  = perToken / 4
	perWide  = perToken
	perTurn  = perToken * 4 // the marks around a message: 3 or 4 tokens in OpenAI's formats
)

// deepest bounds how far content is walked, each level of which is read once more than the one above; no dialect nests its
// texts as deep. What lies below counts as JSON.
const deepest = 16

// Estimate counts the text of the request at root. Requests of Anthropic, OpenAI and Gemini are understood. The document need
// not be valid. It allocates nothing.
func Estimate(doc []byte, root jsonscan.Span, mode Mode) Count {
	w := walker{doc: doc, mode: mode}
	w.request(root)
	return w.count()
}

// EstimateText counts the tokens of plain text, not of JSON.
func EstimateText(text []byte) int64 {
	var w walker
	w.weigh(text, false)
	return w.count().Tokens
}

// walker finds the texts of a request.
type walker struct {
	doc     []byte
	mode    Mode
	total   Count
	units   int64                 // perToken make a token
	wrapped bool                  // a request within the request has been walked
	visit   func(s jsonscan.Span) // called for each text, which is then not weighed; nil: none
}

func (w *walker) count() Count {
	w.total.Tokens = (w.units + perToken - 1) / perToken
	return w.total
}

// request walks the members of a request that hold a prompt.
func (w *walker) request(root jsonscan.Span) {
	jsonscan.Object(w.doc, root, func(key []byte, v jsonscan.Span) bool {
		if w.mode == Messages {
			if string(key) == "messages" {
				w.messageTexts(v)
			}
			return true
		}
		switch string(key) {
		case "messages", "contents", "input":
			w.turns(v)
		case "system", "instructions", "systemInstruction", "system_instruction", "prompt", "content":
			w.content(v, 0)
		case "tools", "functions":
			w.each(v)
		case "generateContentRequest", "generate_content_request": // Gemini's token counting wraps the request
			if !w.wrapped {
				w.wrapped = true
				w.request(v)
			}
		}
		return true
	})
}

// messageTexts walks messages in the Messages mode.
func (w *walker) messageTexts(messages jsonscan.Span) {
	jsonscan.Array(w.doc, messages, func(_ int, m jsonscan.Span) bool {
		content := jsonscan.Get(w.doc, m, "content")
		w.text(content)
		jsonscan.Array(w.doc, content, func(_ int, block jsonscan.Span) bool {
			if kind, ok := jsonscan.RawString(w.doc, jsonscan.Get(w.doc, block, "type")); ok && string(kind) == "text" {
				w.text(jsonscan.Get(w.doc, block, "text"))
			}
			return true
		})
		return true
	})
}

// turns walks a list of messages or input items, or the one string it may be.
func (w *walker) turns(v jsonscan.Span) {
	if jsonscan.Kind(w.doc, v) != '[' {
		w.content(v, 0)
		return
	}
	jsonscan.Array(w.doc, v, func(_ int, m jsonscan.Span) bool {
		if jsonscan.Kind(w.doc, m) == '{' {
			w.units += perTurn
		}
		w.element(m, 1)
		return true
	})
}

// element counts the element of an array. Numbers are token ids, as completions and embeddings take them.
func (w *walker) element(v jsonscan.Span, depth int) {
	if jsonscan.Kind(w.doc, v) == '0' {
		w.units += perToken
		return
	}
	w.content(v, depth)
}

// content walks whatever messages are made of and counts the strings that are text.
func (w *walker) content(v jsonscan.Span, depth int) {
	if depth > deepest {
		w.json(v)
		return
	}
	switch jsonscan.Kind(w.doc, v) {
	case '"':
		w.text(v)
	case '[':
		jsonscan.Array(w.doc, v, func(_ int, e jsonscan.Span) bool { w.element(e, depth+1); return true })
	case '{':
		jsonscan.Object(w.doc, v, func(key []byte, e jsonscan.Span) bool {
			switch roleOf(key) {
			case isText:
				w.content(e, depth+1)
			case isJSON:
				w.json(e)
			case isSource:
				w.source(e, depth+1)
			case isMedia:
				w.media(key, e)
			}
			return true
		})
	}
}

// source walks the source of an image or document block: text if it says so, else media.
func (w *walker) source(v jsonscan.Span, depth int) {
	kind, _ := jsonscan.RawString(w.doc, jsonscan.Get(w.doc, v, "type"))
	switch string(kind) {
	case "text":
		w.text(jsonscan.Get(w.doc, v, "data"))
	case "content":
		w.content(jsonscan.Get(w.doc, v, "content"), depth)
	case "":
		if jsonscan.Kind(w.doc, v) == '{' {
			w.unseen()
			return
		}
		w.text(v) // the source of a search result is a string
	case "base64":
		if !w.starts(jsonscan.Get(w.doc, v, "media_type"), "image") {
			w.unseen()
			return
		}
		w.total.Media++
	default: // url, file
		w.unseen()
	}
}

func (w *walker) unseen() {
	w.total.Media++
	w.total.Unseen++
}

// starts reports whether v is a string that begins like that; the slash behind may be escaped.
func (w *walker) starts(v jsonscan.Span, prefix string) bool {
	return v.End-v.Start > len(prefix) && string(w.doc[v.Start+1:v.Start+1+len(prefix)]) == prefix
}

// media counts the value of a member that holds an image, a file or a recording.
func (w *walker) media(key []byte, v jsonscan.Span) {
	w.total.Media++
	seen := false
	switch string(key) {
	case "image_url":
		if jsonscan.Kind(w.doc, v) == '{' {
			v = jsonscan.Get(w.doc, v, "url")
		}
		seen = jsonscan.Kind(w.doc, v) == '"' && isDataURL(w.doc[v.Start+1:v.End-1])
	case "inlineData", "inline_data":
		mime := jsonscan.Get(w.doc, v, "mimeType")
		if !mime.Exists() {
			mime = jsonscan.Get(w.doc, v, "mime_type")
		}
		seen = w.starts(mime, "image") || w.starts(mime, "audio")
	case "input_audio", "audio": // an id is one of an answer before
		seen = !jsonscan.Get(w.doc, v, "id").Exists()
	}
	if !seen {
		w.total.Unseen++
	}
}

type role uint8

const (
	isText   role = iota // a string to read, or something that holds some
	isJSON               // JSON the model reads as it stands
	isSource             // of an image or document
	isMedia              // not text
	isMark               // for the machinery
)

// roleOf says what the member of a message or block named key is. Unknown members are taken for text: counting too much
// sends a prompt to the larger model, counting too little sends it where it does not fit.
func roleOf(key []byte) role {
	switch string(key) {
	case "input", "args", "response", "partialArgs":
		return isJSON
	case "source":
		return isSource
	case "image_url", "inlineData", "inline_data", "fileData", "input_audio", "audio", "file_data", "file_url", "file_id":
		return isMedia
	case "type", "role", "id", "tool_use_id", "tool_call_id", "call_id", "cache_control", "status", "detail", "signature",
		"thoughtSignature", "thought_signature", "encrypted_content", "data", "media_type", "mimeType", "mime_type", "filename",
		"citations", "annotations", "logprobs", "phase", "caller", "videoMetadata", "mediaResolution", "output_config":
		return isMark
	}
	return isText
}

// each counts the elements of a list of tools, one text each.
func (w *walker) each(v jsonscan.Span) {
	jsonscan.Array(w.doc, v, func(_ int, e jsonscan.Span) bool { w.json(e); return true })
}

// json counts a value as the JSON it is. A string (OpenAI's arguments) is JSON already.
func (w *walker) json(v jsonscan.Span) {
	if jsonscan.Kind(w.doc, v) == '"' {
		w.text(v)
		return
	}
	w.found(v)
}

// text counts the string at v, unless it is media in the form of a data URL. Other values count nothing.
func (w *walker) text(v jsonscan.Span) {
	if jsonscan.Kind(w.doc, v) != '"' || v.End-v.Start <= 2 {
		return
	}
	if isDataURL(w.doc[v.Start+1 : v.End-1]) {
		w.total.Media++
		return
	}
	w.found(v)
}

func (w *walker) found(v jsonscan.Span) {
	w.total.Texts++
	if w.visit != nil {
		w.visit(v)
		return
	}
	text := w.doc[v.Start:v.End]
	if text[0] == '"' {
		text = text[1 : len(text)-1]
	}
	w.weigh(text, true)
}

// isDataURL reports whether s starts like data:image/png;base64,….
func isDataURL(s []byte) bool {
	if len(s) < 13 || string(s[:5]) != "data:" {
		return false
	}
	head := s[:min(len(s), 128)]
	for i := range head {
		if head[i] == ',' {
			return i >= 7 && string(head[i-7:i]) == ";base64"
		}
	}
	return false
}

// weigh adds the bytes and wide runes of text. Escapes count as what they mean.
func (w *walker) weigh(text []byte, escaped bool) {
	wide, wideBytes, lost := 0, 0, 0 // lost: bytes of escapes beyond the one they stand for
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\\' && escaped:
			if i+5 < len(text) && text[i+1] == 'u' {
				if isWideEscape(text[i+2], text[i+3]) {
					wide, wideBytes = wide+1, wideBytes+6
				} else {
					lost += 5
				}
				i += 6
				continue
			}
			lost++
			i += 2
		case c < 0x80:
			i = plainRun(text, i+1)
		default:
			size := runeSize(c)
			if c > 0xE2 || c == 0xE2 && i+1 < len(text) && text[i+1] >= 0xBA { // U+2E80 is E2 BA 80
				wide, wideBytes = wide+1, wideBytes+min(size, len(text)-i)
			}
			i += size
		}
	}
	narrow := max(0, len(text)-lost-wideBytes)
	w.total.Bytes += int64(narrow + wideBytes)
	w.units += int64(narrow*perByte + wide*perWide)
}

// isWideEscape reports whether the escape \uXY.. means a rune from U+2E80 up. Half a surrogate pair counts as one, the pair as
// two: runes beyond U+FFFF are rarely one token.
func isWideEscape(x, y byte) bool {
	return x >= '3' || x == '2' && (y == 'e' || y == 'E' || y == 'f' || y == 'F')
}

// runeSize returns how many bytes the rune that starts with c has.
func runeSize(c byte) int {
	switch {
	case c >= 0xF0:
		return 4
	case c >= 0xE0:
		return 3
	case c >= 0xC0:
		return 2
	}
	return 1
}

// plainRun returns the position of the first byte at or behind i that is a backslash or not ASCII, eight bytes at a time.
func plainRun(text []byte, i int) int {
	const (
		ones = 0x0101010101010101
		tops = 0x8080808080808080
	)
	for ; i+8 <= len(text); i += 8 {
		word := binary.LittleEndian.Uint64(text[i:])
		slash := word ^ (ones * '\\')
		if mask := (((slash - ones) &^ slash) | word) & tops; mask != 0 {
			return i + bits.TrailingZeros64(mask)/8
		}
	}
	for i < len(text) && text[i] != '\\' && text[i] < 0x80 {
		i++
	}
	return i
}
