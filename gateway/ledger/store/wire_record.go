package store

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ccproxy/ccproxy/gateway"
)

// Kinds of record in the journal. A kind never changes its meaning.
const (
	kindHold       = 1 // HoldRecord
	kindCheckpoint = 2 // what an attempt has cost so far
	kindExtend     = 3 // a hold has grown
	kindSettled    = 4 // the line, its accounts, and alerts: ends a hold
	kindDrop       = 5 // ends a hold of which nothing was sent
	kindMark       = 6 // up to where the file was synced when this was written
)

func (a *Account) append(b []byte) []byte {
	b = appendText(b, 1, a.Budget, maxText)
	b = appendText(b, 2, a.Subject, maxText)
	return appendNumber(b, 3, a.Window)
}

func (a *Account) decode(b []byte) error {
	return fields(b, func(num int, v []byte) error {
		switch num {
		case 1:
			a.Budget = string(v)
		case 2:
			a.Subject = string(v)
		default:
			return unknown(num)
		}
		return nil
	}, func(num int, v int64) error {
		if num != 3 {
			return unknown(num)
		}
		a.Window = v
		return nil
	})
}

func (s *AlertState) append(b []byte) []byte {
	b, at := begin(b, 1)
	b = s.Account.append(b)
	end(b, at)
	b = appendNumber(b, 2, int64(s.Level))
	b = appendNumber(b, 3, integer(s.Forecast))
	return appendNumber(b, 4, integer(s.Crossed))
}

func (s *AlertState) decode(b []byte) error {
	return fields(b, func(num int, v []byte) error {
		if num != 1 {
			return unknown(num)
		}
		return s.Account.decode(v)
	}, func(num int, v int64) error {
		switch num {
		case 2:
			s.Level = int(v)
		case 3:
			s.Forecast = v != 0
		case 4:
			s.Crossed = v != 0
		default:
			return unknown(num)
		}
		return nil
	})
}

// appendHold appends the body of a hold.
func appendHold(b []byte, h *HoldRecord) []byte {
	b, at := begin(b, fieldLine)
	b = h.Line.append(b)
	end(b, at)
	b = appendAccounts(b, h.Budgets)
	b = appendNumber(b, fieldAmount, int64(h.PerSecond))
	return appendNumber(b, fieldFloor, int64(h.Line.Cost.Total)) // of a cost that may not be known yet
}

func decodeHold(b []byte) (*HoldRecord, error) {
	h := new(HoldRecord)
	err := fields(b, func(num int, v []byte) error {
		switch num {
		case fieldLine:
			l, err := decodeLine(v)
			if err != nil {
				return err
			}
			h.Line = *l
			return nil
		case fieldAccount:
			var a Account
			err := a.decode(v)
			h.Budgets = append(h.Budgets, a)
			return err
		}
		return unknown(num)
	}, func(num int, v int64) error {
		switch num {
		case fieldAmount:
			h.PerSecond = gateway.NanoUSD(v)
		case fieldFloor:
			h.Line.Cost.Total = gateway.NanoUSD(v)
		default:
			return unknown(num)
		}
		return nil
	})
	return h, err
}

// appendSettled appends the body of a settlement.
func appendSettled(b []byte, l *Line, accounts []Account, alerts []AlertState) []byte {
	b, at := begin(b, fieldLine)
	b = l.append(b)
	end(b, at)
	b = appendAccounts(b, accounts)
	for i := range alerts {
		b, at = begin(b, fieldAlert)
		b = alerts[i].append(b)
		end(b, at)
	}
	return b
}

func appendAccounts(b []byte, accounts []Account) []byte {
	for i := range accounts {
		var at int
		b, at = begin(b, fieldAccount)
		b = accounts[i].append(b)
		end(b, at)
	}
	return b
}

// settlement is a decoded settlement. Its slices are reused.
type settlement struct {
	line     []byte // encoded; aliases what was decoded
	accounts []Account
	alerts   []AlertState
}

func (s *settlement) decode(b []byte) error {
	s.line, s.accounts, s.alerts = nil, s.accounts[:0], s.alerts[:0]
	return fields(b, func(num int, v []byte) error {
		switch num {
		case fieldLine:
			s.line = v
			return nil
		case fieldAccount:
			var a Account
			err := a.decode(v)
			s.accounts = append(s.accounts, a)
			return err
		case fieldAlert:
			var a AlertState
			err := a.decode(v)
			s.alerts = append(s.alerts, a)
			return err
		}
		return unknown(num)
	}, noNumber)
}

// progress is the body of checkpoints, extensions and drops.
type progress struct {
	id     string
	amount gateway.NanoUSD
	tokens int64
}

func (p *progress) append(b []byte) []byte {
	b = appendNumber(b, fieldAmount, int64(p.amount))
	b = appendNumber(b, fieldTokens, p.tokens)
	return appendText(b, fieldID, p.id, maxText)
}

func (p *progress) decode(b []byte) error {
	return fields(b, func(num int, v []byte) error {
		if num != fieldID {
			return unknown(num)
		}
		p.id = string(v)
		return nil
	}, func(num int, v int64) error {
		switch num {
		case fieldAmount:
			p.amount = gateway.NanoUSD(v)
		case fieldTokens:
			p.tokens = v
		default:
			return unknown(num)
		}
		return nil
	})
}

// lineID returns the id of an encoded line, which aliases b, without decoding
// the rest.
func lineID(b []byte) []byte {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil
		}
		b = b[n:]
		if num == fieldTexts && typ == protowire.BytesType {
			v, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil
			}
			return v
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil
		}
		b = b[n:]
	}
	return nil
}
