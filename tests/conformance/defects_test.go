package conformance

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/guest/proxy"
	"cocoon/host/gateway/upstream"
)

// The tests are named after the rows of protocol.md section 12: what the reference implementation does wrong.

const counts = `data: {"id":"c1","choices":[],"usage":{"prompt_tokens":34,"completion_tokens":40,"total_tokens":74}}` + "\n\n"

// TestDefect01StreamsAreBilledEventByEvent: whatever the cut of the engine's bytes, the app gets them all and pays the same.
func TestDefect01StreamsAreBilledEventByEvent(t *testing.T) {
	full := event1 + event2 + counts + event3
	within(t, func(n *network) {
		cut, asked := 0, 0
		e := &script{play: func([]byte) (string, string) { return "text/event-stream", full }, body: func(s string) io.ReadCloser {
			return io.NopCloser(io.MultiReader(strings.NewReader(s[:cut]), strings.NewReader(s[cut:])))
		}}
		n.workerOf(e, 1, 5)
		for _, v := range []int32{1, 5} {
			c, _ := n.client(&offer{1, v}, nil)
			for cut = range len(full) {
				asked++
				c.tell(good(asked, stream).run(v))
				if r := c.collect(asked); r.body != event1+event2+event3 || r.used.total != 74 {
					t.Fatalf("cut at %d, version %d: %+v", cut, v, r)
				}
				if got := n.settled(); got != int64(asked)*74 {
					t.Fatalf("cut at %d, version %d: billed %d", cut, v, got)
				}
			}
		}
	})
}

// TestDefect02NegativeLimitsAreRefused: each number of a modified client, negative, zero and at its ends, straight as TL.
func TestDefect02NegativeLimitsAreRefused(t *testing.T) {
	const least, most = math.MinInt32, math.MaxInt32
	cases := map[string]struct {
		coefficient, maxTokens int32
		timeout                float64
		code                   int32
	}{
		"tokens -1":               {4000, -1, 1, 621},
		"tokens -1000000":         {4000, -1_000_000, 1, 621},
		"tokens least":            {4000, least, 1, 621},
		"tokens 0":                {4000, 0, 1, 621},
		"coefficient -1":          {-1, 10, 1, 621},
		"coefficient least":       {least, 10, 1, 621},
		"coefficient 0":           {0, 10, 1, 621},
		"coefficient 10^9":        {1_000_000_000, 10, 1, 621},
		"coefficient most":        {most, 10, 1, 621},
		"both negative":           {-4000, -1000, 1, 621},
		"timeout -1":              {4000, 10, -1, 621},
		"timeout NaN":             {4000, 10, math.NaN(), 621},
		"timeout infinite":        {4000, 10, math.Inf(1), 621},
		"timeout minus infinite":  {4000, 10, math.Inf(-1), 621},
		"timeout barely negative": {4000, 10, -math.SmallestNonzeroFloat64, 621},
		"tokens most":             {4000, most, 1, 0},
		"both most":               {999_999_999, most, 1, 602}, // more than anybody has, and the body says no less
		"timeout most":            {4000, 10, math.MaxFloat64, 0},
	}
	for _, v := range []int32{0, 1, 4, 5} {
		within(t, func(n *network) {
			w, wv := n.worker(&offer{0, v}, 5, 4, nil)
			c, _ := n.client(&offer{0, v}, nil)
			id := 0
			for name, tc := range cases {
				id++
				before := n.used().Max
				q := question{id: id, coefficient: tc.coefficient, maxTokens: tc.maxTokens, timeout: tc.timeout, body: strings.Replace(chat, `,"max_tokens":50`, "", 1)}
				c.tell(q.run(v))
				if tc.code != 0 {
					if r := c.collect(id); r.code != tc.code || r.begun || r.used != (tokens{}) {
						t.Errorf("%s at %d: %+v", name, v, r)
					}
				} else {
					o := w.order()
					if o.timeout <= 0 || o.timeout > 3600 {
						t.Errorf("%s at %d: the worker may take %v s", name, v, o.timeout)
					}
					w.begin(wv, o, response(http.StatusOK, "application/json", whole), usage(wv))
					if r := c.collect(id); r.status != http.StatusOK {
						t.Errorf("%s at %d: %+v", name, v, r)
					}
				}
				if s := n.used(); s.Reserved != 0 || s.Max < before || tc.code != 0 && s.Max != before {
					t.Errorf("%s at %d: %+v", name, v, s)
				}
			}
		})
	}
}

// TestDefect02NegativeNumbersOfWorkersAreRefused: prices, limits, counts and credit.
func TestDefect02NegativeNumbersOfWorkersAreRefused(t *testing.T) {
	for name, connect := range map[string]msg{
		"price -1": connectWorker(&offer{1, 5}, 5, -1, 4), "price 10^9": connectWorker(&offer{1, 5}, 5, 1_000_000_000, 4),
		"slots 0": connectWorker(&offer{1, 5}, 5, 1000, 0), "slots -1": connectWorker(&offer{1, 5}, 5, 1000, -1),
	} {
		within(t, func(n *network) {
			p := n.join(n.proxy.ServeWorker, proxy.Peer{}, nil)
			if _, code, text := p.ask(connect); code != 602 || !p.closed() {
				t.Errorf("%s: %d %s", name, code, text)
			}
		})
	}
	for name, m := range map[string]msg{"price -1": boxed(workerCoefficient).i32(-1), "price 10^9": boxed(workerCoefficient).i32(1_000_000_000)} {
		within(t, func(n *network) {
			w, _ := n.worker(&offer{1, 5}, 5, 4, nil)
			w.tell(m)
			if !w.closed() {
				t.Errorf("%s: the worker stays", name)
			}
			n.lives()
		})
	}
	for _, v := range []int32{0, 1, 4, 5} {
		within(t, func(n *network) {
			w, _ := n.worker(&offer{0, v}, 5, 4, nil)
			c, _ := n.client(&offer{1, 5}, nil)
			c.tell(good(1, chat).run(5))
			w.begin(v, w.order(), response(200, "application/json", whole), &tokens{-5, math.MinInt64, -1_000_000, -1, -7})
			if r := c.collect(1); r.used != (tokens{}) || n.settled() != 0 {
				t.Errorf("negative counts at %d: %+v, billed %d", v, r.used, n.settled())
			}
		})
	}
	within(t, func(n *network) {
		w, _ := n.worker(&offer{1, 5}, 5, 4, nil)
		c, _ := n.client(&offer{5, 5}, nil)
		c.tell(good(1, stream).run(5))
		w.order()
		c.tell(boxed(clientCredit).raw(named(1)...).i32(-1))
		if !c.closed() {
			t.Error("a client with negative credit stays")
		}
	})
}

// TestDefect02NegativeNumbersReachNoEngine: the same through a proxy that is modified, and through the gateway's HTTP.
func TestDefect02NegativeNumbersReachNoEngine(t *testing.T) {
	within(t, func(n *network) {
		near, far := net.Pipe()
		n.ends = append(n.ends, func() { _ = near.Close() })
		e := new(script)
		n.genuine(e, 1, 5, once(far))
		p := newPeer(t, near, nil)
		n.proxyForWorker(p, 5)
		run := func(id int, coefficient int64, timeout float64, body string) reply {
			p.tell(boxed(proxyRunQueryEx).bin(post("/v1/chat/completions", body)).raw(boxed(paymentEmpty)...).i64(coefficient).f64(timeout).raw(named(id)...).i32(0))
			return p.answered(5, id)
		}
		for i, tc := range []struct {
			coefficient int64
			timeout     float64
		}{{-1, 60}, {math.MinInt64, 60}, {1_000_000_000, 60}, {math.MaxInt64, 60}, {1000, 0}, {1000, -1}, {1000, math.NaN()}, {1000, math.Inf(1)}} {
			if r := run(i, tc.coefficient, tc.timeout, chat); r.code != 621 {
				t.Errorf("%+v: %+v", tc, r)
			}
		}
		for i, limit := range []string{"-1", "0", "2147483648", "-9223372036854775809", "1.5"} {
			if r := run(0x20+i, 1000, 60, strings.Replace(chat, "50", limit, 1)); r.status != 400 || !strings.Contains(r.body, `"param":"max_tokens"`) {
				t.Errorf("max_tokens %s: %+v", limit, r)
			}
		}
		if len(e.asked()) != 0 {
			t.Error("an engine was asked")
		}
	})
	within(t, func(n *network) {
		app := n.app(n.pool(n.own))
		for _, field := range []string{"max_tokens", "max_completion_tokens", "max_coefficient", "timeout", "n"} {
			for _, value := range []string{"-1", "0", "1e99", "-2147483648", "99999999999999999999"} {
				r := app("/v1/chat/completions", strings.Replace(chat, `"max_tokens":50`, `"`+field+`":`+value, 1))
				if r.Code != 400 || !strings.Contains(r.Body.String(), `"param":"`+field+`"`) {
					t.Errorf("%s %s: %d %s", field, value, r.Code, r.Body)
				}
			}
		}
	})
}

// TestDefect03TimeoutsAndErrorsAreBilled: a client that lets its time run out after half of a stream pays for that half.
func TestDefect03TimeoutsAndErrorsAreBilled(t *testing.T) {
	for _, v := range []int32{1, 4, 5} {
		within(t, func(n *network) {
			w, _ := n.worker(&offer{1, v}, 5, 4, nil)
			c, _ := n.client(&offer{1, 5}, nil)
			q := good(1, stream)
			q.timeout = 10
			c.tell(q.run(5))
			o := w.order()
			kind, half := "text/event-stream", event1
			if v < 5 {
				kind, half = "application/json", row1
			}
			w.begin(v, o, response(200, kind, ""), nil)
			w.part(v, o, half, nil)
			<-time.After(11 * time.Second)
			if v >= 5 {
				w.hearing(proxyCancel)
				w.tell(boxed(proxyErrorEx).raw(o.id[:]...).i32(653).str("cancelled").i32(1).finalInfo(v, tokens{34, 0, 20, 0, 54}))
			} else {
				w.part(v, o, row2, &tokens{34, 0, 20, 0, 54})
			}
			if r := c.collect(1); r.code != 652 || !strings.HasPrefix(r.text, "timeout") || !strings.Contains(r.body, `"error"`) || strings.Contains(r.body, "[DONE]") {
				t.Errorf("worker %d: %+v", v, r)
			}
			if got := n.settled(); got != 54 {
				t.Errorf("worker %d: billed %d for half of a stream", v, got)
			}
		})
	}
	within(t, func(n *network) { // an error is billed like an answer
		w, _ := n.worker(&offer{1, 4}, 5, 4, nil)
		c, _ := n.client(&offer{1, 4}, nil)
		c.tell(good(1, chat).run(4))
		o := w.order()
		w.tell(boxed(proxyErrorEx).raw(o.id[:]...).i32(652).str("timeout").i32(1).finalInfo(4, *usage(4)))
		if r := c.collect(1); r.code != 652 || r.used.total != 74 || n.settled() != 74 {
			t.Errorf("%+v, billed %d", r, n.settled())
		}
	})
}

// TestDefect04InflatedNumbersDoNotStopTheProxy: nor with what they are.
func TestDefect04InflatedNumbersDoNotStopTheProxy(t *testing.T) {
	for name, numbers := range map[string][3]int64{
		"bc": {1 << 62, 0, 0}, "db": {0, math.MaxInt64, 0}, "max": {0, 0, 1}, "all": {math.MaxInt64, math.MaxInt64, math.MaxInt64},
	} {
		within(t, func(n *network) {
			p := n.join(n.proxy.ServeWorker, proxy.Peer{}, nil)
			p.must(connectWorker(&offer{1, 4}, 5, 1000, 4), workerConnected)
			r := p.must(boxed(workerCompare).i64(numbers[0]).i64(numbers[1]).i64(numbers[2]), workerCompared)
			if payment(r) == nil {
				t.Errorf("%s: even no tokens are signed for", name)
			}
			if db, most, code := r.i64(), r.i64(), r.i32(); db != 0 || most != 0 || code != 1 {
				t.Errorf("%s: db %d, max %d, code %d", name, db, most, code)
			}
			n.lives()
		})
	}
	within(t, func(n *network) {
		p := n.join(n.proxy.ServeWorker, proxy.Peer{}, nil)
		p.must(connectWorker(&offer{1, 4}, 5, 1000, 4), workerConnected)
		if _, code, _ := p.ask(boxed(workerCompare).i64(-1).i64(0).i64(0)); code != 621 || !p.closed() {
			t.Errorf("a negative number: %d", code)
		}
		n.lives()
	})
}

// malformed are bytes that are no message, with a name each.
func malformed() map[string]msg {
	return map[string]msg{
		"nothing":            {},
		"half an id":         {1, 2},
		"an id alone":        boxed(clientConnect),
		"cut in a string":    boxed(clientConnect).i32(3).raw(48, 'E', 'Q'),
		"bytes behind it":    boxed(getWorkerTypesV2).i32(0),
		"an unknown flag":    boxed(clientConnect).i32(1 << 9).str("x").i32(1),
		"no Bool":            boxed(workerComplete).i32(7),
		"a vector of 2^31-1": boxed(workerTypesV2).i32(math.MaxInt32),
		"a vector of -1":     boxed(workerTypesV2).i32(-1),
		"padding of ones":    boxed(authorizeShort).raw(1, 'x', 1, 1),
		"a long short form":  boxed(authorizeShort).raw(0xfe, 1, 0, 0, 'x', 0, 0, 0),
	}
}

// TestDefect05MalformedInnerTLInEveryState: each state of each session, as a query and as a packet. Only who sent it may
// lose its connection.
func TestDefect05MalformedInnerTLInEveryState(t *testing.T) {
	states := map[string]func(n *network) *peer{
		"a client before its handshake": func(n *network) *peer { return n.join(n.proxy.ServeClient, proxy.Peer{}, nil) },
		"a client that is connected": func(n *network) *peer {
			p := n.join(n.proxy.ServeClient, proxy.Peer{}, nil)
			p.must(connectClient(&offer{1, 5}, 1), clientConnected)
			return p
		},
		"a client that is ready":        func(n *network) *peer { p, _ := n.client(&offer{1, 5}, nil); return p },
		"a worker before its handshake": func(n *network) *peer { return n.join(n.proxy.ServeWorker, proxy.Peer{}, nil) },
		"a worker that compares": func(n *network) *peer {
			p := n.join(n.proxy.ServeWorker, proxy.Peer{}, nil)
			p.must(connectWorker(&offer{1, 5}, 5, 1000, 4), workerConnected)
			return p
		},
		"a worker that is ready": func(n *network) *peer { p, _ := n.worker(&offer{1, 5}, 5, 4, nil); return p },
	}
	for state, enter := range states {
		within(t, func(n *network) {
			for name, m := range malformed() {
				p := enter(n)
				if r, code, _ := p.ask(m); r != nil || code != 500 && code != 621 {
					t.Errorf("%s, %s as a query: code %d", state, name, code)
				}
				q := enter(n)
				q.tell(m)
				q.tell(boxed(clientRunQueryEx).str(name)) // and one whose fields are cut
				synctest.Wait()
			}
			n.lives()
		})
	}
}

// TestDefect05MalformedAnswers: whatever a worker answers, its client gets one end and the proxy goes on.
func TestDefect05MalformedAnswers(t *testing.T) {
	for name, answer := range map[string]func(p *peer, o order){
		"a head that is none":    func(p *peer, o order) { p.begin(5, o, boxed("01020304"), nil) },
		"an empty head":          func(p *peer, o order) { p.begin(5, o, msg{}, nil) },
		"a status of 99":         func(p *peer, o order) { p.begin(5, o, response(99, "application/json", ""), nil) },
		"a negative status":      func(p *peer, o order) { p.begin(5, o, response(-200, "application/json", ""), usage(5)) },
		"a part before the head": func(p *peer, o order) { p.part(5, o, event1, nil) },
		"two heads": func(p *peer, o order) {
			h := response(200, "application/json", "")
			p.begin(5, o, h, nil)
			p.begin(5, o, h, nil)
		},
		"a request as its head":    func(p *peer, o order) { p.begin(5, o, post("/", ""), usage(5)) },
		"an error without numbers": func(p *peer, o order) { p.tell(boxed(proxyErrorEx).raw(o.id[:]...).i32(602).str("oops").i32(0)) },
		"another request's answer": func(p *peer, o order) {
			o2 := o
			o2.id[0] ^= 1
			p.begin(5, o2, response(200, "application/json", whole), usage(5))
			_ = p.conn.Close()
		},
	} {
		within(t, func(n *network) {
			w, _ := n.worker(&offer{1, 5}, 5, 4, nil)
			c, _ := n.client(&offer{1, 5}, nil)
			c.tell(good(1, chat).run(5))
			answer(w, w.order())
			if r := c.collect(1); r.code != 621 && r.code != 602 || r.begun && name != "two heads" {
				t.Errorf("%s: %+v", name, r)
			}
			n.lives()
		})
	}
}

// TestDefect06AClosingContractIsRefusedAlone: the state of one client's contract stops nobody else.
func TestDefect06AClosingContractIsRefusedAlone(t *testing.T) {
	within(t, func(n *network) {
		n.worker(&offer{1, 5}, 5, 4, nil)
		c, v := n.client(&offer{1, 5}, nil)
		set := func(f func(*proxy.Account)) { n.chain.mu.Lock(); n.chain.account = f; n.chain.mu.Unlock() }
		set(func(a *proxy.Account) { a.Closing = true })
		c.tell(good(1, chat).run(v))
		if r := c.collect(1); r.code != 651 || !strings.HasPrefix(r.text, "client is closing") {
			t.Errorf("%+v", r)
		}
		p := n.join(n.proxy.ServeClient, proxy.Peer{}, nil)
		if _, code, text := p.ask(connectClient(&offer{1, 5}, 1)); code != 602 || !strings.HasPrefix(text, "client is closing") {
			t.Errorf("%d %s", code, text)
		}
		set(nil)
		n.lives()
	})
}

// TestDefect07AWorkerThatIsNotListedWaits: it says why, and begins to serve when it is listed.
func TestDefect07AWorkerThatIsNotListedWaits(t *testing.T) {
	within(t, func(n *network) {
		n.chain.WorkerImages = map[[32]byte]bool{}
		p := n.join(n.proxy.ServeWorker, proxy.Peer{Attested: true, Image: [32]byte{1}}, nil)
		if _, code, text := p.ask(connectWorker(&offer{1, 5}, 5, 1000, 4)); code != 602 || !strings.Contains(text, "not in root") {
			t.Errorf("%d %s", code, text)
		}
	}, func(c *proxy.Config, _ *proxy.Deps) { c.CheckWorkers = true })
	within(t, func(n *network) {
		var mu sync.Mutex
		why := errors.New("image hash 00ab is not in the root contract")
		w := n.unlisted(func() error { mu.Lock(); defer mu.Unlock(); return why })
		<-time.After(2 * time.Minute)
		if s := w.Status(); s.State != "not eligible" || !strings.Contains(s.Reason, "00ab") || len(s.Proxies) != 0 {
			t.Errorf("%+v", s)
		}
		mu.Lock()
		why = nil
		mu.Unlock()
		<-time.After(2 * time.Minute)
		if s := w.Status(); len(s.Proxies) != 1 || !s.Proxies[0].Ready {
			t.Errorf("listed: %+v", s)
		}
	})
}

// slowBody is an engine's answer that does not end by itself.
type slowBody struct {
	first  io.Reader
	closed chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	if n, err := b.first.Read(p); err == nil {
		return n, nil
	}
	<-b.closed
	return 0, io.ErrClosedPipe
}

func (b *slowBody) Close() error {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	return nil
}

// TestDefect08ACancellationReachesTheEngine within a second, by word or by leaving.
func TestDefect08ACancellationReachesTheEngine(t *testing.T) {
	for name, leave := range map[string]func(c *peer){
		"by word":    func(c *peer) { c.tell(boxed(clientCancel).raw(named(1)...)) },
		"by leaving": func(c *peer) { _ = c.conn.Close() },
	} {
		within(t, func(n *network) {
			b := &slowBody{first: strings.NewReader(event1), closed: make(chan struct{})}
			n.workerOf(&script{body: func(string) io.ReadCloser { return b }}, 1, 5)
			c, v := n.client(&offer{5, 5}, nil)
			c.tell(good(1, stream).run(v))
			synctest.Wait()
			began := time.Now()
			leave(c)
			<-b.closed
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: the engine works on for %s", name, took)
			}
			if got := n.settled(); got <= 0 {
				t.Errorf("%s: what was generated is free", name)
			}
		})
	}
}

// TestDefect09AProxyThatDiesEndsItsRequests: at once, and not at some timeout.
func TestDefect09AProxyThatDiesEndsItsRequests(t *testing.T) {
	within(t, func(n *network) {
		near, far := net.Pipe()
		link := n.gateway(once(far))
		p := newPeer(t, near, nil)
		n.proxyForClient(p, 4)
		call := n.call(link, 1)
		p.reads(4, 1)
		began := time.Now()
		_ = near.Close()
		if _, err := call.Recv(time.Hour); err == nil || time.Since(began) > time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if _, err := link.Start(n.ctx, upstream.Ask{ID: [32]byte{2}, Timeout: time.Minute}); err == nil {
			t.Error("a request goes to a dead proxy")
		}
	})
}

// TestDefect10IdleEqualWorkersShareTheWork: not the oldest connection gets all, nor anything near it.
func TestDefect10IdleEqualWorkersShareTheWork(t *testing.T) {
	for _, v := range []int32{4, 5} {
		within(t, func(n *network) {
			const requests = 1000
			served := make([]int, 2)
			for i := range served {
				w, wv := n.worker(&offer{1, v}, byte(5+i), 4, nil)
				n.serve(w, func(o order) {
					served[i]++
					w.begin(wv, o, response(200, "application/json", whole), usage(wv))
				})
			}
			c, _ := n.client(&offer{1, 4}, nil)
			for i := range requests {
				c.tell(good(i, chat).run(4))
				if r := c.collect(i); r.status != 200 {
					t.Fatalf("%+v", r)
				}
			}
			synctest.Wait()
			if share := float64(served[0]) / requests; served[0]+served[1] != requests || share < 0.45 || share > 0.55 {
				t.Errorf("version %d: served %v", v, served)
			}
		})
	}
}

// TestDefect11MaxTokensIsEnforced: at the worker, which writes it and stops an engine that goes on, and at the proxy, which
// bills no more than was reserved whatever a worker counts.
func TestDefect11MaxTokensIsEnforced(t *testing.T) {
	within(t, func(n *network) {
		e := &script{play: func([]byte) (string, string) {
			return "text/event-stream", strings.Repeat(event1, 5000) + event2 + counts + event3
		}}
		n.workerOf(e, 1, 5)
		c, v := n.client(&offer{5, 5}, nil)
		c.tell(good(1, stream).run(v))
		r := c.collect(1)
		if !strings.Contains(r.body, `"error"`) || strings.Contains(r.body, "[DONE]") || strings.Count(r.body, "hi") > 2500 {
			t.Errorf("the engine goes on: %d events", strings.Count(r.body, "hi"))
		}
		var asked struct {
			MaxTokens int `json:"max_tokens"`
		}
		if err := json.Unmarshal(e.asked()[0], &asked); err != nil || asked.MaxTokens != 50 {
			t.Errorf("the engine is asked %s", e.asked()[0])
		}
	})
	for _, v := range []int32{0, 4, 5} {
		within(t, func(n *network) {
			w, _ := n.worker(&offer{0, v}, 5, 4, nil)
			c, _ := n.client(&offer{1, 5}, nil)
			c.tell(good(1, chat).run(5))
			o := w.order()
			reserved := n.used().Reserved
			w.begin(v, o, response(200, "application/json", whole), &tokens{1 << 40, 1 << 40, 1 << 40, 1 << 40, 1 << 42})
			c.collect(1)
			if got := n.settled(); reserved <= 0 || got > reserved {
				t.Errorf("version %d: billed %d, reserved %d", v, got, reserved)
			}
		})
	}
}

// TestDefect12ToolsPass: what the reference knows nothing of reaches an engine of ours byte for byte.
func TestDefect12ToolsPass(t *testing.T) {
	const more = `,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"auto","logit_bias":{"5":-1},"seed":7,"stop":"x"`
	within(t, func(n *network) {
		e := new(script)
		n.workerOf(e, 1, 5)
		app := n.app(n.pool(n.own))
		synctest.Wait()
		if r := app("/v1/chat/completions", chat[:len(chat)-1]+more+"}"); r.Code != 200 {
			t.Fatalf("%d %s", r.Code, r.Body)
		}
		if body := string(e.asked()[0]); !strings.Contains(body, more) {
			t.Errorf("the engine is asked %s", body)
		}
	})
}

// TestDefect13ErrorsAreOpenAIs: type, code, parameter and message of everything that goes wrong.
func TestDefect13ErrorsAreOpenAIs(t *testing.T) {
	within(t, func(n *network) {
		n.worker(&offer{4, 4}, 5, 4, nil)
		app := n.app(n.pool(n.own))
		synctest.Wait()
		for name, tc := range map[string]struct {
			path, body, kind, code string
			status                 int
		}{
			"no JSON":         {"/v1/chat/completions", "{", "invalid_request_error", "invalid_json", 400},
			"a bad field":     {"/v1/chat/completions", strings.Replace(chat, "50", "-1", 1), "invalid_request_error", "invalid_value", 400},
			"an old worker":   {"/v1/chat/completions", strings.Replace(chat, `"max_tokens"`, `"top_k":4,"max_tokens"`, 1), "invalid_request_error", "unsupported_parameter", 400},
			"an unknown path": {"/v1/other", chat, "invalid_request_error", "unknown_url", 404},
			"unknown model":   {"/v1/chat/completions", strings.Replace(chat, base, "nobody/nothing", 1), "invalid_request_error", "model_not_found", 404},
		} {
			r := app(tc.path, tc.body)
			var e struct {
				Error struct{ Message, Type, Code string }
			}
			if err := json.Unmarshal(r.Body.Bytes(), &e); err != nil || r.Code != tc.status || e.Error.Type != tc.kind || e.Error.Code != tc.code || e.Error.Message == "" ||
				!strings.HasPrefix(r.Header().Get("Content-Type"), "application/json") {
				t.Errorf("%s: %d %v %s", name, r.Code, r.Header(), r.Body)
			}
		}
		models := app("/v1/models", "")
		if text := models.Body.String(); models.Code != 200 || strings.Count(text, `"object":"list"`) != 1 || !strings.Contains(text, base) {
			t.Errorf("models: %d %s", models.Code, text)
		}
	})
}

// TestDefect14NamesOfPeersAreText: and nothing that changes a state answers a GET.
func TestDefect14NamesOfPeersAreText(t *testing.T) {
	const evil = `<script>alert("x")</script>`
	within(t, func(n *network) {
		p := n.join(n.proxy.ServeWorker, proxy.Peer{}, nil)
		p.must(boxed(workerConnect).i32(3).str(address(5).Friendly(false)).str(evil).i32(1000).yes(true).i32(1).i32(4).i32(1).i32(5), workerConnected)
		p.must(boxed(workerCompare).i64(0).i64(0).i64(0), workerCompared)
		p.must(boxed(workerComplete).yes(false), workerCompleted)
		app := n.app(n.pool(n.own))
		synctest.Wait()
		for _, path := range []string{"/v1/models", "/stats", "/jsonstats"} {
			if r := app(path, ""); r.Code != 200 || strings.Contains(r.Body.String(), "<script>alert") {
				t.Errorf("%s: %d", path, r.Code)
			}
		}
		for _, path := range []string{"/request/charge?proxy=x", "/request/close?proxy=x", "/admin/withdraw", "/request/topup"} {
			if r := app(path, ""); r.Code != 404 && r.Code != 405 {
				t.Errorf("%s: %d", path, r.Code)
			}
		}
	})
}

// TestDefect15ThereAreMetricsAndReadiness: of the proxy and of the gateway, before and after a request.
func TestDefect15ThereAreMetricsAndReadiness(t *testing.T) {
	within(t, func(n *network) {
		app := n.app(n.pool(n.own))
		synctest.Wait()
		if r := app("/healthz", ""); r.Code != 200 {
			t.Errorf("healthz %d", r.Code)
		}
		n.workerOf(new(script), 1, 5)
		<-time.After(time.Minute)
		if r := app("/readyz", ""); r.Code != 200 {
			t.Errorf("readyz %d %s", r.Code, r.Body)
		}
		if r := app("/v1/chat/completions", chat); r.Code != 200 {
			t.Fatalf("%d %s", r.Code, r.Body)
		}
		var page strings.Builder
		n.proxy.WriteMetrics(&page)
		for name, text := range map[string]string{"gateway": app("/metrics", "").Body.String(), "proxy": page.String()} {
			if !strings.Contains(text, "cocoon_") || strings.Contains(text, canary) {
				t.Errorf("%s: %s", name, text)
			}
		}
		if ok, why := n.proxy.Ready(); !ok {
			t.Errorf("the proxy is not ready: %s", why)
		}
	})
}

// TestDefect16OneSlowReaderSlowsNobody: neither another stream of its own connection nor anybody else's.
func TestDefect16OneSlowReaderSlowsNobody(t *testing.T) {
	within(t, func(n *network) {
		long := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + strings.Repeat("x", 60<<10) + "\"}}]}\n\n"
		e := &script{play: func(body []byte) (string, string) {
			if strings.Contains(string(body), `"stream":true`) {
				return "text/event-stream", strings.Repeat(long, 40) + event2 + event3
			}
			return "application/json", whole
		}}
		n.workerOf(e, 1, 5)
		c, v := n.client(&offer{5, 5}, nil)
		c.tell(good(1, stream).run(v)) // whose credit never comes
		synctest.Wait()
		began := time.Now()
		for id := range 20 {
			c.tell(good(id+10, chat).run(v))
			if r := c.collect(id + 10); r.status != 200 {
				t.Fatalf("%+v", r)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the others took %s", took)
		}
	})
}

// TestDefect17SilentPeersAreCutInEveryStage: a connection that says nothing, or stops in the middle, does not stay.
func TestDefect17SilentPeersAreCutInEveryStage(t *testing.T) {
	for name, door := range map[string]func(n *network) func(near net.Conn){
		"nothing at all":   func(*network) func(net.Conn) { return func(net.Conn) {} },
		"half of a header": func(*network) func(net.Conn) { return func(c net.Conn) { _, _ = c.Write([]byte{12, 0, 0}) } },
		"half of a frame": func(*network) func(net.Conn) {
			return func(c net.Conn) { _, _ = c.Write(msg(nil).i32(1<<20).i32(0).raw(1, 2, 3)) }
		},
		"connect, and no more": func(n *network) func(net.Conn) {
			return func(c net.Conn) { newPeer(n.TB, c, nil).connect() }
		},
	} {
		within(t, func(n *network) {
			near, far := net.Pipe()
			n.running.Go(func() { n.served <- n.proxy.ServeClient(n.ctx, far, proxy.Peer{}) })
			began := time.Now()
			door(n)(near)
			if name != "connect, and no more" {
				n.running.Go(func() { _, _ = io.Copy(io.Discard, near) })
				n.ends = append(n.ends, func() { _ = near.Close() })
			}
			if err, took := <-n.served, time.Since(began); err == nil || took > 6*time.Minute {
				t.Errorf("%s: it stays %s, and ends with %v", name, took, err)
			}
		})
	}
}
