package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

// begun is a call whose head has come from a proxy of a version.
func begun(version int) *Call {
	c := &Call{
		Link: newLink("a", &Config{Now: time.Now}, score{}), Offer: &Offer{Version: version}, ctx: context.Background(), now: time.Now, limit: streamQueue,
		keeps: version >= ExtensionVersion, wake: make(chan struct{}, 1),
	}
	c.head(tl.Encode(&tl.HTTPResponse{StatusCode: 200}), nil)
	return c
}

// TestPiecesAreTheStream: however parts and reads follow each other, the pieces are the bytes that came, in order, and so is
// the transcript, where there is one.
func TestPiecesAreTheStream(t *testing.T) {
	for _, version := range []int{1, ExtensionVersion} {
		for _, burst := range []int{1, 2, 7} {
			c, want, got := begun(version), []byte(nil), []byte(nil)
			if p, err := c.Recv(time.Second); err != nil || p.Head == nil || len(p.Data) > 0 {
				t.Fatalf("the head alone: %+v, %v", p, err)
			}
			for i := range 40 {
				data := fmt.Appendf(nil, "part %d of a stream; ", i)
				want = append(want, data...)
				c.part(data, nil)
				if (i+1)%burst != 0 {
					continue
				}
				p, err := c.Recv(time.Second)
				if err != nil || p.Head == nil || p.End {
					t.Fatalf("%+v, %v", p, err)
				}
				got = append(got, p.Data...)
			}
			c.part(nil, &Final{})
			p, err := c.Recv(time.Second)
			if got = append(got, p.Data...); err != nil || !p.End || !bytes.Equal(got, want) {
				t.Errorf("version %d in bursts of %d: end %t, %v, %q", version, burst, p.End, err, got)
			}
			if version < ExtensionVersion {
				want = nil
			}
			if _, transcript, _ := c.Paper(); !bytes.Equal(transcript, want) {
				t.Errorf("version %d in bursts of %d: transcript %q", version, burst, transcript)
			}
		}
	}
}

// TestWhatNobodyReadsIsOnlyHashed: a call that was closed keeps what a receipt is about, and hands nothing over.
func TestWhatNobodyReadsIsOnlyHashed(t *testing.T) {
	for version, want := range map[int]string{1: "", ExtensionVersion: "before and after"} {
		c := begun(version)
		c.part([]byte("before"), nil)
		c.live = &live{cancels: make(chan [32]byte, 1), session: session.New(nil, session.Options{}, nil)}
		c.Close()
		c.part([]byte(" and after"), &Final{Prompt: 3})
		if _, transcript, used := c.Paper(); string(transcript) != want || used == nil || used.Prompt != 3 {
			t.Errorf("version %d: %q, %+v", version, transcript, used)
		}
		if told := len(c.live.cancels) == 1; told != (version >= ExtensionVersion) {
			t.Errorf("version %d: cancelled %t", version, told)
		}
	}
}

// TestAStreamMayBeLongerThanItsTranscript: it goes on, and nothing is there to check a receipt by.
func TestAStreamMayBeLongerThanItsTranscript(t *testing.T) {
	c, part, got := begun(ExtensionVersion), make([]byte, MaxAnswer/64), 0
	for range 65 {
		c.live = &live{session: session.New(nil, session.Options{}, nil)} // which is not up: credit goes nowhere
		c.part(bytes.Clone(part), nil)
		p, err := c.Recv(time.Second)
		if err != nil {
			t.Fatal(err)
		}
		got += len(p.Data)
	}
	if _, transcript, _ := c.Paper(); got != 65*len(part) || transcript != nil || len(c.body) > len(part) {
		t.Errorf("%d bytes came, %d are in the transcript, %d are kept", got, len(transcript), len(c.body))
	}
}

// TestRecvEndsWithItsRequest: with the app that is gone, and when the caller waits no more.
func TestRecvEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begun(ExtensionVersion)
		began := time.Now()
		c.until = began.Add(3 * time.Second)
		for _, want := range []error{nil, ErrIdle, context.DeadlineExceeded, context.DeadlineExceeded} { // the first is the head
			if _, err := c.Recv(2 * time.Second); !errors.Is(err, want) {
				t.Errorf("after %s: %v, want %v", time.Since(began), err, want)
			}
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
		for _, stream := range []bool{true, false} {
			var cancel context.CancelFunc
			c = begun(ExtensionVersion)
			if c.ctx, cancel = context.WithCancel(t.Context()); stream {
				c.unhear = context.AfterFunc(c.ctx, c.signal)
			} else {
				c.gone = c.ctx.Done()
			}
			began = time.Now()
			time.AfterFunc(time.Second, cancel)
			_, _ = c.Recv(time.Minute)
			if _, err := c.Recv(time.Minute); !errors.Is(err, context.Canceled) || time.Since(began) != time.Second {
				t.Errorf("stream %t: %v after %s", stream, err, time.Since(began))
			}
		}
	})
}

// TestAwaitIsToldOnce: of the receipt, of the connection's end, or of the time that has passed, whatever comes first.
func TestAwaitIsToldOnce(t *testing.T) {
	const limit = 10 * time.Second
	for name, tc := range map[string]struct {
		what func(c *Call)
		want time.Duration
	}{
		"a receipt": {func(c *Call) { c.receipt([]byte("{}")); c.lost() }, time.Second},
		"a loss":    {func(c *Call) { c.lost(); c.receipt([]byte("{}")) }, time.Second},
		"nothing":   {func(*Call) {}, limit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, told := begun(ExtensionVersion), []time.Duration(nil)
				_, _ = c.Recv(time.Second)
				_, _ = c.Recv(limit - time.Second) // its timer rings within the limit
				began := time.Now()
				c.Await(limit, func() { told = append(told, time.Since(began)) })
				time.AfterFunc(time.Second, func() { tc.what(c) })
				time.Sleep(3 * limit) //nolint:forbidigo // the bubble's clock
				synctest.Wait()
				if len(told) != 1 || told[0] != tc.want {
					t.Errorf("told after %s, want %s", told, tc.want)
				}
				c.Await(limit, func() { told = append(told, 0) })
				if len(told) != 2 {
					t.Error("what is settled already was not told at once")
				}
			})
		})
	}
}

// TestWhoOwesTooMuchIsNotPicked, until it is forgotten.
func TestWhoOwesTooMuchIsNotPicked(t *testing.T) {
	c := begun(ExtensionVersion)
	l := c.Link
	l.status.State, c.live = Ready, &live{calls: make(map[[32]byte]*Call)}
	p := &Pool{links: []*Link{l}}
	if c.Owe(maxDebt / 2); p.Pick("m", nil) != l || l.Indebted() {
		t.Error("half of the debt is too much")
	}
	if c.Owe(maxDebt); l.Indebted() {
		t.Error("one call counts twice")
	}
	other := begun(ExtensionVersion)
	other.Link, other.live = l, c.live
	if other.Owe(maxDebt / 2); p.Pick("m", nil) != nil || !l.Indebted() {
		t.Error("who owes too much is picked")
	}
	c.Forget()
	if c.Forget(); p.Pick("m", nil) != l {
		t.Error("what is forgotten counts")
	}
	if other.Forget(); l.debt.Load() != 0 {
		t.Errorf("%d are left", l.debt.Load())
	}
}

// TestIdleIsTheTimeOfOneRecv: the timer of a call is used again, and each Recv waits as long as it was told to.
func TestIdleIsTheTimeOfOneRecv(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begun(ExtensionVersion)
		if p, err := c.Recv(time.Second); err != nil || p.Head == nil {
			t.Fatal(err)
		}
		for _, wait := range []time.Duration{time.Second, 3 * time.Second, time.Second} {
			began := time.Now()
			if _, err := c.Recv(wait); !errors.Is(err, ErrIdle) || time.Since(began) != wait {
				t.Errorf("%v after %s, want %s", err, time.Since(began), wait)
			}
		}
	})
}

// BenchmarkPart: one event of a stream from the session to the reader of the call.
func BenchmarkPart(b *testing.B) {
	c, data := begun(ExtensionVersion), bytes.Repeat([]byte("x"), 217)
	b.ReportAllocs()
	for b.Loop() {
		c.part(data, nil)
		p, err := c.Recv(time.Minute)
		if err != nil || len(p.Data) != len(data) {
			b.Fatal(len(p.Data), err)
		}
		c.body, c.read, c.owed = c.body[:0], 0, 0
	}
}
