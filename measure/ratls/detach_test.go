package ratls

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"cocoon/measure/policy"
)

// detachable is a town whose server's connections can be detached, over TCP: net.Pipe has no half-close.
func detachable(tb testing.TB) *town {
	tb.Helper()
	v := newTown(tb)
	v.server.Detachable, v.dialer.Detachable, v.server.PoW = true, true, easy()
	return v
}

func TestDetachedConnectionsGoOn(t *testing.T) {
	v := detachable(t)
	m := meet(t, v.dialer, v.server).admitted(t)
	server, err := m.server.Detach()
	if err != nil {
		t.Fatal(err)
	}
	client, err := m.client.Detach()
	if err != nil {
		t.Fatal(err)
	}
	message := randomBytes(t, 1<<18)
	sent := make(chan error, 1)
	go func() {
		if _, err := client.Write(message); err != nil {
			sent <- err
			return
		}
		sent <- client.CloseWrite()
	}()
	if got, err := io.ReadAll(server); err != nil || !bytes.Equal(got, message) {
		t.Errorf("%d bytes arrived (%v), want %d", len(got), err, len(message))
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if _, err := server.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 6)
	if _, err := io.ReadFull(client, buf); err != nil || string(buf) != "answer" {
		t.Errorf("the answer is %q (%v)", buf, err)
	}
	for _, c := range []*Conn{m.client, m.server} {
		if c.Conn != nil || c.Peer.Certificate != nil || c.Peer.Report == nil || !c.Peer.Verdict.OK {
			t.Error("the handshake's memory is kept, or what is known about the peer is not")
		}
		if _, err := c.Detach(); err == nil {
			t.Error("a connection was detached twice")
		}
	}
	if err := m.server.Close(); err != nil || v.sessions.Len() != 0 {
		t.Errorf("after Close %d sessions are live (%v)", v.sessions.Len(), err)
	}
}

func TestOnlyDetachableConnectionsAreDetached(t *testing.T) {
	v := newTown(t)
	_, server := v.visit()
	if _, err := server.Detach(); err == nil {
		t.Error("a connection was detached whose endpoint does not say so")
	}
	v.server.Detachable, v.server.Fresh = true, v.platform
	if err := v.server.Validate(); err == nil {
		t.Error("an endpoint both exchanges fresh quotes and detaches")
	}
}

// A detached session is judged anew from what is kept of the peer's certificate, and closed.
func TestDetachedSessionsAreJudgedAnew(t *testing.T) {
	v := detachable(t)
	first := meet(t, v.dialer, v.server).admitted(t)
	second := meet(t, v.dialer, v.server).admitted(t)
	for _, m := range []meeting{first, second} {
		if _, err := m.server.Detach(); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := first.server.session.shown, second.server.session.shown; &a[0] != &b[0] {
		t.Error("two sessions with one certificate hold it twice")
	}
	if closed, err := v.sessions.Reevaluate(t.Context(), "policy"); closed != 0 || err != nil {
		t.Fatalf("%d sessions closed though nothing changed (%v)", closed, err)
	}
	if list := v.sessions.List(); len(list) != 2 || list[0].Image != v.image() || list[0].NotAfter.IsZero() {
		t.Errorf("sessions are %+v", list)
	}
	v.set(v.world.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ }))
	closed, err := v.sessions.Reevaluate(t.Context(), "policy")
	if closed != 2 || err != nil || v.sessions.Len() != 0 {
		t.Errorf("%d sessions closed, %d live (%v)", closed, v.sessions.Len(), err)
	}
	for _, m := range []meeting{first, second} {
		_ = m.client.raw.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := m.client.Read(make([]byte, 1))
		if n, ok := errors.AsType[net.Error](err); err == nil || ok && n.Timeout() {
			t.Errorf("the peer's connection is still open (%v)", err)
		}
		if errors.Is(err, io.EOF) {
			t.Error("the peer takes the eviction for the stream's end")
		}
	}
}
