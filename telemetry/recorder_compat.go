package telemetry

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// compat says which further vocabularies are on, and whether any is.
type compat struct{ any, older, openInference, langfuse bool }

func newCompat(list []string) compat {
	c := compat{
		older:         slices.Contains(list, names.CompatGenAI141),
		openInference: slices.Contains(list, names.CompatOpenInference),
		langfuse:      slices.Contains(list, names.CompatLangfuse),
	}
	c.any = c.older || c.openInference || c.langfuse
	return c
}

// describeFurther puts the further vocabularies on the GenAI span of an attempt that is over.
func (r *Recorder) describeFurther(a *gateway.Attempt) {
	if !a.Generates() || !a.Span.IsRecording() {
		return
	}
	k := attributes(make([]attribute.KeyValue, 0, 40))
	if r.compat.older {
		k.older(a, !r.compat.langfuse)
	}
	if r.compat.openInference {
		k.openInference(a, r.userID(a.Exchange))
	}
	if r.compat.langfuse {
		k.langfuse(a, r.userID(a.Exchange))
	}
	a.Span.SetAttributes(k...)
}

func (r *Recorder) userID(x *gateway.Exchange) string {
	if r.cfg.UserID == nil {
		return ""
	}
	return r.cfg.UserID(x)
}

// attributes are gathered; what is empty is left out.
type attributes []attribute.KeyValue

func (k *attributes) text(key attribute.Key, v string) {
	if v != "" {
		*k = append(*k, key.String(v))
	}
}

func (k *attributes) number(key attribute.Key, n int64) {
	if n != 0 {
		*k = append(*k, key.Int64(n))
	}
}

// counted reports whether an attempt's usage is known, if only as an estimate.
func counted(a *gateway.Attempt) bool {
	s := a.Result.Usage.Source
	return s != "" && s != names.UsageSourceNone
}

func embeds(a *gateway.Attempt) bool { return a.Exchange.Call.Operation == names.OperationEmbeddings }

// oldSystems are the values of gen_ai.system that were renamed with it (semantic conventions v1.37). Read-only.
var oldSystems = map[string]string{
	"gcp.vertex_ai": "vertex_ai", "gcp.gemini": "gemini", "azure.ai.openai": "az.ai.openai", "azure.ai.inference": "az.ai.inference", "x_ai": "xai",
}

// older adds the GenAI conventions' former names. The oldest names of usage are only wanted where nobody adds up all of
// gen_ai.usage.*, as Langfuse does.
func (k *attributes) older(a *gateway.Attempt, oldest bool) {
	system := a.Target.Provider.GenAI
	if old := oldSystems[system]; old != "" {
		system = old
	}
	k.text(names.KeyGenAISystem, system)
	u := &a.Result.Usage
	if !counted(a) {
		return
	}
	k.number(names.KeyGenAIUsageCacheCreationInputTokens, u.CacheWrite+u.CacheWrite1h)
	if !oldest {
		return
	}
	*k = append(*k, names.KeyGenAIUsagePromptTokens.Int64(u.InputTokens()))
	if !embeds(a) {
		*k = append(*k, names.KeyGenAIUsageCompletionTokens.Int64(u.OutputTokens()))
	}
}

// inferenceHost returns OpenInference's llm.system and llm.provider for gen_ai.provider.name.
func inferenceHost(genAI string) (system, provider string) {
	switch {
	case strings.HasPrefix(genAI, "gcp."):
		return "vertexai", "google"
	case strings.HasPrefix(genAI, "azure."):
		return "openai", "azure"
	case genAI == "mistral_ai":
		return "mistralai", "mistralai"
	case genAI == "x_ai":
		return "xai", "xai"
	}
	return genAI, genAI
}

func (k *attributes) openInference(a *gateway.Attempt, user string) {
	kind, modelKey := names.OpenInferenceKindLLM, names.KeyLLMModelName
	if embeds(a) {
		kind, modelKey = names.OpenInferenceKindEmbedding, names.KeyEmbeddingModelName
	}
	model := a.Result.Model
	if model == "" {
		model = a.Model()
	}
	system, provider := inferenceHost(a.Target.Provider.GenAI)
	k.text(names.KeyOpenInferenceSpanKind, kind)
	k.text(names.KeyLLMSystem, system)
	k.text(names.KeyLLMProvider, provider)
	k.text(modelKey, bounded(model))
	k.text(names.KeySessionID, a.Exchange.Caller.Session)
	k.text(names.KeyUserID, user)
	k.inferenceCost(a)
	if !counted(a) {
		return
	}
	u := &a.Result.Usage
	*k = append(*k, names.KeyLLMTokenCountPrompt.Int64(u.InputTokens()), names.KeyLLMTokenCountCompletion.Int64(u.OutputTokens()),
		names.KeyLLMTokenCountTotal.Int64(u.InputTokens()+u.OutputTokens()))
	k.number(names.KeyLLMTokenCountCacheRead, u.CacheRead)
	k.number(names.KeyLLMTokenCountCacheWrite, u.CacheWrite+u.CacheWrite1h)
	k.number(names.KeyLLMTokenCountPromptAudio, u.AudioIn)
	k.number(names.KeyLLMTokenCountReasoning, u.Reasoning)
	k.number(names.KeyLLMTokenCountCompletionAudio, u.AudioOut)
}

// inferenceCost adds what an attempt cost in OpenInference's classes. Calls, and a cost that its provider does not split,
// are in the total only.
func (k *attributes) inferenceCost(a *gateway.Attempt) {
	c := &a.Cost
	if !c.Known() || hidden(a.Exchange) {
		return
	}
	*k = append(*k, names.KeyLLMCostTotal.Float64(c.Total.Dollars()))
	money := func(key attribute.Key, n gateway.NanoUSD) {
		if n != 0 {
			*k = append(*k, key.Float64(n.Dollars()))
		}
	}
	money(names.KeyLLMCostPrompt, c.Input()+c.CacheRead()+c.CacheWrite())
	money(names.KeyLLMCostInput, c.Classes[gateway.CostInput])
	money(names.KeyLLMCostCacheRead, c.CacheRead())
	money(names.KeyLLMCostCacheWrite, c.CacheWrite())
	money(names.KeyLLMCostPromptAudio, c.Classes[gateway.CostAudioIn])
	money(names.KeyLLMCostCompletion, c.Output())
	money(names.KeyLLMCostOutput, c.Classes[gateway.CostOutput])
	money(names.KeyLLMCostReasoning, c.Classes[gateway.CostReasoning])
	money(names.KeyLLMCostCompletionAudio, c.Classes[gateway.CostAudioOut])
}

// costDetails is what an attempt cost as Langfuse reads it: dollars by class, and the sum, which it else adds up itself.
// The classes bear the names of its usage types, so that it shows both in one row.
func costDetails(a *gateway.Attempt) string {
	c := &a.Cost
	if !c.Known() || hidden(a.Exchange) {
		return ""
	}
	b := make([]byte, 0, 128)
	for _, class := range [...]struct {
		name string
		cost gateway.NanoUSD
	}{
		{"input", c.Input()}, {"cache_read_input_tokens", c.CacheRead()}, {"cache_creation_input_tokens", c.CacheWrite()},
		{"output", c.Output()}, {"other", c.Other()},
	} {
		if class.cost != 0 {
			b = append(append(append(append(b, `,"`...), class.name...), `":`...), class.cost.String()...)
		}
	}
	b = append(append(b, `,"total":`...), c.Total.String()...)
	b[0] = '{'
	return string(append(b, '}'))
}

func (k *attributes) langfuse(a *gateway.Attempt, user string) {
	x := a.Exchange
	kind := names.LangfuseTypeGeneration
	if embeds(a) {
		kind = names.LangfuseTypeEmbedding
	}
	k.text(names.KeyLangfuseObservationType, kind)
	first := a.Stream.FirstToken
	if first.IsZero() {
		first = a.Stream.Started
	}
	if !first.IsZero() {
		k.text(names.KeyLangfuseCompletionStartTime, first.UTC().Format(time.RFC3339Nano))
	}
	k.text(names.KeyLangfuseTraceName, strings.TrimSpace(x.Request.Method+" "+x.Pattern))
	k.text(names.KeyLangfuseSessionID, x.Caller.Session)
	k.text(names.KeyLangfuseUserID, user)
	k.text(names.KeyLangfuseCostDetails, costDetails(a))
}

// bounded limits what a provider's or client's word may take on a span.
func bounded(s string) string { return s[:min(len(s), 256)] }

// recordOlder records the metrics of GenAI conventions up to v1.41. l are the labels all GenAI metrics share.
func (r *Recorder) recordOlder(ctx context.Context, a *gateway.Attempt, l labels, errType string) {
	in, u := r.in, &a.Result.Usage
	l[6] = errType
	in.operationDuration.Record(ctx, spanDuration(a).Seconds(), in.genAIError.of(l).record...)
	if u.Source != names.UsageSourceProvider && u.Source != names.UsageSourcePartial {
		return
	}
	l[6] = names.TokenTypeInput
	in.tokenUsage.Record(ctx, u.InputTokens(), in.genAITokenType.of(l).record...)
	if !embeds(a) {
		l[6] = names.TokenTypeOutput
		in.tokenUsage.Record(ctx, u.OutputTokens(), in.genAITokenType.of(l).record...)
	}
}
