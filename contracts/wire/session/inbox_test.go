package session

import (
	"bytes"
	"context"
	"net"
	"testing"

	"cocoon/contracts/wire/tl"
)

// keeper keeps what it is given and tells when it has enough.
type keeper struct {
	want  int
	got   []*tl.ClientRefund
	ended chan struct{}
}

func (*keeper) Query(context.Context, tl.Function) (tl.Object, error) { return nil, ErrNotReady }

func (k *keeper) Packet(_ context.Context, p tl.Object) error {
	if r, ok := p.(*tl.ClientRefund); ok {
		k.got = append(k.got, r)
	}
	if len(k.got) == k.want {
		close(k.ended)
	}
	return nil
}

// TestMessagesStayAsTheyCame: what a handler keeps is not touched by later frames, whether a frame fits into the reader's
// buffer, fills it, or has memory of its own.
func TestMessagesStayAsTheyCame(t *testing.T) {
	sizes := []int{0, 100, 60_000, 1 << 16, 70_000, 5, 300_000, 200, 1 << 20, 60_001, 253, 254}
	a, b := net.Pipe()
	k := &keeper{want: len(sizes), ended: make(chan struct{})}
	dialer, acceptor := New(a, Options{Dialer: true}, &echo{}), New(b, Options{}, k)
	ctx, cancel := context.WithCancel(t.Context())
	ends := make(chan error, 2)
	for _, s := range []*Session{dialer, acceptor} {
		go func() { ends <- s.Run(ctx) }()
	}
	<-dialer.Ready()
	content := func(i int) []byte { return bytes.Repeat([]byte{byte(i + 1)}, sizes[i]) }
	for i := range sizes {
		if err := dialer.Send(t.Context(), &tl.ClientRefund{Data: content(i)}); err != nil {
			t.Fatal(err)
		}
	}
	<-k.ended
	cancel()
	_, _ = <-ends, <-ends
	for i, m := range k.got {
		if !bytes.Equal(m.Data, content(i)) {
			t.Errorf("message %d of %d bytes has changed, or has now %d", i, sizes[i], len(m.Data))
		}
	}
}
