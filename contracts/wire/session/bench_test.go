package session

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/contracts/wire/tl"
)

// counted is a connection that counts what is written at once.
type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// ends are two sessions over TLS on a local network, and how often they have written.
type ends struct {
	near, far *Session
	writes    atomic.Int64
	crew      Crew
	client    waiting
}

// waiting are those who wait for the answer of a number.
type waiting [256]chan struct{}

func (w *waiting) Query(context.Context, tl.Function) (tl.Object, error) { return nil, ErrNotReady }

func (w *waiting) Packet(_ context.Context, p tl.Object) error {
	if a, ok := p.(*tl.ProxyQueryAnswerPartEx); ok {
		w[a.RequestID[0]] <- struct{}{}
	}
	return nil
}

// answering gives every request to a goroutine that answers it, as proxies and workers do.
type answering struct{ e *ends }

func (a answering) Query(context.Context, tl.Function) (tl.Object, error) { return nil, ErrNotReady }

func (a answering) Packet(ctx context.Context, p tl.Object) error {
	if q, ok := p.(*tl.ProxyQueryAnswerPartEx); ok {
		a.e.crew.Go(func() { _ = a.e.far.Send(ctx, q) })
	}
	return nil
}

// together has two sessions speak to each other until the benchmark ends.
func together(b *testing.B) *ends {
	b.Helper()
	e := new(ends)
	for i := range e.client {
		e.client[i] = make(chan struct{}, 1)
	}
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // nothing is lost with it
	near, err := new(net.Dialer).DialContext(b.Context(), "tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	e.near = New(tls.Client(counted{near, &e.writes}, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}), Options{Dialer: true}, &e.client)
	e.far = New(tls.Server(counted{far, &e.writes}, &tls.Config{Certificates: []tls.Certificate{selfSigned(b)}, MinVersion: tls.VersionTLS13}), Options{}, answering{e})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, s := range []*Session{e.near, e.far} {
		running.Go(func() { _ = s.Run(ctx) })
	}
	b.Cleanup(func() {
		cancel()
		running.Wait()
		e.crew.Wait()
	})
	<-e.near.Ready()
	return e
}

// BenchmarkExchange is a message and its answer, for one and for many who wait for theirs; writes are those of both sides,
// of which a pair needs two.
func BenchmarkExchange(b *testing.B) {
	for name, many := range map[string]int{"1": 1, "32": 32, "128": 128} {
		b.Run(name, func(b *testing.B) {
			e := together(b)
			b.ReportAllocs()
			e.writes.Store(0)
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			for i := range many {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						_ = e.near.Send(b.Context(), event(i))
						<-e.client[i]
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(e.writes.Load())/float64(b.N), "writes/op")
		})
	}
}

// BenchmarkPaced is an event of one of 128 streams that have one every 10 ms, all a little apart.
func BenchmarkPaced(b *testing.B) {
	const streams, pace = 128, 10 * time.Millisecond
	e := together(b)
	b.ReportAllocs()
	e.writes.Store(0)
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for i := range streams {
		all.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for left.Add(-1) >= 0 {
				<-tick.C
				_ = e.near.Send(b.Context(), event(i))
				<-e.client[i]
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(e.writes.Load())/float64(b.N), "writes/op")
}

func event(i int) *tl.ProxyQueryAnswerPartEx {
	m := &tl.ProxyQueryAnswerPartEx{Answer: make([]byte, 200)}
	binary.LittleEndian.PutUint32(m.RequestID[:], uint32(i))
	return m
}
