package record_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"testing"

	"cocoon/measure/ratls/record"
)

// keyUpdate is a peer's wish for a new key, with its own new key.
func keyUpdate(c *record.Conn) []byte {
	return c.Seal(record.TypeHandshake, []byte{24, 0, 0, 1, 1}, 0)
}

// A key ends before AES-GCM's bound for full records, 2^24.5 (RFC 8446 section 5.5): four more may go out in one call.
func TestKeysEndBeforeTheirBound(t *testing.T) {
	const bound = 23_726_566 // 2^24.5
	if record.DefaultRekey+4 > bound {
		t.Errorf("a key protects %d records, at most %d are safe", record.DefaultRekey+4, bound)
	}
}

// Records without data are few in a row, and any number in a connection's life.
func TestDataMakesUpForRecordsWithoutAny(t *testing.T) {
	server, client, p := alone(t)
	buf := make([]byte, 9)
	for range 4 {
		for range record.MaxUseless {
			p.in.Write(client.Seal(record.TypeApplication, nil, 1))
		}
		p.in.Write(client.Seal(record.TypeApplication, []byte("data"), 0))
		if n, err := server.Read(buf); string(buf[:n]) != "data" || err != nil {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
}

// Many requests for a new key while we are silent have one answer, before the next data: reading writes nothing.
func TestKeyUpdatesAreAnsweredBeforeTheNextData(t *testing.T) {
	server, client, p := alone(t)
	plain, _, other := alone(t) // what is written without any request
	for range 3 {
		p.in.Write(keyUpdate(client))
		if err := client.NextKey(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := server.Read(make([]byte, 9)); n != 0 || !errors.Is(err, notReadyError{}) {
		t.Fatalf("%d, %v", n, err)
	}
	if p.out.Len() > 0 {
		t.Errorf("reading writes %d bytes", p.out.Len())
	}
	sizes := [2][]int{}
	for range 2 {
		for i, c := range []*record.Conn{server, plain} {
			to := []*piece{p, other}[i]
			before := to.out.Len()
			if _, err := c.Write([]byte("data")); err != nil {
				t.Fatal(err)
			}
			sizes[i] = append(sizes[i], to.out.Len()-before)
		}
	}
	const update = 5 + 5 + 1 + 16 // header, message, type, tag
	if sizes[0][0] != sizes[1][0]+update || sizes[0][1] != sizes[1][1] || server.Written() != 2 {
		t.Errorf("writes of %v bytes, without requests %v; the key has protected %d records", sizes[0], sizes[1], server.Written())
	}
	client.Receive(p.out.Bytes())
	buf := make([]byte, 9)
	for range 2 {
		if n, err := client.Read(buf); string(buf[:n]) != "data" || err != nil {
			t.Errorf("the peer reads %q, %v", buf[:n], err)
		}
	}
}

// After close_notify nothing more is written, whatever the peer sends or wants: it would not be read.
func TestNothingIsWrittenAfterTheEnd(t *testing.T) {
	for name, say := range map[string]func(client *record.Conn) []byte{
		"a key update": keyUpdate,
		"a bad record": func(client *record.Conn) []byte {
			r := client.Seal(record.TypeApplication, []byte{1}, 0)
			r[7]++
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, client, p := alone(t)
			if err := server.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			written := p.out.Len()
			p.in.Write(say(client))
			_, _ = server.Read(make([]byte, 9)) // no data, and maybe an error
			if p.out.Len() != written {
				t.Errorf("%d bytes follow close_notify", p.out.Len()-written)
			}
		})
	}
}

// Who has told the peer that its records are wrong says nothing more.
func TestNothingIsWrittenAfterARefusal(t *testing.T) {
	server, client, p := alone(t)
	p.in.Write(client.Seal(99, []byte{1}, 0))
	if _, err := server.Read(make([]byte, 9)); err == nil {
		t.Fatal("a record of an unknown type is read")
	}
	written := p.out.Len()
	if n, err := server.Write([]byte("more")); n != 0 || !errors.Is(err, record.ErrClosed) {
		t.Errorf("%d, %v", n, err)
	}
	if err := server.CloseWrite(); err != nil || p.out.Len() != written {
		t.Errorf("%d bytes follow the alert (%v)", p.out.Len()-written, err)
	}
}

// broken fails to write, after some bytes.
type broken struct {
	piece
	calls int
}

var errBroken = errors.New("broken")

func (b *broken) Write(p []byte) (int, error) {
	b.calls++
	return len(p) / 2, errBroken
}

// A write that failed may have left half a record behind: what follows would be read as the rest of it.
func TestNothingIsWrittenAfterAFailedWrite(t *testing.T) {
	b := new(broken)
	client, server := twins(t, tls.TLS_AES_128_GCM_SHA256, 32, nil, b)
	if n, err := server.Write(make([]byte, 100_000)); n != 0 || !errors.Is(err, errBroken) {
		t.Errorf("%d, %v", n, err)
	}
	for range 2 {
		if n, err := server.Write([]byte{1}); n != 0 || !errors.Is(err, errBroken) {
			t.Errorf("the next write: %d, %v", n, err)
		}
		if n, err := server.Write(nil); n != 0 || !errors.Is(err, errBroken) {
			t.Errorf("an empty write: %d, %v", n, err)
		}
	}
	if err := server.CloseWrite(); !errors.Is(err, errBroken) {
		t.Errorf("close: %v", err)
	}
	b.in.Write(keyUpdate(client))
	b.in.Write([]byte("not a record"))
	if _, err := server.Read(make([]byte, 9)); err == nil {
		t.Error("rubbish is read")
	}
	if b.calls != 1 {
		t.Errorf("%d calls to write, want the one that failed", b.calls)
	}
}

// Writers, a reader that answers key updates, and new keys of our own do not get in each other's way.
func TestWritersAndKeyUpdatesShareAConnection(t *testing.T) {
	const writers, messages = 4, 60
	a, b := sockets(t)
	client, server := twins(t, tls.TLS_AES_128_GCM_SHA256, 32, a, b)
	server.RekeyAfter(7)
	message := bytes.Repeat([]byte("m"), 20_000)
	var all, reading sync.WaitGroup
	reading.Go(func() { // it answers the updates
		if _, err := io.Copy(io.Discard, server); err != nil {
			t.Error(err)
		}
	})
	for range writers {
		all.Go(func() {
			for range messages {
				if _, err := server.Write(message); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Go(func() {
		for range messages {
			if err := errors.Join(client.RequestUpdate(), send(client)); err != nil {
				t.Error(err)
				return
			}
		}
		if err := client.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got := make([]byte, writers*messages*len(message))
	if _, err := io.ReadFull(client, got); err != nil || len(bytes.Trim(got, "m")) > 0 {
		t.Errorf("%d bytes arrive changed: %v", len(got), err)
	}
	all.Wait()
	reading.Wait()
	if err := server.CloseWrite(); err != nil {
		t.Error(err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end %d, %v", n, err)
	}
}

func send(c io.Writer) error {
	_, err := c.Write([]byte("between updates"))
	return err
}
