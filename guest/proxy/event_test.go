package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

// TestPartsThatWaitBecomeOne: nobody took the first part when the second came; a head, an error and the last part keep
// their places.
func TestPartsThatWaitBecomeOne(t *testing.T) {
	a := newAttempt(&worker{version: versionOurs}, nil)
	part := func(text string) event { return event{kind: evPart, data: []byte(text)} }
	for _, e := range []event{{kind: evHead, data: []byte("h")}, part("a"), part("b"), part("c"), {kind: evError, text: "e"}, part("d")} {
		a.deliver(e)
	}
	want := []event{{kind: evHead, data: []byte("h")}, part("abc"), {kind: evError, text: "e"}, part("d")}
	for i, w := range want {
		got, err := a.next(t.Context(), time.Second, nil)
		if err != nil || got.kind != w.kind || !bytes.Equal(got.data, w.data) || got.text != w.text {
			t.Errorf("message %d: %+v, %v", i, got, err)
		}
	}
	if a.size != 0 {
		t.Errorf("%d bytes wait", a.size)
	}
	if _, err := a.next(t.Context(), time.Millisecond, nil); err != errGap { //nolint:errorlint // the very value
		t.Errorf("nothing came: %v", err)
	}
}

// TestPartsPassInOrder: whichever of two goroutines takes a part, it is never both at once, and all parts come in their order.
// Nothing guards what they share but the rule itself.
func TestPartsPassInOrder(t *testing.T) {
	const parts = 20_000
	a := newAttempt(&worker{version: versionOurs, p: &Proxy{deps: Deps{Now: time.Now}}}, nil)
	var got []byte
	turns, passed := 0, 0
	onward := func(part []byte) bool {
		if turns++; turns%5 == 0 { // this one has to wait for something
			return false
		}
		got = append(got, part...)
		passed++
		return true
	}
	var sender sync.WaitGroup
	var want []byte
	for i := range parts {
		want = binary.BigEndian.AppendUint32(want, uint32(i))
	}
	waiting := func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.pass != nil
	}
	sender.Go(func() {
		for i := range parts {
			for i%8 == 0 && !waiting() {
				runtime.Gosched()
			}
			e := event{kind: evPart, data: bytes.Clone(want[4*i : 4*i+4])}
			if i == parts-1 {
				e.info = &tl.ProxyQueryFinalInfo{}
			}
			a.deliver(e)
		}
	})
	for {
		e, err := a.next(t.Context(), time.Minute, onward)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, e.data...); e.info != nil {
			break
		}
	}
	sender.Wait()
	if !bytes.Equal(got, want) || a.size != 0 {
		t.Errorf("%d bytes, want %d in their order; %d wait", len(got), len(want), a.size)
	}
	if passed == 0 || passed == parts {
		t.Errorf("%d of %d parts were passed", passed, parts)
	}
}

// TestPassingEndsWithTheWait: who has stopped waiting finds all that comes in the queue.
func TestPassingEndsWithTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAttempt(&worker{version: versionOurs, p: &Proxy{deps: Deps{Now: time.Now}}}, nil)
		var got string
		onward := func(part []byte) bool {
			got += string(part)
			return true
		}
		part := func(text string) { a.deliver(event{kind: evPart, data: []byte(text)}) }
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(40*time.Second, func() { part("a") })
		time.AfterFunc(80*time.Second, func() { part("b") })
		began := time.Now()
		if _, err := a.next(ctx, time.Minute, onward); err != errGap || time.Since(began) != 140*time.Second || got != "ab" { //nolint:errorlint // the very value
			t.Errorf("%q, %v after %s", got, err, time.Since(began))
		}
		part("c")
		time.AfterFunc(time.Second, func() { cancel(errCancelled) })
		if e, err := a.next(ctx, 0, onward); err != nil || string(e.data) != "c" {
			t.Errorf("%q, %v", e.data, err)
		}
		if _, err := a.next(ctx, 0, onward); err != errCancelled { //nolint:errorlint // the very value
			t.Errorf("%v", err)
		}
		part("d")
		if e, err := a.next(t.Context(), 0, nil); err != nil || string(e.data) != "d" || got != "ab" {
			t.Errorf("%q, %v", e.data, err)
		}
	})
}

// TestPassNeedsNoWaiting: what would have to wait is not touched, and can be sent as before.
func TestPassNeedsNoWaiting(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(5, silent)
		c := b.client(5)
		c.send(run(1, stream))
		synctest.Wait()
		var r *request
		for known := range b.p.clients {
			r = known.request([32]byte{1})
		}
		o, at := r.out, b.p.atOnce
		if o.pass(at, []byte("early")) {
			t.Error("a part before the head")
		}
		if err := o.head(t.Context(), streamHead()); err != nil {
			t.Fatal(err)
		}
		for name, tc := range map[string]struct{ before, after func() }{
			"somebody sends": {o.mu.Lock, o.mu.Unlock},
			"no credit":      {func() { o.left -= window - 3 }, func() { o.left += window - 3 }},
			"hushed":         {func() { o.quiet = true }, func() { o.quiet = false }},
			"ended":          {func() { o.ended = true }, func() { o.ended = false }},
		} {
			tc.before()
			if o.pass(at, []byte("late")) {
				t.Errorf("%s: passed", name)
			}
			tc.after()
		}
		if o.pass(at, nil) || o.pass(at, make([]byte, session.MaxPart+1)) {
			t.Error("nothing, or more than a part, is passed")
		}
		if o.bytes != 0 || o.left != window {
			t.Errorf("%d bytes were noted, %d are left", o.bytes, o.left)
		}
		if !o.pass(at, []byte("now")) || o.bytes != 3 || o.left != window-3 {
			t.Errorf("%d bytes were noted, %d are left", o.bytes, o.left)
		}
		if got := hear[*tl.ClientQueryAnswerPartEx](c.party); string(got.Answer) != "now" {
			t.Errorf("%q came", got.Answer)
		}
	})
}

// BenchmarkEvent: one event of a stream from the worker's session to the request's goroutine, and the look at its bytes.
func BenchmarkEvent(b *testing.B) {
	a, data := newAttempt(&worker{version: versionOurs, p: &Proxy{deps: Deps{Now: time.Now}}}, nil), bytes.Repeat([]byte("x"), 217)
	var l look
	b.ReportAllocs()
	for name, onward := range map[string]pass{"waking": nil, "passing": func(part []byte) bool { l.see(part); return true }} {
		b.Run(name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			taken := make(chan struct{}, 1)
			var reader sync.WaitGroup
			reader.Go(func() {
				for {
					e, err := a.next(ctx, time.Minute, onward)
					if err != nil {
						return
					}
					l.see(e.data)
					if onward == nil {
						taken <- struct{}{}
					}
				}
			})
			for b.Loop() {
				a.deliver(event{kind: evPart, data: data})
				if onward == nil {
					<-taken
				}
			}
			cancel()
			reader.Wait()
		})
	}
}
