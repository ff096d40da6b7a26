package price

import (
	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// Bound implements [gateway.Pricer].
func (p *Pricer) Bound(a *gateway.Attempt) gateway.Bound {
	return gateway.Bound{Status: names.PriceStatusUnknown, Billing: a.Billing()}
}

// Accrued implements [gateway.Pricer].
func (p *Pricer) Accrued(a *gateway.Attempt) gateway.NanoUSD { return p.Price(a).Total }
