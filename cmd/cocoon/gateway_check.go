package main

import (
	"context"
	"errors"
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
	Schema  string         `json:"schema"`
	Ready   bool           `json:"ready"`
	Proxies []proxyChecked `json:"proxies"`
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
		Example: "  cocoon gateway check --proxy proxy.example:11001 --wallet UQ... --secret-file s --image 650008eb...",
		Args:    args(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.checkGateway(cmd.Context(), &g, patience) },
	}
	g.add(cmd.Flags())
	cmd.Flags().DurationVar(&patience, "wait", defaultCheck, "how long proxies get to become ready")
	return cmd
}

func (a *app) checkGateway(ctx context.Context, g *gatewayFlags, patience time.Duration) error {
	n, err := g.network(ctx, a)
	if err != nil {
		return err
	}
	defer n.close()
	running, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { n.pool.Run(running) })
	settle(running, n.pool)
	result := gatewayCheckResult{Schema: "cocoon.gateway.check/1", Proxies: []proxyChecked{}}
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

// settle waits until every proxy was met once, or time is up.
func settle(ctx context.Context, pool *upstream.Pool) {
	const every = 50 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		waiting := false
		for _, p := range pool.Status() {
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
