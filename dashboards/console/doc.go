// Package console is the local web page of the gateway, on its admin port: recent requests as they end, the trace of each,
// what they cost, and how the gateway fares. It needs no other server, and asks for nothing from outside this machine.
//
//	page/      the page: plain modules, no build step; what is embedded is what is written
//	API.md     the JSON API behind it, for programs too
//	story.go   a trace in words: why it was routed so, and how its cost adds up
//	jaeger.go  the same traces for Grafana's Jaeger data source and other tools
//
// Models and clients choose much of what is shown. The page makes text nodes of it and nothing else, and its
// Content-Security-Policy, with trusted types, forbids what could make it more.
package console
