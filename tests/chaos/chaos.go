// Package chaos is a TCP proxy that misbehaves as it is told: it delays, drips, freezes, corrupts, cuts and resets what
// passes between two peers, in either direction and at any byte.
//
// It owns the sockets on both of its sides and counts what passes. It trusts its callers: it is test support and never
// part of a product. A Proxy is controlled while it runs and is safe for concurrent use; all its goroutines have ended when
// Run returns. Given a seed, it cuts the stream into the same pieces each time. It refuses to guess: without orders it
// passes bytes on as they come.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Direction is one half of a connection.
type Direction uint8

// The directions: Up is from the side that dials to the side that listens.
const (
	Up Direction = iota
	Down
)

// String names a direction in tests' output.
func (d Direction) String() string { return [...]string{"up", "down"}[d] }

// Action is what happens at a byte.
type Action uint8

// The actions. Each happens once.
const (
	// Cut closes both sockets behind the byte, Reset does so with RST.
	Cut Action = iota
	Reset
	// Freeze lets nothing more pass in either direction, and closes nothing: a host that lost its power, or was stopped.
	Freeze
	// Corrupt flips a bit of the byte.
	Corrupt
)

// String names an action in tests' output.
func (a Action) String() string { return [...]string{"cut", "reset", "freeze", "corrupt"}[a] }

// Manner is how bytes pass while nothing is wrong; the zero value passes them on as they come.
type Manner struct {
	// Delay holds every piece back.
	Delay time.Duration
	// Piece is the most that passes at once, and with Random a size from 1 to Piece is drawn each time; 0 sets no bound.
	Piece  int
	Random bool
}

// Proxy stands between those who dial it and one target.
type Proxy struct {
	work sync.WaitGroup

	mu     sync.Mutex
	target string
	refuse bool
	manner [2]Manner
	gate   [2]chan struct{} // closed while bytes may pass
	passed [2]int64
	armed  *order
	conns  map[*pair]struct{}
	served int
	rng    *rand.Rand
}

// order is an action that waits for its byte.
type order struct {
	dir   Direction
	left  int64
	do    Action
	fired chan struct{}
}

// New makes a proxy in front of a target. The seed decides where Random cuts.
func New(target string, seed uint64) *Proxy {
	open := make(chan struct{})
	close(open)
	return &Proxy{
		target: target, gate: [2]chan struct{}{open, open}, conns: make(map[*pair]struct{}),
		rng: rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // reproducible on purpose
	}
}

// Run serves a listener, which it owns, until ctx ends.
func (p *Proxy) Run(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		p.Break(Cut)
	})
	defer stop()
	defer p.work.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting connection: %w", err)
		}
		p.work.Go(func() { p.serve(ctx, conn) })
	}
}

// serve carries one connection.
func (p *Proxy) serve(ctx context.Context, near net.Conn) {
	p.mu.Lock()
	target, refuse := p.target, p.refuse
	p.served++
	p.mu.Unlock()
	if refuse {
		_ = near.Close()
		return
	}
	far, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		_ = near.Close()
		return
	}
	c := &pair{near: near, far: far, gone: make(chan struct{})}
	p.mu.Lock()
	p.conns[c] = struct{}{}
	p.mu.Unlock()
	if ctx.Err() != nil {
		c.end(Cut)
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(c, Up, near, far) })
	both.Go(func() { p.pump(c, Down, far, near) })
	both.Wait()
	c.end(Cut)
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// pair is a connection with its two sockets.
type pair struct {
	near, far net.Conn
	once      sync.Once
	gone      chan struct{}
}

// end closes both sockets.
func (c *pair) end(how Action) {
	c.once.Do(func() {
		close(c.gone)
		for _, conn := range []net.Conn{c.near, c.far} {
			if tcp, ok := conn.(*net.TCPConn); ok && how == Reset {
				_ = tcp.SetLinger(0) // closing then resets
			}
			_ = conn.Close()
		}
	})
}

// pump moves one direction.
func (p *Proxy) pump(c *pair, dir Direction, from, to net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !p.move(c, dir, buf[:n], to) {
			return
		}
		if err != nil {
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // the end is passed on like everything else
			}
			return
		}
	}
}

// move writes what was read, as far as the orders let it.
func (p *Proxy) move(c *pair, dir Direction, data []byte, to net.Conn) bool {
	for len(data) > 0 {
		piece, delay, act := p.next(dir, data)
		if !wait(c.gone, delay) || !p.pass(c, dir) {
			return false
		}
		if act != nil && act.do == Corrupt {
			piece[len(piece)-1] ^= 0x10
		}
		if _, err := to.Write(piece); err != nil {
			c.end(Cut)
			return false
		}
		data = data[len(piece):]
		if act == nil {
			continue
		}
		p.act(c, act)
		if act.do == Cut || act.do == Reset {
			return false
		}
	}
	return true
}

// next is the piece that passes now, how long it is held back, and what happens behind it.
func (p *Proxy) next(dir Direction, data []byte) (piece []byte, delay time.Duration, act *order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.manner[dir]
	n := len(data)
	if m.Piece > 0 {
		n = min(n, m.Piece)
		if m.Random {
			n = min(n, 1+p.rng.IntN(m.Piece))
		}
	}
	if o := p.armed; o != nil && o.dir == dir {
		if int64(n) >= o.left {
			n, act, p.armed = int(o.left), o, nil
		} else {
			o.left -= int64(n)
		}
	}
	p.passed[dir] += int64(n)
	return data[:n], m.Delay, act
}

// act does what an order says.
func (p *Proxy) act(c *pair, o *order) {
	switch o.do {
	case Cut, Reset:
		c.end(o.do)
	case Freeze:
		p.Freeze(Up, Down)
	case Corrupt: // it was done to the bytes
	}
	close(o.fired)
}

// pass waits while the direction is frozen.
func (p *Proxy) pass(c *pair, dir Direction) bool {
	p.mu.Lock()
	gate := p.gate[dir]
	p.mu.Unlock()
	select {
	case <-gate:
		return true
	case <-c.gone:
		return false
	}
}

// wait pauses, unless gone closes.
func wait(gone <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-gone:
		return false
	}
}

// ErrByte means that an order names no byte.
var ErrByte = errors.New("an action happens at the first byte from now or a later one")

// Arm has something happen at the nth byte from now in a direction, whichever connection carries it: 1 is the next byte. A
// new order replaces one that still waits. The channel is closed once it has happened.
func (p *Proxy) Arm(dir Direction, n int64, do Action) (<-chan struct{}, error) {
	if n < 1 {
		return nil, ErrByte
	}
	o := &order{dir: dir, left: n, do: do, fired: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = o
	return o.fired, nil
}

// Disarm takes an order back that has not happened.
func (p *Proxy) Disarm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = nil
}
