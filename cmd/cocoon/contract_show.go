package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
	"cocoon/host/publish"
)

// contractDoc is what all contracts have in common as JSON; amounts in nanoTON.
type contractDoc struct {
	Schema   string             `json:"schema"`
	Contract publish.AddressDoc `json:"contract"`
	Network  string             `json:"network"`
	Block    publish.BlockDoc   `json:"block"`
	Coins    string             `json:"coins"`
	CodeHash string             `json:"code_hash"`
	Code     string             `json:"code"` // ours, live or unknown
}

func newContractDoc(schema string, network string, a *chain.Account) contractDoc {
	d := contractDoc{
		Schema: schema, Contract: publish.NewAddressDoc(a.Address), Network: network, Block: publish.NewBlockDoc(a.Block),
		Coins: a.Balance.String(), CodeHash: hex.EncodeToString(a.Code.Hash()), Code: "unknown",
	}
	if id, ok := code.Recognise(code.Hash(a.Code.Hash())); ok {
		d.Code = string(id.Origin)
	}
	return d
}

func (d contractDoc) rows() [][]string {
	return [][]string{
		{"contract", d.Contract.Address},
		{"network", fmt.Sprintf("%s, block %d of %s", d.Network, d.Block.Seqno, d.Block.Time)},
		{"coins", tonText(d.Coins)},
		{"code", d.Code + ", " + d.CodeHash},
	}
}

func nanoText(n bind.Nano) string { return strconv.FormatUint(uint64(n), 10) }

// tonText writes a decimal number of nanoTON for people.
func tonText(nano string) string { return publish.AmountText(nano) }

// unixText is a Unix time as RFC 3339; empty for none.
func unixText(at uint64) string {
	if at == 0 || at > 1<<32 {
		return ""
	}
	return time.Unix(int64(at), 0).UTC().Format(time.RFC3339)
}

// showVerb names a verb that prints a contract.
type showVerb struct{ noun, name, what string }

// newShowCmd is the verb `show` of a noun.
func newShowCmd(a *app, noun, what string, read func(*chain.Account, contractDoc, time.Time) (cli.Document, error)) *cobra.Command {
	return newReadCmd(a, showVerb{noun, "show", what}, read)
}

// newReadCmd is a verb that prints a contract.
func newReadCmd(a *app, v showVerb, read func(*chain.Account, contractDoc, time.Time) (cli.Document, error)) *cobra.Command {
	var n networkFlags
	path := "cocoon " + v.noun + " " + v.name
	cmd := &cobra.Command{
		Use: v.name + " CONTRACT", Short: "Print " + v.what + " as of the newest proven block",
		Example: fmt.Sprintf("  %s EQ...\n  %s 0:5f... --global-config chain/global.json -o json", path, path),
		Args:    args(1, 1, "CONTRACT"),
		RunE: func(cmd *cobra.Command, operands []string) error {
			return a.show(cmd.Context(), &n, operands[0], func(at *chain.Account, network string) (cli.Document, error) {
				return read(at, newContractDoc("cocoon."+v.noun+"."+v.name+"/1", network, at), at.Block.Time)
			})
		},
	}
	n.add(cmd.Flags())
	return cmd
}

func (a *app) show(ctx context.Context, n *networkFlags, operand string, read func(*chain.Account, string) (cli.Document, error)) error {
	target, err := parseAddress("CONTRACT", operand)
	if err != nil {
		return err
	}
	net, err := n.open(ctx, a, false)
	if err != nil {
		return err
	}
	defer net.Close()
	c := &orderCase{ctx: ctx, app: a}
	if err := c.read(net, target, publish.View); err != nil {
		return explained(err)
	}
	doc, err := read(c.target, c.site.ID.String())
	if err != nil {
		return err
	}
	return a.printer.Result(doc)
}

// clientDoc is the document of `client show`.
type clientDoc struct {
	contractDoc

	Owner      publish.AddressDoc `json:"owner"`
	Proxy      publish.AddressDoc `json:"proxy"`
	ProxyKey   string             `json:"proxy_key"`
	State      string             `json:"state"`
	Balance    string             `json:"balance"`
	Stake      string             `json:"stake"`
	TokensUsed uint64             `json:"tokens_used"`
	UnlockAt   string             `json:"unlock_at,omitempty"`
	SecretHash string             `json:"secret_hash"`
	Version    uint32             `json:"params_version"`
}

// Text implements cli.Document.
func (d clientDoc) Text(w io.Writer) error {
	return cli.Table(w, append(d.rows(), [][]string{
		{"owner", d.Owner.Address},
		{"proxy", d.Proxy.Address},
		{"state", d.State + " " + d.UnlockAt},
		{"balance", tonText(d.Balance)},
		{"stake", tonText(d.Stake)},
		{"tokens used", strconv.FormatUint(d.TokensUsed, 10)},
	}...))
}

func newClientShowCmd(a *app) *cobra.Command {
	return newShowCmd(a, "client", "a client's contract", func(at *chain.Account, d contractDoc, _ time.Time) (cli.Document, error) {
		s, err := bind.ParseClientStorage(at.Data)
		if err != nil {
			return nil, wrongContract(at, "client", err)
		}
		return clientDoc{
			d, publish.NewAddressDoc(s.Owner), publish.NewAddressDoc(s.Proxy), hex.EncodeToString(s.ProxyKey[:]), s.State.String(),
			nanoText(s.Balance), nanoText(s.Stake), s.TokensUsed, unixText(uint64(s.UnlockAt)), hex.EncodeToString(s.SecretHash[:]), s.Params.ParamsVersion,
		}, nil
	})
}

// proxyDoc is the document of `proxy show`.
type proxyDoc struct {
	contractDoc

	Owner       publish.AddressDoc `json:"owner"`
	Root        publish.AddressDoc `json:"root"`
	Key         string             `json:"machine_key"`
	State       string             `json:"state"`
	Balance     string             `json:"balance"`
	Stake       string             `json:"stake"`
	UnlockAt    string             `json:"unlock_at,omitempty"`
	Version     uint32             `json:"params_version"`
	Liabilities string             `json:"liabilities,omitempty"` // absent in the reference's code, which does not count them
	CommitSeqno uint32             `json:"commit_seqno"`
	CommitHash  string             `json:"commit_hash,omitempty"`
}

// Text implements cli.Document.
func (d proxyDoc) Text(w io.Writer) error {
	rows := append(d.rows(), [][]string{
		{"owner", d.Owner.Address},
		{"root", d.Root.Address},
		{"machine key", d.Key},
		{"state", d.State + " " + d.UnlockAt},
		{"revenue", tonText(d.Balance)},
		{"stake", tonText(d.Stake)},
	}...)
	if d.Liabilities != "" {
		rows = append(rows, []string{"owed to others", tonText(d.Liabilities)}, []string{"commit", fmt.Sprintf("%d %s", d.CommitSeqno, d.CommitHash)})
	}
	return cli.Table(w, rows)
}

func newProxyShowCmd(a *app) *cobra.Command {
	return newShowCmd(a, "proxy", "a proxy's contract", func(at *chain.Account, d contractDoc, _ time.Time) (cli.Document, error) {
		s, err := bind.ParseProxyStorage(at.Data)
		if err != nil {
			return nil, wrongContract(at, "proxy", err)
		}
		out := proxyDoc{
			contractDoc: d, Owner: publish.NewAddressDoc(s.Owner), Root: publish.NewAddressDoc(s.Root), Key: hex.EncodeToString(s.ProxyKey[:]),
			State: s.State.String(), Balance: nanoText(s.Balance), Stake: nanoText(s.Stake), UnlockAt: unixText(uint64(s.UnlockAt)), Version: s.Params.ParamsVersion,
		}
		if s.Ext != nil {
			out.Liabilities, out.CommitSeqno, out.CommitHash = nanoText(s.Ext.Liabilities), s.Ext.Commit.Seqno, hex.EncodeToString(s.Ext.Commit.Hash[:])
		}
		return out, nil
	})
}

// workerDoc is the document of `worker show`.
type workerDoc struct {
	contractDoc

	Owner        publish.AddressDoc `json:"owner"`
	Proxy        publish.AddressDoc `json:"proxy"`
	ProxyKey     string             `json:"proxy_key"`
	State        string             `json:"state"`
	Tokens       uint64             `json:"tokens"`
	UnpaidWorker string             `json:"unpaid_worker"`
	UnpaidProxy  string             `json:"unpaid_proxy"`
	Version      uint32             `json:"params_version"`
}

// Text implements cli.Document.
func (d workerDoc) Text(w io.Writer) error {
	return cli.Table(w, append(d.rows(), [][]string{
		{"owner", d.Owner.Address},
		{"proxy", d.Proxy.Address},
		{"state", d.State},
		{"tokens paid for", strconv.FormatUint(d.Tokens, 10)},
		{"unpaid", tonText(d.UnpaidWorker)},
	}...))
}

func newWorkerShowCmd(a *app) *cobra.Command {
	return newShowCmd(a, "worker", "a worker's contract", func(at *chain.Account, d contractDoc, _ time.Time) (cli.Document, error) {
		s, err := bind.ParseWorkerStorage(at.Data)
		if err != nil {
			return nil, wrongContract(at, "worker", err)
		}
		var unpaid bind.WorkerExt
		if s.Ext != nil {
			unpaid = *s.Ext
		}
		return workerDoc{
			d, publish.NewAddressDoc(s.Owner), publish.NewAddressDoc(s.Proxy), hex.EncodeToString(s.ProxyKey[:]), s.State.String(),
			s.Tokens, nanoText(unpaid.UnpaidWorker), nanoText(unpaid.UnpaidProxy), s.Params.ParamsVersion,
		}, nil
	})
}
