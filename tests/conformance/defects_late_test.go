package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/wire"
	"cocoon/guest/proxy"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/promptkeys"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/policy"
	"cocoon/tests/logbook"
)

// TestDefect21PeersBehindIPv6: they are served, and a router of either generation may name them.
func TestDefect21PeersBehindIPv6(t *testing.T) {
	for generation, head := range map[string]msg{
		"Dec": msg(nil).i32(0).raw(make([]byte, 48)...), "Apr": msg(nil).i32(2).i32(0).raw(make([]byte, 8*48+64+48)...),
	} {
		body := head.bin(make([]byte, 32)).str("2001:db8::7").i32(40001).str("::1").i32(8118)
		pre, _, err := wire.ReadPreamble(bytes.NewReader(msg(nil).i32(int32(len(body))).raw(body...)))
		if err != nil || pre.Source != netip.MustParseAddrPort("[2001:db8::7]:40001") || pre.Destination.Addr() != netip.IPv6Loopback() {
			t.Errorf("%s: %+v %v", generation, pre, err)
		}
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	defer l.Close() //nolint:errcheck // test
	ctx, cancel := context.WithCancel(t.Context())
	n := &network{TB: t, ctx: ctx, log: new(logbook.Book), served: make(chan error, 4)}
	n.start(nil)
	n.running.Go(func() {
		if conn, err := l.Accept(); err == nil {
			n.served <- n.proxy.ServeClient(ctx, conn, proxy.Peer{})
		}
	})
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, conn, nil)
	p.connect()
	if v := p.shaken(&offer{1, 4}); v != 4 {
		t.Errorf("version %d", v)
	}
	_ = conn.Close() // nobody is left to tell
	if err := <-n.served; !errors.Is(err, io.EOF) {
		t.Errorf("the session ended with %v", err)
	}
	cancel()
	n.running.Wait()
}

// TestDefect22AWorkerWhoseProxyForgotComesBack: with a proof, with none, with nonsense, and without asking for more.
func TestDefect22AWorkerWhoseProxyForgotComesBack(t *testing.T) {
	proof, err := ledger.Keyed{Key: seeded(2)}.Sign(ledger.Party{Role: ledger.Worker, Address: address(5).String()}, 900)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		more []msg
		want int64
	}{
		"with our signature":  {[]msg{boxed(workerCompareMore).i64(900).bin(proof)}, 900},
		"without a proof":     {[]msg{boxed(workerCompareMore).i64(900).str("")}, 0},
		"with nonsense":       {[]msg{boxed(workerCompareMore).i64(900).str("nonsense")}, 0},
		"beyond what is ours": {[]msg{boxed(workerCompareMore).i64(901).bin(proof)}, 0},
		"twice":               {[]msg{boxed(workerCompareMore).i64(900).str(""), boxed(workerCompareMore).i64(900).bin(proof)}, 900},
		"no more":             {nil, 0},
	} {
		within(t, func(n *network) {
			p := n.join(n.proxy.ServeWorker, proxy.Peer{}, nil)
			p.must(connectWorker(&offer{1, 4}, 5, 1000, 4), workerConnected)
			r := p.must(boxed(workerCompare).i64(900).i64(900).i64(900), workerCompared)
			payment(r)
			r.i64()
			r.i64()
			if code := r.i32(); code != 1 {
				t.Fatalf("%s: code %d", name, code)
			}
			for _, m := range tc.more {
				if code := p.must(m, workerComparedMore).i32(); code != 0 {
					t.Errorf("%s: code %d", name, code)
				}
			}
			p.must(boxed(workerComplete).yes(false), workerCompleted)
			r = p.must(boxed(workerUpdateStatus), workerStatus)
			payment(r)
			if db := r.i64(); db != tc.want {
				t.Errorf("%s: %d is owed, want %d", name, db, tc.want)
			}
			c, _ := n.client(&offer{1, 4}, nil)
			c.tell(good(1, chat).run(4))
			p.begin(4, p.order(), response(200, "application/json", whole), usage(4))
			if got := c.collect(1); got.status != 200 {
				t.Errorf("%s: %+v", name, got)
			}
		})
	}
	within(t, func(n *network) { // our worker takes the way out, too
		near, far := net.Pipe()
		n.ends = append(n.ends, func() { _ = near.Close() })
		n.genuine(new(script), 1, 5, once(far))
		p := newPeer(t, near, nil)
		p.accept()
		id, r := p.query()
		r.expect(workerConnect)
		p.answer(id, boxed(workerConnected).params(4, true).str(address(0xb1).Friendly(false)))
		id, r = p.query()
		r.expect(workerCompare)
		p.answer(id, boxed(workerCompared).raw(boxed(paymentData).str("signed")...).i64(0).i64(0).i32(1))
		id, r = p.query()
		r.expect(workerCompareMore)
		p.answer(id, boxed(workerComparedMore).i32(0))
		id, r = p.query()
		r.expect(workerComplete)
		p.answer(id, boxed(workerCompleted))
		p.tell(runOnWorker(4, 1, chat))
		if got := p.answered(4, 1); got.status != 200 {
			t.Errorf("%+v", got)
		}
	})
}

// TestDefect24UnknownFunctionsAreAnsweredAtOnce: by every role, in every state.
func TestDefect24UnknownFunctionsAreAnsweredAtOnce(t *testing.T) {
	refused := func(n *network, who string, p *peer) {
		for _, fn := range []msg{boxed("01020304"), boxed("ffffffff").i32(7), boxed("43914e39").i64(1)} { // test.query is one, too
			began := time.Now()
			if _, code, text := p.ask(fn); code != 621 || !strings.Contains(text, "function") || time.Since(began) != 0 {
				n.Errorf("%s: %d %q after %s", who, code, text, time.Since(began))
			}
		}
	}
	within(t, func(n *network) {
		c, _ := n.client(&offer{1, 5}, nil)
		refused(n, "the proxy to a client", c)
		w, _ := n.worker(&offer{1, 5}, 5, 4, nil)
		refused(n, "the proxy to a worker", w)
		early := n.join(n.proxy.ServeWorker, proxy.Peer{}, nil)
		if _, code, _ := early.ask(boxed("01020304")); code != 621 {
			t.Errorf("the proxy to a stranger: %d", code)
		}
	})
	within(t, func(n *network) {
		near, far := net.Pipe()
		n.ends = append(n.ends, func() { _ = near.Close() })
		n.genuine(new(script), 1, 5, once(far))
		p := newPeer(t, near, nil)
		n.proxyForWorker(p, 4)
		refused(n, "the worker", p)
		if _, code, text := p.ask(boxed(workerChangeModel).str("another")); code != 602 {
			t.Errorf("the model of a worker changes: %d %s", code, text)
		}
	})
	within(t, func(n *network) {
		near, far := net.Pipe()
		n.ends = append(n.ends, func() { _ = near.Close() })
		link := n.gateway(once(far))
		p := newPeer(t, near, nil)
		n.proxyForClient(p, 4)
		refused(n, "the gateway", p)
		if s := link.Status(); s.State != upstream.Ready {
			t.Errorf("%+v", s)
		}
	})
}

// TestDefect25AnEmptyAllowListAdmitsNobodyUnattested: only a policy that says "any" does.
func TestDefect25AnEmptyAllowListAdmitsNobodyUnattested(t *testing.T) {
	for doc, want := range map[string]bool{
		`{"type":"tee"}`: false, `{"type":"tdx"}`: false, `{"type":"tee","allowed_image_hashes":[]}`: false, `{"type":"tdx","allowed_image_hashes":[]}`: false,
		`{"type":"tee","image_source":"defer"}`: false, `{"type":"any"}`: true,
	} {
		p, err := policy.Parse([]byte(doc))
		if err != nil {
			if want {
				t.Errorf("%s: %v", doc, err)
			}
			continue // a policy that cannot be is no way in
		}
		if v := p.Check(policy.Evidence{CertLifetime: time.Hour}, policy.Env{Now: time.Now()}); v.OK != want {
			t.Errorf("%s admits an unattested peer: %v (%s)", doc, v.OK, v.Code)
		}
	}
}

// TestDefect26ADisabledProxyDrains: what runs ends well and is signed for, and who comes new is told.
func TestDefect26ADisabledProxyDrains(t *testing.T) {
	within(t, func(n *network) {
		w, wv := n.worker(&offer{1, 5}, 5, 4, nil)
		c, cv := n.client(&offer{1, 5}, nil)
		c.tell(good(1, stream).run(cv))
		o := w.order()
		w.begin(wv, o, response(200, "text/event-stream", ""), nil)
		w.part(wv, o, event1, nil)
		synctest.Wait()
		other, _ := n.client(&offer{1, 5}, nil)
		n.proxy.Refuse("by the operator")
		for _, p := range []struct {
			who string
			at  *peer
			fn  msg
		}{
			{"client", n.join(n.proxy.ServeClient, proxy.Peer{}, nil), connectClient(&offer{1, 5}, 1)},
			{"worker", n.join(n.proxy.ServeWorker, proxy.Peer{}, nil), connectWorker(&offer{1, 5}, 6, 1000, 4)},
		} {
			if _, code, text := p.at.ask(p.fn); code != 651 || !strings.HasPrefix(text, "proxy is disabled") {
				t.Errorf("a new %s: %d %s", p.who, code, text)
			}
		}
		other.tell(good(2, chat).run(cv))
		if r := other.collect(2); r.code != 651 || !strings.HasPrefix(r.text, "proxy is disabled") {
			t.Errorf("a new request: %+v", r)
		}
		w.part(wv, o, event2+event3, usage(wv))
		if r := c.collect(1); r.body != event1+event2+event3 || n.settled() != 74 {
			t.Errorf("%+v, billed %d", r, n.settled())
		}
		r := c.must(boxed(clientUpdateStatus), clientStatus)
		if payment(r) == nil {
			t.Error("what was used is not signed for")
		}
		r = w.must(boxed(workerUpdateStatus), workerStatus)
		if payment(r) == nil {
			t.Error("what was earned is not signed for")
		}
		if ok, why := n.proxy.Ready(); ok || !strings.Contains(why, "operator") {
			t.Errorf("ready %v: %s", ok, why)
		}
		n.proxy.Refuse("")
		n.lives()
	})
}

// sealed is a request that is encrypted to a key, with the client's side of the conversation.
func sealed(t *testing.T, body string, to [32]byte) (string, *promptcrypt.Conversation) {
	t.Helper()
	out, talk, err := promptcrypt.SealRequest([]byte(body), [32]byte{0xc1}, to, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), talk
}

// TestDefect29ShortStringsInAnEncryptedRequest: each is refused, and the worker goes on.
func TestDefect29ShortStringsInAnEncryptedRequest(t *testing.T) {
	seed := [32]byte{0x5e}
	public := promptcrypt.Public(seed)
	within(t, func(n *network) {
		e := new(script)
		n.workerOf(e, 1, 5)
		c, v := n.client(&offer{1, 5}, nil)
		body, _ := sealed(t, chat, public)
		start := strings.Index(body, `"ENC_`)
		end := start + 1 + strings.IndexByte(body[start+1:], '"')
		for i, text := range []string{"", "a", "EN", "ENC", "ENC_", "DEC", "XYZ_00", "ENC_0", "ENC_zz", "ENC_00112233"} {
			q := good(i, body[:start+1]+text+body[end:])
			q.key = &public
			c.tell(q.run(v))
			if r := c.collect(i); r.code != 621 {
				t.Errorf("%q: %+v", text, r)
			}
		}
		if len(e.asked()) != 0 {
			t.Error("an engine was asked")
		}
		q := good(100, body)
		q.key = &public
		c.tell(q.run(v))
		if r := c.collect(100); r.status != 200 {
			t.Errorf("the worker does not serve any more: %+v", r)
		}
	}, func(_ *proxy.Config, d *proxy.Deps) {
		d.PrivateKey = func(_ context.Context, key [32]byte) ([32]byte, bool) { return seed, key == public }
	})
}

// TestDefect30PartsAreClampedToTheirWhole: cached above prompt and reasoning above completion make no negative part.
func TestDefect30PartsAreClampedToTheirWhole(t *testing.T) {
	within(t, func(n *network) { // what a worker of ours counts
		e := &script{play: func([]byte) (string, string) {
			return "application/json", `{"id":"c","choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":34,"completion_tokens":4,` +
				`"total_tokens":38,"prompt_tokens_details":{"cached_tokens":50},"completion_tokens_details":{"reasoning_tokens":9}}}`
		}}
		n.workerOf(e, 1, 4)
		c, v := n.client(&offer{1, 4}, nil)
		c.tell(good(1, chat).run(v))
		if r := c.collect(1); r.used != (tokens{0, 34, 0, 4, 38}) || n.settled() != 38 {
			t.Errorf("%+v, billed %d", r.used, n.settled())
		}
	})
	within(t, func(n *network) { // what a worker of ours claims to a proxy of ours
		w, _ := n.worker(&offer{5, 5}, 5, 4, nil)
		c, v := n.client(&offer{5, 5}, nil)
		c.tell(good(1, chat).run(v))
		w.begin(5, w.order(), response(200, "application/json", whole), &tokens{34, 50, 4, 9, 38})
		if r := c.collect(1); r.used != (tokens{34, 34, 4, 4, 38}) || n.settled() != 38 {
			t.Errorf("%+v, billed %d", r.used, n.settled())
		}
	})
	within(t, func(n *network) { // what one of the reference reports: parts, one of them negative
		w, _ := n.worker(&offer{1, 4}, 5, 4, nil)
		c, v := n.client(&offer{1, 4}, nil)
		c.tell(good(1, chat).run(v))
		w.begin(4, w.order(), response(200, "application/json", whole), &tokens{-16, 50, math.MinInt64, 9, 43})
		if r := c.collect(1); r.used != (tokens{0, 50, 0, 9, 59}) || n.settled() != 59 {
			t.Errorf("%+v, billed %d", r.used, n.settled())
		}
	})
}

// TestEncryptedPromptsGoThrough: from a client that encrypts, over the proxy's key of the key manager, which is scripted by
// bytes in the words of each generation, to a worker of each kind, and back.
func TestEncryptedPromptsGoThrough(t *testing.T) {
	seed := [32]byte{0x5e}
	public := promptcrypt.Public(seed)
	for _, dec := range []bool{false, true} {
		var ring *promptkeys.Ring
		near, far := net.Conn(nil), net.Conn(nil)
		within(t, func(n *network) {
			near, far = net.Pipe()
			n.ends = append(n.ends, func() { _ = near.Close() })
			km := newPeer(t, near, nil)
			n.running.Go(func() { _ = ring.Run(n.ctx) })
			km.accept()
			id, r := km.query()
			r.expect(getProxyKeysApr)
			if v := r.i32(); v != 4 {
				t.Errorf("proto_version %d", v)
			}
			r.end()
			if dec {
				km.refuse(id, 621, "unknown function")
				id, r = km.query()
				r.expect(getProxyKeysDec)
				r.i32()
				r.end()
			}
			until := int32(time.Now().Add(time.Hour).Unix())
			km.answer(id, boxed(privateKeys).i32(2).i32(until).raw(seed[:]...).i32(until-7200).raw(bytes.Repeat([]byte{9}, 32)...))
			synctest.Wait()
			if s := ring.Status(); s.Keys != 1 {
				t.Fatalf("%+v", s)
			}
			n.encrypted(public)
		}, func(_ *proxy.Config, d *proxy.Deps) {
			var err error
			if ring, err = promptkeys.New(promptkeys.Config{Dial: func(context.Context) (net.Conn, error) { return far, nil }, Now: time.Now, Test: true}); err != nil {
				t.Fatal(err)
			}
			d.PrivateKey = ring.Private
		})
	}
}

// encrypted asks in cipher for a document and for a stream, and for what nobody can read.
func (n *network) encrypted(public [32]byte) {
	n.Helper()
	t, ok := n.TB.(*testing.T)
	if !ok {
		n.Fatal("no test")
	}
	e := new(script)
	n.workerOf(e, 1, 5)
	c, v := n.client(&offer{1, 5}, nil)
	ask := func(id int, body string, key *[32]byte) reply {
		q := good(id, body)
		q.key = key
		c.tell(q.run(v))
		return c.collect(id)
	}
	body, talk := sealed(t, chat, public)
	r := ask(1, body, &public)
	plain, err := talk.OpenAnswer([]byte(r.body))
	if err != nil || !strings.Contains(string(plain), `"content":"hi"`) || strings.Contains(r.body, `"hi"`) {
		n.Errorf("%+v opens as %s: %v", r, plain, err)
	}
	if text := string(e.asked()[0]); !strings.Contains(text, canary) || strings.Contains(text, "ENC_") || strings.Contains(text, "is_encrypted") {
		n.Errorf("the engine is asked %s", text)
	}
	body, talk = sealed(t, stream, public)
	r = ask(2, body, &public)
	first, _, _ := strings.Cut(strings.TrimPrefix(r.body, "data: "), "\n")
	if plain, err := talk.OpenAnswer([]byte(first)); err != nil || !strings.Contains(string(plain), `"content":"hi"`) || !strings.HasSuffix(r.body, event3) {
		n.Errorf("%+v opens as %s: %v", r, plain, err)
	}
	other := promptcrypt.Public([32]byte{0xee})
	body, _ = sealed(t, chat, other)
	for i, tc := range []struct {
		body string
		key  *[32]byte
		text string
	}{
		{body, &other, "unknown public key"},
		{body, nil, "the request is encrypted and names no public_key"},
		{chat, &public, "public_key is given and the request is not encrypted"},
		{body, &public, "unknown public key"},
	} {
		if r := ask(10+i, tc.body, tc.key); r.code != 602 || !strings.HasPrefix(r.text, tc.text) {
			n.Errorf("%d: %+v", i, r)
		}
	}
	w, wv := n.worker(&offer{4, 4}, 6, 4, nil) // a worker of the reference gets the key, and the cipher as it is
	for id := 20; id < 60; id++ {
		body, _ := sealed(t, chat, public)
		q := good(id, body)
		q.key = &public
		c.tell(q.run(v))
		synctest.Wait()
		if len(w.frames) == 0 {
			c.collect(id)
			continue
		}
		o := w.order()
		if o.key == nil || promptcrypt.Public(*o.key) != public || !strings.Contains(o.body, `"is_encrypted":"v1"`) || strings.Contains(o.body, "cache_salt") {
			n.Errorf("order %+v", o)
		}
		w.begin(wv, o, response(200, "application/json", whole), usage(wv))
		c.collect(id)
		return
	}
	n.Errorf("the other worker is never asked (%s)", hex.EncodeToString(public[:4]))
}
