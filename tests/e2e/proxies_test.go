package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"time"

	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/router"
	"cocoon/measure/ratls"
	"cocoon/tests/chaos"
)

// proxyNode is a proxy with its router. Its machine and its ledger outlive it, as sealed keys and a journal do.
type proxyNode struct {
	n       *world
	i       int
	cfg     proxy.Config
	chain   *proxy.Pseudo
	workers *machine // what the router admits
	machine *machine
	book    *book
	proxy   *proxy.Proxy
	doors   map[uint16]string
	// ways lead to the doors through what misbehaves, where the options ask for such.
	ways map[uint16][]*chaos.Proxy
	// stop ends the proxy and closes its doors.
	stop func()
}

// addProxy starts one more proxy, whose router admits workers of one machine.
func (n *world) addProxy(i int, workers *machine, o options) {
	n.t.Helper()
	p := &proxyNode{
		n: n, i: i, workers: workers, machine: n.launch("proxy"), ways: make(map[uint16][]*chaos.Proxy),
		cfg: proxy.Config{Owner: address(1), Contract: address(byte(0xa1 + i)), Test: true, CheckWorkers: true},
		chain: &proxy.Pseudo{
			Owner: address(1), WorkerImages: map[[32]byte]bool{workers.image: !o.unlisted}, Models: map[[32]byte]bool{sha256.Sum256([]byte(model)): true},
		},
	}
	if o.tune.proxy != nil {
		o.tune.proxy(&p.cfg)
	}
	memory, err := ledger.NewMemory(ledger.Config{Funds: p.chain.Funds, Signer: ledger.Keyed{Key: p.payments()}})
	check(n.t, err)
	p.book = &book{Memory: memory}
	n.proxies = append(n.proxies, p)
	p.start()
}

func (p *proxyNode) payments() ed25519.PrivateKey { return seeded(byte(0x40 + p.i)) }

// start starts the proxy, for the first time or again, and leads the ways to its doors.
func (p *proxyNode) start() {
	n := p.n
	n.t.Helper()
	public, _ := p.payments().Public().(ed25519.PublicKey)
	one, err := proxy.New(p.cfg, proxy.Deps{
		Chain: p.chain, Ledger: p.book, PaymentKey: public, ReceiptKey: seeded(byte(0x50 + p.i)), TLSKeys: func() [][32]byte { return n.tlsKeys(p.machine) },
		Attester: p.machine, Tick: p.book.Memory, Log: n.logger("proxy"), Now: time.Now,
	})
	check(n.t, err)
	serve := func(one func(context.Context, net.Conn, proxy.Peer) error) router.Handler {
		return func(ctx context.Context, c *ratls.Conn) {
			if err := one(ctx, c, proxy.PeerOf(c)); err != nil {
				n.logger("proxy").Info("Session ended", slog.Any("err", err))
			}
		}
	}
	stop := n.background("proxy", one.Run)
	const port = `{"port":%d,"type":"reverse","policy_name":%q,"destination_host":"localhost","destination_port":%d,"pow_difficulty":4}`
	_, closeDoors := n.router("proxy", p.machine, door{
		"workers", p.workers.image, fmt.Sprintf(port+","+port, clientPort, "any", clientPort, workerPort, "workers", workerPort),
		map[uint16]router.Handler{clientPort: serve(one.ServeClient), workerPort: serve(one.ServeWorker)},
	})
	p.proxy, p.doors = one, maps.Clone(n.doors)
	p.stop = func() {
		closeDoors()
		stop()
	}
	for port, ways := range p.ways {
		for _, way := range ways {
			way.Retarget(p.doors[port])
		}
	}
}

// chaosLink is a way through a proxy that misbehaves as it is told.
type chaosLink struct {
	*chaos.Proxy
	address string
}

// link puts one before a door.
func (n *world) link(to string) chaosLink {
	n.t.Helper()
	l, err := new(net.ListenConfig).Listen(n.t.Context(), "tcp", "127.0.0.1:0")
	check(n.t, err)
	link := chaosLink{chaos.New(to, 1), l.Addr().String()}
	n.background("link", func(ctx context.Context) error { return link.Run(ctx, l) })
	return link
}

// settled is what all ledgers have settled.
func (n *world) settled() (all []ledger.Entry) {
	for _, p := range n.proxies {
		all = append(all, p.book.settled()...)
	}
	return all
}

// balanced checks each ledger: what its clients owe is the sum of its entries, each request has one, and nothing is held.
func (n *world) balanced() {
	n.t.Helper()
	for _, p := range n.proxies {
		owed := make(map[string]int64)
		seen := make(map[[32]byte]bool)
		for _, e := range p.book.settled() {
			owed[e.Client] += e.Paid()
			if seen[e.Request] {
				n.t.Errorf("request %x is settled twice", e.Request)
			}
			seen[e.Request] = true
			if e.Paid() > e.Reserved || e.Paid() < 0 {
				n.t.Errorf("billed %+v", e)
			}
		}
		for client, sum := range owed {
			if s := p.book.State(ledger.Party{Role: ledger.Client, Address: client}); s.Max != sum || s.Reserved != 0 || s.Running != 0 {
				n.t.Errorf("the client's counter is %+v, its entries sum up to %d", s, sum)
			}
		}
	}
}
