// Package names holds every name the gateway's telemetry uses: spans, attributes, metrics, events, log fields and the
// values of closed vocabularies. Dashboards, alerts and users' queries read them, so they are an interface: a name here
// does not change without saying so in the release notes.
//
// Names come from three places. The GenAI conventions (github.com/open-telemetry/semantic-conventions-genai, v0.1.0, all
// "development"), the core semantic conventions (v1.43.0), and our own, which all start with "ccproxy.". Nothing of ours is
// under "gen_ai.", with one exception: gen_ai.usage.cost, which several backends read.
//
// The tables Attributes, Metrics, Spans, Events and Values describe the same names for conformance tests. They are read-only.
package names
