package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/wire/tl"
)

// begun is a call whose head has come.
func begun() *Call {
	c := &Call{limit: streamQueue, settled: make(chan struct{}), wake: make(chan struct{}, 1), Offer: Offer{Version: ExtensionVersion}}
	c.head(tl.Encode(&tl.HTTPResponse{StatusCode: 200}), nil)
	return c
}

// TestPiecesAreTheStream: however parts and reads follow each other, the pieces are the bytes that came, in order, and so is
// the transcript.
func TestPiecesAreTheStream(t *testing.T) {
	for _, burst := range []int{1, 2, 7} {
		c, want, got := begun(), []byte(nil), []byte(nil)
		for i := range 40 {
			data := fmt.Appendf(nil, "part %d of a stream; ", i)
			c.part(data, nil)
			want = append(want, data...)
			if (i+1)%burst != 0 {
				continue
			}
			p, err := c.Recv(t.Context(), time.Second)
			if err != nil || p.Head == nil || p.End {
				t.Fatalf("%+v, %v", p, err)
			}
			got = append(got, p.Data...)
		}
		c.part(nil, &Final{})
		p, err := c.Recv(t.Context(), time.Second)
		if got = append(got, p.Data...); err != nil || !p.End || !bytes.Equal(got, want) {
			t.Errorf("in bursts of %d: end %t, %v, %q", burst, p.End, err, got)
		}
		if _, transcript, _ := c.Paper(); !bytes.Equal(transcript, want) {
			t.Errorf("in bursts of %d: transcript %q", burst, transcript)
		}
	}
}

// TestIdleIsTheTimeOfOneRecv: the timer of a call is used again, and each Recv waits as long as it was told to.
func TestIdleIsTheTimeOfOneRecv(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begun()
		if _, err := c.Recv(t.Context(), time.Second); err != nil && !errors.Is(err, ErrIdle) {
			t.Fatal(err)
		}
		for _, wait := range []time.Duration{time.Second, 3 * time.Second, time.Second} {
			began := time.Now()
			if _, err := c.Recv(t.Context(), wait); !errors.Is(err, ErrIdle) || time.Since(began) != wait {
				t.Errorf("%v after %s, want %s", err, time.Since(began), wait)
			}
		}
	})
}

// BenchmarkPart: one event of a stream from the session to the reader of the call.
func BenchmarkPart(b *testing.B) {
	c, data := begun(), bytes.Repeat([]byte("x"), 217)
	b.ReportAllocs()
	for b.Loop() {
		c.part(data, nil)
		p, err := c.Recv(b.Context(), time.Minute)
		if err != nil || len(p.Data) != len(data) {
			b.Fatal(len(p.Data), err)
		}
		c.transcript, c.owed = c.transcript[:0], 0
	}
}
