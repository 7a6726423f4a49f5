package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/host/publish"
)

// newWorkerCmd is the noun `worker`: the contract through which a proxy pays a person's machines.
func newWorkerCmd(a *app) *cobra.Command {
	return newContractCmd(a, "worker", "Show a worker's contract and claim what is unpaid", newWorkerShowCmd, workerVerbs())
}

func workerVerbs() []orderVerb {
	return []orderVerb{
		{
			name: "claim", short: "Ask again for what a proxy could not pay; anyone may", target: true, build: claimWorker,
			example: "  cocoon worker claim EQ..." + chainExample + "\n  cocoon worker claim EQ... --from EQ...",
		},
		{
			name: "sweep", short: "Send coins that are stuck in the contract to its owner", target: true, build: sweepWorker,
			example: "  cocoon worker sweep EQ..." + chainExample + "\n  cocoon worker sweep EQ...",
		},
	}
}

func (c *orderCase) worker() (bind.WorkerStorage, error) {
	s, err := bind.ParseWorkerStorage(c.target.Data)
	if err != nil {
		return s, wrongContract(c.target, "worker", err)
	}
	return s, nil
}

func claimWorker(c *orderCase) (*address.Address, orderMaker, error) {
	s, err := c.worker()
	if err != nil {
		return nil, nil, err
	}
	if s.Ext == nil || (s.Ext.UnpaidWorker == 0 && s.Ext.UnpaidProxy == 0) {
		return nil, nil, cli.Tag(cli.KindDifference, errors.New("nothing is booked as unpaid"), "\"cocoon worker show\" prints what is")
	}
	return nil, func(from *address.Address) ([]publish.Order, error) {
		return tell("claim what is unpaid", c.target.Address, contractValue, &bind.WorkerRetry{QueryID: c.query, Excess: from})
	}, nil
}

func sweepWorker(c *orderCase) (*address.Address, orderMaker, error) {
	s, err := c.worker()
	if err != nil {
		return nil, nil, err
	}
	return s.Owner, func(*address.Address) ([]publish.Order, error) {
		return tell("sweep worker", c.target.Address, contractValue, &bind.WorkerSweep{QueryID: c.query})
	}, nil
}
