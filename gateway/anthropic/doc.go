// Package anthropic reads and writes the Anthropic API: the dialects
// anthropic.messages and anthropic.count_tokens.
//
// A request is read in one pass over its top level and never re-encoded: thinking signatures and prompt caches are bound to
// the exact bytes. Of a stream, the events that carry usage are read; of all others only the name and the length of the text.
//
// The format is the one platform.claude.com/docs/en/api/messages describes (read 2026-08), and what recorded answers show
// beyond it: padding inside the braces, usage that changes between events, keys that come and go.
package anthropic

const (
	family = "anthropic"

	// maxModel is the longest model name accepted, in bytes.
	maxModel = 256
	// maxID is the longest session, user or account id kept, in bytes.
	maxID = 128
	// maxTools is how many tool names of a request are kept.
	maxTools = 1000
	// maxSearches is the largest number of web searches a tool can bound itself to; more is no bound.
	maxSearches = 1000
	// maxWord is the longest word of a provider's vocabulary kept, in bytes.
	maxWord = 128
)
