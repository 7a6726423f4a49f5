package conformance

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/guest/proxy"
	"cocoon/host/gateway/upstream"
)

// generations of proxies by what they accept, protocol.md section 1.
func generations() map[string]offer {
	return map[string]offer{"Dec 2025": {0, 2}, "Apr 2026": {0, 4}, "ours": {0, 5}}
}

// clientOffers and workerOffers are what peers say of themselves; nil is a peer that says nothing.
func clientOffers() map[string]*offer {
	return map[string]*offer{
		"Dec 2025": {1, 2}, "Apr 2026": {1, 4}, "ours": {1, 5}, "a third party": {1, 1}, "nothing said": nil, "the oldest": {0, 0},
		"everything": {0, 9}, "newer than all": {6, 9}, "no range": {4, 1}, "a negative least": {-1, 4}, "a negative most": {-5, -1},
		"the greatest numbers": {0, 1<<31 - 1}, "the least number": {-1 << 31, 5},
	}
}

func workerOffers() map[string]*offer {
	all := clientOffers()
	all["Apr 2026"] = &offer{3, 4}
	delete(all, "a third party")
	return all
}

// pick is the rule of protocol.md section 1.1.
func pick(peer *offer, own offer) (version int32, ok bool) {
	o := offer{}
	if peer != nil {
		o = *peer
	}
	if o.low < 0 || o.low > o.high || o.high < own.low || own.high < o.low {
		return 0, false
	}
	return min(o.high, own.high), true
}

func ranged(own offer) option {
	return func(c *proxy.Config, _ *proxy.Deps) { c.MinVersion, c.MaxVersion = own.low, own.high }
}

// TestTheProxyPicks: every offer at every generation's range gets the version of the rule, or 621 and the end.
func TestTheProxyPicks(t *testing.T) {
	for generation, own := range generations() {
		within(t, func(n *network) {
			for name, o := range clientOffers() {
				p := n.join(n.proxy.ServeClient, proxy.Peer{}, nil)
				n.picks(p, connectClient(o, 1), clientConnected, attempt{"client " + name + " at " + generation, o, own})
			}
			for name, o := range workerOffers() {
				p := n.join(n.proxy.ServeWorker, proxy.Peer{}, nil)
				n.picks(p, connectWorker(o, 5, 1000, 4), workerConnected, attempt{"worker " + name + " at " + generation, o, own})
			}
		}, ranged(own))
	}
}

// attempt is an offer at a range.
type attempt struct {
	what string
	o    *offer
	own  offer
}

func (n *network) picks(p *peer, connect msg, answer string, a attempt) {
	n.Helper()
	what := a.what
	want, ok := pick(a.o, a.own)
	r, code, text := p.ask(connect)
	if !ok {
		if code != 621 || !strings.HasPrefix(text, "unsupported proto version") || !p.closed() {
			n.Errorf("%s: %d %s", what, code, text)
		}
		return
	}
	if r == nil {
		n.Errorf("%s: %d %s", what, code, text)
		return
	}
	if got := proxyParams(r.expect(answer)); got != want {
		n.Errorf("%s: version %d, want %d", what, got, want)
	}
}

// TestEveryPairIsServed: a client and a worker of any two generations get a completion through a proxy of each, in the form
// of their versions, and it is billed.
func TestEveryPairIsServed(t *testing.T) {
	for generation, own := range generations() {
		for worker, wo := range workerOffers() {
			wv, ok := pick(wo, own)
			if !ok {
				continue
			}
			within(t, func(n *network) {
				w, _ := n.worker(wo, 5, 4, nil)
				asked := 0
				for client, co := range clientOffers() {
					if cv, ok := pick(co, own); ok {
						asked++
						c, _ := n.client(co, nil)
						n.pair(c, w, [2]int32{cv, wv}, asked, fmt.Sprintf("%s proxy, %s client, %s worker", generation, client, worker))
					}
				}
			}, ranged(own))
		}
	}
}

// pair has a worker serve a client's next request.
func (n *network) pair(c, w *peer, version [2]int32, id int, what string) {
	n.Helper()
	cv, wv := version[0], version[1]
	c.tell(good(id, chat).run(cv))
	o := w.order()
	if o.coefficient != 1000 || o.path != "/v1/chat/completions" {
		n.Errorf("%s: order %+v", what, o)
	}
	w.begin(wv, o, response(http.StatusOK, "application/json", whole), usage(wv))
	r := c.collect(id)
	form := "client.queryAnswerEx"
	if cv == 0 {
		form = "client.queryAnswer"
	}
	if r.status != http.StatusOK || r.body != whole || r.message != form || r.times != (cv >= 2) || r.used.total != 74 || n.settled() != 74*int64(id) {
		n.Errorf("%s: %+v, billed %d", what, r, n.settled())
	}
	if r.head["content-length"] != "" {
		n.Errorf("%s: a hop-by-hop header goes on: %v", what, r.head)
	}
}

// once is a dialler that gives one connection.
func once(conn net.Conn) func() net.Conn {
	return func() (out net.Conn) { out, conn = conn, nil; return out }
}

// TestTheWorkerRefusesAPickThatItDidNotOffer: nothing of the handshake follows such a pick.
func TestTheWorkerRefusesAPickThatItDidNotOffer(t *testing.T) {
	for name, own := range map[string]offer{"ours": {1, 5}, "Apr 2026": {3, 4}, "Dec 2025": {1, 2}} {
		for v := int32(-1); v <= 7; v++ {
			for _, stated := range []bool{true, false} {
				if !stated && v != 0 {
					continue
				}
				within(t, func(n *network) {
					near, far := net.Pipe()
					n.ends = append(n.ends, func() { _ = near.Close() })
					n.genuine(new(script), own.low, own.high, once(far))
					p := newPeer(t, near, nil)
					p.accept()
					id, r := p.query()
					r.expect(workerConnect)
					r.i32()
					r.str()
					r.str()
					r.i32()
					r.yes()
					r.i32()
					r.i32()
					if low, high := r.i32(), r.i32(); low != own.low || high != own.high {
						t.Errorf("it offers %d..%d", low, high)
					}
					p.answer(id, boxed(workerConnected).params(v, stated).str(address(0xb1).Friendly(false)))
					if v < own.low || v > own.high {
						if !p.closed() {
							t.Errorf("%s, pick %d: it goes on", name, v)
						}
						return
					}
					_, r = p.query()
					r.expect(workerCompare)
				})
			}
		}
	}
}

// TestTheGatewayRefusesAPickThatItDidNotOffer: and says so in its status.
func TestTheGatewayRefusesAPickThatItDidNotOffer(t *testing.T) {
	for v := int32(-1); v <= 7; v++ {
		within(t, func(n *network) {
			near, far := net.Pipe()
			n.ends = append(n.ends, func() { _ = near.Close() })
			link := n.gateway(once(far))
			p := newPeer(t, near, nil)
			p.accept()
			id, r := p.query()
			r.expect(clientConnect)
			if flags := r.i32(); flags != 3 {
				t.Errorf("flags %d", flags)
			}
			r.str()
			r.yes()
			if low, high := r.i32(), r.i32(); low != 1 || high != 5 {
				t.Errorf("it offers %d..%d", low, high)
			}
			p.answer(id, boxed(clientConnected).params(v, v != 0).str(address(0xc1).Friendly(false)).raw(boxed(authLong).i64(9)...).raw(boxed(paymentEmpty)...))
			if v < 1 || v > 5 {
				if !p.closed() {
					t.Errorf("pick %d: it goes on", v)
				}
				synctest.Wait()
				if s := link.Status(); s.State != upstream.Refused || !strings.Contains(s.Reason, "version") {
					t.Errorf("pick %d: %+v", v, s)
				}
				return
			}
			_, r = p.query()
			r.expect(authorizeLong)
		})
	}
}

// TestOurRolesServeAtEveryVersion: gateway, proxy and worker of ours, the proxy held to one version, serve a document.
func TestOurRolesServeAtEveryVersion(t *testing.T) {
	for v := int32(1); v <= 5; v++ {
		within(t, func(n *network) {
			e := new(script)
			n.workerOf(e, 1, 5)
			link := n.gateway(func() net.Conn {
				near, far := net.Pipe()
				n.running.Go(func() { n.served <- n.proxy.ServeClient(n.ctx, far, proxy.Peer{}) })
				return near
			})
			synctest.Wait()
			if s := link.Status(); s.State != upstream.Ready || s.Offer.Version != int(v) || len(s.Models) != 1 || s.Models[0].Name != base {
				t.Fatalf("version %d: %+v", v, s)
			}
			call := n.call(link, 1)
			piece, err := call.Recv(time.Minute)
			if err != nil || piece.Head.StatusCode != http.StatusOK || !strings.HasPrefix(string(piece.Data), `{"id":"c1"`) {
				t.Errorf("version %d: %+v %v", v, piece, err)
			}
			settled := make(chan struct{})
			call.Await(time.Minute, func() { close(settled) })
			<-settled
			paper, transcript, used := call.Paper()
			if (paper != nil) != (v >= 5) || v >= 5 && string(transcript) != string(piece.Data) || used == nil || used.Total != 74 {
				t.Errorf("version %d: receipt %d bytes, used %+v", v, len(paper), used)
			}
			if len(e.asked()) != 1 || n.settled() != 74 {
				t.Errorf("version %d: the engine was asked %d times, billed %d", v, len(e.asked()), n.settled())
			}
		}, ranged(offer{0, v}))
	}
}

// TestAWorkerThatIsDroppedLeavesItsDescriptionOut: a proxy of the first generation drops a connection whose flags it does not know;
// the next one does without the machine description, and serves.
func TestAWorkerThatIsDroppedLeavesItsDescriptionOut(t *testing.T) {
	within(t, func(n *network) {
		dialled := make(chan net.Conn, 64)
		n.genuine(new(script), 1, 5, func() net.Conn {
			near, far := net.Pipe()
			n.ends = append(n.ends, func() { _ = near.Close() })
			dialled <- near
			return far
		})
		for i, described := range []bool{true, false} {
			p := newPeer(t, <-dialled, nil)
			p.accept()
			_, r := p.query()
			r.expect(workerConnect)
			if flags := r.i32(); (flags&4 != 0) != described {
				t.Errorf("connection %d has flags %d", i, flags)
			}
			_ = p.conn.Close()
		}
		synctest.Wait()
	})
}

// TestErrorsOfTheFirstGenerationAreUnderstood: it sends them in the old form to everybody (protocol.md section 4.2).
func TestErrorsOfTheFirstGenerationAreUnderstood(t *testing.T) {
	id := named(1)
	for form, m := range map[string]msg{
		"old":          boxed(clientError).i32(651).str("no workers for model").raw(id...).tokens(tokens{}),
		"old, a part":  boxed(clientPartErr).i32(651).str("no workers for model").raw(id...).tokens(tokens{}),
		"Ex":           boxed(clientErrorEx).raw(id...).i32(651).str("no workers for model").i32(1).i32(0).tokens(tokens{}),
		"Ex, no final": boxed(clientErrorEx).raw(id...).i32(651).str("no workers for model").i32(0),
	} {
		for _, v := range []int32{1, 2, 4, 5} {
			within(t, func(n *network) {
				near, far := net.Pipe()
				n.ends = append(n.ends, func() { _ = near.Close() })
				link := n.gateway(once(far))
				p := newPeer(t, near, nil)
				n.proxyForClient(p, v)
				call := n.call(link, 1)
				p.reads(v, 1)
				p.tell(m)
				if _, err := call.Recv(time.Minute); err == nil || !strings.Contains(err.Error(), "no workers for model") {
					t.Errorf("%s at %d (%s): %v", form, v, hex.EncodeToString(m[:4]), err)
				}
			})
		}
	}
}
