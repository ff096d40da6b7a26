// Package route decides where an exchange goes.
//
// It takes two steps. Rules name the exchange: the first that matches gives
// its label, and with none the label is "default". Then the label picks an
// entry of the model table, whose targets are tried in order:
//
//	request → rules → label → entry → targets, then fallbacks
//	                   └ none, or passthrough → the model the client named
//
// The predicates of [KindThinking], [KindMatchModel], [KindTokenCount] and
// [KindMatchTool] are those of the ccproxy Python plug-in, version 1.2, so that
// its configurations keep their meaning. A rule may be a CEL expression instead;
// see [Variables].
//
// A [Router] is immutable: a changed configuration makes a new one. What is
// learnt of targets outlives it: [Health] has a circuit breaker for each, which
// the gateway drives by its attempts, and [Sticky] knows which has a
// conversation.
package route
