package main

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/host/publish"
)

// What goes along with messages, for gas and the messages that they cause; the rest comes back (the reference's runners
// attach the same).
const (
	clientDeployValue bind.Nano = 8e8
	clientValue       bind.Nano = 7e8
	deployValue       bind.Nano = 3e8
	contractValue     bind.Nano = 5e8
)

// newContractCmd is a noun: how its contract is shown, and its order verbs.
func newContractCmd(a *app, noun, short string, show func(*app) *cobra.Command, verbs []orderVerb) *cobra.Command {
	cmd := &cobra.Command{Use: noun, Short: short, Long: short + ".\n\n" + networkHelp, GroupID: groupNetwork}
	cmd.AddCommand(show(a))
	for _, v := range verbs {
		cmd.AddCommand(newOrderCmd(a, v))
	}
	return cmd
}

// newClientCmd is the noun `client`: the contract that holds a client's deposit at a proxy.
func newClientCmd(a *app) *cobra.Command {
	return newContractCmd(a, "client", "Open, fund and close a client's contract at a proxy", newClientShowCmd, clientVerbs())
}

const chainExample = " --sign-with owner.key --send"

func clientVerbs() []orderVerb {
	return []orderVerb{
		{
			name: "open", short: "Deploy the client contract of a wallet at a proxy",
			example: "  cocoon client open --proxy EQDTC4XY..." + chainExample + "\n" +
				"  cocoon client open --proxy EQDTC4XY... --owner EQ...",
			root:  true,
			flags: func(f *pflag.FlagSet, in *orderInput) { proxyFlag(f, in); ownerFlag(f, in) },
			build: openClient,
		},
		{
			name: "topup", short: "Pay into the client contract's balance", target: true, flags: amountFlag, build: topUpClient,
			example: "  cocoon client topup EQ... --amount 15" + chainExample + "\n  cocoon client topup EQ... --amount 0.5 --from EQ...",
		},
		{
			name: "stake", short: "Raise what must stay while the client runs; no money moves", target: true, flags: amountFlag, build: stakeClient,
			example: "  cocoon client stake EQ... --amount 20" + chainExample + "\n  cocoon client stake EQ... --amount 20",
		},
		{
			name: "withdraw", short: "Take the balance above the stake back", target: true,
			example: "  cocoon client withdraw EQ..." + chainExample + "\n  cocoon client withdraw EQ...",
			build: ownClient("withdraw", func(q uint64, from *address.Address) bind.Message {
				return &bind.ClientWithdraw{QueryID: q, Excess: from}
			}),
		},
		{
			name: "close", short: "Begin closing; after the delay, complete it with a refund from the proxy's stake", target: true,
			example: "  cocoon client close EQ..." + chainExample + "\n  cocoon client close EQ...",
			build: ownClient("close", func(q uint64, from *address.Address) bind.Message {
				return &bind.ClientRequestRefund{QueryID: q, Excess: from}
			}),
		},
	}
}

func amountFlag(f *pflag.FlagSet, in *orderInput) {
	f.StringVar(&in.amount, "amount", "", "amount in TON, for example 1.5")
}

func proxyFlag(f *pflag.FlagSet, in *orderInput) {
	f.StringVar(&in.proxy, "proxy", "", "address of the proxy contract")
}

func ownerFlag(f *pflag.FlagSet, in *orderInput) {
	f.StringVar(&in.owner, "owner", "", "whom it belongs to (default: the key's wallet)")
}

// orderMaker makes orders for a sender.
type orderMaker = func(from *address.Address) ([]publish.Order, error)

// openClient derives everything from proven state: the root's parameters and the proxy's key.
func openClient(c *orderCase) (*address.Address, orderMaker, error) {
	at, err := parseAddress("--proxy", c.in.proxy)
	if err != nil {
		return nil, nil, err
	}
	owner, err := c.ownerFlag()
	if err != nil {
		return nil, nil, err
	}
	account, err := c.site.Account(c.ctx, at)
	if err != nil {
		return nil, nil, err
	}
	if account.Status != chain.Active {
		return nil, nil, cli.Usagef("--proxy: no contract at %s: the account is %s", at, account.Status)
	}
	proxy, err := bind.ParseProxyStorage(account.Data)
	if err != nil {
		return nil, nil, wrongContract(account, "proxy", err)
	}
	switch {
	case !proxy.Root.Equals(c.root.Root):
		return nil, nil, cli.Tag(cli.KindDifference, errors.New("the proxy belongs to root "+proxy.Root.String()), "name that root with --root-contract")
	case proxy.State != bind.Open:
		return nil, nil, cli.Tag(cli.KindDifference, errors.New("the proxy is "+proxy.State.String()), "choose another proxy: \"cocoon root show\" lists them")
	case proxy.Params.ParamsVersion != c.root.Params.ParamsVersion:
		return nil, nil, cli.Tag(cli.KindDifference, errors.New("the proxy has outdated parameters and will close"), "choose a proxy with the root's parameters")
	}
	client, err := bind.NewClient(c.root.Params, at, owner, proxy.ProxyKey)
	if err != nil {
		return nil, nil, err
	}
	return owner, func(*address.Address) ([]publish.Order, error) {
		return deploy("deploy client contract", client, clientDeployValue), nil
	}, nil
}

func (c *orderCase) client() (bind.ClientStorage, error) {
	s, err := bind.ParseClientStorage(c.target.Data)
	if err != nil {
		return s, wrongContract(c.target, "client", err)
	}
	return s, nil
}

func topUpClient(c *orderCase) (*address.Address, orderMaker, error) {
	amount, err := c.amount()
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.client(); err != nil {
		return nil, nil, err
	}
	return nil, func(from *address.Address) ([]publish.Order, error) {
		return tell("top up client", c.target.Address, amount+clientValue, &bind.ClientTopUp{QueryID: c.query, Amount: amount, Excess: from})
	}, nil
}

func stakeClient(c *orderCase) (*address.Address, orderMaker, error) {
	amount, err := c.amount()
	if err != nil {
		return nil, nil, err
	}
	s, err := c.client()
	if err != nil {
		return nil, nil, err
	}
	if amount <= s.Stake {
		return nil, nil, cli.Usagef("--amount: the stake can only grow, and is %s nanoTON now", nanoText(s.Stake))
	}
	return s.Owner, func(from *address.Address) ([]publish.Order, error) {
		return tell("raise the client's stake", c.target.Address, clientValue, &bind.ClientIncreaseStake{QueryID: c.query, NewStake: amount, Excess: from})
	}, nil
}

// ownClient is a verb of the client's owner with a body of its own.
func ownClient(what string, body func(q uint64, from *address.Address) bind.Message) func(*orderCase) (*address.Address, orderMaker, error) {
	return func(c *orderCase) (*address.Address, orderMaker, error) {
		s, err := c.client()
		if err != nil {
			return nil, nil, err
		}
		return s.Owner, func(from *address.Address) ([]publish.Order, error) {
			return tell(what+" client", c.target.Address, clientValue, body(c.query, from))
		}, nil
	}
}
