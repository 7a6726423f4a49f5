package main

import (
	"context"
	"errors"

	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/images"
	"cocoon/guest/router"
	"cocoon/measure/policy"
)

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
