package main

import (
	"context"
	"fmt"
	"net"

	"cocoon/guest/proxy/promptkeys"
	"cocoon/guest/worker"
)

// keyRing makes what fetches the keys that prompts are encrypted to; nil where no key manager is named.
func (p *proxyProcess) keyRing() (*promptkeys.Ring, error) {
	if p.cfg.KeyManager == "" {
		return nil, nil //nolint:nilnil // a proxy without a key manager has no ring, and refuses encrypted prompts
	}
	images, err := imagesOf("key_manager_image_hashes", p.cfg.KeyImages)
	if err != nil {
		return nil, err
	}
	roots, err := p.cfg.roots()
	if err != nil {
		return nil, err
	}
	if p.cfg.Via != "" {
		p.keyDial = dialVia(p.cfg.Via, roots)
	}
	ring, err := promptkeys.New(promptkeys.Config{
		Test: p.cfg.Test, Now: p.now, Log: p.log,
		Dial: func(ctx context.Context) (net.Conn, error) {
			conn, peer, err := p.keyDial(ctx, p.cfg.KeyManager)
			if err != nil {
				return nil, err
			}
			if err := checkKeyManager(peer, images, len(images) > 0 || !p.cfg.Test); err != nil {
				_ = conn.Close()
				return nil, err
			}
			return conn, nil
		},
	})
	if err != nil {
		return nil, err
	}
	p.background = append(p.background, ring.Run)
	return ring, nil
}

// checkKeyManager says whether a peer may hand out keys. Only a test network may name no image.
func checkKeyManager(peer worker.Peer, images map[[32]byte]bool, needed bool) error {
	switch {
	case !needed:
		return nil
	case !peer.Attested:
		return peer.Unattested("the key manager")
	case !images[peer.Image]:
		return fmt.Errorf("the key manager's image %x is not in key_manager_image_hashes", peer.Image)
	}
	return nil
}
