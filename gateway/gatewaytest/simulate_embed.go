package gatewaytest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
)

const (
	defaultDimensions = 16
	maxEmbedValues    = 1 << 20 // over all vectors of one answer
)

// texts reads a prompt or an embeddings input: a string, a list of strings, a
// list of token ids or a list of such lists.
func texts(raw json.RawMessage) (all []string, tokens int64, err error) {
	var one string
	if json.Unmarshal(raw, &one) == nil && len(raw) > 0 && raw[0] == '"' {
		return []string{one}, max(tokensOf(len(one)), 1), nil
	}
	var many []string
	if json.Unmarshal(raw, &many) == nil && len(many) > 0 {
		for _, s := range many {
			tokens += max(tokensOf(len(s)), 1)
		}
		return many, tokens, nil
	}
	var ids []int64
	if json.Unmarshal(raw, &ids) == nil && len(ids) > 0 {
		return []string{fmt.Sprint(ids)}, int64(len(ids)), nil
	}
	var lists [][]int64
	if json.Unmarshal(raw, &lists) == nil && len(lists) > 0 {
		for _, ids := range lists {
			all = append(all, fmt.Sprint(ids))
			tokens += int64(len(ids))
		}
		return all, tokens, nil
	}
	return nil, 0, errors.New("'input' must be a string, a list of strings, or token ids")
}

func (a *ask) size(dimensions int) error {
	a.dimensions = dimensions
	if dimensions == 0 {
		a.dimensions = defaultDimensions
	}
	if a.dimensions < 0 || a.dimensions > maxEmbedValues/max(len(a.inputs), 1) {
		return errors.New("dimensions: the simulated provider answers at most 1048576 numbers")
	}
	return nil
}

func decodeEmbeddings(a *ask, body []byte) error {
	var q struct {
		Model          string
		Input          json.RawMessage
		EncodingFormat string `json:"encoding_format"`
		Dimensions     int
	}
	if err := parse(body, &q); err != nil {
		return err
	}
	if q.Model == "" {
		return errors.New("you must provide a model parameter")
	}
	var err error
	if a.inputs, a.tokens, err = texts(q.Input); err != nil {
		return err
	}
	a.model, a.base64 = q.Model, q.EncodingFormat == "base64"
	return a.size(q.Dimensions)
}

// vector is the simulated embedding of a text: unit length, from its hash.
func vector(text string, n int) []float32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	state := h.Sum64() | 1
	v, square := make([]float32, n), 0.0
	for i := range v {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		x := float64(int64(state)) / math.MaxInt64
		v[i] = float32(x)
		square += x * x
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(square))
	}
	return v
}

func numbers(v []float32) string {
	out := []byte{'['}
	for i, x := range v {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendFloat(out, float64(x), 'g', -1, 32)
	}
	return string(append(out, ']'))
}

// packed is a vector as little-endian float32 in base64, OpenAI's compact form.
func packed(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return quote(base64.StdEncoding.EncodeToString(raw))
}

// embedUsage bills no output.
func embedUsage(t turn) Usage { return Usage{Input: t.usage.Prompt()} }

func renderEmbeddings(a *ask, t turn, step Step) *reply {
	var data strings.Builder
	for i, text := range a.inputs {
		write := numbers
		if a.base64 {
			write = packed
		}
		if i > 0 {
			data.WriteByte(',')
		}
		fmt.Fprintf(&data, `{"object":"embedding","index":%d,"embedding":%s}`, i, write(vector(text, a.dimensions)))
	}
	u := embedUsage(t)
	usage := fmt.Sprintf(`,"usage":{"prompt_tokens":%d,"total_tokens":%d}`, u.Input, u.Input)
	if step.NoUsage {
		usage = ""
	}
	return plainReply(u, fmt.Sprintf(`{"object":"list","data":[%s],"model":%s%s}`, data.String(), quote(a.model), usage))
}

// embedRequest is one of Gemini's, alone or in a batch.
type embedRequest struct {
	Content         geminiContent
	Dimensions      int `json:"outputDimensionality"`
	SnakeDimensions int `json:"output_dimensionality"`
}

func decodeEmbed(a *ask, body []byte) error {
	a.batch = a.action == "batchEmbedContents"
	var q struct {
		embedRequest
		Requests []embedRequest
	}
	if err := parse(body, &q); err != nil {
		return err
	}
	requests := q.Requests
	if !a.batch {
		requests = []embedRequest{q.embedRequest}
	}
	dimensions := 0
	for _, one := range requests {
		text := one.Content.text()
		a.inputs = append(a.inputs, text)
		a.tokens += max(tokensOf(len(text)), 1)
		dimensions = max(one.Dimensions, one.SnakeDimensions)
	}
	if len(a.inputs) == 0 {
		return errors.New("* BatchEmbedContentsRequest.requests: must not be empty")
	}
	return a.size(dimensions)
}

func renderEmbed(a *ask, t turn, step Step) *reply {
	all := make([]string, len(a.inputs))
	for i, text := range a.inputs {
		all[i] = `{"values":` + numbers(vector(text, a.dimensions)) + `}`
	}
	u := embedUsage(t)
	usage := fmt.Sprintf(`,"usageMetadata":{"promptTokenCount":%d}`, u.Input)
	if step.NoUsage {
		usage = ""
	}
	if a.batch {
		return plainReply(u, `{"embeddings":[`+strings.Join(all, ",")+`]`+usage+`}`)
	}
	return plainReply(u, `{"embedding":`+all[0]+usage+`}`)
}
