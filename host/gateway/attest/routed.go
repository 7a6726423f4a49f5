package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"cocoon/contracts/wire"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// Limits of the talk with a router (protocol.md sections 2.4 and 2.5).
const (
	// routerPatience bounds the talk until the router has verified the peer: proof of work and quote are in it.
	routerPatience = 80 * time.Second
	// preamblePatience bounds the preamble from its first byte on.
	preamblePatience = 10 * time.Second
	maxUserName      = 255
)

// SOCKS version 5 as far as it is used here (RFC 1928, RFC 1929).
const (
	socksVersion, userVersion = 5, 1
	methodNone, methodUser    = 0, 2
	commandConnect            = 1
	typeIPv4, typeIPv6        = 1, 4
	typeName                  = 3
	socksNotAllowed           = 2
)

// Router is an external router: a SOCKS5 server on this machine that does proof of work, TLS and quotes, and says in a
// preamble whom it has met. What it says is believed, so it must be this machine's own.
type Router struct {
	// Address is HOST:PORT, as a rule 127.0.0.1:8116.
	Address string
	// Policy is the name of the router's policy to ask for; empty is the port's own.
	Policy string
	// DialContext makes the connection to the router; nil is a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// dialRouter goes through the router and judges the peer by its preamble.
func (n *Network) dialRouter(ctx context.Context, address string) (net.Conn, upstream.Peer, error) {
	dial := n.cfg.Router.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", n.cfg.Router.Address)
	if err != nil {
		return nil, upstream.Peer{}, fmt.Errorf("connecting to the router %s: %w", n.cfg.Router.Address, err)
	}
	p, err := n.cfg.Router.ask(ctx, conn, address)
	if err != nil {
		_ = conn.Close() // the error at hand says more
		return nil, upstream.Peer{}, fmt.Errorf("going through the router %s: %w", n.cfg.Router.Address, err)
	}
	routed := n.routed.add(conn, p) // before it is judged: a list that changes now is not missed
	peer := n.introduced(p)
	if !peer.Verified && !n.cfg.Unverified {
		_ = routed.Close()
		return nil, peer, fmt.Errorf("%w: %s", upstream.ErrRefused, peer.Reason)
	}
	return routed, peer, nil
}

// within works on a connection until a time is up or ctx ends.
func within(ctx context.Context, conn net.Conn, limit time.Duration, work func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // long ago: what waits ends
	err := work()
	if !stop() {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// ask has the router connect, and reads whom it has met.
func (r *Router) ask(ctx context.Context, conn net.Conn, address string) (p *wire.Preamble, err error) {
	request, err := connectRequest(address)
	if err != nil {
		return nil, err
	}
	first := make([]byte, 1)
	err = within(ctx, conn, routerPatience, func() error {
		if err := r.greet(conn); err != nil {
			return err
		}
		if _, err := conn.Write(request); err != nil {
			return fmt.Errorf("asking for %s: %w", address, err)
		}
		if err := readReply(conn); err != nil {
			return err
		}
		// The reference replies when TCP stands: that the peer was refused later is only seen by the connection's end.
		if _, err := io.ReadFull(conn, first); err != nil {
			return fmt.Errorf("waiting for the preamble: the router gave up: it could not reach the peer, or refused its evidence; its log says why: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = within(ctx, conn, preamblePatience, func() (err error) {
		p, _, err = wire.ReadPreamble(io.MultiReader(bytes.NewReader(first), conn))
		return err
	})
	return p, err
}

// greet agrees on a method: none, or the policy's name as user name.
func (r *Router) greet(conn net.Conn) error {
	method := byte(methodNone)
	if r.Policy != "" {
		method = methodUser
	}
	if len(r.Policy) > maxUserName {
		return fmt.Errorf("the router's policy has a name of %d bytes, at most %d", len(r.Policy), maxUserName)
	}
	if _, err := conn.Write([]byte{socksVersion, 1, method}); err != nil {
		return fmt.Errorf("greeting the router: %w", err)
	}
	var answer [2]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return fmt.Errorf("greeting the router: %w", err)
	}
	if answer != [2]byte{socksVersion, method} {
		return fmt.Errorf("greeting the router: it answered %x: is this a SOCKS5 port, and does it take a policy as user name?", answer)
	}
	if r.Policy == "" {
		return nil
	}
	login := append([]byte{userVersion, byte(len(r.Policy))}, r.Policy...) //nolint:gosec // bounded above
	if _, err := conn.Write(append(login, 1, '-')); err != nil {           // RFC 1929 wants a password, which is ignored
		return fmt.Errorf("naming the router's policy: %w", err)
	}
	if _, err := io.ReadFull(conn, answer[:]); err != nil || answer[1] != 0 {
		return fmt.Errorf("naming the router's policy %q: it is not known there", r.Policy)
	}
	return nil
}

// connectRequest asks for a destination. The reference knows IPv4 alone; names are sent as they are.
func connectRequest(address string) ([]byte, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", port, err)
	}
	out := []byte{socksVersion, commandConnect, 0}
	switch ip, err := netip.ParseAddr(host); {
	case err == nil && ip.Unmap().Is4():
		four := ip.Unmap().As4()
		out = append(append(out, typeIPv4), four[:]...)
	case err == nil:
		six := ip.As16()
		out = append(append(out, typeIPv6), six[:]...)
	case len(host) == 0 || len(host) > maxUserName:
		return nil, fmt.Errorf("host of %d bytes, allowed are 1 to %d", len(host), maxUserName)
	default:
		out = append(append(out, typeName, byte(len(host))), host...) //nolint:gosec // bounded above
	}
	return binary.BigEndian.AppendUint16(out, uint16(number)), nil
}

// replies are SOCKS5's reasons, in the order of their codes from 1 on.
func replies() []string {
	return []string{
		"general failure", "the router's policy refused the peer", "network unreachable", "host unreachable", "connection refused",
		"it took too long", "command not supported", "address type not supported: name the proxy by its IPv4 address",
	}
}

func readReply(conn io.Reader) error {
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return fmt.Errorf("waiting for the router: %w", err)
	}
	if head[0] != socksVersion {
		return fmt.Errorf("the router answered with version %d of SOCKS", head[0])
	}
	if code := int(head[1]); code != 0 {
		why := "error " + strconv.Itoa(code)
		if all := replies(); code <= len(all) {
			why = all[code-1]
		}
		if code == socksNotAllowed {
			return fmt.Errorf("%w: %s; its log says why", upstream.ErrRefused, why)
		}
		return errors.New("the router could not connect: " + why)
	}
	size := map[byte]int{typeIPv4: 4, typeIPv6: 16}[head[3]]
	if head[3] == typeName {
		var n [1]byte
		if _, err := io.ReadFull(conn, n[:]); err != nil {
			return fmt.Errorf("reading the router's answer: %w", err)
		}
		size = int(n[0])
	} else if size == 0 {
		return fmt.Errorf("the router answered with address type %d", head[3])
	}
	if _, err := io.CopyN(io.Discard, conn, int64(size+2)); err != nil {
		return fmt.Errorf("reading the router's answer: %w", err)
	}
	return nil
}

// spkiPrefix is the DER in front of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const spkiPrefix = "302a300506032b6570032100"

// introduced judges a peer by a router's preamble: image and collateral root, which is all that a preamble says. The
// router's own policy has judged the rest.
func (n *Network) introduced(p *wire.Preamble) upstream.Peer {
	der, _ := hex.DecodeString(spkiPrefix) // a constant
	sum := sha256.Sum256(append(der, p.PeerKey[:]...))
	peer := upstream.Peer{SPKI: hex.EncodeToString(sum[:]), Reason: noRules}
	if p.TDX == nil {
		peer.Reason = "the router says that it has no TDX evidence: " + map[bool]string{true: "it is of another kind", false: "there is none"}[p.Attested()]
		return peer
	}
	image, err := tdx.PublishableHash(&tdx.Measurements{
		MRTD: p.TDX.MRTD, MRConfigID: p.TDX.MRConfigID, MROwner: p.TDX.MROwner, MROwnerConfig: p.TDX.MROwnerConfig,
		RTMR: [4]tdx.Digest{p.TDX.RTMR[0], p.TDX.RTMR[1], p.TDX.RTMR[2], p.TDX.RTMR[3]},
	})
	if err != nil {
		peer.Reason = "its measurements mean nothing: " + err.Error()
		return peer
	}
	peer.Image = image.String()
	if n.cfg.Proxies == nil {
		return peer
	}
	rules := n.cfg.Proxies.Rules()
	allowed := rules.AllowedImages
	if rules.ImageSource == policy.FromChain {
		if n.cfg.ProxyImages == nil {
			return peer
		}
		if allowed, _, err = n.cfg.ProxyImages.Allowed(); err != nil {
			peer.Reason = "the root contract's list cannot be used: " + err.Error()
			return peer
		}
	}
	switch {
	case !slices.ContainsFunc(rules.CollateralRoots, func(r dcap.RootID) bool { return r == p.TDX.CollateralRoot }):
		peer.Reason = fmt.Sprintf("the router verified it by the collateral root %x, which is not trusted here", p.TDX.CollateralRoot)
	case !slices.Contains(allowed, image):
		peer.Reason = fmt.Sprintf("image hash %s is not among the %d that are allowed", image, len(allowed))
	default:
		peer.Verified, peer.Reason = true, ""
	}
	return peer
}

// routed are the sessions through routers, to be judged anew.
type routed struct {
	mu   sync.Mutex
	live map[*routedConn]struct{}
}

// routedConn is one of them.
type routedConn struct {
	net.Conn
	all  *routed
	peer *wire.Preamble
}

func (r *routed) add(conn net.Conn, p *wire.Preamble) net.Conn {
	c := &routedConn{conn, r, p}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[c] = struct{}{}
	return c
}

// Close implements net.Conn.
func (c *routedConn) Close() error {
	c.all.mu.Lock()
	delete(c.all.live, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}

// rejudge closes the sessions whose peer is not admitted any more.
func (r *routed) rejudge(n *Network, reason string) {
	if n.cfg.Unverified {
		return
	}
	r.mu.Lock()
	all := make([]*routedConn, 0, len(r.live))
	for c := range r.live {
		all = append(all, c)
	}
	r.mu.Unlock()
	for _, c := range all {
		if peer := n.introduced(c.peer); !peer.Verified {
			n.cfg.Log.Warn("Proxy is not admitted any more, and its session was closed",
				slog.String("reason", reason), slog.String("image", peer.Image), slog.String("err", peer.Reason))
			_ = c.Close() // it has ended
		}
	}
}
