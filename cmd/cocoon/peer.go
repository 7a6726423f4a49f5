package main

import "github.com/spf13/cobra"

// newPeerCmd is the noun `peer`: looking at other machines of the network.
func newPeerCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "peer",
		Short:   "Look at other machines: who they are and whether their evidence holds",
		GroupID: groupCheck,
	}
	cmd.AddCommand(newPeerInspectCmd(a))
	return cmd
}
