package hooks_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ccproxy/ccproxy/gateway"
	"github.com/ccproxy/ccproxy/telemetry/names"
)

// WorkingHours refuses large models for a team outside working hours, and says on every answer whose budget it was.
type WorkingHours struct {
	Team string
	Open func() bool
}

// Name is how configuration and spans call the hook.
func (WorkingHours) Name() string { return "working_hours" }

// Begin is called once for each exchange, before a target is chosen.
func (h WorkingHours) Begin(_ context.Context, x *gateway.Exchange) (gateway.Phases, error) {
	if x.Caller.Team == h.Team && x.Call.MaxTokens > 4096 && !h.Open() {
		return gateway.Phases{}, &gateway.Error{Type: names.ErrorPermissionError, Origin: names.ErrorOriginPolicy, Reason: names.RejectionPolicy,
			Status: http.StatusForbidden, Message: "long answers are for working hours"}
	}
	x.SetResponseHeader("X-Team", x.Caller.Team)
	return gateway.Phases{
		Settle: func(_ context.Context, a *gateway.Attempt) error {
			_, err := fmt.Println(x.Caller.Team, a.Target.Name, a.Result.Usage.OutputTokens())
			return err
		},
	}, nil
}

// A hook of one's own is one type and one line where the gateway is put together.
func Example() {
	h := gateway.ConfiguredHook{Hook: WorkingHours{Team: "research", Open: func() bool { return false }}, Deny: true}
	x := &gateway.Exchange{Caller: gateway.Caller{Team: "research"}, Call: gateway.Call{MaxTokens: 64000}}
	_, err := h.Begin(context.Background(), x)
	fmt.Println(err)
	// Output: permission_error: long answers are for working hours
}
