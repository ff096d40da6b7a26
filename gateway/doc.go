// Package gateway is the engine of ccproxy: it takes a client's request to a
// model provider and back, and makes one trace of it.
//
// The life of an exchange:
//
//	accept → caller → decode → pre_call (hooks, label, route)
//	  → for each target until one answers:
//	      pre_api (validate, credentials) → send(s) → [stream] → post_api (usage, settle)
//	  → respond → end
//
// The commit point is the first byte to the client. Before it a failed attempt
// moves on to the next target or becomes an error body in the client's own
// dialect; after it the stream ends with the dialect's error event and a broken
// connection, never with something that looks complete.
//
// Bytes pass through untouched: the engine scans a request for the few facts it
// needs and splices only the model name, because re-encoding breaks prompt
// caches and thinking signatures.
//
// The package uses the OpenTelemetry API only; the SDK is package telemetry's.
package gateway
