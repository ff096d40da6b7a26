package ledger

import (
	"context"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/gateway/ledger/store"
	"github.com/ccproxy/ccproxy/gateway/price"
)

// Explanation is a line and how its cost comes about.
type Explanation struct {
	Line store.Line
	// Terms are the products that the cost is the sum of; Total is that sum, by
	// the prices and the usage that the line has kept. It is the line's total
	// unless one of them was changed.
	Terms []price.Term
	Total gateway.NanoUSD
	// Err says why there are no terms; nil: there are, or the request was free.
	Err error
}

// Explain works out again what an exchange or an attempt has cost, by its id, in
// the order of the attempts. An id without lines is no error.
func Explain(ctx context.Context, s *store.Store, id string) ([]Explanation, error) {
	lines, err := s.Line(ctx, id)
	if err != nil {
		return nil, err
	}
	list := make([]Explanation, len(lines))
	for i := range lines {
		e := &list[i]
		e.Line = lines[i]
		e.Terms, e.Total, e.Err = price.Explain(&e.Line.Cost, &e.Line.Usage, e.Line.ServiceTier)
	}
	return list, nil
}
