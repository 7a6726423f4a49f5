package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

// obeys streams until it is cancelled, and then says what was used, as a worker of ours does.
func obeys(w *scriptWorker, o order) {
	w.begin(o, headOf(200, "text/event-stream", ""), nil)
	w.part(o, first, nil)
	for !w.cancelled(o) {
		<-time.After(10 * time.Millisecond)
	}
	info := usedOf(20, 0, 1, 0)
	w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 653, Error: "cancelled", FinalInfo: info})
	w.sign(o, first, statusCancelled, info)
}

func TestACancelledRequestIsStoppedAndBilled(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, obeys)
		c := b.client(5)
		c.send(run(1, stream))
		hear[*tl.ClientQueryAnswerPartEx](c.party)
		c.send(&tl.ClientCancelQuery{RequestID: [32]byte{1}})
		r := c.collect(1)
		if r.code != 653 || r.tokens.TotalTokensUsed != 21 {
			t.Errorf("%d %q, %+v", r.code, r.text, r.tokens)
		}
		doc, err := b.verify(hear[*tl.ClientQueryReceipt](c.party).Receipt, stream, first)
		if err != nil || doc.Outcome.Status != receipt.Cancelled || doc.Usage.Source != "engine_partial" {
			t.Errorf("%v, %+v", err, doc)
		}
		if got := b.settled(); got != 21 || !w.cancelled(w.seen()[0]) {
			t.Errorf("billed %d", got)
		}
		c.send(&tl.ClientCancelQuery{RequestID: [32]byte{1}}) // one that has ended
		c.send(&tl.ClientCancelQuery{RequestID: [32]byte{9}}) // one that never was
		w.play = serveWhole
		c.send(run(2, chat))
		if r := c.collect(2); r.body != answer {
			t.Errorf("the next request: %+v", r)
		}
	})
}

func TestAClientThatLeavesCancelsItsRequests(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, obeys)
		c := b.client(5)
		c.send(run(1, stream))
		hear[*tl.ClientQueryAnswerPartEx](c.party)
		began := time.Now()
		c.leave()
		if err := <-b.ends; err == nil {
			t.Error("the session ended without a reason")
		}
		if !w.cancelled(w.seen()[0]) || time.Since(began) > time.Second {
			t.Errorf("cancelled %t after %s", w.cancelled(w.seen()[0]), time.Since(began))
		}
		if got := b.settled(); got != 21 {
			t.Errorf("billed %d", got)
		}
	})
}

func TestTheFinalAnswerWinsOverACancellationThatCrossesIt(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "text/event-stream", ""), nil)
			w.part(o, first, nil)
			for !w.cancelled(o) {
				<-time.After(10 * time.Millisecond)
			}
			info := w.usage()
			w.part(o, second+done, info)
			w.sign(o, first+second+done, statusComplete, info)
		})
		c := b.client(5)
		c.send(run(1, stream))
		hear[*tl.ClientQueryAnswerPartEx](c.party)
		c.send(&tl.ClientCancelQuery{RequestID: [32]byte{1}})
		if r := c.collect(1); r.code != 0 || r.body != second+done || r.tokens.TotalTokensUsed != 74 {
			t.Errorf("%+v", r)
		}
		b.settled()
	})
}

// TestAnAnswerThatCrossesACancellationIsWhatTheReceiptIsAbout: the worker has signed what it sent, before it heard that nobody
// waits. A receipt about less would not hold.
func TestAnAnswerThatCrossesACancellationIsWhatTheReceiptIsAbout(t *testing.T) {
	for name, tc := range map[string]struct {
		ask, body string
		play      func(w *scriptWorker, o order)
		status    receipt.Status
	}{
		"whole": {chat, answer, func(w *scriptWorker, o order) {
			info := w.usage()
			w.begin(o, headOf(200, "application/json", answer), info)
			w.sign(o, answer, statusComplete, info)
		}, receipt.Complete},
		"its beginning": {stream, first, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "text/event-stream", ""), nil)
			w.part(o, first, nil)
			info := usedOf(20, 0, 1, 0)
			w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 653, Error: "cancelled", FinalInfo: info})
			w.sign(o, first, statusCancelled, info)
		}, receipt.Cancelled},
		"nothing": {stream, "", func(w *scriptWorker, o order) {
			info := usedOf(20, 0, 0, 0)
			w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 653, Error: "cancelled", FinalInfo: info})
			w.sign(o, "", statusCancelled, info)
		}, receipt.Cancelled},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				w := b.worker(5, func(w *scriptWorker, o order) {
					for !w.cancelled(o) {
						<-time.After(10 * time.Millisecond)
					}
					tc.play(w, o)
				})
				c := b.client(5)
				c.send(run(1, tc.ask))
				for len(w.seen()) == 0 {
					<-time.After(10 * time.Millisecond)
				}
				c.send(&tl.ClientCancelQuery{RequestID: [32]byte{1}})
				if r := c.collect(1); r.body != tc.body {
					t.Errorf("the client has %q, code %d", r.body, r.code)
				}
				doc, err := b.verify(hear[*tl.ClientQueryReceipt](c.party).Receipt, tc.ask, tc.body)
				if err != nil || doc.Outcome.Status != tc.status {
					t.Errorf("%v, %+v", err, doc)
				}
				b.settled()
			})
		})
	}
}

// TestADeadlineIsBilled is row 3 of protocol.md section 12: half of a stream is not free because the timeout was chosen
// that way.
func TestADeadlineIsBilled(t *testing.T) {
	for name, tc := range map[string]struct {
		version int32
		play    func(*scriptWorker, order)
		want    int64
	}{
		"a worker that obeys": {5, obeys, 21},
		"a worker that cannot be stopped": {4, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "text/event-stream", ""), nil)
			w.part(o, first, nil)
			<-time.After(12 * time.Second)
			w.part(o, second+done, usedOf(23, 11, 30, 10))
		}, 74},
		"a worker that says nothing more": {5, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "text/event-stream", ""), nil)
			w.part(o, first, nil)
		}, int64(len(messages)+3)/4 + 1},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				b.worker(tc.version, tc.play)
				c := b.client(5)
				q := run(1, streamed())
				if tc.version < versionOurs { // workers that are not ours get no streams from us; this one streams unasked
					q = run(1, chat)
				}
				q.Timeout = 8
				began := time.Now()
				c.send(q)
				if r := c.collect(1); r.code != 652 || time.Since(began) > 14*time.Second {
					t.Errorf("%d %q after %s", r.code, r.text, time.Since(began))
				}
				<-time.After(30 * time.Second)
				if got := b.settled(); got != tc.want {
					t.Errorf("billed %d, want %d", got, tc.want)
				}
			})
		})
	}
}

func streamed() string { return stream }

func TestAnErrorOfTheWorkersIsBilledLikeAnAnswer(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(4, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "application/json", ""), nil)
			w.part(o, "half", nil)
			w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 602, Error: "engine error", FinalInfo: usedOf(10, 0, 5, 0)})
		})
		c := b.client(1)
		c.send(run(1, chat))
		if r := c.collect(1); r.code != 602 || r.tokens.TotalTokensUsed != 15 || r.body != "half" {
			t.Errorf("%+v", r)
		}
		if got := b.settled(); got != 15 {
			t.Errorf("billed %d", got)
		}
	})
}

// TestAReferenceWorkersErrorIsNotFree: its implementation has no numbers with an error, whatever it has sent by then (row 3 of
// protocol.md section 12).
func TestAReferenceWorkersErrorIsNotFree(t *testing.T) {
	for name, tc := range map[string]struct {
		sent []string
		info *tl.ProxyQueryFinalInfo
		want int64
	}{
		"no numbers":        {[]string{first, second}, nil, int64(len(messages)+3)/4 + 2},
		"zeros":             {[]string{first, second}, usedOf(0, 0, 0, 0), int64(len(messages)+3)/4 + 2},
		"its numbers count": {[]string{first, second}, usedOf(10, 0, 1, 0), 11},
		"nothing was sent":  {nil, nil, 0},
	} {
		for _, version := range []int32{1, 4} {
			t.Run(fmt.Sprint(name, " ", version), func(t *testing.T) {
				inProxy(t, func(b *bench) {
					b.worker(version, func(w *scriptWorker, o order) {
						w.begin(o, headOf(200, "text/event-stream", ""), nil)
						for _, p := range tc.sent {
							w.part(o, p, nil)
						}
						w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 652, Error: "timeout", FinalInfo: tc.info})
					})
					c := b.client(4)
					c.send(run(1, chat))
					if r := c.collect(1); r.code != 652 || r.tokens.TotalTokensUsed != tc.want {
						t.Errorf("%+v", r)
					}
					if got := b.settled(); got != tc.want {
						t.Errorf("billed %d, want %d", got, tc.want)
					}
				})
			})
		}
	}
}

// TestAWorkersNumbersAreBounded is row 11: what a worker claims beyond the reservation nobody pays, and nonsense counts
// as nothing.
func TestAWorkersNumbersAreBounded(t *testing.T) {
	const reserved = 0 // the formula's, taken from the ledger below
	for name, tc := range map[string]struct {
		info *tl.ProxyQueryFinalInfo
		cut  bool
		want int64
	}{
		"above the reservation": {usedOf(1_000_000, 0, 1_000_000, 0), true, reserved},
		"the largest number":    {usedOf(1<<63-1, 1<<63-1, 1<<63-1, 1<<63-1), true, reserved},
		"negative":              {usedOf(-5, -5, -5, -5), false, 0},
		"parts above wholes":    {usedOf(10, 50, 5, 50), false, 15},
	} {
		for _, version := range []int32{1, 4, 5} {
			t.Run(name, func(t *testing.T) {
				inProxy(t, func(b *bench) {
					held := int64(0)
					b.worker(version, func(w *scriptWorker, o order) {
						held = b.state().Reserved
						w.begin(o, headOf(200, "application/json", answer), tc.info)
					})
					c := b.client(5)
					c.send(run(1, chat))
					r := c.collect(1)
					raw := hear[*tl.ClientQueryReceipt](c.party).Receipt
					got := b.settled()
					switch {
					case got < 0 || got > held:
						t.Errorf("billed %d of %d", got, held)
					case tc.cut && got != held:
						t.Errorf("billed %d of %d, a part of what was claimed", got, held)
					case !tc.cut && version == versionOurs && got != tc.want:
						t.Errorf("billed %d, want %d", got, tc.want)
					}
					if version == versionOurs {
						return // without its signature the receipt does not stand, which the gateway finds
					}
					if doc, err := b.verify(raw, chat, r.body); err != nil || (doc.Usage.Cut > 0) != tc.cut && version != 5 && tc.cut {
						t.Errorf("%v, %+v", err, doc)
					}
				})
			})
		}
	}
}

func TestASlowReaderLosesItsStreamOnly(t *testing.T) {
	part := strings.Repeat("x", 64<<10)
	flood := func(w *scriptWorker, o order) {
		w.begin(o, headOf(200, "text/event-stream", ""), nil)
		for range 8 { // twice the credit it has
			w.part(o, part, nil)
		}
		for !w.cancelled(o) {
			<-time.After(10 * time.Millisecond)
		}
		w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 653, Error: "cancelled", FinalInfo: usedOf(1, 0, 1, 0)})
	}
	inProxy(t, func(b *bench) {
		w := b.worker(5, flood)
		c := b.client(5)
		c.send(run(1, stream))
		got := 0
		for got < window {
			got += len(hear[*tl.ClientQueryAnswerPartEx](c.party).Answer)
		}
		if got != window {
			t.Errorf("%d bytes without credit", got)
		}
		w.play = serveWhole
		c.send(run(2, chat)) // the other request of the same connection is served meanwhile
		if r := c.collect(2); r.body != answer {
			t.Errorf("%+v", r)
		}
		began := time.Now()
		r := c.collect(1)
		if r.code != 653 || time.Since(began) < 25*time.Second || time.Since(began) > 40*time.Second {
			t.Errorf("%d %q after %s", r.code, r.text, time.Since(began))
		}
		b.settled()
	})
}

func TestCreditIsReturnedToTheWorkerAsTheClientReads(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "text/event-stream", ""), nil)
			for range 16 {
				w.part(o, strings.Repeat("x", window/2), nil)
				if n := hear[*tl.ProxyQueryCredit](w.party).Bytes; n != window/2 {
					t.Errorf("credit of %d", n)
				}
			}
			w.part(o, "", w.usage())
		})
		c := b.client(5)
		c.send(run(1, stream))
		if r := c.collect(1); len(r.body) != 8*window {
			t.Errorf("%d bytes", len(r.body))
		}
		b.settled()
	})
}

func TestCreditThatIsNoneEndsTheSession(t *testing.T) {
	for _, n := range []int32{0, -1, -1 << 31, maxWindow} { // the last is more than may be piled up
		inProxy(t, func(b *bench) {
			b.worker(5, obeys)
			c := b.client(5)
			c.send(run(1, stream))
			hear[*tl.ClientQueryAnswerPartEx](c.party)
			c.send(&tl.ClientQueryCredit{RequestID: [32]byte{1}, Bytes: n})
			if err := <-b.ends; err == nil {
				t.Error("the session goes on")
			}
		})
	}
}

func TestPartsAreCutForPeersThatTakeNoLargeFrames(t *testing.T) {
	long := `{"id":"x","text":"` + strings.Repeat("y", 700<<10) + `"}`
	inProxy(t, func(b *bench) {
		b.worker(4, func(w *scriptWorker, o order) { w.begin(o, headOf(200, "application/json", long), w.usage()) })
		c := b.client(1)
		c.send(run(1, chat))
		head := hear[*tl.ClientQueryAnswerEx](c.party)
		if head.FinalInfo != nil {
			t.Error("the head ends the answer")
		}
		body := ""
		for {
			m := hear[*tl.ClientQueryAnswerPartEx](c.party)
			if len(m.Answer) > session.MaxPart {
				t.Errorf("a part of %d bytes", len(m.Answer))
			}
			if body += string(m.Answer); m.FinalInfo != nil {
				break
			}
		}
		if body != long {
			t.Errorf("%d bytes of %d", len(body), len(long))
		}
		b.settled()
	})
}

func TestAWorkerThatFloodsIsStopped(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(4, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "application/json", ""), nil)
			for range 40 {
				w.part(o, strings.Repeat("x", 128<<10), nil)
			}
			w.part(o, "", usedOf(1, 0, 1, 0))
		})
		c := b.client(5) // which returns no credit
		c.send(run(1, chat))
		for {
			m, ok := hear[tl.Object](c.party).(*tl.ClientQueryAnswerErrorEx)
			if ok {
				if m.ErrorCode != 653 {
					t.Errorf("%d %q", m.ErrorCode, m.Error)
				}
				break
			}
		}
		<-time.After(2 * time.Minute)
		b.settled()
	})
}

func TestTheSameIDTwice(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, silent)
		c := b.client(5)
		c.send(run(1, chat))
		c.send(run(1, chat))
		if r := c.collect(1); r.code != 602 || r.text != "duplicate request id" {
			t.Errorf("%d %q", r.code, r.text)
		}
		synctest.Wait()
		serveWhole(w, w.seen()[0])
		if r := c.collect(1); r.body != answer {
			t.Errorf("the first of the two: %+v", r)
		}
		other := b.client(5)
		other.send(run(1, chat)) // an id is good for one bill, so for one answer
		if r := other.collect(1); r.code != 602 || r.text != "duplicate request id" {
			t.Errorf("%d %q", r.code, r.text)
		}
		if got := b.settled(); got != 74 {
			t.Errorf("billed %d", got)
		}
	})
}

func TestARefusalHasAReceipt(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, serveWhole)
		c := b.client(5)
		q := run(1, chat)
		q.MaxCoefficient = 999
		c.send(q)
		c.collect(1)
		doc, err := b.verify(hear[*tl.ClientQueryReceipt](c.party).Receipt, chat, "")
		if err != nil || doc.Outcome.Status != receipt.Refused || doc.Worker != nil || doc.Usage.Total() != 0 || doc.Outcome.ErrorCode != "price_limit_exceeded" {
			t.Errorf("%v, %+v", err, doc)
		}
	})
}

func TestALedgerThatFailsMakesTheProxyRefuse(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, serveWhole)
		c := b.client(5)
		c.send(run(1, chat))
		c.collect(1)
		synctest.Wait()
		ok, why := b.p.Ready()
		if ok || !strings.Contains(why, "ledger") {
			t.Errorf("ready %t: %q", ok, why)
		}
		c.send(run(2, chat))
		if r := c.collect(2); r.code != 651 || !strings.HasPrefix(r.text, "proxy is disabled") {
			t.Errorf("%d %q", r.code, r.text)
		}
		b.p.Refuse("")
		if ok, _ := b.p.Ready(); !ok {
			t.Error("the state does not end")
		}
	}, func(_ *Config, d *Deps) { d.Ledger = brokenLedger{d.Ledger} })
}

// brokenLedger settles nothing.
type brokenLedger struct{ ledger.Ledger }

func (brokenLedger) Settle(context.Context, ledger.Charge) (ledger.Entry, error) {
	return ledger.Entry{}, errors.New("the disk is full")
}
