package command

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
)

// usd is an amount in the admin API's JSON: a decimal string of dollars, exact.
type usd gateway.NanoUSD

// String is the whole amount in dollars.
func (u usd) String() string { return gateway.NanoUSD(u).String() }

// MarshalJSON implements json.Marshaler.
func (u usd) MarshalJSON() ([]byte, error) { return json.Marshal(u.String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (u *usd) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	digits, negative := strings.CutPrefix(text, "-")
	n, exact, ok := gateway.Fixed([]byte(digits), 9)
	if !ok || !exact {
		return fmt.Errorf("want an amount in dollars, got %q", text)
	}
	if *u = usd(n); negative {
		*u = -*u
	}
	return nil
}

// some returns a pointer to what is set, nil for what is not.
func some(o gateway.Optional[gateway.NanoUSD]) *usd {
	if !o.Set {
		return nil
	}
	v := usd(o.Value)
	return &v
}

// short is the amount for people: cents from a dollar on, more digits below, so that small amounts are not nothing.
func (u usd) short() string {
	sign, n := "", int64(u)
	if n < 0 {
		sign, n = "-", -n
	}
	places := 6
	switch {
	case n == 0 || n >= 1e9:
		places = 2
	case n >= 1e7:
		places = 4
	}
	unit := int64(1e9)
	for range places {
		unit /= 10
	}
	n = n/unit + (n%unit+unit/2)/unit // to the nearest
	per := int64(1e9) / unit
	return fmt.Sprintf("%s$%s.%0*d", sign, formatCount(n/per), places, n%per)
}

// percent is part of whole, "-" when whole is nothing.
func percent(part, whole usd) string {
	if whole <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(whole))
}
