package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestForward: bytes go both ways, the end of one side ends the other, an engine that is not there closes the worker's
// connection, and the end of the context ends everything.
func TestForward(t *testing.T) {
	engine, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close() //nolint:errcheck // test
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "e.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- forward(ctx, l, func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", engine.Addr().String())
		})
	}()
	open := func() net.Conn {
		t.Helper()
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	worker := open()
	side, err := engine.Accept()
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("answer"), 100000)
	if _, err := io.WriteString(worker, "question"); err != nil {
		t.Fatal(err)
	}
	question := make([]byte, len("question"))
	if _, err := io.ReadFull(side, question); err != nil || string(question) != "question" {
		t.Errorf("the engine read %q, %v", question, err)
	}
	go func(c net.Conn) { _, _ = c.Write(big); _ = c.Close() }(side)
	if got, err := io.ReadAll(worker); err != nil || !bytes.Equal(got, big) {
		t.Errorf("the worker read %d bytes of %d, %v", len(got), len(big), err)
	}
	cancelled := open()
	if side, err = engine.Accept(); err != nil {
		t.Fatal(err)
	}
	_ = cancelled.Close()
	if _, err := side.Read(question); !errors.Is(err, io.EOF) {
		t.Errorf("the engine does not hear of a closed connection: %v", err)
	}
	last := open()
	if _, err := engine.Accept(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := last.Read(question); err == nil {
		t.Error("a connection outlives the context")
	}
}

// TestForwardWithoutAnEngine: the worker's connection closes, and later ones are tried again.
func TestForwardWithoutAnEngine(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "e.sock"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		over <- forward(ctx, l, func(context.Context) (net.Conn, error) { return nil, errors.New("loading") })
	}()
	for range 3 {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("read: %v", err)
		}
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if err := RunForward(t.Context(), "/tmp/x", "127.0.0.1:1"); err == nil {
		t.Error("a socket outside of the shared folder")
	}
}
