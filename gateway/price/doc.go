// Package price says what usage costs: a price book, embedded as a dated snapshot, the prices of the configuration, and
// exact arithmetic.
//
//	Book (prices.txt) ┐
//	overrides         ┴ Pricer → Cost of an attempt, and its baseline
//
// Prices are whole pico-dollars per token (or per call), which is micro-dollars per million tokens; amounts are whole
// nano-dollars. Each class of a cost is tokens × price, rounded up; the total is the sum of the classes. No float is
// involved.
package price

// prices.txt is made of curated.txt and the lists of models.dev and LiteLLM (see NOTICE), whose files MODELS_DEV and LITELLM
// name; VERSION is the date.
//
//go:generate sh -c "go run ../../cmd/ccproxy prices import --format book --version $VERSION curated.txt $MODELS_DEV $LITELLM > prices.txt.new && mv prices.txt.new prices.txt"
