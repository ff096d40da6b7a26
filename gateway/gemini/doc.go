// Package gemini reads and writes the Gemini API: the dialects gemini.generate_content, gemini.count_tokens and
// gemini.embed_content.
//
// The model and the method are in the path, …/models/{model}:{method}, and a stream is a method of its own. A stream is
// server-sent events with CRLF, or without alt=sse one JSON array sent piece by piece; neither has a terminator, and every
// piece reports usage so far. Requests are protocol buffers in JSON, whose members may be spelt in camelCase or snake_case.
//
// The format is the one ai.google.dev/api describes (read 2026-08), and what recorded answers show beyond it.
package gemini

const (
	family = "gemini"

	// maxModel is the longest model name accepted, in bytes.
	maxModel = 256
	// maxID is the longest session id kept, in bytes.
	maxID = 128
	// maxTools is how many tool names of a request are kept.
	maxTools = 1000
	// maxWord is the longest word of a provider's vocabulary kept, in bytes.
	maxWord = 128
	// maxChoices is how many candidates are told apart.
	maxChoices = 64
)
