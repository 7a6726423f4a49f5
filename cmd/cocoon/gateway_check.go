package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/host/gateway/upstream"
)

// defaultCheck is how long proxies get to become ready.
const defaultCheck = 30 * time.Second

// gatewayCheckResult says how each proxy was met.
type gatewayCheckResult struct {
	Schema string `json:"schema"`
	Ready  bool   `json:"ready"`
	// Form is how proxies are reached.
	Form    string         `json:"form"`
	Root    *rootChecked   `json:"root,omitempty"`
	Proxies []proxyChecked `json:"proxies"`
}

// rootChecked is how the root contract was read.
type rootChecked struct {
	Contract string `json:"contract"`
	Light    string `json:"light"`
	Age      int64  `json:"age_seconds"`
	Block    uint32 `json:"block"`
	Version  uint32 `json:"version"`
	Params   uint32 `json:"params_version"`
	Proxies  int    `json:"registered_proxies"`
	Images   int    `json:"proxy_images"`
	Reason   string `json:"reason,omitempty"`
}

type proxyChecked struct {
	Address  string   `json:"address"`
	State    string   `json:"state"`
	Verified bool     `json:"verified"`
	Reason   string   `json:"reason,omitempty"`
	Image    string   `json:"image_hash,omitempty"`
	Contract string   `json:"proxy_contract,omitempty"`
	Version  int      `json:"protocol_version,omitempty"`
	Models   []string `json:"models"`
}

// Text implements cli.Document.
func (r gatewayCheckResult) Text(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "form: %s\n", r.Form); err != nil {
		return err
	}
	if c := r.Root; c != nil {
		if _, err := fmt.Fprintf(w, "root: %s, version %d, %s: block %d, %d s old; %d proxies, %d images %s\n",
			c.Contract, c.Version, c.Light, c.Block, c.Age, c.Proxies, c.Images, c.Reason); err != nil {
			return err
		}
	}
	rows := append(make([][]string, 0, 1+len(r.Proxies)), []string{"PROXY", "STATE", "VERSION", "MODELS", "REASON"})
	for _, p := range r.Proxies {
		rows = append(rows, []string{p.Address, p.State, strconv.Itoa(p.Version), strconv.Itoa(len(p.Models)), strconv.Quote(p.Reason)})
	}
	return cli.Table(w, rows)
}

func newGatewayCheckCmd(a *app) *cobra.Command {
	var g gatewayFlags
	var patience time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Connect to the proxies, judge them and shake hands; exit 3 if none would serve",
		Long: "Does what the gateway does before it serves, and sends no request. For each proxy it says\n" +
			"whether its evidence was accepted, whether the payment channel opened, and what it offers.",
		Example: "  cocoon gateway check --proxy proxy.example:11002 --wallet UQ... --image 650008eb...",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := g.load(cmd.Flags()); err != nil {
				return err
			}
			return a.checkGateway(cmd.Context(), &g, patience)
		},
	}
	g.add(cmd.Flags())
	cmd.Flags().DurationVar(&patience, "wait", defaultCheck, "how long proxies get to become ready")
	return cmd
}

func (a *app) checkGateway(ctx context.Context, g *gatewayFlags, patience time.Duration) error {
	if err := g.validate(); err != nil {
		return err
	}
	n, err := g.network(ctx, a)
	if err != nil {
		return err
	}
	defer n.close()
	running, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { n.pool.Run(running) })
	all.Go(func() { _ = n.run(running) }) // what it meets is in the result
	settle(running, n)
	result := gatewayCheckResult{Schema: "cocoon.gateway.check/1", Form: n.form(), Root: n.checkedRoot(), Proxies: []proxyChecked{}}
	for _, p := range n.pool.Status() {
		row := proxyChecked{
			Address: p.Address, State: string(p.State), Verified: p.Offer.Peer.Verified, Reason: p.Reason, Image: p.Offer.Peer.Image,
			Contract: p.Offer.ProxySC, Version: p.Offer.Version, Models: []string{},
		}
		for _, m := range p.Models {
			row.Models = append(row.Models, m.Name)
		}
		result.Ready = result.Ready || p.State == upstream.Ready
		result.Proxies = append(result.Proxies, row)
	}
	stop()
	all.Wait()
	if err := a.printer.Result(result); err != nil || result.Ready {
		return err
	}
	return cli.Shown(cli.KindDifference, errors.New("no proxy would serve"), "see the reason of each proxy above")
}

// checkedRoot is how the root contract stands; nil without one.
func (n *gatewayNet) checkedRoot() *rootChecked {
	if n.view == nil {
		return nil
	}
	st := n.view.State()
	out := &rootChecked{
		Contract: n.view.Address(), Light: string(st.Light), Age: int64(st.Age.Seconds()), Block: st.Seqno, Version: st.Version,
		Params: st.ParamsVersion, Proxies: len(n.view.Proxies()),
	}
	if s := n.view.Newest(); s != nil {
		out.Images = len(s.ProxyHashes)
	}
	if err := errors.Join(st.Err, st.Last); err != nil {
		out.Reason = err.Error()
	}
	return out
}

// settle waits until the root was read and every proxy met once, or time is up.
func settle(ctx context.Context, n *gatewayNet) {
	const every = 50 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		waiting := n.view != nil && n.view.State().Err != nil && n.view.State().Last == nil
		all := n.pool.Status()
		waiting = waiting || len(all) < len(n.wanted()) // the root was read just now
		for _, p := range all {
			waiting = waiting || p.State == upstream.Connecting && p.Reason == ""
		}
		if !waiting {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
