package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

func (r *Recorder) logRouting(ctx context.Context, x *gateway.Exchange) {
	to := r.events.listening(ctx, names.EventRouting, slog.LevelInfo, slog.LevelDebug)
	if to.none() {
		return
	}
	f := make(fields, 0, 6)
	f.text(names.FieldModelName, x.Route.Label)
	f.text(names.FieldOriginalModel, x.Call.Model)
	f.text(names.FieldRoutedModel, x.Route.Model)
	f.flag(names.FieldIsPassthrough, x.Route.Passthrough)
	f.text(names.FieldRule, x.Route.Rule)
	f.text(names.FieldReason, x.Route.Reason)
	r.events.emit(ctx, to, x, &logEvent{name: names.EventRouting, level: slog.LevelInfo, line: slog.LevelDebug, body: "route decided", fields: f})
}

func (r *Recorder) logForwarding(ctx context.Context, a *gateway.Attempt) {
	to := r.events.listening(ctx, names.EventOAuthForwarding, slog.LevelInfo, slog.LevelDebug)
	if to.none() {
		return
	}
	x := a.Exchange
	agent := x.Request.UserAgent()
	if t := a.Target.Provider.Tokens; a.Credential == gateway.CredentialToken && t != nil && t.UserAgent() != "" {
		agent = t.UserAgent()
	}
	f := make(fields, 0, 4)
	f.text(names.FieldProvider, a.Target.Provider.Name)
	f.text(names.FieldModel, a.Model())
	f.flag(names.FieldAuthPresent, a.Credential != "" && a.Credential != gateway.CredentialNone)
	f.text(names.FieldUserAgent, agent)
	r.events.emit(ctx, to, x, &logEvent{name: names.EventOAuthForwarding, level: slog.LevelInfo, line: slog.LevelDebug, body: "credential attached", fields: f})
}

func (r *Recorder) logPreAPI(ctx context.Context, a *gateway.Attempt) {
	if !r.cfg.PreAPICall {
		return
	}
	to := r.events.listening(ctx, names.EventPreAPICall, slog.LevelInfo, slog.LevelDebug)
	if to.none() {
		return
	}
	x := a.Exchange
	f := make(fields, 0, 8)
	f.text(names.FieldModelName, x.Route.Label)
	f.text(names.FieldOriginalModel, x.Call.Model)
	f.text(names.FieldRoutedModel, a.Model())
	f.count(names.FieldMessageCount, x.Call.Messages)
	f.flag(names.FieldHasTools, x.Call.ToolCount > 0)
	f.flag(names.FieldIsStreaming, x.Call.Stream)
	f.count(names.FieldAttempt, a.Number)
	f.text(names.FieldProvider, a.Target.Provider.Name)
	r.events.emit(ctx, to, x, &logEvent{name: names.EventPreAPICall, level: slog.LevelInfo, line: slog.LevelDebug, body: "attempt begins", fields: f})
}

func (r *Recorder) logPostAPI(ctx context.Context, a *gateway.Attempt) {
	if !r.cfg.PostAPICall || a.Response == nil || a.Response.StatusCode >= http.StatusMultipleChoices {
		return
	}
	to := r.events.listening(ctx, names.EventPostAPICall, slog.LevelInfo, slog.LevelDebug)
	if to.none() {
		return
	}
	x := a.Exchange
	f := make(fields, 0, 8)
	f.text(names.FieldModelName, x.Route.Label)
	f.millis(names.FieldDurationMS, time.Since(a.Start)) // the attempt is not over yet
	if r.cfg.RoutingAnalysis && a.Routing.Analysed {
		f.flag(names.FieldRoutingEffective, a.Routing.Effective)
	}
	f.analysis(a, r.cfg.RoutingAnalysis)
	f.usage(&a.Result.Usage)
	r.events.emit(ctx, to, x, &logEvent{name: names.EventPostAPICall, level: slog.LevelInfo, line: slog.LevelDebug, body: "attempt answered", fields: f})
}

// logAttemptFailure logs a failed attempt, and what the GenAI conventions want logged of it.
func (r *Recorder) logAttemptFailure(ctx context.Context, a *gateway.Attempt) {
	x := a.Exchange
	if to := r.events.listening(ctx, names.EventFailure, slog.LevelError, slog.LevelDebug); !to.none() {
		status := a.Err.Status
		if a.Response != nil {
			status = a.Response.StatusCode
		}
		f := r.failure(x, a, a.Err, a.Duration(), status)
		f.count(names.FieldAttempt, a.Number)
		f.flag(names.FieldWillRetry, a.WillRetry)
		f.text(names.FieldOrigin, a.Err.Origin)
		r.events.emit(ctx, to, x, &logEvent{name: names.EventFailure, level: slog.LevelError, line: slog.LevelDebug, body: "attempt failed", fields: f})
	}
	if a.Issued.IsZero() || x.Call.Operation == "" || !attemptFailed(a) {
		return
	}
	to := r.events.listening(ctx, names.EventGenAIException, slog.LevelWarn, slog.LevelDebug)
	if to.none() {
		return
	}
	errType := r.closed.errorType(a.Err.Type)
	f := fields{names.KeyExceptionType.String(errType), names.KeyExceptionMessage.String(exceptionText(errType))}
	r.events.emit(ctx, to, x, &logEvent{name: names.EventGenAIException, level: slog.LevelWarn, line: slog.LevelDebug, body: "operation failed", fields: f})
}

// failure are the fields attempts and exchanges share, up to status; err may be nil when the client left.
func (r *Recorder) failure(x *gateway.Exchange, a *gateway.Attempt, err *gateway.Error, took time.Duration, status int) fields {
	f := make(fields, 0, 11)
	f.text(names.FieldModelName, x.Route.Label)
	f.text(names.FieldOriginalModel, x.Call.Model)
	routed := x.Route.Model
	if a != nil {
		routed = a.Model()
	}
	f.text(names.FieldRoutedModel, routed)
	f.millis(names.FieldDurationMS, took)
	f.text(names.FieldModel, answeredBy(a))
	if err != nil {
		f.text(names.FieldErrorType, r.closed.errorType(err.Type))
		f = append(f, attribute.String(names.FieldErrorMessage, errorText(err)))
	}
	if status != 0 {
		f.count(names.FieldStatus, status)
	}
	return f
}

// errorText is what an error says, cause included.
func errorText(e *gateway.Error) string {
	text := e.Message
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return scrubbed(text)
}

// answeredBy is the model that answered, or that was asked.
func answeredBy(a *gateway.Attempt) string {
	switch {
	case a == nil:
		return ""
	case a.Result.Model != "":
		return a.Result.Model
	}
	return a.Model()
}

// logEnd logs what is known only at an exchange's end, and its line.
func (r *Recorder) logEnd(ctx context.Context, x *gateway.Exchange, falls []fall) {
	for _, s := range x.Route.Skipped {
		next := ""
		if len(x.Route.Targets) > 0 {
			next = x.Route.Targets[0].Name
		}
		r.logFallback(ctx, x, fall{at: x.Start, from: s.Target.Name, to: next, reason: s.Reason})
	}
	for _, f := range falls {
		r.logFallback(ctx, x, f)
	}
	if x.Streamed {
		r.logStream(ctx, x)
	}
	if answered(x) {
		r.logSuccess(ctx, x)
		return
	}
	r.logFailure(ctx, x)
}

// answered reports whether the client got its answer, or as much of it as it waited for.
func answered(x *gateway.Exchange) bool {
	return x.Outcome == names.OutcomeCompleted || x.Outcome == names.OutcomeClientDisconnect && x.Status != 0 && x.Err == nil
}

func (r *Recorder) logFallback(ctx context.Context, x *gateway.Exchange, fb fall) {
	to := r.events.listening(ctx, names.EventFallback, slog.LevelWarn, slog.LevelDebug)
	if to.none() {
		return
	}
	f := make(fields, 0, 6)
	f.text(names.FieldFrom, fb.from)
	f.text(names.FieldTo, fb.to)
	f.text(names.FieldReason, fb.reason)
	if fb.attempt > 0 { // a target that was skipped made none
		f.count(names.FieldAttempt, fb.attempt)
	}
	f.millis(names.FieldDelayMS, fb.delay)
	f.text(names.FieldOutcome, x.Outcome)
	r.events.emit(ctx, to, x, &logEvent{name: names.EventFallback, level: slog.LevelWarn, line: slog.LevelDebug, body: "another target is tried", at: fb.at, fields: f})
}

func (r *Recorder) logStream(ctx context.Context, x *gateway.Exchange) {
	to := r.events.listening(ctx, names.EventStreamComplete, slog.LevelInfo, slog.LevelDebug)
	a := x.Final()
	if to.none() || a == nil {
		return
	}
	f := make(fields, 0, 7)
	f.text(names.FieldModelName, x.Route.Label)
	f.millis(names.FieldDurationMS, x.Finish.Sub(x.Start))
	f.text(names.FieldModel, answeredBy(a))
	f.flag(names.FieldStreaming, true)
	f.firstToken(a)
	f.count(names.FieldEvents, a.Stream.Events)
	f.text(names.FieldOutcome, x.Outcome)
	r.events.emit(ctx, to, x, &logEvent{name: names.EventStreamComplete, level: slog.LevelInfo, line: slog.LevelDebug, body: "stream ended", fields: f})
}

// firstToken adds the time to the first token, if one came.
func (f *fields) firstToken(a *gateway.Attempt) {
	if !a.Stream.FirstToken.IsZero() {
		f.millis(names.FieldTTFTMS, a.Stream.FirstToken.Sub(a.Issued))
	}
}

func (r *Recorder) logSuccess(ctx context.Context, x *gateway.Exchange) {
	to := r.events.listening(ctx, names.EventSuccess, slog.LevelInfo, slog.LevelInfo)
	if to.none() {
		return
	}
	a := x.Final()
	f := make(fields, 0, 6)
	f.text(names.FieldModelName, x.Route.Label)
	f.millis(names.FieldDurationMS, x.Finish.Sub(x.Start))
	f.text(names.FieldModel, answeredBy(a))
	if a != nil {
		f.text(names.FieldProvider, a.Target.Provider.Name)
		f.usage(&a.Result.Usage)
	}
	f.spent(x)
	ev := logEvent{name: names.EventSuccess, level: slog.LevelInfo, line: slog.LevelInfo, body: "exchange answered", fields: f}
	if to.log {
		ev.extra.text(names.FieldOriginalModel, x.Call.Model)
		if a != nil {
			ev.extra.text(names.FieldRoutedModel, a.Model())
		}
		ev.extra.count(names.FieldStatus, x.Status)
		r.summary(&ev.extra, x)
	}
	r.events.emit(ctx, to, x, &ev)
}

// logFailure logs a failed exchange. A client that left before its answer is none, but each exchange has its line: it
// stands there at INFO and without an error.
func (r *Recorder) logFailure(ctx context.Context, x *gateway.Exchange) {
	level := slog.LevelError
	if x.Outcome == names.OutcomeClientDisconnect {
		level = slog.LevelInfo
	}
	to := r.events.listening(ctx, names.EventFailure, level, level)
	if to.none() {
		return
	}
	a, err := x.Final(), x.Err
	if level == slog.LevelInfo {
		err = nil
	}
	f := r.failure(x, a, err, x.Finish.Sub(x.Start), x.Status)
	f.flag(names.FieldWillRetry, false)
	if err != nil {
		f.text(names.FieldOrigin, err.Origin)
	}
	ev := logEvent{name: names.EventFailure, level: level, line: level, body: "exchange failed", fields: f}
	if level == slog.LevelInfo {
		ev.body = "the client left before its answer"
	}
	if to.log {
		if a != nil {
			ev.extra.text(names.FieldProvider, a.Target.Provider.Name)
		}
		ev.extra.spent(x)
		r.summary(&ev.extra, x)
	}
	r.events.emit(ctx, to, x, &ev)
}

// summary adds to an exchange's line the essence of its other events.
func (r *Recorder) summary(f *fields, x *gateway.Exchange) {
	f.text(names.FieldOutcome, x.Outcome)
	f.text(names.FieldRule, x.Route.Rule)
	f.text(names.FieldReason, x.Route.Reason)
	f.text(names.FieldBudget, refusing(x))
	if a := x.Final(); a != nil {
		f.count(names.FieldAttempt, a.Number)
		if x.Streamed {
			f.flag(names.FieldStreaming, true)
			f.firstToken(a)
			f.count(names.FieldEvents, a.Stream.Events)
		}
	}
}

// logHookFailure logs a hook that broke. It is no log event of the contract, but someone must mend the hook; one that
// refused an exchange did its work.
func (r *Recorder) logHookFailure(ctx context.Context, x *gateway.Exchange, hook, phase, action string, err error) {
	level, message := slog.LevelWarn, "hook failed"
	var e *gateway.Error
	if errors.As(err, &e) && e.Reason != "" {
		level, message = slog.LevelDebug, "hook refused the exchange"
	}
	if r.events.log == nil || !r.events.log.Enabled(ctx, level) {
		return
	}
	attrs := append(correlation(ctx, x), slog.String("hook", hook), slog.String("phase", phase), slog.String("action", action),
		slog.String("error", scrubbed(err.Error())))
	r.events.log.LogAttrs(ctx, level, message, attrs...)
}
