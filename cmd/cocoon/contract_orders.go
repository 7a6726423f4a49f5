package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
	"cocoon/host/publish"
)

// orderVerb is a verb that asks a contract to do something. All of them run the same way: read, rehearse, and if asked
// to, sign, send and wait.
type orderVerb struct {
	name, short, example string
	// target tells that the verb takes the address of a contract, root that it reads the network's parameters.
	target, root bool
	// many tells that the verb takes several contracts, and sends up to four orders with one message.
	many  bool
	flags func(f *pflag.FlagSet, in *orderInput)
	// build says who must send the orders, nil for anybody, and what they are.
	build func(c *orderCase) (owner *address.Address, orders orderMaker, err error)
}

// orderInput are the flags of all order verbs as they were typed; each verb registers those that it uses.
type orderInput struct {
	amount, owner, proxy, key, to, from, wallet string

	// text, number and span are the flags that one verb alone has, by name.
	text   map[string]*string
	number map[string]*uint64
	span   map[string]*time.Duration
	failed bool
}

func (in *orderInput) word(f *pflag.FlagSet, name, usage string) {
	if in.text == nil {
		in.text = map[string]*string{}
	}
	in.text[name] = f.String(name, "", usage)
}

func (in *orderInput) count(f *pflag.FlagSet, name string, value uint64, usage string) {
	if in.number == nil {
		in.number = map[string]*uint64{}
	}
	in.number[name] = f.Uint64(name, value, usage)
}

func (in *orderInput) within(f *pflag.FlagSet, name string, value time.Duration, usage string) {
	if in.span == nil {
		in.span = map[string]*time.Duration{}
	}
	in.span[name] = f.Duration(name, value, usage)
}

// orderCase is one run of a verb, with what was read for it.
type orderCase struct {
	ctx    context.Context // lives as long as one command
	in     *orderInput
	site   *publish.Site
	root   *registry.Snapshot // nil unless the verb reads it
	target *chain.Account     // nil unless the verb takes one
	signer *publish.Signer    // nil without a key
	app    *app
	now    time.Time
	query  uint64
}

const ordersSchema = "cocoon.contract.orders/1"

// ordersResult is the document of every order verb.
type ordersResult struct {
	Schema    string                `json:"schema"`
	Network   string                `json:"network"`
	Block     publish.BlockDoc      `json:"block"`
	Sender    publish.AddressDoc    `json:"sender"`
	Messages  []publish.MessageDoc  `json:"messages"`
	Rehearsal *publish.RehearsalDoc `json:"rehearsal"`
	Receipt   *publish.ReceiptDoc   `json:"receipt,omitempty"`
}

// Text implements cli.Document.
func (r ordersResult) Text(w io.Writer) error {
	rows := make([][]string, 0, 2+len(r.Messages))
	rows = append(rows, []string{"network", fmt.Sprintf("%s, block %d of %s", r.Network, r.Block.Seqno, r.Block.Time)}, []string{"sender", r.Sender.Address})
	for _, m := range r.Messages {
		rows = append(rows, []string{"message", m.What + " at " + m.To.Address})
	}
	if err := cli.Table(w, rows); err != nil {
		return err
	}
	if err := r.Rehearsal.Text(w); err != nil {
		return err
	}
	if r.Receipt != nil {
		return r.Receipt.Text(w)
	}
	return publish.MessagesText(w, r.Messages)
}

// newOrderCmd is the command of a verb.
func newOrderCmd(a *app, v orderVerb) *cobra.Command {
	var n networkFlags
	var s signFlags
	in := &orderInput{}
	use, least, most := v.name, 0, 0
	switch {
	case v.many:
		use, least, most = v.name+" CONTRACT...", 1, maxTargets
	case v.target:
		use, least, most = v.name+" CONTRACT", 1, 1
	}
	cmd := &cobra.Command{
		Use: use, Short: v.short, Example: v.example, Args: args(least, most, "CONTRACT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runOrder(cmd.Context(), orderRun{v, &n, &s, in}, args)
		},
	}
	if v.root {
		n.addRoot(cmd.Flags())
	} else {
		n.add(cmd.Flags())
	}
	s.add(cmd.Flags())
	cmd.Flags().StringVar(&in.wallet, "wallet", string(publish.V5R1), "kind of the key's wallet: v5r1 or v4r2")
	cmd.Flags().StringVar(&in.from, "from", "", "who sends unsigned messages, where any may")
	if v.flags != nil {
		v.flags(cmd.Flags(), in)
	}
	return cmd
}

// orderRun is a verb with its flags.
type orderRun struct {
	verb orderVerb
	net  *networkFlags
	sign *signFlags
	in   *orderInput
}

func (a *app) runOrder(ctx context.Context, r orderRun, operands []string) error {
	targets := make([]*address.Address, len(operands))
	for i, text := range operands {
		var err error
		if targets[i], err = parseAddress("CONTRACT", text); err != nil {
			return err
		}
	}
	signer, err := r.sign.signer(a)
	if err != nil {
		return err
	}
	net, err := r.net.open(ctx, a, r.verb.root)
	if err != nil {
		return err
	}
	defer net.Close()
	c := &orderCase{ctx: ctx, in: r.in, signer: signer, app: a, now: a.now(), query: uint64(a.now().UnixNano())}
	owner, makers, err := c.prepare(r.verb, net, targets)
	if err != nil {
		return explained(err)
	}
	principal, err := c.principal(owner)
	if err != nil {
		return explained(err)
	}
	var orders []publish.Order
	for _, maker := range makers {
		more, err := maker(principal.Address)
		if err != nil {
			return err
		}
		orders = append(orders, more...)
	}
	return a.perform(ctx, r, net, c, principal, orders)
}

// maxTargets bounds the contracts of one command.
const maxTargets = 64

// prepare builds a verb for each of its contracts, all as of one block; a verb without contracts is built once.
func (c *orderCase) prepare(v orderVerb, net *onNetwork, targets []*address.Address) (*address.Address, []orderMaker, error) {
	if err := c.read(net, nil, publish.Look); err != nil {
		return nil, nil, err
	}
	if len(targets) == 0 {
		owner, maker, err := v.build(c)
		return owner, []orderMaker{maker}, err
	}
	var owner *address.Address
	makers := make([]orderMaker, len(targets))
	for i, at := range targets {
		if err := c.aim(at); err != nil {
			return nil, nil, err
		}
		one, maker, err := v.build(c)
		if err != nil {
			return nil, nil, err
		}
		if i > 0 && one != nil && !one.Equals(owner) {
			return nil, nil, cli.Usagef("%s belongs to %s, the contracts before it to %s: run the command once for each owner", at, one, owner)
		}
		owner, makers[i] = one, maker
	}
	return owner, makers, nil
}

// perform rehearses, sends if asked to, and prints.
//
//nolint:revive // argument-limit: the parts of one run
func (a *app) perform(ctx context.Context, r orderRun, net *onNetwork, c *orderCase, p *publish.Principal, orders []publish.Order) error {
	rehearsal, err := c.site.Rehearse(ctx, p, orders)
	if err != nil {
		return explained(err)
	}
	failed := rehearsal.Err(orders)
	result := ordersResult{
		Schema: ordersSchema, Network: c.site.ID.String(), Block: publish.NewBlockDoc(c.site.Head), Sender: publish.NewAddressDoc(p.Address),
		Messages: []publish.MessageDoc{}, Rehearsal: publish.NewRehearsalDoc(rehearsal, orders),
	}
	for _, o := range orders {
		doc, err := publish.NewMessageDoc(o)
		if err != nil {
			return err
		}
		result.Messages = append(result.Messages, doc)
	}
	sendErr := failed
	if r.sign.send && !a.dryRun && failed == nil {
		var arrivals []publish.Arrival
		arrivals, sendErr = c.site.Deliver(ctx, p, orders, net.outbox())
		if sendErr != nil && len(arrivals) == 0 {
			return explained(sendErr)
		}
		result.Receipt = &publish.ReceiptDoc{Orders: publish.NewArrivalDocs(arrivals), Valid: sendErr == nil, Block: publish.NewBlockDoc(c.site.Head)}
	}
	if err := errors.Join(r.sign.saved(a, result), a.printer.Result(result)); err != nil || sendErr == nil {
		return err
	}
	return asShown(explained(sendErr))
}

// looker is publish.Look or publish.View.
type looker = func(context.Context, publish.Network, func() time.Time) (*publish.Site, error)

// read takes the block, the root and the contract that the verb is about.
func (c *orderCase) read(net *onNetwork, target *address.Address, look looker) error {
	var err error
	if c.site, err = look(c.ctx, net, c.app.now); err != nil {
		return err
	}
	if err := c.site.Expect(net.expect); err != nil {
		return err
	}
	if net.root != nil {
		if c.root, err = c.site.Root(c.ctx, net.root); err != nil {
			return err
		}
	}
	if target != nil {
		return c.aim(target)
	}
	return nil
}

// aim takes the contract that the verb is about.
func (c *orderCase) aim(target *address.Address) error {
	var err error
	if c.target, err = c.site.Account(c.ctx, target); err != nil {
		return err
	}
	if c.target.Status != chain.Active {
		return cli.Tag(cli.KindUsage, fmt.Errorf("no contract at %s: the account is %s", target, c.target.Status), "check address and network")
	}
	return nil
}

// principal is who sends: the owner, or anybody.
func (c *orderCase) principal(owner *address.Address) (*publish.Principal, error) {
	switch {
	case c.signer != nil && owner != nil:
		return c.site.Principal(c.ctx, owner, c.signer)
	case c.signer != nil:
		w, err := c.own()
		if err != nil {
			return nil, err
		}
		return c.site.As(c.ctx, w)
	case owner != nil:
		return publish.Unsigned(owner), nil
	}
	from, err := parseAddress("--from", c.in.from)
	if err != nil {
		return nil, err
	}
	return publish.Unsigned(from), nil
}

// own is the key's own wallet of the kind that --wallet says.
func (c *orderCase) own() (*publish.Wallet, error) {
	kind, err := publish.ParseKind(c.in.wallet)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("--wallet: %w", err))
	}
	return publish.NewWallet(kind, c.signer, c.site.ID)
}

// ownerFlag is who a new contract is to belong to: --owner, else the key's wallet, else --from.
func (c *orderCase) ownerFlag() (*address.Address, error) {
	if c.in.owner != "" {
		return parseAddress("--owner", c.in.owner)
	}
	if c.signer == nil {
		return parseAddress("--owner", c.in.from)
	}
	w, err := c.own()
	if err != nil {
		return nil, err
	}
	return w.Address, nil
}

// amount reads --amount.
func (c *orderCase) amount() (bind.Nano, error) {
	if c.in.amount == "" {
		return 0, cli.Tag(cli.KindUsage, errors.New("--amount is missing"), "give TON with decimals, for example --amount 1.5")
	}
	n, err := publish.ParseTON(c.in.amount)
	if err != nil {
		return 0, cli.Tag(cli.KindUsage, fmt.Errorf("--amount: %w", err), "give TON with decimals, for example --amount 1.5")
	}
	return n, nil
}

// hashOf reads a flag of 64 hexadecimal digits.
func hashOf(flag, text string) (bind.Hash, error) {
	h, err := publish.ParseHash(text)
	if err != nil {
		return h, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", flag, err))
	}
	return h, nil
}

// wrongContract is the error for an address at which another contract lives.
func wrongContract(a *chain.Account, want string, err error) error {
	what := "unknown code"
	if id, ok := code.Recognise(code.Hash(a.Code.Hash())); ok {
		what = "a " + id.Contract + " contract"
	}
	return cli.Tag(cli.KindUsage, fmt.Errorf("%s is not a %s contract (%s): %w", a.Address, want, what, err), "check the address")
}

// tell is one order with a message.
func tell(what string, to *address.Address, value bind.Nano, m bind.Message) ([]publish.Order, error) {
	body, err := bind.Encode(m)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, err)
	}
	return []publish.Order{{What: what, To: to, Value: value, Body: body}}, nil
}

// deploy is one order that deploys a contract.
func deploy(what string, in bind.Instance, value bind.Nano) []publish.Order {
	return []publish.Order{{What: what, To: in.Address, Value: value, Init: &in}}
}
