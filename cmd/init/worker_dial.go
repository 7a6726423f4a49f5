package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"cocoon/contracts/wire"
	"cocoon/guest/router"
	"cocoon/guest/worker"
	"cocoon/measure/dcap"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
)

const (
	// socksTime bounds the conversation with the router's SOCKS listener, preambleTime what comes before the first proof
	// (protocol.md section 2.5).
	socksTime    = 10 * time.Second
	preambleTime = 60 * time.Second
	// socksName is an address by name, RFC 1928 section 5.
	socksName = 3
)

// dialVia reaches proxies through a router's SOCKS listener, which tells by preamble who answered; its word counts for quotes
// below roots.
func dialVia(via string, roots []dcap.RootID) func(ctx context.Context, address string) (net.Conn, worker.Peer, error) {
	return func(ctx context.Context, address string) (net.Conn, worker.Peer, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", via)
		if err != nil {
			return nil, worker.Peer{}, fmt.Errorf("reaching the router: %w", err)
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		peer, err := introduce(conn, address, roots)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = conn.Close()
			return nil, worker.Peer{}, err
		}
		return conn, peer, nil
	}
}

// introduce asks the router for a connection and reads who is at its other end.
func introduce(conn net.Conn, address string, roots []dcap.RootID) (worker.Peer, error) {
	if err := conn.SetDeadline(time.Now().Add(socksTime)); err != nil {
		return worker.Peer{}, err
	}
	if err := socksConnect(conn, address); err != nil {
		return worker.Peer{}, fmt.Errorf("asking the router for %s: %w", address, err)
	}
	if err := conn.SetDeadline(time.Now().Add(preambleTime)); err != nil {
		return worker.Peer{}, err
	}
	p, _, err := wire.ReadPreamble(conn)
	if err != nil {
		return worker.Peer{}, fmt.Errorf("reading who answered at %s: %w", address, err)
	}
	peer := worker.Peer{Key: p.PeerKey}
	if image, err := router.IntroducedImage(p, roots); err != nil {
		peer.Doubt = err.Error()
	} else {
		peer.Attested, peer.Image = true, image
	}
	return peer, conn.SetDeadline(time.Time{})
}

// socksConnect is the part of RFC 1928 that a router needs.
func socksConnect(conn io.ReadWriter, address string) error {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || len(host) > 255 {
		return errors.New("not host:port")
	}
	if _, err := conn.Write([]byte{5, 1, 0}); err != nil {
		return err
	}
	var method [2]byte
	if _, err := io.ReadFull(conn, method[:]); err != nil {
		return err
	}
	if method != [2]byte{5, 0} {
		return errors.New("the router wants a password")
	}
	ask := []byte{5, 1, 0}
	switch ip := net.ParseIP(host); {
	case ip.To4() != nil:
		ask = append(append(ask, 1), ip.To4()...)
	case ip != nil:
		ask = append(append(ask, 4), ip...)
	default:
		ask = append(append(ask, socksName, byte(len(host))), host...) //nolint:gosec // bounded above
	}
	if _, err := conn.Write(binary.BigEndian.AppendUint16(ask, uint16(port))); err != nil {
		return err
	}
	return socksAnswer(conn)
}

func socksAnswer(conn io.Reader) error {
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	if head[0] != 5 || head[1] != 0 {
		return fmt.Errorf("refused with code %d", head[1])
	}
	rest, ok := map[byte]int{1: net.IPv4len - 1, 4: net.IPv6len - 1, socksName: int(head[4])}[head[3]]
	if !ok {
		return fmt.Errorf("an address of kind %d", head[3])
	}
	_, err := io.CopyN(io.Discard, conn, int64(rest+2))
	return err
}

// dialRouter reaches proxies through the router of this process.
func dialRouter(r *router.Router, policy string) func(ctx context.Context, address string) (net.Conn, worker.Peer, error) {
	return func(ctx context.Context, address string) (net.Conn, worker.Peer, error) {
		conn, err := r.Dial(ctx, policy, address)
		if err != nil {
			return nil, worker.Peer{}, err
		}
		return conn, peerOf(&conn.Peer), nil
	}
}

// peerOf is a verified peer in the worker's terms.
func peerOf(p *ratls.Peer) worker.Peer {
	out := worker.Peer{Key: p.Key}
	if p.Report != nil && p.Report.TD != nil {
		if hash, err := tdx.PublishableHash(&p.Report.TD.Measurements); err == nil {
			out.Attested, out.Image = true, hash
		}
	}
	return out
}
