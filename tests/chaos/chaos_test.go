package chaos

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = time.Minute

// listen opens a port of this machine.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stand puts a proxy before a server that echoes, and dials it.
func stand(t *testing.T) (p *Proxy, dial func() net.Conn) {
	t.Helper()
	server := listen(t)
	p = New(server.Addr().String(), 7)
	front := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- p.Run(ctx, front) }()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				ended <- nil
				return
			}
			go func() {
				// Not before all has come: a socket that is closed with bytes that nobody has read resets its connection.
				all := make([]byte, len(sample))
				if _, err := io.ReadFull(conn, all); err == nil {
					_, _ = conn.Write(all)
				}
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = server.Close()
		for range 2 {
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Error("the proxy does not end")
			}
		}
	})
	return p, func() net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", front.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

var sample = bytes.Repeat([]byte("0123456789abcdef"), 4096)

// echo sends the sample and reads what comes back until the end or n bytes.
func echo(conn net.Conn, n int) ([]byte, error) {
	go func() { _, _ = conn.Write(sample) }()
	got := make([]byte, n)
	m, err := io.ReadFull(conn, got)
	return got[:m], err
}

func TestBytesPassAsTheyAreWhateverTheManner(t *testing.T) {
	for name, m := range map[string]Manner{
		"as they come": {}, "in pieces": {Piece: 100}, "in random pieces": {Piece: 3000, Random: true}, "late": {Delay: time.Millisecond, Piece: 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			p, dial := stand(t)
			p.Behave(Up, m)
			p.Behave(Down, m)
			if got, err := echo(dial(), len(sample)); err != nil || !bytes.Equal(got, sample) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if p.Passed(Up) != int64(len(sample)) || p.Passed(Down) != int64(len(sample)) || p.Served() != 1 || p.Open() != 1 {
				t.Errorf("%d up, %d down, %d served, %d open", p.Passed(Up), p.Passed(Down), p.Served(), p.Open())
			}
		})
	}
}

func TestAnActionHappensBehindItsByteAndOnce(t *testing.T) {
	for _, at := range []int64{1, 2, 1000, 40_000} {
		for _, do := range []Action{Cut, Reset} {
			p, dial := stand(t)
			fired, err := p.Arm(Down, at, do)
			if err != nil {
				t.Fatal(err)
			}
			got, err := echo(dial(), len(sample))
			switch {
			case do == Cut && (int64(len(got)) != at || !errors.Is(err, io.ErrUnexpectedEOF)):
				t.Errorf("%s at %d: %d bytes, %v", do, at, len(got), err)
			case do == Reset && (int64(len(got)) > at || !errors.Is(err, syscall.ECONNRESET)):
				t.Errorf("%s at %d: %d bytes, %v", do, at, len(got), err)
			}
			<-fired
			if got, err := echo(dial(), len(sample)); err != nil || len(got) != len(sample) {
				t.Errorf("the next connection: %d bytes, %v", len(got), err)
			}
		}
	}
	if _, err := New("", 0).Arm(Up, 0, Cut); !errors.Is(err, ErrByte) {
		t.Errorf("byte 0: %v", err)
	}
}

func TestOneBitIsFlipped(t *testing.T) {
	p, dial := stand(t)
	if _, err := p.Arm(Up, 777, Corrupt); err != nil {
		t.Fatal(err)
	}
	got, err := echo(dial(), len(sample))
	want := bytes.Clone(sample)
	want[776] ^= 0x10
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, byte 777 is %#x", len(got), err, got[776])
	}
}

func TestAFrozenLinkIsSilentAndThawsWhole(t *testing.T) {
	p, dial := stand(t)
	conn := dial()
	fired, err := p.Arm(Up, 100, Freeze)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = conn.Write(sample) }()
	<-fired
	const short = 50 * time.Millisecond
	if err := conn.SetReadDeadline(time.Now().Add(short)); err != nil {
		t.Fatal(err)
	}
	early, err := io.ReadAll(conn)
	if !errors.Is(err, os.ErrDeadlineExceeded) || len(early) > 100 {
		t.Fatalf("%d bytes, %v", len(early), err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p.Thaw()
	late := make([]byte, len(sample)-len(early))
	if _, err := io.ReadFull(conn, late); err != nil || !bytes.Equal(append(early, late...), sample) {
		t.Errorf("after the thaw: %v", err)
	}
	p.Freeze(Down)
	p.Freeze(Down)
	p.Break(Cut)
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
}

func TestATargetMayMoveAndBeGone(t *testing.T) {
	p, dial := stand(t)
	p.Refuse(true)
	if got, err := echo(dial(), 1); err == nil {
		t.Errorf("refused: %q", got)
	}
	p.Refuse(false)
	if _, err := p.Arm(Up, 1, Cut); err != nil {
		t.Fatal(err)
	}
	p.Disarm()
	if _, err := echo(dial(), 1); err != nil {
		t.Errorf("taken back: %v", err)
	}
	nobody := listen(t)
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	p.Retarget(nobody.Addr().String())
	if got, err := echo(dial(), 1); err == nil {
		t.Errorf("nobody there: %q", got)
	}
}
