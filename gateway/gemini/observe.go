package gemini

import (
	"bytes"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// The values of Result.Incomplete.
const (
	cutMaxTokens     = "max_tokens"
	cutContentFilter = "content_filter"
)

// pickExact reads the members of the object at s that are in keys into out. Answers are spelt in one way alone.
func pickExact(doc []byte, s jsonscan.Span, keys []string, out []jsonscan.Span) {
	jsonscan.Object(doc, s, func(key []byte, v jsonscan.Span) bool {
		for i, k := range keys {
			if string(key) == k {
				out[i] = v
				break
			}
		}
		return true
	})
}

var responseKeys = []string{"candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId", "error"}

// observeResponse folds a response, whole or a piece of a stream, into r.
func observeResponse(data []byte, response jsonscan.Span, r *gateway.Result) {
	var v [6]jsonscan.Span
	pickExact(data, response, responseKeys, v[:])
	if jsonscan.Kind(data, v[5]) == '{' {
		r.Err = decodeError(0, nil, data[response.Start:response.End])
		return
	}
	jsonscan.Array(data, v[0], func(i int, candidate jsonscan.Span) bool {
		observeCandidate(data, candidate, i, r)
		return true
	})
	// A blocked prompt has no candidates.
	if reason, ok := jsonscan.RawString(data, jsonscan.Get(data, v[1], "blockReason")); ok && len(reason) > 0 {
		setReason(r, 0, reason)
		r.Incomplete, r.Done = cutContentFilter, true
	}
	setText(&r.Model, data, v[3])
	setText(&r.ID, data, v[4])
	foldUsage(data, v[2], r)
}

var candidateKeys = []string{"content", "finishReason", "index", "groundingMetadata"}

func observeCandidate(data []byte, candidate jsonscan.Span, position int, r *gateway.Result) {
	var v [4]jsonscan.Span
	pickExact(data, candidate, candidateKeys, v[:])
	jsonscan.Array(data, jsonscan.Get(data, v[0], "parts"), func(_ int, part jsonscan.Span) bool {
		observePart(data, part, r)
		return true
	})
	if reason, ok := jsonscan.RawString(data, v[1]); ok && len(reason) > 0 && string(reason) != "FINISH_REASON_UNSPECIFIED" {
		if n, ok := jsonscan.Int(data, v[2]); ok && n >= 0 && n < maxChoices {
			position = int(n)
		}
		finished(r, position, reason)
	}
	if v[3].Exists() {
		r.Counts.WebSearches = max(r.Counts.WebSearches, queries(data, jsonscan.Get(data, v[3], "webSearchQueries")))
		r.Usage.WebSearches = r.Counts.WebSearches
	}
}

// maxQueries bounds the search queries that are compared with each other.
const maxQueries = 64

// queries counts the different queries at s: one that is repeated is billed once.
func queries(data []byte, s jsonscan.Span) (n int64) {
	var known [maxQueries][]byte
	jsonscan.Array(data, s, func(_ int, q jsonscan.Span) bool {
		text := data[q.Start:q.End]
		for _, k := range known[:min(n, maxQueries)] {
			if bytes.Equal(k, text) {
				return true
			}
		}
		if q.End-q.Start == len(`""`) {
			return true
		}
		if n < maxQueries {
			known[n] = text
		}
		n++
		return true
	})
	return n
}

// observePart counts generated text.
func observePart(data []byte, part jsonscan.Span, r *gateway.Result) {
	jsonscan.Object(data, part, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "text":
			output(jsonscan.StringSize(data, v), r)
		case "functionCall":
			r.Content = true
			args := jsonscan.Get(data, v, "args")
			output(jsonscan.StringSize(data, jsonscan.Get(data, v, "name"))+args.End-args.Start, r)
		case "executableCode":
			output(v.End-v.Start, r)
		case "inlineData", "fileData", "codeExecutionResult":
			r.Content = true
		}
		return true
	})
}

// output notes n bytes of generated text.
func output(n int, r *gateway.Result) {
	if n > 0 {
		r.Content = true
		r.OutputBytes += int64(n)
	}
}

// finished notes why a candidate ended.
func finished(r *gateway.Result, position int, reason []byte) {
	setReason(r, position, reason)
	r.Done = true
	switch string(reason) {
	case "MAX_TOKENS":
		r.Incomplete = cutMaxTokens
	case "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
		"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION":
		r.Incomplete = cutContentFilter
	}
}

// setReason keeps the last finish reason of each candidate. A candidate that has not finished while a later one has stands as
// "error", as the GenAI conventions want it.
func setReason(r *gateway.Result, position int, reason []byte) {
	position = min(position, maxChoices-1)
	for len(r.FinishReasons) <= position {
		r.FinishReasons = append(r.FinishReasons, "error")
	}
	if r.FinishReasons[position] != string(reason) {
		r.FinishReasons[position] = clip(string(reason), maxWord)
	}
}

// observeOversize reads what can be known of the end of a response too large to hold: its finish reason and usage, which
// stand behind the content.
func observeOversize(tail []byte, r *gateway.Result) {
	if len(tail) == 0 {
		return
	}
	r.Content = true
	// A quote inside a string would be escaped, so what is found is a key.
	if v := afterKey(tail, `"finishReason"`); len(v) > 1 && v[0] == '"' {
		if end := bytes.IndexByte(v[1:], '"'); end > 0 {
			finished(r, 0, v[1:1+end])
		}
	}
	if v := afterKey(tail, `"usageMetadata"`); len(v) > 0 {
		foldUsage(v, jsonscan.Span{End: len(v)}, r)
	}
}

// afterKey returns what follows the last occurrence of a quoted key and its colon in b, or nil.
func afterKey(b []byte, key string) []byte {
	i := bytes.LastIndex(b, []byte(key))
	if i < 0 {
		return nil
	}
	v, ok := bytes.CutPrefix(bytes.TrimLeft(b[i+len(key):], " \t\r\n"), []byte(":"))
	if !ok {
		return nil
	}
	return bytes.TrimLeft(v, " \t\r\n")
}

// setText sets *to to the string at s, if there is one and it is another.
func setText(to *string, data []byte, s jsonscan.Span) {
	if raw, ok := jsonscan.RawString(data, s); ok && len(raw) > 0 && *to != string(raw) {
		*to = clip(string(raw), maxWord)
	}
}
