package main

import "github.com/spf13/cobra"

// groupNetwork holds the verbs about networks in the help text.
const groupNetwork = "network"

// newLocalnetCmd is the noun `localnet`: everything that runs a network on one machine without TDX.
func newLocalnetCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "localnet",
		Short:   "Run a network, or parts of one, on this machine with simulated TDX",
		GroupID: groupNetwork,
	}
	cmd.AddCommand(newLocalnetUpCmd(a), newLocalnetDownCmd(a), newLocalnetStatusCmd(a), newLocalnetLogsCmd(a), newLocalnetRunCmd(a),
		newLocalnetSimTDXCmd(a), newLocalnetChainCmd(a))
	return cmd
}
