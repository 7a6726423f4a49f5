package proxy

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/sched"
)

// slots is the only worker as the scheduler sees it.
func (b *bench) slots() sched.View {
	b.t.Helper()
	synctest.Wait()
	views, _ := b.p.sched.Snapshot()
	if len(views) != 1 {
		b.t.Fatalf("%d workers", len(views))
	}
	return views[0]
}

// TestARequestThatNeverWentOutHoldsNoSlot: a worker that reads slowly has not got it, and will never say that it is through.
func TestARequestThatNeverWentOutHoldsNoSlot(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, serveWhole)
		reads := make(chan struct{})
		take := w.act
		w.act = func(m tl.Object) { <-reads; take(m) }
		c := b.client(5)
		long := strings.Replace(chat, canary, strings.Repeat("x", 3<<20), 1)
		for id := range byte(4) { // one is heard, one is being written, one waits to be, and the last has no room
			c.send(run(id, long))
			synctest.Wait()
		}
		if v := b.slots(); v.Running != 4 {
			t.Fatalf("%d requests are with the worker", v.Running)
		}
		c.send(&tl.ClientCancelQuery{RequestID: [32]byte{3}})
		if r := c.collect(3); r.code != 653 {
			t.Errorf("%d %q", r.code, r.text)
		}
		close(reads)
		for range 3 {
			hear[*tl.ClientQueryAnswerEx](c.party)
		}
		if v := b.slots(); v.Running != 0 || len(w.seen()) != 3 {
			t.Errorf("%d slots are taken after %d of 4 requests came and were answered", v.Running, len(w.seen()))
		}
		b.settled()
	})
}

// TestAWorkerThatIsGivenUpIsJudgedAtOnce: what it did wrong counts although it has not said that it is through, and its slot
// stays taken until it does.
func TestAWorkerThatIsGivenUpIsJudgedAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		version int32
		wrong   func(w *scriptWorker, o order)
		code    int32
	}{
		"a head that is none": {5, func(w *scriptWorker, o order) { w.begin(o, []byte("what"), nil) }, 621},
		"no head":             {4, func(w *scriptWorker, o order) { w.part(o, first, nil) }, 621},
		"silence in an answer": {5, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "text/event-stream", ""), nil)
			w.part(o, first, nil)
		}, 602},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				w := b.worker(tc.version, tc.wrong)
				c := b.client(5)
				for id := range byte(3) {
					m := run(id, stream)
					m.Timeout = 120
					c.send(m)
					if r := c.collect(id); r.code != tc.code {
						t.Errorf("%d %q", r.code, r.text)
					}
				}
				if v := b.slots(); v.Running != 3 || v.Draining != 3 || v.Record[sched.Failed][0] != 3 || v.Breaker != "open" {
					t.Errorf("before its last words: %+v", v)
				}
				for _, o := range w.seen() {
					w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 653, Error: "cancelled", FinalInfo: usedOf(1, 0, 1, 0)})
				}
				if v := b.slots(); v.Running != 0 || v.Draining != 0 || v.Record[sched.Failed][0] != 3 {
					t.Errorf("after them: %+v", v)
				}
				b.settled()
			})
		})
	}
}

// TestWhatComesAfterTheEndIsNotHeard: a worker that goes on and on can neither fill memory nor keep the request from ending.
func TestWhatComesAfterTheEndIsNotHeard(t *testing.T) {
	a := newAttempt(&worker{version: versionOurs}, nil)
	a.deliver(event{kind: evPart, data: []byte("last"), info: &tl.ProxyQueryFinalInfo{}})
	for range 1000 {
		a.deliver(event{kind: evPart, data: []byte("more")})
		a.deliver(event{kind: evError, info: &tl.ProxyQueryFinalInfo{}})
		a.deliver(event{kind: evStatement, statement: &tl.ProxyQueryStatement{}})
	}
	if len(a.queue) != 2 || a.queue[0].kind != evPart || a.queue[1].kind != evStatement {
		t.Errorf("%d messages wait", len(a.queue))
	}
}

// TestEverythingThatWaitsHasWeight: what carries no part of a body takes memory as well.
func TestEverythingThatWaitsHasWeight(t *testing.T) {
	debug := strings.Repeat("d", 64<<10)
	for name, e := range map[string]event{
		"statements":  {kind: evStatement, statement: &tl.ProxyQueryStatement{Signature: make([]byte, 64<<10)}},
		"errors":      {kind: evError, text: strings.Repeat("e", 64<<10)},
		"empty heads": {kind: evHead},
		"ends":        {kind: evPart, info: &tl.ProxyQueryFinalInfo{WorkerDebug: &debug}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttempt(&worker{version: versionOurs}, nil)
			for range maxInbox / 64 {
				a.deliver(e)
			}
			if n, ended := len(a.queue), e.info != nil; ended && n != 1 || !ended && !errors.Is(a.failed, errSlowReader) || n*e.weight() > maxInbox {
				t.Errorf("%d messages wait, failed: %v", n, a.failed)
			}
		})
	}
}

// TestAnAnswerThatCannotBeEndedIsBroken: its last part waits for credit that does not come; an error needs none.
func TestAnAnswerThatCannotBeEndedIsBroken(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, func(w *scriptWorker, o order) {
			info, body := w.usage(), strings.Repeat("x", 2*window)
			w.begin(o, headOf(200, "application/json", body), info)
			w.sign(o, body, statusComplete, info)
		})
		c := b.client(5)
		c.send(run(1, chat))
		ends := 0
		for ends == 0 {
			switch m := hear[tl.Object](c.party).(type) {
			case *tl.ClientQueryAnswerPartEx:
				if m.FinalInfo != nil {
					t.Fatal("it ended without credit")
				}
			case *tl.ClientQueryAnswerErrorEx:
				if ends++; m.ErrorCode != 653 || m.FinalInfo == nil || m.FinalInfo.TokensUsed.TotalTokensUsed != 74 {
					t.Errorf("%d %q %+v", m.ErrorCode, m.Error, m.FinalInfo)
				}
			}
		}
		if got := b.settled(); got != 74 || b.slots().Running != 0 {
			t.Errorf("billed %d", got)
		}
		for len(c.heard) > 0 {
			if m, ok := (<-c.heard).(*tl.ClientQueryAnswerErrorEx); ok {
				t.Errorf("ended twice: %+v", m)
			}
		}
	})
}

// TestADefectInARequestFreesWhatItHolds: its reservation and its worker's slot.
func TestADefectInARequestFreesWhatItHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(_ *Config, d *Deps) { d.Draw = func(n int) int { return []int{}[n] } })
		b.ctx = t.Context()
		w := b.worker(5, serveWhole)
		c := b.client(5)
		b.p.worker(b.slots().ID).doubt.found = verifyFirst // statements are drawn from now on
		c.send(run(1, chat))
		if r := c.collect(1); r.code != 601 || r.text != "internal error" {
			t.Errorf("%d %q", r.code, r.text)
		}
		if b.settled(); b.slots().Running != 0 || !strings.Contains(b.logs.String(), "Request panicked") {
			t.Errorf("%+v", b.slots())
		}
		c.leave()
		w.leave()
		<-time.After(time.Minute)
	})
}
