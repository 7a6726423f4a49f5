package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/host/publish"
)

// newProxyCmd is the noun `proxy`: the contract that holds a proxy's pool and stake.
func newProxyCmd(a *app) *cobra.Command {
	return newContractCmd(a, "proxy", "Deploy, show and close a proxy's contract", newProxyShowCmd, proxyVerbs())
}

func proxyVerbs() []orderVerb {
	return []orderVerb{
		{
			name: "deploy", short: "Deploy the proxy contract of an owner and a machine's key", root: true,
			example: "  cocoon proxy deploy --machine-key 64HEX" + chainExample + "\n" +
				"  cocoon proxy deploy --machine-key 64HEX --owner EQ...",
			flags: func(f *pflag.FlagSet, in *orderInput) {
				ownerFlag(f, in)
				f.StringVar(&in.key, "machine-key", "", "the machine's public key, 64 hex digits")
			},
			build: deployProxy,
		},
		{
			name: "stake", short: "Add to the proxy's stake", target: true, flags: amountFlag, build: stakeProxy,
			example: "  cocoon proxy stake EQ... --amount 15" + chainExample + "\n  cocoon proxy stake EQ... --amount 15 --from EQ...",
		},
		{
			name: "payout", short: "Pay the owner's revenue to the owner", target: true, build: anyProxy,
			example: "  cocoon proxy payout EQ..." + chainExample + "\n  cocoon proxy payout EQ... --from EQ...",
		},
		{
			name: "close", short: "Begin closing, by the owner; 30 days after the delay it completes without the machine", target: true, build: closeProxy,
			example: "  cocoon proxy close EQ..." + chainExample + "\n  cocoon proxy close EQ...",
		},
	}
}

func deployProxy(c *orderCase) (*address.Address, orderMaker, error) {
	key, err := hashOf("--machine-key", c.in.key)
	if err != nil {
		return nil, nil, err
	}
	owner, err := c.ownerFlag()
	if err != nil {
		return nil, nil, err
	}
	in, err := bind.NewProxy(c.root.Params, c.root.Root, owner, key)
	if err != nil {
		return nil, nil, err
	}
	return owner, func(*address.Address) ([]publish.Order, error) {
		return deploy("deploy proxy contract", in, deployValue), nil
	}, nil
}

func (c *orderCase) proxy() (bind.ProxyStorage, error) {
	s, err := bind.ParseProxyStorage(c.target.Data)
	if err != nil {
		return s, wrongContract(c.target, "proxy", err)
	}
	return s, nil
}

func stakeProxy(c *orderCase) (*address.Address, orderMaker, error) {
	amount, err := c.amount()
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.proxy(); err != nil {
		return nil, nil, err
	}
	return nil, func(from *address.Address) ([]publish.Order, error) {
		return tell("add to the proxy's stake", c.target.Address, amount+contractValue,
			&bind.ProxyIncreaseStake{QueryID: c.query, Amount: amount, Excess: from})
	}, nil
}

func anyProxy(c *orderCase) (*address.Address, orderMaker, error) {
	if _, err := c.proxy(); err != nil {
		return nil, nil, err
	}
	return nil, func(from *address.Address) ([]publish.Order, error) {
		return tell("pay the proxy's owner", c.target.Address, contractValue, &bind.ProxyPayout{QueryID: c.query, Excess: from})
	}, nil
}

func closeProxy(c *orderCase) (*address.Address, orderMaker, error) {
	s, err := c.proxy()
	if err != nil {
		return nil, nil, err
	}
	return s.Owner, func(from *address.Address) ([]publish.Order, error) {
		return tell("close proxy", c.target.Address, contractValue, &bind.ProxyClose{QueryID: c.query, Excess: from})
	}, nil
}
