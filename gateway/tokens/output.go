package tokens

import (
	"strings"
	"sync"
)

// What generated text is taken to be until answers have taught better: four bytes a token, with the weight of a short answer.
const (
	outputBytesPerToken = 4
	priorTokens         = 250
	priorBytes          = priorTokens * outputBytesPerToken
)

// A byte is at least a sixteenth of a token and at most two tokens, whatever answers say: much may be generated for each byte
// that is shown, but a sum of money must not hang on one odd answer.
const (
	leastPerByte = 1.0 / 16
	mostPerByte  = 2.0
)

// outputWindow is how many bytes of answers count in full; what is older weighs half.
const outputWindow = 1 << 20

// outputs remembers, for the models last seen, how many tokens their providers bill for how many bytes shown.
type outputs struct {
	limit int
	mu    sync.RWMutex
	clock int64
	known map[outputKey]output
}

// outputKey is a model, which shows less of what it generates when it thinks.
type outputKey struct {
	model    string
	thinking bool
}

type output struct {
	tokens, bytes float64 // without the prior
	at            int64   // clock of the last answer
}

// perByte returns the tokens a byte shown stands for. It is a quotient of sums, so that the errors of many answers cancel.
func (o output) perByte() float64 {
	return min(max((o.tokens+priorTokens)/(o.bytes+priorBytes), leastPerByte), mostPerByte)
}

// Output returns how many tokens a model generated, and its provider bills, when it has shown that many bytes of text;
// thinking says whether it was asked to think. It takes 30 ns.
func (c *Counter) Output(model string, thinking bool, bytes int64) int64 {
	if bytes <= 0 {
		return 0
	}
	c.outputs.mu.RLock()
	o := c.outputs.known[outputKey{model, thinking}]
	c.outputs.mu.RUnlock()
	n := float64(bytes) * o.perByte()
	if n >= 1<<62 {
		return 1 << 62
	}
	return int64(n + 0.999) // a token that has begun is billed
}

// LearnOutput learns from a whole answer: a model showed that many bytes of text, and its provider billed that many tokens.
func (c *Counter) LearnOutput(model string, thinking bool, bytes, tokens int64) {
	if bytes <= 0 || tokens <= 0 || bytes > outputWindow {
		return
	}
	f := &c.outputs
	f.mu.Lock()
	defer f.mu.Unlock()
	k := outputKey{model, thinking}
	o, ok := f.known[k]
	if !ok {
		f.makeRoom()
		k.model = strings.Clone(model)
	}
	f.clock++
	o.at = f.clock
	o.bytes += float64(bytes)
	o.tokens += min(float64(tokens), mostPerByte*float64(bytes)+priorTokens)
	if o.bytes > outputWindow {
		o.bytes, o.tokens = o.bytes/2, o.tokens/2
	}
	f.known[k] = o
}

// makeRoom forgets the model learnt from least recently if there are as many as may be.
func (f *outputs) makeRoom() {
	if f.known == nil {
		f.known = map[outputKey]output{}
	}
	if len(f.known) < f.limit {
		return
	}
	var oldest outputKey
	at := f.clock + 1
	for k, o := range f.known {
		if o.at < at {
			oldest, at = k, o.at
		}
	}
	delete(f.known, oldest)
}
