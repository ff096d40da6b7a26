// Package price says what usage costs: a price book, embedded as a dated snapshot, the prices of the configuration, and
// exact arithmetic.
//
//	Book (prices.txt) ┐
//	overrides         ┴ Pricer → bound, cost so far, cost and baseline of an attempt
//
// A Pricer also says what a request can cost at most (Bound), what a stream has cost so far (Accrued), and what of a usage
// nobody reported (Complete), which it learns from the answers whose usage was. A cost keeps the text of the entry it was
// worked out by, from which Explain works it out again, term by term.
//
// Prices are whole pico-dollars per token (or per call), which is micro-dollars per million tokens; amounts are whole
// nano-dollars. Each class of a cost, or each part of one that has a price of its own, is tokens × price, rounded up; the
// total is the sum of the classes. No float is
// involved.
//
// prices.txt is made of curated.txt and the lists of models.dev and LiteLLM (see NOTICE), which are not in this repository,
// by hand and with a look at `ccproxy prices diff`:
//
//	ccproxy prices import --format book --version DATE curated.txt MODELS_DEV.json LITELLM.json > prices.txt
package price
