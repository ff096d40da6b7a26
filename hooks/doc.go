// Package hooks holds the hooks that come with the gateway, one type each, and the sources of OAuth tokens.
//
// A hook is made by name from what configuration says of it:
//
//	h, err := hooks.New("ccproxy.hooks.capture_headers", hooks.Map{"headers": []string{"user-agent"}})
//	snapshot.Hooks = append(snapshot.Hooks, hooks.Configure(h))
//
// Labelling, routing and credentials belong to the engine and happen without any hook. The hooks of those names say where
// in the list they happen.
package hooks
