package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/host/publish"
)

// newWorkloadWatchCmd follows one agreement, block by block, by proven state alone.
func newWorkloadWatchCmd(a *app) *cobra.Command {
	var n networkFlags
	var until string
	cmd := &cobra.Command{
		Use:   "watch CONTRACT",
		Short: "Report every change of an agreement, until it is closed or in another state",
		Example: "  cocoon workload watch EQ... -o jsonl\n" +
			"  cocoon workload watch EQ... --until grace --timeout 720h",
		Args: args(1, 1, "CONTRACT"),
		RunE: func(cmd *cobra.Command, operands []string) error {
			target, err := parseAddress("CONTRACT", operands[0])
			if err != nil {
				return err
			}
			if !isAgreementState(until) {
				return cli.Usagef("--until %q is no state of an agreement", until)
			}
			net, err := n.open(cmd.Context(), a, false)
			if err != nil {
				return err
			}
			defer net.Close()
			doc, err := a.watchWorkload(cmd.Context(), net, target, until)
			if err != nil {
				return explained(err)
			}
			return a.printer.Result(doc)
		},
	}
	n.add(cmd.Flags())
	cmd.Flags().StringVar(&until, "until", "closed", "end in this state, or closed")
	return cmd
}

// watchWorkload looks at every block that it is told of. What changes without a transaction, like the beginning of grace,
// is noticed too.
func (a *app) watchWorkload(ctx context.Context, net *onNetwork, target *address.Address, until string) (*workloadDoc, error) {
	var last string
	for {
		c := &orderCase{ctx: ctx, app: a}
		if err := c.read(net, target, publish.View); err != nil {
			return nil, err
		}
		doc, err := newWorkloadDoc(c.target, newContractDoc(workloadSchema, c.site.ID.String(), c.target), c.target.Block.Time)
		if err != nil {
			return nil, err
		}
		if now := fmt.Sprintf("%s, deposit %s, paid %s", doc.State, tonText(doc.Deposit), tonText(doc.Paid)); now != last {
			a.reporter.Report(cli.Event{Kind: cli.EventNote, Name: "block " + fmt.Sprint(doc.Block.Seqno), Detail: now})
			last = now
		}
		if doc.State == until || doc.State == "closed" {
			return doc, nil
		}
		if err := net.Wait(ctx, c.site.Head.Seqno); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}
