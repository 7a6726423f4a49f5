package record

import (
	"bytes"
	"encoding/binary"
	"net"
)

// fenceSize is how much a Fence reads at a time; a handshake's flight with a quote has about 6 KiB.
const fenceSize = 8 << 10

// Fence is a connection for crypto/tls to make its handshake on. It hands out one record at a time, so that what follows
// the handshake's last one stays here, for New to take. It must not be used after that.
type Fence struct {
	net.Conn
	place *[]byte // of the pool
	buf   []byte  // read and not handed out, within place
	left  int     // of the record that is being handed out
}

// NewFence puts a fence before a connection.
func NewFence(c net.Conn) *Fence { return &Fence{Conn: c} }

// Read reads up to the end of the current record.
func (f *Fence) Read(p []byte) (int, error) {
	for f.left == 0 && len(f.buf) < headerSize || len(f.buf) == 0 {
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
	if f.left == 0 {
		f.left = headerSize + int(binary.BigEndian.Uint16(f.buf[offLength:]))
	}
	n := copy(p, f.buf[:min(len(f.buf), f.left)])
	f.buf, f.left = f.buf[n:], f.left-n
	return n, nil
}

// fill reads once.
func (f *Fence) fill() error {
	if f.place == nil {
		f.place = take(&fences)
		f.buf = (*f.place)[:0]
	}
	if cap(f.buf)-len(f.buf) < headerSize { // less than a header is left of it
		f.buf = append((*f.place)[:0], f.buf...)
	}
	n, err := f.Conn.Read(f.buf[len(f.buf):cap(f.buf)])
	f.buf = f.buf[:len(f.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// rest is what was read beyond the handshake; the fence is of no use any more.
func (f *Fence) rest() []byte {
	if f.place == nil {
		return nil
	}
	out := bytes.Clone(f.buf)
	fences.Put(f.place)
	f.place, f.buf = nil, nil
	return out
}
