package command

import (
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/anthropic"
	"github.com/ccproxy/ccproxy/gateway/gemini"
	"github.com/ccproxy/ccproxy/gateway/openai"
)

// routes are the paths served, each in its dialect. Clients whose base URL lacks the version ask for the same path
// without it.
func routes() []gateway.RouteSpec {
	var out []gateway.RouteSpec
	for _, r := range []struct {
		path    string
		dialect gateway.Dialect
	}{
		{"/messages", anthropic.Messages()},
		{"/messages/count_tokens", anthropic.CountTokens()},
		{"/chat/completions", openai.Chat()},
		{"/completions", openai.Completions()},
		{"/responses", openai.Responses()},
		{"/responses/input_tokens", openai.InputTokens()},
		{"/embeddings", openai.Embeddings()},
	} {
		for _, prefix := range []string{"/v1", ""} {
			out = append(out, gateway.RouteSpec{Method: http.MethodPost, Path: prefix + r.path, Dialect: r.dialect})
		}
	}
	for _, r := range []struct {
		dialect gateway.Dialect
		actions []string
	}{
		{gemini.GenerateContent(), []string{"generateContent", "streamGenerateContent"}},
		{gemini.CountTokens(), []string{"countTokens"}},
		{gemini.EmbedContent(), []string{"embedContent", "batchEmbedContents"}},
	} {
		for _, version := range []string{"v1beta", "v1alpha", "v1"} {
			out = append(out, gateway.RouteSpec{Method: http.MethodPost, Path: "/" + version + "/models/", Actions: r.actions, Dialect: r.dialect})
		}
	}
	return out
}
