package main

import (
	"math"
	"time"

	"github.com/spf13/pflag"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
	"cocoon/host/publish"
)

const (
	// rootDeployValue pays a root's rent for years.
	rootDeployValue bind.Nano = 1e9
	// rootStructVersion is the layout of roots that we deploy: the live one.
	rootStructVersion = 4
	// Multipliers of the live root, in 1/10000 (contracts.md section 1.2).
	unitMultiplier, cachedMultiplier, answerMultiplier = 10000, 1000, 80000
)

// rootDeploy is the verb that begins a network: our root contract, empty, with our codes in its parameters.
func rootDeploy() orderVerb {
	return orderVerb{
		name: "deploy", short: "Deploy an empty root contract with our code; it is a test root unless on the main network",
		example: "  cocoon root deploy --unique-id 7" + chainExample + "\n" +
			"  cocoon root deploy --unique-id 7 --price 20 --fee 19 --owner EQ...",
		flags: func(f *pflag.FlagSet, in *orderInput) {
			ownerFlag(f, in)
			in.count(f, "unique-id", 0, "number that no other root has, on any network")
			in.count(f, "price", 20, "nanoTON per adjusted token")
			in.count(f, "fee", 19, "nanoTON per adjusted token for the worker")
			in.within(f, "proxy-delay", 24*time.Hour, "time until a proxy that asked to close may")
			in.within(f, "client-delay", 12*time.Hour, "time until a client that asked to close may")
			in.word(f, "min-proxy-stake", "least stake of a proxy in TON (default 15)")
			in.word(f, "min-client-stake", "least stake of a client in TON (default 15)")
		},
		build: deployRoot,
	}
}

func deployRoot(c *orderCase) (*address.Address, orderMaker, error) {
	owner, err := c.ownerFlag()
	if err != nil {
		return nil, nil, err
	}
	params, err := c.rootParams()
	if err != nil {
		return nil, nil, err
	}
	data, err := bind.RootStorage{Owner: owner, Params: params, KeyManager: &bind.KeyManager{}}.Cell()
	if err != nil {
		return nil, nil, cli.Tag(cli.KindUsage, err)
	}
	at, err := bind.Address(code.Root(), data)
	if err != nil {
		return nil, nil, err
	}
	return owner, func(*address.Address) ([]publish.Order, error) {
		return deploy("deploy root contract", bind.Instance{Code: code.Root(), Data: data, Address: at}, rootDeployValue), nil
	}, nil
}

func (c *orderCase) rootParams() (bind.Params, error) {
	p := bind.Params{
		StructVersion: rootStructVersion, ParamsVersion: 1, IsTest: c.site.ID != registry.Mainnet,
		PromptMultiplier: unitMultiplier, CachedMultiplier: cachedMultiplier, CompletionMultiplier: answerMultiplier, ReasoningMultiplier: answerMultiplier,
		Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
	}
	id, err := c.bounded("unique-id", math.MaxUint32)
	if err == nil && id == 0 {
		err = cli.Usagef("--unique-id is missing: signed messages of roots that share one are valid at both")
	}
	if err != nil {
		return p, err
	}
	p.UniqueID = uint32(id) //nolint:gosec // bounded above
	p.PricePerToken, p.WorkerFee = bind.Nano(*c.in.number["price"]), bind.Nano(*c.in.number["fee"])
	if p.WorkerFee > p.PricePerToken {
		return p, cli.Usagef("--fee: %d is above the price of %d", p.WorkerFee, p.PricePerToken)
	}
	for flag, to := range map[string]*uint32{"proxy-delay": &p.ProxyDelay, "client-delay": &p.ClientDelay} {
		d := *c.in.span[flag]
		if d < 0 || d > maxSpan {
			return p, cli.Usagef("--%s: %s is not between 0 and %s", flag, d, maxSpan)
		}
		*to = uint32(d / time.Second)
	}
	p.MinProxyStake, p.MinClientStake = 15e9, 15e9
	for flag, to := range map[string]*bind.Nano{"min-proxy-stake": &p.MinProxyStake, "min-client-stake": &p.MinClientStake} {
		text := *c.in.text[flag]
		if text == "" {
			continue
		}
		if *to, err = publish.ParseTON(text); err != nil {
			return p, cli.Usagef("--%s: %w", flag, err)
		}
	}
	return p, nil
}
