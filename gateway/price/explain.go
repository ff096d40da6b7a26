package price

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Explain works out again what a cost is made of, from the entry that is kept with it, the usage and the service tier that
// the answer reported. total is the sum of the terms; it is c.Total unless one of the three was changed. Free requests have no
// terms. It is an error when nobody knew the cost, or when what is kept cannot be read.
func Explain(c *gateway.Cost, u *gateway.Usage, serviceTier string) (terms []Term, total gateway.NanoUSD, err error) {
	switch {
	case !c.Known():
		return nil, 0, errors.New("the request has no cost that is known")
	case c.Billing == names.CostBillingFree:
		return nil, 0, nil
	case c.Entry == "":
		n := c.Classes[gateway.CostUndivided]
		return []Term{{Class: gateway.CostUndivided, Count: 1, Factor: Factor{Num: 1, Den: 1}, Amount: n}}, n, nil
	}
	lines := strings.Split(c.Entry, "\n")
	next := func() (*Entry, error) {
		if len(lines) == 0 {
			return nil, errors.New("a model took part whose price is not kept with the cost")
		}
		e, err := readEntry(lines[0])
		lines = lines[1:]
		return e, err
	}
	main, err := next()
	if err != nil {
		return nil, 0, fmt.Errorf("read the price: %w", err)
	}
	b := bill{explain: true}
	if !main.charge(u, service(serviceTier, u.Speed), &b) {
		return nil, 0, errors.New("the usage makes no sense")
	}
	for model, part := range u.OtherParts() {
		e := main
		if model != "" {
			if e, err = next(); err != nil {
				return nil, 0, fmt.Errorf("read the price of %s: %w", model, err)
			}
		}
		part.Geo = u.Geo
		if !e.charge(&part, service(serviceTier, ""), &b) {
			return nil, 0, errors.New("the usage makes no sense")
		}
	}
	if len(lines) > 0 {
		return nil, 0, errors.New("the usage of a model whose price is kept is not")
	}
	return b.terms, b.total, nil
}
