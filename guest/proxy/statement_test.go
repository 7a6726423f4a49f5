package proxy

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/tl"
)

// forge sends a statement that nobody has signed.
func (w *scriptWorker) forge(o order, body string, status int32) {
	w.send(&tl.ProxyQueryStatement{
		RequestID: o.id, ResponseHash: sha256.Sum256([]byte(body)), Status: status, ServedAt: time.Now().Unix(), KeyID: "w-1", Signature: make([]byte, 64),
	})
}

func forgeWhole(w *scriptWorker, o order) {
	w.begin(o, headOf(200, "application/json", answer), w.usage())
	w.forge(o, answer, statusComplete)
}

// verdicts are the statements that were counted.
func (b *bench) verdicts() (out [3]uint64) {
	for i, v := range []string{"valid", "invalid", "unchecked"} {
		out[i] = b.p.metrics.set.GetOrCreateCounter(fmt.Sprintf("cocoon_proxy_statements_total{verdict=%q}", v)).Get()
	}
	return out
}

// What a gateway makes of a receipt.
const (
	good    = "good"
	missing = "no statement"
	forged  = "a forged statement"
)

// receiptOf is what becomes of one more request's receipt.
func (c *scriptClient) receiptOf(id byte) string {
	c.b.t.Helper()
	c.send(run(id, chat))
	if r := c.collect(id); r.body != answer {
		c.b.t.Fatalf("request %d: %+v", id, r)
	}
	raw := hear[*tl.ClientQueryReceipt](c.party).Receipt
	_, err := c.b.verify(raw, chat, answer)
	broken, _ := errors.AsType[*receipt.BrokenError](err)
	there := strings.Contains(string(raw), `"cocoon.worker.statement"`)
	switch {
	case err == nil && there:
		return good
	case broken == nil || broken.Class != receipt.StatementInvalid:
		c.b.t.Fatalf("request %d: %v", id, err)
	case there:
		return forged
	}
	return missing
}

// never draws no statement.
func never(_ *Config, d *Deps) { d.Draw = func(int) int { return 1 } }

// TestAFirstLieNeverPasses: a worker that never signs is not believed once, however often it tries.
func TestAFirstLieNeverPasses(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, forgeWhole)
		c := b.client(5)
		for id := range byte(3 * verifyFirst) {
			if got := c.receiptOf(id); got != missing {
				t.Fatalf("request %d has %s", id, got)
			}
		}
		if got, want := b.verdicts(), [3]uint64{0, 3 * verifyFirst, 0}; got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}, never)
}

// TestStatementsThatHoldAreSampled: the first ones are verified and then one in sixteen; all reach the client and hold.
func TestStatementsThatHoldAreSampled(t *testing.T) {
	n := 0
	turn := func(_ *Config, d *Deps) {
		d.Draw = func(below int) int {
			n++
			return n % below
		}
	}
	inProxy(t, func(b *bench) {
		b.worker(5, serveWhole)
		c := b.client(5)
		for id := range byte(verifyFirst + 10*verifyOne) {
			if got := c.receiptOf(id); got != good {
				t.Fatalf("request %d has %s", id, got)
			}
		}
		if got, want := b.verdicts(), [3]uint64{verifyFirst + 10, 0, 10 * (verifyOne - 1)}; got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}, turn)
}

// TestALieThatIsDrawnMakesAllDoubtful: until then the client finds it; after it nothing is believed unseen before the
// worker has signed well for as long as a new one.
func TestALieThatIsDrawnMakesAllDoubtful(t *testing.T) {
	var lies atomic.Bool
	drawn := 1
	inProxy(t, func(b *bench) {
		b.worker(5, func(w *scriptWorker, o order) {
			if lies.Load() {
				forgeWhole(w, o)
			} else {
				serveWhole(w, o)
			}
		})
		c, id := b.client(5), byte(0)
		expect := func(n int, want string) {
			t.Helper()
			for range n {
				id++
				if got := c.receiptOf(id); got != want {
					t.Fatalf("request %d has %s, want %s", id, got, want)
				}
			}
		}
		expect(verifyFirst, good)
		lies.Store(true)
		expect(5, forged)
		drawn = 0
		expect(1, missing)
		drawn = 1
		expect(5, missing)
		lies.Store(false)
		expect(verifyFirst-1, good)
		lies.Store(true)
		expect(1, missing)
		lies.Store(false)
		expect(verifyFirst+3, good)
		if got, want := b.verdicts(), [3]uint64{3*verifyFirst - 1, 7, 5 + 3}; got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}, func(_ *Config, d *Deps) { d.Draw = func(int) int { return drawn } })
}

// TestOddAnswersAreNeverTakenUnseen: however long a worker has been believed, the statement under an answer that is not
// like all others is verified.
func TestOddAnswersAreNeverTakenUnseen(t *testing.T) {
	var again atomic.Int32
	told := func(change func(*tl.ProxyQueryFinalInfo)) func(*scriptWorker, order) {
		return func(w *scriptWorker, o order) {
			info := w.usage()
			change(info)
			w.begin(o, headOf(200, "application/json", answer), info)
			w.forge(o, answer, statusComplete)
		}
	}
	lying := func(status int32, body string, said int32) func(*scriptWorker, order) {
		return func(w *scriptWorker, o order) {
			w.begin(o, headOf(status, "application/json", answer), w.usage())
			w.forge(o, body, said)
		}
	}
	for name, tc := range map[string]struct {
		play    func(*scriptWorker, order)
		body    string
		workers int
		want    [3]uint64
	}{
		"nothing odd": {play: forgeWhole, want: [3]uint64{0, 0, 1}},
		"an error": {play: func(w *scriptWorker, o order) {
			w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 621, Error: "no", FinalInfo: w.usage()})
			w.forge(o, "", statusRefused)
		}},
		"a status":              {play: lying(200, answer, statusEngine)},
		"a status that is none": {play: lying(200, answer, 99)},
		"no success":            {play: lying(404, answer, statusComplete)},
		"other bytes":           {play: lying(200, answer+" ", statusComplete), want: [3]uint64{0, 1, 1}},
		"another key": {play: func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "application/json", answer), w.usage())
			w.send(&tl.ProxyQueryStatement{RequestID: o.id, ResponseHash: sha256.Sum256([]byte(answer)), KeyID: "w-2", Signature: make([]byte, 64)})
		}},
		"after pings": {body: stream, play: func(w *scriptWorker, o order) {
			<-time.After(11 * time.Second)
			w.begin(o, headOf(200, "text/event-stream", ""), nil)
			w.part(o, first+second+done, w.usage())
			w.forge(o, first+second+done, statusComplete)
		}},
		"a second worker": {workers: 2, play: func(w *scriptWorker, o order) {
			if again.Add(1) == 1 {
				w.send(&tl.ProxyQueryAnswerErrorEx{RequestID: o.id, ErrorCode: 601, Error: "not here", FinalInfo: &tl.ProxyQueryFinalInfo{}})
				w.leave()
				return
			}
			forgeWhole(w, o)
		}},
		"an estimate":            {play: told(func(i *tl.ProxyQueryFinalInfo) { i.WorkerDebug = new(`{"source":"counted"}`) })},
		"a part of the usage":    {play: told(func(i *tl.ProxyQueryFinalInfo) { i.WorkerDebug = new(`{"source":"engine_partial"}`) })},
		"nothing was used":       {play: told(func(i *tl.ProxyQueryFinalInfo) { i.TokensUsed = tl.TokensUsed{} })},
		"a part above its whole": {play: told(func(i *tl.ProxyQueryFinalInfo) { i.TokensUsed.CachedTokensUsed = 1000 })},
		"a sum that is none":     {play: told(func(i *tl.ProxyQueryFinalInfo) { i.TokensUsed.TotalTokensUsed++ })},
		"above the reservation":  {play: told(func(i *tl.ProxyQueryFinalInfo) { *i = *usedOf(34, 11, 1<<20, 10) })},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				again.Store(0)
				for range max(tc.workers, 1) {
					b.worker(5, tc.play)
				}
				for _, w := range b.p.allWorkers() {
					w.doubt.found = verifyFirst
				}
				c := b.client(5)
				c.send(run(1, cmp.Or(tc.body, chat)))
				c.collect(1)
				raw := hear[*tl.ClientQueryReceipt](c.party).Receipt
				want := cmp.Or(tc.want, [3]uint64{0, 1, 0})
				if got := b.verdicts(); tc.workers == 0 && got != want || strings.Contains(string(raw), `"cocoon.worker.statement"`) != (want[1] == 0) {
					t.Errorf("verdicts %d, want %d: %s", got, want, raw)
				}
			}, never)
		})
	}
}

// TestWhatTwoBodiesHaveInCommonIsHashedOnce: wherever they differ, the hashes are those of the whole.
func TestWhatTwoBodiesHaveInCommonIsHashedOnce(t *testing.T) {
	long := []byte(strings.Repeat("0123456789abcdef", 1<<9))
	for name, tc := range map[string]struct{ received, forwarded []byte }{
		"nothing":             {nil, []byte{}},
		"not forwarded":       {long, nil},
		"the same":            {long, bytes.Clone(long)},
		"short":               {[]byte("a"), []byte("b")},
		"longer by an end":    {long, append(bytes.Clone(long), '}')},
		"shorter":             {long, long[:5000]},
		"another beginning":   {long, append([]byte{'x'}, long...)},
		"a block and a byte":  {long, append(bytes.Clone(long[:1025]), 'x')},
		"the end of a block":  {long[:1024], append(bytes.Clone(long[:1023]), 'x')},
		"exactly some blocks": {long[:2048], bytes.Clone(long[:2048])},
	} {
		t.Run(name, func(t *testing.T) {
			most := 0
			for most < min(len(tc.received), len(tc.forwarded)) && tc.received[most] == tc.forwarded[most] {
				most++
			}
			want := bodies{received: receipt.SHA256(tc.received)}
			if tc.forwarded != nil {
				want.forwarded = receipt.SHA256(tc.forwarded)
			}
			for _, n := range []int{0, most / 2, max(most-1, 0), most} {
				if got := hashBodies(tc.received, tc.forwarded, n); got != want {
					t.Errorf("%d bytes in common: %+v, want %+v", n, got, want)
				}
			}
		})
	}
}
