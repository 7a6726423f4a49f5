package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/machine"
	"cocoon/contracts/registry"
	"cocoon/host/publish"
)

// newWalletCmd is the noun `wallet`: keys in files, and the wallets that they sign for.
func newWalletCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "wallet", Short: "Make keys, look at wallets, send coins", Long: "Make keys, look at wallets, send coins.\n\n" + networkHelp, GroupID: groupNetwork}
	cmd.AddCommand(newWalletNewCmd(a), newWalletShowCmd(a), newOrderCmd(a, orderVerb{
		name: "send", short: "Send coins from the key's wallet, or from a machine's wallet that it commands",
		example: "  cocoon wallet send --to EQ... --amount 1.5" + chainExample + "\n" +
			"  cocoon wallet send --to EQ... --amount 2 --owner EQ..." + chainExample,
		flags: func(f *pflag.FlagSet, in *orderInput) {
			amountFlag(f, in)
			f.StringVar(&in.to, "to", "", "address that gets the coins")
			f.StringVar(&in.owner, "owner", "", "send from this wallet (default: the key's)")
		},
		build: sendCoins,
	}))
	return cmd
}

// walletAddress is one wallet of a key.
type walletAddress struct {
	Kind publish.Kind `json:"kind"`
	publish.AddressDoc
}

// walletNewResult is the document of `wallet new`. The key is in the file alone.
type walletNewResult struct {
	Schema    string          `json:"schema"`
	File      string          `json:"file"`
	PublicKey string          `json:"public_key"`
	Network   string          `json:"network"`
	Wallets   []walletAddress `json:"wallets"`
}

// Text implements cli.Document.
func (r walletNewResult) Text(w io.Writer) error {
	rows := make([][]string, 0, 2+len(r.Wallets))
	rows = append(rows, []string{"key", r.File + ": 24 words; whoever reads them has the coins"}, []string{"public key", r.PublicKey})
	for _, x := range r.Wallets {
		rows = append(rows, []string{string(x.Kind) + " on " + r.Network, x.Address})
	}
	return cli.Table(w, rows)
}

func newWalletNewCmd(a *app) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:   "new FILE",
		Short: "Write a new key to a file that must not exist, and print its wallets' addresses",
		Example: "  cocoon wallet new owner.key\n" +
			"  cocoon wallet new test.key --network localnet -o json",
		Args: args(1, 1, "FILE"),
		RunE: func(_ *cobra.Command, operands []string) error {
			id, err := registry.ParseNetwork(network)
			if err != nil {
				return cli.Tag(cli.KindUsage, fmt.Errorf("--network: %w", err))
			}
			words := publish.NewMnemonic()
			if err := writeSecret(operands[0], words+"\n"); err != nil {
				return err
			}
			signer, err := publish.ParseSigner([]byte(words))
			if err != nil {
				return err
			}
			out := walletNewResult{Schema: "cocoon.wallet.new/1", File: operands[0], PublicKey: signer.String(), Network: id.String()}
			if out.Wallets, err = walletsOf(signer, id); err != nil {
				return err
			}
			return a.printer.Result(out)
		},
	}
	cmd.Flags().StringVar(&network, "network", registry.Mainnet.String(), "network of v5 addresses: a name or a global id")
	return cmd
}

func walletsOf(s *publish.Signer, n registry.Network) ([]walletAddress, error) {
	var out []walletAddress
	for _, kind := range []publish.Kind{publish.V5R1, publish.V4R2} {
		w, err := publish.NewWallet(kind, s, n)
		if err != nil {
			return nil, err
		}
		out = append(out, walletAddress{kind, publish.NewAddressDoc(w.Address)})
	}
	return out, nil
}

// writeSecret writes a new file that only its owner may read. It never replaces one: that could be the only key to coins.
func writeSecret(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return cli.Tag(cli.KindUsage, fmt.Errorf("%s exists, and a key is never overwritten", name), "name another file")
		}
		return cli.Tag(cli.KindUsage, err)
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// walletShowResult is the document of `wallet show`.
type walletShowResult struct {
	Schema  string           `json:"schema"`
	Network string           `json:"network"`
	Block   publish.BlockDoc `json:"block"`
	Wallets []walletState    `json:"wallets"`
}

// walletState is a wallet on chain.
type walletState struct {
	publish.AddressDoc

	Kind   string              `json:"kind"`
	Status string              `json:"status"`
	Coins  string              `json:"coins"`
	Seqno  *uint32             `json:"seqno,omitempty"`
	Owner  *publish.AddressDoc `json:"owner,omitempty"` // of a machine's wallet
	Locked bool                `json:"blocked"`
}

// Text implements cli.Document.
func (r walletShowResult) Text(w io.Writer) error {
	rows := [][]string{{"network", fmt.Sprintf("%s, block %d of %s", r.Network, r.Block.Seqno, r.Block.Time)}}
	for _, x := range r.Wallets {
		seqno := "not deployed"
		if x.Seqno != nil {
			seqno = "seqno " + strconv.FormatUint(uint64(*x.Seqno), 10)
		}
		rows = append(rows, []string{x.Kind, fmt.Sprintf("%s  %s  %s  %s", x.Address, x.Status, tonText(x.Coins), seqno)})
		if x.Owner != nil {
			rows = append(rows, []string{"  owner", x.Owner.Address})
		}
	}
	return cli.Table(w, rows)
}

func newWalletShowCmd(a *app) *cobra.Command {
	var n networkFlags
	cmd := &cobra.Command{
		Use:   "show ADDRESS|FILE",
		Short: "Print a wallet, or those of a key file, as of the newest proven block",
		Example: "  cocoon wallet show owner.key\n" +
			"  cocoon wallet show EQ... -o json",
		Args: args(1, 1, "ADDRESS|FILE"),
		RunE: func(cmd *cobra.Command, operands []string) error {
			var signer *publish.Signer
			if isFile(operands[0]) {
				s, err := readSigner(a, operands[0])
				if err != nil {
					return err
				}
				signer = s
			} else if _, err := parseAddress("ADDRESS", operands[0]); err != nil {
				return err
			}
			net, err := n.open(cmd.Context(), a, false)
			if err != nil {
				return err
			}
			defer net.Close()
			c := &orderCase{ctx: cmd.Context(), signer: signer, app: a}
			if err := c.read(net, nil, publish.View); err != nil {
				return explained(err)
			}
			out, err := c.wallets(operands[0])
			if err != nil {
				return explained(err)
			}
			return a.printer.Result(out)
		},
	}
	n.add(cmd.Flags())
	return cmd
}

// wallets reads the wallets of the key, or the one at an address.
func (c *orderCase) wallets(operand string) (*walletShowResult, error) {
	out := &walletShowResult{Schema: "cocoon.wallet.show/1", Network: c.site.ID.String(), Block: publish.NewBlockDoc(c.site.Head)}
	want := map[string]string{}
	var at []*address.Address
	if c.signer == nil {
		one, err := parseAddress("ADDRESS", operand)
		if err != nil {
			return nil, err
		}
		at = append(at, one)
	} else {
		for _, kind := range []publish.Kind{publish.V5R1, publish.V4R2} {
			w, err := publish.NewWallet(kind, c.signer, c.site.ID)
			if err != nil {
				return nil, err
			}
			want[w.Address.String()] = string(kind)
			at = append(at, w.Address)
		}
	}
	for _, x := range at {
		account, err := c.site.Account(c.ctx, x)
		if err != nil {
			return nil, err
		}
		state, err := c.wallet(account, want[x.String()])
		if err != nil {
			return nil, err
		}
		out.Wallets = append(out.Wallets, state)
	}
	return out, nil
}

// wallet describes one account; kind is what it would be once deployed.
func (c *orderCase) wallet(a *chain.Account, kind string) (walletState, error) {
	out := walletState{AddressDoc: publish.NewAddressDoc(a.Address), Kind: kind, Status: a.Status.String(), Coins: a.Balance.String()}
	if out.Kind == "" {
		out.Kind = "unknown"
	}
	k, ok := publish.KindOf(a.Code)
	if a.Status != chain.Active || !ok {
		return out, nil
	}
	out.Kind = string(k)
	result, err := machine.Execute(a, c.site.Config, "seqno")
	if err != nil {
		return out, err
	}
	seqno, err := bind.ParseNumber("seqno", result)
	if err != nil {
		return out, err
	}
	out.Seqno = &seqno
	if k == publish.Cocoon {
		s, err := bind.ParseWalletStorage(a.Data)
		if err != nil {
			return out, err
		}
		owner := publish.NewAddressDoc(s.Owner)
		out.Owner, out.Locked = &owner, s.Status&bind.WalletBlocked != 0
	}
	return out, nil
}

// sendCoins needs no contract at the other end.
func sendCoins(c *orderCase) (*address.Address, orderMaker, error) {
	amount, err := c.amount()
	if err != nil {
		return nil, nil, err
	}
	to, err := parseAddress("--to", c.in.to)
	if err != nil {
		return nil, nil, err
	}
	receiver, err := c.site.Account(c.ctx, to)
	if err != nil {
		return nil, nil, err
	}
	order := publish.Order{What: "send " + publish.AmountText(nanoText(amount)), To: to, Value: amount, NoBounce: receiver.Status != chain.Active}
	var owner *address.Address
	if c.in.owner != "" {
		if owner, err = parseAddress("--owner", c.in.owner); err != nil {
			return nil, nil, err
		}
	}
	return owner, func(*address.Address) ([]publish.Order, error) { return []publish.Order{order}, nil }, nil
}
