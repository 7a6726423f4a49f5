package network

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"path/filepath"

	"cocoon/measure/eventlog"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

// startTDX starts the simulated platform: a TD for each role, of an image for each kind, and the provisioning service.
func (n *Network) startTDX(ctx context.Context) error {
	var err error
	if n.platform, err = measuretest.NewPlatform(measuretest.Options{Seed: n.cfg.Seed, Now: n.cfg.Now()}); err != nil {
		return err
	}
	root := n.platform.RootID()
	n.sim.rootID = hex.EncodeToString(root[:])
	n.sim.root = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.platform.RootCertificate().Raw}))
	images := map[string]*string{proxyKind: &n.sim.proxyImage, workerKind: &n.sim.workerImage}
	for _, r := range n.roles {
		if r.device, *images[r.kind], err = n.launch(ctx, r); err != nil {
			return err
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for collateral: %w", err)
	}
	n.sim.pcs = "http://" + l.Addr().String()
	service := measuretest.NewService(n.platform)
	n.parts.start(ctx, "provisioning service", func(ctx context.Context) error { return serveHTTP(ctx, l, service) })
	return nil
}

// launch starts the TD of a role, whose kind is measured, and says where its quotes are and which image it is.
func (n *Network) launch(ctx context.Context, r *role) (device, image string, err error) {
	name := []byte("local network's " + r.kind)
	events := append(measuretest.DefaultEvents(), measuretest.Event{Register: tdx.RTMR2, Type: eventlog.EFIAction, Digest: tdx.Sum(name), Data: name})
	td, err := n.platform.Launch(measuretest.TDOptions{Events: events})
	if err != nil {
		return "", "", err
	}
	m := td.Measurements()
	hash, err := tdx.PublishableHash(&m)
	if err != nil {
		return "", "", err
	}
	path := filepath.Join(n.sockets, r.name+".td")
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return "", "", fmt.Errorf("listening for the %s's TD: %w", r.name, err)
	}
	n.parts.start(ctx, r.name+"'s TD", func(ctx context.Context) error { return td.Serve(ctx, l, n.cfg.Log) })
	return "unix:" + path, hash.String(), nil
}
