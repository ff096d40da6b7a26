package tokens

import (
	"strings"
	"sync"

	"github.com/tiktoken-go/tokenizer"

	"github.com/ccproxy/ccproxy/gateway/jsonscan"
)

// The methods by which Exceeds came to its answer.
const (
	MethodEstimate = "estimate"
	MethodExact    = "exact"
)

// Options bounds a Counter. The zero value is the default.
type Options struct {
	// CacheBytes is the memory for remembered counts. Zero: 2 MiB, some 16,000 texts. Negative: nothing is remembered.
	CacheBytes int
	// MaxExact is how many bytes of text a call tokenizes at most; about 150 ns a byte. What a conversation has beyond that
	// is estimated until later calls have come to it. Zero: 512 KiB. Negative: always estimate.
	MaxExact int
	// Models is how many models Calibrate and LearnOutput remember each, the most recent ones. Zero or less: 256.
	Models int
}

// Counter decides whether prompts exceed a threshold. Safe for concurrent use. The tokenizers, some 10 MB each, are loaded by
// the first call that needs them.
type Counter struct {
	maxExact int
	cache    *cache
	factors  factors
	outputs  outputs
	codecs   [2]func() tokenizer.Codec // :: encoding → codec, nil if it cannot be loaded
}

// NewCounter returns a counter.
func NewCounter(opt Options) *Counter {
	if opt.CacheBytes == 0 {
		opt.CacheBytes = 2 << 20
	}
	if opt.MaxExact == 0 {
		opt.MaxExact = 512 << 10
	}
	if opt.Models <= 0 {
		opt.Models = 256
	}
	load := func(e tokenizer.Encoding) func() tokenizer.Codec {
		return sync.OnceValue(func() tokenizer.Codec {
			c, err := tokenizer.Get(e)
			if err != nil {
				return nil
			}
			return c
		})
	}
	return &Counter{
		maxExact: max(0, opt.MaxExact),
		cache:    newCache(opt.CacheBytes),
		factors:  factors{limit: opt.Models},
		outputs:  outputs{limit: opt.Models},
		codecs:   [2]func() tokenizer.Codec{cl100k: load(tokenizer.Cl100kBase), o200k: load(tokenizer.O200kBase)},
	}
}

// Estimate returns the tokens of the request at root for a model: what Estimate counts, times what Calibrate learnt.
func (c *Counter) Estimate(doc []byte, root jsonscan.Span, model string) int64 {
	return c.Calibrated(model, Estimate(doc, root, All).Tokens)
}

// Calibrated returns what [Estimate] counted, times what Calibrate learnt of the model.
func (c *Counter) Calibrated(model string, estimated int64) int64 {
	return scale(estimated, c.factors.get(model))
}

// Calibrate learns from an answer: the prompt that [Estimate], in the mode All, gave estimated tokens had actual tokens.
// Prompts of under 200 tokens, in which texts weigh little, teach nothing.
func (c *Counter) Calibrate(model string, estimated, actual int64) {
	if estimated >= 200 && actual > 0 {
		c.factors.learn(model, float64(actual)/float64(estimated))
	}
}

// Correct learns from an answer like Calibrate, given not the estimate but what [Counter.Calibrated] made of it.
func (c *Counter) Correct(model string, calibrated, actual int64) {
	f := c.factors.get(model)
	c.Calibrate(model, int64(float64(calibrated)/f+0.5), actual)
}

// Exceeds reports whether the request at root has more than threshold tokens, how many it has, and by which method that was
// found: an estimate, or, if that is within a fifth of the threshold, a tokenizer.
//
// In the mode All the count is the model's own as far as that is known: what Calibrate learnt corrects the estimate, and the
// tokenizer's count too when the tokenizer is not the model's. The mode Messages is for thresholds written for tiktoken, so
// nothing is corrected; and a number in the request's token_count, num_tokens or input_tokens counts if it is larger.
func (c *Counter) Exceeds(doc []byte, root jsonscan.Span, threshold int64, model string, mode Mode) (over bool, n int64, method string) {
	factor, stated := 1.0, int64(0)
	if mode == Messages {
		if stated = statedTokens(doc, root); stated > threshold {
			return true, stated, MethodEstimate
		}
	} else {
		factor = c.factors.get(model)
	}
	method = MethodEstimate
	n = scale(Estimate(doc, root, mode).Tokens, factor)
	if c.maxExact > 0 && n >= threshold-threshold/5 && n <= threshold+threshold/5 {
		encoding, own := encodingOf(model)
		if own {
			factor = 1
		}
		var all bool
		n, all = c.exact(doc, root, encoding, mode)
		n = scale(n, factor)
		if all {
			method = MethodExact
		}
	}
	n = max(n, stated)
	return n > threshold, n, method
}

// statedTokens returns the largest count the request itself states, 0 if it states none.
func statedTokens(doc []byte, root jsonscan.Span) (n int64) {
	jsonscan.Object(doc, root, func(key []byte, v jsonscan.Span) bool {
		switch string(key) {
		case "token_count", "num_tokens", "input_tokens":
			if stated, ok := jsonscan.Int(doc, v); ok {
				n = max(n, stated)
			}
		}
		return true
	})
	return n
}

// exact counts with a tokenizer what Estimate estimates, and reports whether it came to all of it.
func (c *Counter) exact(doc []byte, root jsonscan.Span, e encoding, mode Mode) (n int64, all bool) {
	left := c.maxExact
	all = true
	var rest walker // what is estimated after all
	w := walker{doc: doc, mode: mode}
	first := true
	w.visit = func(s jsonscan.Span) {
		// The original joins messages with spaces, which belong to the token behind them.
		k := c.cache.key(doc[s.Start:s.End], e, mode == Messages && !first)
		first = false
		if known, ok := c.cache.get(k); ok {
			n += int64(known)
			return
		}
		if s.End-s.Start <= left {
			left -= s.End - s.Start
			if counted, ok := c.tokenize(doc, s, k); ok {
				c.cache.put(k, counted)
				n += int64(counted)
				return
			}
		}
		all = false
		rest.doc = doc
		rest.found(s)
	}
	w.request(root)
	return n + w.count().Tokens + rest.count().Tokens, all
}

// tokenize counts the text at s. It reports false when the tokenizer cannot be had or fails.
func (c *Counter) tokenize(doc []byte, s jsonscan.Span, k key) (int32, bool) {
	codec := c.codecs[k.encoding]()
	if codec == nil {
		return 0, false
	}
	text, ok := jsonscan.String(doc, s)
	if !ok {
		text = string(doc[s.Start:s.End])
	}
	if k.spaced {
		text = " " + text
	}
	n, err := codec.Count(text)
	return int32(n), err == nil
}

type encoding uint8

const (
	cl100k encoding = iota
	o200k
)

// encodingOf returns the encoding nearest to a model's and whether it is the model's own.
func encodingOf(model string) (e encoding, own bool) {
	model = strings.TrimPrefix(model[strings.LastIndexByte(model, '/')+1:], "ft:")
	switch {
	case strings.HasPrefix(model, "gpt-4o"), strings.HasPrefix(model, "gpt-4.1"), strings.HasPrefix(model, "gpt-4.5"):
		return o200k, true
	case strings.HasPrefix(model, "gpt-4"), strings.HasPrefix(model, "gpt-3.5"), strings.HasPrefix(model, "text-embedding-"):
		return cl100k, true
	case strings.HasPrefix(model, "gpt-"), strings.HasPrefix(model, "chatgpt-"), strings.HasPrefix(model, "codex-"),
		strings.HasPrefix(model, "o1"), strings.HasPrefix(model, "o3"), strings.HasPrefix(model, "o4"):
		return o200k, true
	}
	return cl100k, false
}

func scale(n int64, factor float64) int64 {
	if factor == 1 {
		return n
	}
	return int64(float64(n)*factor + 0.5)
}

// factors remembers, for the models last seen, real tokens ÷ estimated tokens.
type factors struct {
	limit int
	mu    sync.RWMutex
	clock int64
	known map[string]learnt // :: model → factor
}

type learnt struct {
	factor float64
	seen   int   // answers learnt from
	at     int64 // clock of the last
}

func (f *factors) get(model string) float64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if l, ok := f.known[model]; ok {
		return l.factor
	}
	return 1
}

// learn moves the factor of a model towards ratio: half of the way at first, a tenth in the long run.
func (f *factors) learn(model string, ratio float64) {
	ratio = min(max(ratio, 0.5), 2)
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok := f.known[model]
	if !ok {
		l.factor = 1
		f.makeRoom()
		model = strings.Clone(model)
	}
	f.clock++
	l.seen, l.at = l.seen+1, f.clock
	l.factor += (ratio - l.factor) * max(0.1, 1/float64(l.seen+1))
	f.known[model] = l
}

// makeRoom forgets the model learnt from least recently if there are as many as may be.
func (f *factors) makeRoom() {
	if f.known == nil {
		f.known = map[string]learnt{}
	}
	if len(f.known) < f.limit {
		return
	}
	oldest, at := "", f.clock+1
	for model, l := range f.known {
		if l.at < at {
			oldest, at = model, l.at
		}
	}
	delete(f.known, oldest)
}
