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

//go:generate sh -c "go run ../../cmd/ccproxy prices import --format book --version $VERSION curated.txt $MODELS_DEV $LITELLM > prices.txt.new && mv prices.txt.new prices.txt"
