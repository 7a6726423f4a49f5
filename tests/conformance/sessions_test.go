package conformance

import (
	"fmt"
	"net"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"cocoon/host/gateway/upstream"
)

// sessionAt are the versions that are recorded.
func sessionAt() []int32 { return []int32{0, 1, 2, 3, 4, 5} }

// TestSessionsOfTheProxy: what our proxy says to a client and to a worker of one version, byte for byte: handshakes, an
// answer in one message, a stream, refusals, payments, and what only peers of ours say.
func TestSessionsOfTheProxy(t *testing.T) {
	for _, v := range sessionAt() {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, uint64(v)+1)
			within(t, func(n *network) {
				clients, workers := new(transcript), new(transcript)
				clients.note("A client of version %d, scripted (>), and our proxy (<).", v)
				workers.note("A worker of version %d, scripted (>), and our proxy (<).", v)
				w, _ := n.worker(&offer{0, v}, 5, 4, workers)
				synctest.Wait()
				c, got := n.client(&offer{0, v}, clients)
				if got != v {
					t.Fatalf("version %d", got)
				}
				n.scene(c, w, v)
				clients.check(t, fmt.Sprintf("client-proxy.v%d.txt", v))
				workers.check(t, fmt.Sprintf("proxy-worker.v%d.txt", v))
			})
		})
	}
}

// scene is the conversation: each step begins when all is quiet.
func (n *network) scene(c, w *peer, v int32) {
	synctest.Wait()
	step := func(what string) {
		synctest.Wait()
		c.notes.note("%s", what)
		w.notes.note("%s", what)
	}
	step("what is offered")
	c.must(boxed(getWorkerTypesV2), workerTypesV2)
	step("an answer in one message")
	c.tell(good(1, chat).run(v))
	o := w.order()
	w.begin(v, o, response(200, "application/json", whole), usage(v))
	n.sign(w, o, v)
	c.collect(1)
	step("a stream")
	c.tell(good(2, stream).run(v))
	o = w.order()
	if v >= 5 {
		w.begin(v, o, response(200, "text/event-stream", ""), nil)
		w.part(v, o, event1, nil)
		w.part(v, o, event2+event3, usage(v))
	} else {
		w.begin(v, o, response(200, "application/json", ""), nil)
		w.part(v, o, row1, nil)
		w.part(v, o, row2, usage(v))
	}
	n.sign(w, o, v)
	c.collect(2)
	step("an error of the worker's")
	c.tell(good(3, chat).run(v))
	o = w.order()
	if v == 0 {
		w.tell(boxed(proxyError).i32(601).str("engine error").raw(o.id[:]...).tokens(*usage(v)))
	} else {
		w.tell(boxed(proxyErrorEx).raw(o.id[:]...).i32(601).str("engine error").i32(1).finalInfo(v, *usage(v)))
	}
	n.sign(w, o, v)
	c.collect(3)
	step("refusals: a negative limit, an unknown model, an unknown function")
	c.tell(question{id: 4, coefficient: 4000, maxTokens: -1}.run(v))
	c.collect(4)
	c.tell(question{id: 5, coefficient: 4000, maxTokens: 1, model: "other", body: `{"model":"other","messages":[]}`}.run(v))
	c.collect(5)
	c.ask(boxed(workerCompare).i64(0).i64(0).i64(0))
	c.ask(boxed("01020304"))
	step("announcements and payments")
	w.tell(boxed(workerCoefficient).i32(1500))
	w.tell(boxed(workerDisabled).i32(1))
	synctest.Wait()
	c.must(boxed(getWorkerTypesV2), workerTypesV2)
	c.must(boxed(clientUpdateStatus), clientStatus)
	w.must(boxed(workerUpdateStatus), workerStatus)
	c.frame(boxed(tcpPing).i64(77))
	synctest.Wait()
	if v < 5 {
		return
	}
	step("what only peers of ours say: a cancellation, an unknown session")
	w.tell(boxed(workerDisabled).i32(0))
	synctest.Wait()
	c.tell(good(6, stream).run(v))
	o = w.order()
	c.tell(boxed(clientCancel).raw(named(6)...))
	synctest.Wait()
	w.tell(boxed(proxyErrorEx).raw(o.id[:]...).i32(653).str("cancelled").i32(1).finalInfo(v, tokens{34, 0, 1, 0, 35}))
	n.sign(w, o, v)
	c.collect(6)
	c.must(boxed(clientGetSession).raw(make([]byte, 32)...), clientSession)
	synctest.Wait()
}

// sign sends a statement that nothing stands behind: it is looked at, and what it says does not hold.
func (n *network) sign(w *peer, o order, v int32) {
	if v >= 5 {
		w.tell(boxed(proxyStatement).raw(o.id[:]...).raw(make([]byte, 32)...).i32(0).i64(0).str("w-1").str("no signature"))
	}
	synctest.Wait()
	<-time.After(3 * time.Second)
	synctest.Wait()
}

// TestSessionsOfTheWorker: what our worker says to a proxy of the reference, byte for byte.
func TestSessionsOfTheWorker(t *testing.T) {
	for _, v := range sessionAt()[1:] {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, uint64(v)+1)
			within(t, func(n *network) {
				notes := new(transcript)
				notes.note("A proxy that picks version %d, scripted (>), and our worker (<).", v)
				near, far := net.Pipe()
				n.ends = append(n.ends, func() { _ = near.Close() })
				var once bool
				n.genuine(new(script), 1, 5, func() net.Conn {
					if once {
						return nil
					}
					once = true
					return far
				})
				p := newPeer(t, near, notes)
				n.proxyForWorker(p, v)
				step := func(what string) { synctest.Wait(); notes.note("%s", what) }
				step("an answer in one message")
				p.tell(runOnWorker(v, 1, chat))
				if r := p.answered(v, 1); r.status != 200 || r.used.total == 0 {
					t.Errorf("%+v", r)
				}
				step("a stream")
				p.tell(runOnWorker(v, 2, stream))
				if r := p.answered(v, 2); r.body != event1+event2+event3 {
					t.Errorf("%+v", r)
				}
				step("refusals: a negative price, a malformed request")
				p.tell(boxed(proxyRunQueryEx).bin(post("/v1/chat/completions", chat)).raw(boxed(paymentEmpty)...).i64(-1).f64(60).raw(make([]byte, 32)...).i32(0))
				if r := p.answered(v, 0); r.code != 621 {
					t.Errorf("%+v", r)
				}
				p.tell(boxed(proxyRunQueryEx).str("nonsense").raw(boxed(paymentEmpty)...).i64(1000).f64(60).raw(make([]byte, 32)...).i32(0))
				if r := p.answered(v, 0); r.code != 621 {
					t.Errorf("%+v", r)
				}
				if _, code, text := p.ask(boxed("01020304")); code != 621 {
					t.Errorf("an unknown function: %d %s", code, text)
				}
				synctest.Wait()
				notes.check(t, fmt.Sprintf("worker-proxy.v%d.txt", v))
			})
		})
	}
}

// TestSessionsOfTheGateway: what the gateway says to a proxy of the reference, byte for byte.
func TestSessionsOfTheGateway(t *testing.T) {
	for _, v := range sessionAt()[1:] {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, uint64(v)+1)
			within(t, func(n *network) {
				notes := new(transcript)
				notes.note("A proxy that picks version %d, scripted (>), and our gateway (<).", v)
				near, far := net.Pipe()
				n.ends = append(n.ends, func() { _ = near.Close() })
				var once bool
				link := n.gateway(func() net.Conn {
					if once {
						return nil
					}
					once = true
					return far
				})
				p := newPeer(t, near, notes)
				n.proxyForClient(p, v)
				if s := link.Status(); s.State != upstream.Ready || s.Offer.Version != int(v) || len(s.Models) != 1 {
					t.Fatalf("%+v", s)
				}
				notes.note("an answer in one message")
				call := n.call(link, 1)
				p.reads(v, 1)
				p.says(v, 1, response(200, "application/json", whole))
				if piece, err := call.Recv(time.Minute); err != nil || string(piece.Data) != whole {
					t.Errorf("%+v %v", piece, err)
				}
				call.Close()
				synctest.Wait()
				notes.note("a request that nobody wants any more")
				call = n.call(link, 2)
				p.reads(v, 2)
				call.Close()
				synctest.Wait()
				notes.check(t, fmt.Sprintf("gateway-proxy.v%d.txt", v))
			})
		})
	}
}
