package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/images"
	"cocoon/guest/proxy"
	"cocoon/guest/rootview"
	"cocoon/guest/router"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// ownQuote bounds the quote by which a role learns its own image.
const ownQuote = 30 * time.Second

// rootSection is the section root of a role's file.
type rootSection struct {
	Root    json.RawMessage
	section *follow.Section
}

// readRoot reads the section if there is one. The reference's key root_contract_address may name the same contract.
func (s *rootSection) readRoot(named string) (err error) {
	if s.Root == nil {
		return nil
	}
	if s.section, err = follow.ParseSection(s.Root); err != nil || named == "" {
		return err
	}
	of, err := proxy.ParseAddress(named)
	if err != nil || of.String() != s.section.Address.StringRaw() {
		return fmt.Errorf("root_contract_address: %s is not root.address, %s: leave one of them out", named, s.section.Address)
	}
	return nil
}

// without is the rule for a list that a role needs where there is no root: of what, unless a key turns the check off.
func (s *rootSection) without(name string, list []string, needed bool, of, unless string) keyRule {
	if s.Root != nil {
		return keyRule{name, len(list) == 0, "is for networks without a root: the section root says where the contract is that lists " + of}
	}
	return keyRule{name, !needed || len(list) > 0, "must list " + of + ", or there be a section root, or " + unless + " be false"}
}

// roleRoot is the root that a role follows, and what it means for the role.
type roleRoot struct {
	follower *follow.Follower
	view     *rootview.View
}

// follow reads the root once and goes on in the background; nil without a section.
func (s *rootSection) follow(ctx context.Context, c rootview.Config, now func() time.Time, log *slog.Logger) (*roleRoot, error) {
	if s.section == nil {
		return nil, nil //nolint:nilnil // a role without a root has what its file lists
	}
	f, err := follow.New(s.section, follow.Deps{Now: now, Log: log})
	if err != nil {
		return nil, err
	}
	f.Start(ctx)
	c.Root = f
	view, err := rootview.New(c)
	if err != nil {
		return nil, err
	}
	return &roleRoot{f, view}, nil
}

// learnImage asks for a quote of this machine and takes its image from it. A role beside a router of its own process has
// no evidence of itself: its image is then not compared, and its peers do that.
func (r *roleRoot) learnImage(ctx context.Context, inner *routerProcess, log *slog.Logger) error {
	if inner == nil || inner.quoter == nil {
		log.Warn("This process has no evidence of its own: its image is not compared with the root")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ownQuote)
	defer cancel()
	var data [tdx.ReportDataSize]byte
	if _, err := rand.Read(data[:]); err != nil {
		return fmt.Errorf("learning the own image: %w", err)
	}
	raw, err := inner.quoter.Quote(ctx, data)
	if err != nil {
		return fmt.Errorf("learning the own image: %w", err)
	}
	quote, err := tdx.ParseQuote(raw)
	if err != nil || quote.TD == nil {
		return fmt.Errorf("learning the own image: no quote of a TD: %w", err)
	}
	image, err := tdx.PublishableHash(&quote.TD.Measurements)
	if err != nil {
		return fmt.Errorf("learning the own image: %w", err)
	}
	r.view.SetImage(image)
	if err := r.view.Eligible(); err != nil {
		log.Warn("Not eligible yet, waiting", slog.Any("err", err))
	}
	return nil
}

// follow begins to follow the root of the router's own configuration. A role that has one gives its own to its router:
// one process believes one root.
func (p *routerProcess) follow(ctx context.Context) error {
	switch {
	case p.cfg.Root == nil:
		return nil
	case p.root != nil:
		return errors.New("root: the configuration of the role has that section, so the router's file must not")
	}
	f, err := follow.New(p.cfg.Root, follow.Deps{Now: p.now, Log: p.log})
	if err != nil {
		return err
	}
	f.Start(ctx)
	p.root = f
	p.closers = append(p.closers, f.Close)
	p.background = append(p.background, f.Run)
	return nil
}

// images is the chain's list for the policies that take it, nil where the process follows no root.
func (p *routerProcess) images(metrics *router.Metrics) (policy.Images, error) {
	if p.root == nil {
		return nil, nil //nolint:nilnil // no chain is no error: the router refuses policies that need one
	}
	lists := p.cfg.RootLists
	if len(lists) == 0 {
		lists = p.lists
	}
	root := p.root
	metrics.Gauge("router_root_age_seconds", func() float64 { return root.State().Age.Seconds() })
	metrics.Gauge("router_root_version", func() float64 { return float64(root.State().Version) })
	return images.New(root.Watcher(), lists...)
}

// judgeAnew has the live sessions judged by what the root says now.
func judgeAnew(r *router.Router) func(*registry.Snapshot) {
	return func(*registry.Snapshot) { r.Notify("root") }
}
