package command

import "github.com/spf13/cobra"

// commands are all there are, in the order of the help.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		startCommand(a), versionCommand(a),
	}
}
