package command

import "github.com/spf13/cobra"

// commands are all there are, in the order of the help; cobra adds help and completion.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		startCommand(a), stopCommand(a), restartCommand(a), statusCommand(a), logsCommand(a), runCommand(a),
		installCommand(a), configCommand(a), explainCommand(a), pricesCommand(a),
		keysCommand(a), spendCommand(a), budgetsCommand(a), ledgerCommand(a), traceCommand(a), openCommand(a), newDemoCommand(), newSimulateCommand(), healthCommand(a), versionCommand(a),
	}
}
