package proxy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

func (b *bench) state() ledger.State {
	return b.ledger.State(ledger.Party{Role: ledger.Client, Address: address(4).String()})
}

// settled waits until nothing is reserved and returns the client's counter.
func (b *bench) settled() int64 {
	b.t.Helper()
	synctest.Wait()
	s := b.state()
	if s.Reserved != 0 || s.Running != 0 {
		b.t.Errorf("still reserved: %+v", s)
	}
	return s.Max
}

// TestEveryVersionServesEveryOther: clients and workers of versions 0 to 5 in all pairs get one answer and one bill.
func TestEveryVersionServesEveryOther(t *testing.T) {
	for client := range int32(versionOurs + 1) {
		for worker := range int32(versionOurs + 1) {
			t.Run(fmt.Sprintf("client %d worker %d", client, worker), func(t *testing.T) {
				inProxy(t, func(b *bench) {
					w := b.worker(worker, serveWhole)
					c := b.client(client)
					c.send(run(1, chat))
					r := c.collect(1)
					if r.head == nil || r.head.StatusCode != okStatus || r.body != answer {
						t.Fatalf("answer %+v", r)
					}
					for _, h := range r.head.Headers {
						if hopByHop(h.Name) {
							t.Errorf("header %s goes on", h.Name)
						}
					}
					if (r.info != nil) != (client >= versionEx) || r.info != nil && (r.info.ProxyStartTime != nil) != (client >= versionTimes) {
						t.Errorf("final info %+v", r.info)
					}
					want := tl.TokensUsed{PromptTokensUsed: 23, CachedTokensUsed: 11, CompletionTokensUsed: 30, ReasoningTokensUsed: 10, TotalTokensUsed: 74}
					if client >= versionOurs {
						want = tl.TokensUsed{PromptTokensUsed: 34, CachedTokensUsed: 11, CompletionTokensUsed: 40, ReasoningTokensUsed: 10, TotalTokensUsed: 74}
					}
					if r.tokens != want {
						t.Errorf("tokens %+v, want %+v", r.tokens, want)
					}
					if got := b.settled(); got != 74 {
						t.Errorf("billed %d", got)
					}
					o := w.seen()[0]
					if salted := strings.Contains(string(o.http.Payload), `"cache_salt"`); salted != (worker >= versionOurs) || strings.Contains(string(o.http.Payload), "alice") {
						t.Errorf("forwarded %s", o.http.Payload)
					}
					if worker < versionOurs && math.Abs(o.timeout-57) > 0.01 || worker >= versionOurs && o.timeout != 60 {
						t.Errorf("timeout %v", o.timeout)
					}
					if worker >= versionOurs { // others are asked for no streams
						w.play = serveStream
					}
					c.send(run(2, stream))
					if r := c.collect(2); !strings.HasSuffix(r.body, done) || r.parts == 0 {
						t.Errorf("stream %+v", r)
					}
				})
			})
		}
	}
}

func TestVersionsThatDoNotMeet(t *testing.T) {
	for name, tc := range map[string]struct {
		low, high *int32
		own       [2]int32
		code      session.Code
		want      int32
	}{
		"absent means 0":             {nil, nil, [2]int32{0, 5}, 0, 0},
		"the reference's client":     {new(int32(1)), new(int32(4)), [2]int32{0, 5}, 0, 4},
		"third parties":              {new(int32(1)), new(int32(1)), [2]int32{0, 5}, 0, 1},
		"newer than ours":            {new(int32(3)), new(int32(9)), [2]int32{0, 5}, 0, 5},
		"only newer than ours":       {new(int32(6)), new(int32(9)), [2]int32{0, 5}, 621, 0},
		"older than ours":            {new(int32(0)), new(int32(1)), [2]int32{3, 5}, 621, 0},
		"least above most":           {new(int32(4)), new(int32(1)), [2]int32{0, 5}, 621, 0},
		"negative":                   {new(int32(-1)), new(int32(4)), [2]int32{0, 5}, 621, 0},
		"the worker of Apr at a Dec": {new(int32(3)), new(int32(4)), [2]int32{0, 2}, 621, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				for _, connect := range []func() (tl.Object, error){
					func() (tl.Object, error) {
						p, leave := b.join(b.p.ServeClient, Peer{})
						defer leave()
						params := clientParams(address(4), 0, 0)
						params.MinProtoVersion, params.MaxProtoVersion = tc.low, tc.high
						return p.ask(&tl.ClientConnectToProxy{Params: params})
					},
					func() (tl.Object, error) {
						p, leave := b.join(b.p.ServeWorker, Peer{})
						defer leave()
						params := workerParams(address(5), 0, 0)
						params.MinProtoVersion, params.MaxProtoVersion = tc.low, tc.high
						return p.ask(&tl.WorkerConnectToProxy{Params: params})
					},
				} {
					out, err := connect()
					if code := codeOf(err); code != tc.code {
						t.Fatalf("%v, %v", out, err)
					}
					switch out := out.(type) {
					case *tl.ClientConnectedToProxy:
						if *out.Params.ProtoVersion != tc.want {
							t.Errorf("version %d", *out.Params.ProtoVersion)
						}
					case *tl.WorkerConnectedToProxy:
						if *out.Params.ProtoVersion != tc.want {
							t.Errorf("version %d", *out.Params.ProtoVersion)
						}
					}
				}
			}, func(c *Config, _ *Deps) { c.MinVersion, c.MaxVersion = tc.own[0], tc.own[1] })
		})
	}
}

// TestErrorsOfSection42 has the codes and the beginnings of the texts that clients match on.
func TestErrorsOfSection42(t *testing.T) {
	for name, tc := range map[string]struct {
		play   func(*scriptWorker, order)
		change func(*bench, *scriptWorker)
		ask    func(*tl.ClientRunQueryEx)
		code   int32
		text   string
	}{
		"balance below the reservation": {
			change: func(b *bench, _ *scriptWorker) { b.chain.set(func() { b.chain.funds.Balance = 100 }) }, code: 602, text: "client balance is too low",
		},
		"stake below the reservation": {
			change: func(b *bench, _ *scriptWorker) { b.chain.set(func() { b.chain.funds.Stake = 100 }) }, code: 602, text: "client balance is too low",
		},
		"newer configuration": {ask: func(q *tl.ClientRunQueryEx) { q.MinConfigVersion = 2 }, code: 602, text: "active config version is too low"},
		"client closing": {
			change: func(b *bench, _ *scriptWorker) {
				b.chain.set(func() { b.chain.account = func(a *Account) { a.Closing = true } })
			}, code: 651, text: "client is closing",
		},
		"proxy disabled": {change: func(b *bench, _ *scriptWorker) { b.p.Refuse("maintenance") }, code: 651, text: "proxy is disabled"},
		"root contract too old": {
			change: func(b *bench, _ *scriptWorker) {
				b.chain.set(func() { b.chain.root = func(*Root) error { return fmt.Errorf("block is 8000s old") } })
			}, code: 651, text: "proxy is disabled",
		},
		"unknown model": {
			ask: func(q *tl.ClientRunQueryEx) {
				q.ModelName, q.Query = "other", query("/v1/chat/completions", strings.Replace(chat, "demo/model", "other", 1))
			},
			code: 621, text: "unknown model",
		},
		"no worker enabled": {
			change: func(_ *bench, w *scriptWorker) { w.send(&tl.WorkerEnabledDisabled{Disabled: 1}) }, code: 651, text: "no workers for model",
		},
		"no worker any more":  {change: func(_ *bench, w *scriptWorker) { w.leave() }, code: 651, text: "no workers for model"},
		"only dearer workers": {ask: func(q *tl.ClientRunQueryEx) { q.MaxCoefficient = 999 }, code: 651, text: "can run this query with coefficient=1000"},
		"unknown key": {ask: func(q *tl.ClientRunQueryEx) {
			q.PublicKey = &[32]byte{1}
			q.Query = query("/v1/chat/completions", sealed())
		}, code: 602, text: "unknown public key"},
		"key without encryption": {
			ask: func(q *tl.ClientRunQueryEx) { q.PublicKey = &[32]byte{1} }, code: 602, text: "public_key is given",
		},
		"encryption without key": {ask: func(q *tl.ClientRunQueryEx) { q.Query = query("/v1/chat/completions", sealed()) }, code: 602, text: "the request is encrypted"},
		"alarm":                  {play: silent, ask: func(q *tl.ClientRunQueryEx) { q.Timeout = 3 }, code: 652, text: "timeout"},
		"parts out of order":     {play: func(w *scriptWorker, o order) { w.part(o, "x", nil) }, code: 621, text: "out of order answer parts"},
		"two heads": {
			play: func(w *scriptWorker, o order) {
				w.begin(o, headOf(200, "text/event-stream", ""), nil)
				w.begin(o, headOf(200, "text/event-stream", ""), nil)
			}, code: 621, text: "out of order answer parts",
		},
		"malformed head":          {play: func(w *scriptWorker, o order) { w.begin(o, []byte("nonsense"), nil) }, code: 621, text: "received malformed answer"},
		"a head of another type":  {play: func(w *scriptWorker, o order) { w.begin(o, tl.Encode(&tl.TestAnswer{}), nil) }, code: 621, text: "received malformed answer"},
		"a head of status 99":     {play: func(w *scriptWorker, o order) { w.begin(o, headOf(99, "", ""), nil) }, code: 621, text: "received malformed answer"},
		"inner query is no TL":    {ask: func(q *tl.ClientRunQueryEx) { q.Query = []byte("nonsense") }, code: 500, text: "query is no http.request"},
		"inner query is cut":      {ask: func(q *tl.ClientRunQueryEx) { q.Query = q.Query[:len(q.Query)-4] }, code: 500, text: "query is no http.request"},
		"inner query is a packet": {ask: func(q *tl.ClientRunQueryEx) { q.Query = tl.Encode(&tl.TCPPing{}) }, code: 621, text: "query is tcp.ping"},
		"unknown path":            {ask: func(q *tl.ClientRunQueryEx) { q.Query = query("/v1/../metrics", chat) }, code: 621, text: "unknown path"},
		"another model inside":    {ask: func(q *tl.ClientRunQueryEx) { q.ModelName = "other" }, code: 621, text: "model name mismatch"},
		"worker is lost": {
			play: func(w *scriptWorker, _ order) { w.leave() }, code: 602, text: "connection is dead",
		},
		"worker's own error": {
			play: func(w *scriptWorker, o order) {
				w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 621, Error: "unknown option", FinalInfo: usedOf(0, 0, 0, 0)})
			}, code: 621, text: "unknown option",
		},
		"worker's error without final_info": {
			play: func(w *scriptWorker, o order) {
				w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 621, Error: "short"})
			}, code: 621, text: "short",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				play := tc.play
				if play == nil {
					play = serveWhole
				}
				w := b.worker(4, play)
				c := b.client(4)
				if tc.change != nil {
					tc.change(b, w)
					synctest.Wait()
				}
				q := run(1, chat)
				if tc.ask != nil {
					tc.ask(q)
				}
				c.send(q)
				r := c.collect(1)
				if r.code != tc.code || !strings.HasPrefix(r.text, tc.text) {
					t.Errorf("%d %q, want %d %q", r.code, r.text, tc.code, tc.text)
				}
				if strings.Contains(r.text, canary) {
					t.Error("the error quotes the prompt")
				}
				if name == "alarm" { // a worker that cannot be stopped is waited for
					w.begin(w.seen()[0], headOf(200, "application/json", answer), usedOf(3, 0, 4, 0))
				}
				b.settled()
			})
		})
	}
}

func sealed() string {
	return strings.Replace(chat, `"max_tokens"`, `"is_encrypted":"v1","sender_public_key":"aa","receiver_public_key":"bb","encryption_nonce":"cc","max_tokens"`, 1)
}

// TestNegativeAndZeroNumbersAreRefused is row 2 of protocol.md section 12: the reference implementation's reservation
// went negative and credit with it.
func TestNegativeAndZeroNumbersAreRefused(t *testing.T) {
	asks := map[string]func(*tl.ClientRunQueryEx){
		"max_tokens 0":           func(q *tl.ClientRunQueryEx) { q.MaxTokens = 0 },
		"max_tokens -1":          func(q *tl.ClientRunQueryEx) { q.MaxTokens = -1 },
		"max_tokens -1000000":    func(q *tl.ClientRunQueryEx) { q.MaxTokens = -1_000_000 },
		"max_tokens least":       func(q *tl.ClientRunQueryEx) { q.MaxTokens = math.MinInt32 },
		"max_tokens above":       func(q *tl.ClientRunQueryEx) { q.MaxTokens = 5001 },
		"max_coefficient 0":      func(q *tl.ClientRunQueryEx) { q.MaxCoefficient = 0 },
		"max_coefficient -1":     func(q *tl.ClientRunQueryEx) { q.MaxCoefficient = -1 },
		"max_coefficient least":  func(q *tl.ClientRunQueryEx) { q.MaxCoefficient = math.MinInt32 },
		"max_coefficient 10^9":   func(q *tl.ClientRunQueryEx) { q.MaxCoefficient = 1_000_000_000 },
		"timeout 0":              func(q *tl.ClientRunQueryEx) { q.Timeout = 0 },
		"timeout negative":       func(q *tl.ClientRunQueryEx) { q.Timeout = -1 },
		"timeout not a number":   func(q *tl.ClientRunQueryEx) { q.Timeout = math.NaN() },
		"timeout without an end": func(q *tl.ClientRunQueryEx) { q.Timeout = math.Inf(1) },
		"min_config_version -1":  func(q *tl.ClientRunQueryEx) { q.MinConfigVersion = -1 },
		"no model":               func(q *tl.ClientRunQueryEx) { q.ModelName = "" },
		"a model name of 4 KiB":  func(q *tl.ClientRunQueryEx) { q.ModelName = strings.Repeat("m", 4096) },
	}
	inProxy(t, func(b *bench) {
		w := b.worker(5, serveWhole)
		for _, version := range []int32{0, 1, 5} {
			c := b.client(version)
			id := byte(0)
			for name, change := range asks {
				id++
				q := run(id, chat)
				change(q)
				c.send(q)
				if r := c.collect(id); r.code != 621 {
					t.Errorf("%s at version %d: %d %q", name, version, r.code, r.text)
				}
				if s := b.state(); s.Reserved != 0 || s.Max != 0 {
					t.Fatalf("%s: %+v", name, s)
				}
			}
		}
		if n := len(w.seen()); n != 0 {
			t.Errorf("%d of them reached the worker", n)
		}
		c := b.client(1)
		q := run(200, chat)
		q.MaxCoefficient, q.Timeout = 999_999_999, 1e300 // the largest that are numbers; the timeout is capped
		b.chain.set(func() { b.chain.funds = ledger.Funds{Balance: math.MaxUint64, Stake: math.MaxUint64, Price: 1} })
		c.send(q)
		if r := c.collect(200); r.code != 0 || w.seen()[0].timeout != 3600 {
			t.Errorf("%d %q, timeout %v", r.code, r.text, w.seen()[0].timeout)
		}
	}, func(c *Config, _ *Deps) { c.MaxTokens = 5000 })
}

func TestABodyThatThePolicyRefusesIsAnsweredWhole(t *testing.T) {
	for _, version := range []int32{0, 1, 5} {
		inProxy(t, func(b *bench) {
			w := b.worker(5, serveWhole)
			c := b.client(version)
			bad := strings.Replace(chat, `"user":"alice"`, `"cache_salt":"x"`, 1)
			c.send(run(1, bad))
			r := c.collect(1)
			if r.head == nil || r.head.StatusCode != badStatus || !strings.Contains(r.body, `"param":"cache_salt"`) || r.tokens != (tl.TokensUsed{}) {
				t.Errorf("answer %+v", r)
			}
			if len(w.seen()) != 0 || b.settled() != 0 {
				t.Error("it was served or billed")
			}
		})
	}
}

func TestAStreamGoesThroughByteForByteWithAReceipt(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, serveStream)
		c := b.client(5)
		c.send(run(1, stream))
		r := c.collect(1)
		if r.body != first+second+done || r.parts > 3 { // parts that wait for each other become one
			t.Errorf("%d parts: %q", r.parts, r.body)
		}
		raw := hear[*tl.ClientQueryReceipt](c.party).Receipt
		doc, err := b.verify(raw, stream, r.body)
		if err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		if doc.Outcome.Status != receipt.Complete || doc.ChatID != "chatcmpl-1" || doc.Outcome.FinishReason != "stop" || doc.Usage.Total() != 74 ||
			doc.Statement == nil || doc.Usage.Source != "engine" || doc.Outcome.Events != 3 || doc.Outcome.TTFT < 0 {
			t.Errorf("receipt %s", raw)
		}
		if got := receipt.SHA256(w.seen()[0].http.Payload); doc.ForwardedHash != got {
			t.Errorf("forwarded hash %s, want %s", doc.ForwardedHash, got)
		}
		if strings.Contains(string(raw), canary) {
			t.Error("the receipt has a prompt or an answer")
		}
		if pay := hear[*tl.ProxyClientRequestPayment](c.party); pay.RequestTokens != 74 || pay.MaxTokens != 74 {
			t.Errorf("payment %+v", pay)
		}
		if pay := hear[*tl.ProxyWorkerRequestPayment](w.party); pay.RequestTokens != 74 {
			t.Errorf("payment %+v", pay)
		}
	})
}

// TestTheHeadAnnouncesTheReceipt: an app learns from the head what the receipt will say, if its client is ours, and a worker
// cannot say it in the proxy's place.
func TestTheHeadAnnouncesTheReceipt(t *testing.T) {
	forged := func(w *scriptWorker, o order) {
		raw := tl.Encode(&tl.HTTPResponse{
			HTTPVersion: "HTTP/1.1", StatusCode: 200, Reason: "OK", Payload: []byte(answer),
			Headers: []tl.HTTPHeader{{Name: "x-cocoon-cost-nano", Value: "1"}, {Name: "X-ACI-Keyset-Digest", Value: "sha256:00"}},
		})
		w.begin(o, raw, w.usage())
		w.sign(o, answer, statusComplete, w.usage())
	}
	for name, tc := range map[string]struct {
		version int32
		play    func(*scriptWorker, order)
		body    string
		cost    bool
	}{
		"a whole answer":   {5, forged, chat, true},
		"a stream":         {5, serveStream, stream, false},
		"a refusal":        {5, serveWhole, strings.Replace(chat, `"user":"alice"`, `"cache_salt":"x"`, 1), true},
		"an older version": {4, serveWhole, chat, false},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				b.worker(5, tc.play)
				c := b.client(tc.version)
				c.send(run(1, tc.body))
				r, said := c.collect(1), map[string][]string{}
				for _, h := range r.head.Headers {
					key := strings.ToLower(h.Name)
					said[key] = append(said[key], h.Value)
				}
				want := map[string][]string{}
				switch {
				case r.head.StatusCode != okStatus: // it has no receipt, and costs nothing
					_, digest, _ := b.p.papers.current()
					want["x-aci-keyset-digest"], want["x-cocoon-cost-nano"] = []string{digest}, []string{"0"}
				case tc.version >= versionOurs:
					raw := hear[*tl.ClientQueryReceipt](c.party).Receipt
					doc, err := b.verify(raw, tc.body, r.body)
					if err != nil {
						t.Fatalf("%v in %s", err, raw)
					}
					want["x-aci-keyset-digest"] = []string{doc.KeysetDigest}
					if tc.cost {
						want["x-cocoon-cost-nano"] = []string{strconv.FormatUint(doc.Usage.Cost, 10)}
					}
				}
				for _, name := range []string{"x-aci-keyset-digest", "x-cocoon-cost-nano"} {
					if !slices.Equal(said[name], want[name]) {
						t.Errorf("%s: the head says %q, the receipt %q", name, said[name], want[name])
					}
				}
			})
		})
	}
}

func TestPingsBeforeTheFirstByteAreOurPeersOnly(t *testing.T) {
	slow := func(w *scriptWorker, o order) {
		<-time.After(25 * time.Second)
		serveStream(w, o)
	}
	inProxy(t, func(b *bench) {
		b.worker(5, slow)
		c := b.client(5)
		c.send(run(1, stream))
		r := c.collect(1)
		if r.body != ": ping\n\n: ping\n\n"+first+second+done || r.head.StatusCode != okStatus {
			t.Errorf("body %q", r.body)
		}
		doc, err := b.verify(hear[*tl.ClientQueryReceipt](c.party).Receipt, stream, r.body)
		if err != nil || doc.Statement.ProxyPings != 2 {
			t.Errorf("%v, %+v", err, doc)
		}
		old := b.client(4)
		old.send(run(2, stream))
		if r := old.collect(2); r.body != first+second+done {
			t.Errorf("a client of version 4 gets %q", r.body)
		}
	})
}

func TestAWorkerThatDiesBeforeTheFirstByteIsReplacedOnce(t *testing.T) {
	for name, die := range map[string]func(*scriptWorker, order){
		"the connection goes": func(w *scriptWorker, _ order) { w.leave() },
		"the engine fails":    func(w *scriptWorker, o order) { w.begin(o, headOf(503, "application/json", "{}"), usedOf(0, 0, 0, 0)) },
		"it is full": func(w *scriptWorker, o order) {
			w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 651, Error: "too many active queries", FinalInfo: usedOf(0, 0, 0, 0)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				dead := make(chan struct{}, 2)
				one := func(w *scriptWorker, o order) {
					select {
					case dead <- struct{}{}:
					default:
					}
					if len(dead) == 1 {
						dead <- struct{}{}
						die(w, o)
						return
					}
					serveWhole(w, o)
				}
				b.worker(5, one)
				b.worker(5, one)
				c := b.client(5)
				c.send(run(1, chat))
				r := c.collect(1)
				if r.body != answer {
					t.Fatalf("answer %+v", r)
				}
				doc, err := b.verify(hear[*tl.ClientQueryReceipt](c.party).Receipt, chat, r.body)
				if err != nil || doc.Outcome.Retries != 1 {
					t.Errorf("%v, %+v", err, doc)
				}
				if got := b.settled(); got != 74 {
					t.Errorf("billed %d", got)
				}
			})
		})
	}
}

// TestSecondAttemptsAreFew: one for a request, whose failure is then the answer, and a tenth of all requests (inference.md section
// 11). Whoever is down is not helped by being asked twice as often.
func TestSecondAttemptsAreFew(t *testing.T) {
	const requests, retries = 40, freeRetries + 40/retryShare
	inProxy(t, func(b *bench) {
		down := func(w *scriptWorker, o order) {
			info := usedOf(0, 0, 0, 0)
			w.begin(o, headOf(503, "application/json", "{}"), info)
			w.sign(o, "{}", statusEngine, info)
		}
		workers := []*scriptWorker{b.worker(5, down), b.worker(5, down), b.worker(5, down)}
		asked := func() (n int) {
			for _, w := range workers {
				n += len(w.seen())
			}
			return n
		}
		c := b.client(5)
		for i := range requests {
			c.send(run(byte(i), chat))
			if r := c.collect(byte(i)); r.head == nil || r.head.StatusCode < downStatus || r.body != "{}" {
				t.Fatalf("%+v", r)
			}
			if i == 0 && asked() != 2 {
				t.Errorf("%d workers were asked", asked())
			}
		}
		if n := asked(); n != requests+retries {
			t.Errorf("%d attempts for %d requests", n, requests)
		}
		b.settled()
	}, func(c *Config, _ *Deps) { c.Breaker.After = 10 * requests })
}

func TestAWorkerThatDiesInTheMiddleIsNotReplaced(t *testing.T) {
	inProxy(t, func(b *bench) {
		die := func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "text/event-stream", ""), nil)
			w.part(o, first, nil)
			w.part(o, first, nil)
			w.leave()
		}
		w1, w2 := b.worker(5, die), b.worker(5, die)
		c := b.client(5)
		c.send(run(1, stream))
		r := c.collect(1)
		if r.code != 602 || !strings.HasPrefix(r.text, "connection is dead") {
			t.Errorf("%d %q", r.code, r.text)
		}
		if !strings.HasPrefix(r.body, first+first) || !strings.Contains(r.body, `"code":"worker_lost"`) || strings.Contains(r.body, "[DONE]") {
			t.Errorf("body %q", r.body)
		}
		if n := len(w1.seen()) + len(w2.seen()); n != 1 {
			t.Errorf("%d workers were asked", n)
		}
		// No numbers came: a quarter of the messages' bytes and an event a token.
		if got, want := b.settled(), int64(len(messages)+3)/4+2; got != want {
			t.Errorf("billed %d, want %d", got, want)
		}
	})
}

func codeOf(err error) session.Code {
	if err == nil {
		return 0
	}
	return endingOf(err).code
}
