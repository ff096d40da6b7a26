// Package openai holds the dialects of OpenAI's API: chat completions, legacy
// completions, responses with their token counting, and embeddings.
//
// Many vendors speak these formats, each a little differently; the dialects read
// what any of them sends and refuse only what no vendor could mean. They never
// decode a document: facts are read in place with package jsonscan, and what
// they do not know is not looked at.
//
//	request.go   what a request asks for       usage.go    token counters to disjoint classes
//	choices.go   answers made of choices       errors.go   providers' errors
//	                                           encode.go   errors for the client
//
// with one file for each API beside them.
package openai
