package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// mask stands for a secret wherever one would be printed.
const mask = "***"

// Secret is a string that prints as "***" in every format. Only Reveal gives the value. The empty Secret is no secret
// and prints as "***" too.
type Secret string

// Reveal returns the value, for the one place that sends it.
func (s Secret) Reveal() string { return string(s) }

// String implements fmt.Stringer.
func (s Secret) String() string { return mask }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return mask }

// Format implements fmt.Formatter, so that no verb, %x included, shows the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(mask)) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(mask) }

// MarshalYAML implements goccy/go-yaml's InterfaceMarshaler.
func (s Secret) MarshalYAML() (any, error) { return mask, nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// Secrets is a string or a list of them in the file.
type Secrets []Secret

// Size is a number of bytes: "32MiB", "64KB" or a plain number in the file.
type Size int64

// sizeUnits in the order they are tried for printing.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// String returns the size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits[:3] {
		if s > 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

func parseSize(text string) (Size, error) {
	digits, unit := text, int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			digits, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<50)/unit {
		return 0, fmt.Errorf("want a size such as 64KiB or 32MiB, got %q", text)
	}
	return Size(n * unit), nil
}

var daysPattern = regexp.MustCompile(`^[0-9]{1,5}d$`)

// ParseDuration reads a span of time as the file has it: Go's notation, or whole days, 30d.
func ParseDuration(text string) (time.Duration, error) { return parseDuration(text) }

func parseDuration(text string) (time.Duration, error) {
	if daysPattern.MatchString(text) {
		days, _ := strconv.Atoi(strings.TrimSuffix(text, "d"))
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("want a duration such as 250ms, 30s or 15m, got %q", text)
	}
	if d < 0 {
		return 0, fmt.Errorf("want a duration that is not negative, got %q", text)
	}
	return d, nil
}

// formatDuration is Duration.String without zero minutes and seconds: 15m, not 15m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// USD is an amount in nano-dollars, exact.
type USD int64

// String returns the amount in dollars.
func (u USD) String() string { return decimal(int64(u), 9) }

// ParseUSD reads an amount in dollars as the file has it: a decimal with at most nine places, not negative. An amount no
// budget may have as its limit is an error.
func ParseUSD(text string) (USD, error) {
	nano, err := parseAmount(text, 9)
	if err == nil && USD(nano) > maxLimit {
		err = fmt.Errorf("%s is over a billion dollars", text)
	}
	return USD(nano), err
}

// PerMillion is a price: micro-dollars per million tokens, which is pico-dollars per token.
type PerMillion int64

// String returns the price in dollars per million tokens.
func (p PerMillion) String() string { return decimal(int64(p), 6) }

// decimal prints n·10^-places without trailing zeros.
func decimal(n int64, places int) string {
	s := new(big.Rat).SetFrac(big.NewInt(n), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)).FloatString(places)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// amountPattern keeps exponents small: a big.Rat would spend minutes on 1e999999999.
var amountPattern = regexp.MustCompile(`^\+?([0-9]{1,12}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,2})?$`)

// parseAmount reads a decimal as a whole number of 10^-places.
func parseAmount(text string, places int) (int64, error) {
	if !amountPattern.MatchString(text) {
		return 0, fmt.Errorf("want an amount in dollars such as 50 or 0.25, got %q", text)
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, fmt.Errorf("want an amount in dollars such as 50 or 0.25, got %q", text)
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
	if !r.IsInt() {
		return 0, fmt.Errorf("%s has more than %d decimals", text, places)
	}
	if !r.Num().IsInt64() {
		return 0, fmt.Errorf("%s is too large", text)
	}
	return r.Num().Int64(), nil
}
