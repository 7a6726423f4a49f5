package record

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Records (RFC 8446 section 5).
const (
	offLength  = 3
	headerSize = 5
	version    = 0x0303 // of all records; the version that was negotiated is 1.3

	maxPlaintext  = 1 << 14
	maxCiphertext = maxPlaintext + 256

	typeAlert       = 21
	typeHandshake   = 22
	typeApplication = 23
)

// bufferSize holds four full records, so that a busy connection needs one system call for them.
const bufferSize = 4 * (headerSize + maxPlaintext + 1 + tagSize)

// maxUseless bounds records in a row that carry no data: a peer cannot keep us busy with empty ones.
const maxUseless = 16

// rekeyAfter records a key is replaced, well below the bound of AES-GCM (RFC 8446 section 5.5: 2^24.5).
const rekeyAfter = 1 << 24

// Conn is the stream of a TLS 1.3 connection. It is an io.ReadWriter; deadlines and closing are those of the connection
// below it, except that CloseWrite says good-bye first.
//
// A Conn holds a buffer only while there are records in it. Where the connection below returns an error that is
// temporary (net.Error) instead of waiting, Read returns it and goes on where it was at the next call, and no buffer is
// held meanwhile, but what there is of an incomplete record.
type Conn struct {
	raw    net.Conn
	client bool

	in      half
	buf     *[]byte // nil: none is held
	r, w    int     // records are at buf[r:w]
	rest    []byte  // what there is of a record while no buffer is held
	pending []byte  // data of a record, within buf
	hand    []byte  // what there is of a handshake message
	useless int
	err     error // what every further Read returns

	// owed says that the peer has asked for another key of ours, which comes before the next data and not sooner: many
	// requests to who is silent have one answer (RFC 8446 section 4.6.3), and reading does not wait for who writes.
	owed atomic.Bool

	mu     sync.Mutex // guards what follows
	out    half
	closed bool
	outErr error
	rekey  uint64
}

// ErrClosed is what writing returns after CloseWrite.
var ErrClosed = errors.New("writing record: the stream has ended")

// New takes a connection over from crypto/tls. The handshake must just have ended on f, with keys as its KeyLogWriter,
// and nothing may have been read or written since. The tls.Conn must not be used any more.
func New(f *Fence, state tls.ConnectionState, keys *KeyLog, client bool) (*Conn, error) {
	defer keys.wipe()
	switch {
	case state.Version != tls.VersionTLS13 || !state.HandshakeComplete:
		return nil, fmt.Errorf("taking connection over: version is %s, handshake complete: %t", tls.VersionName(state.Version), state.HandshakeComplete)
	case f.left != 0:
		return nil, fmt.Errorf("taking connection over: %d bytes of a record were not read", f.left)
	}
	mine, theirs := keys.server, keys.client
	if client {
		mine, theirs = theirs, mine
	}
	c := &Conn{raw: f.Conn, client: client, rest: f.rest(), rekey: rekeyAfter}
	var err error
	if c.in, err = newHalf(state.CipherSuite, theirs); err != nil {
		return nil, fmt.Errorf("taking connection over: reading: %w", err)
	}
	if c.out, err = newHalf(state.CipherSuite, mine); err != nil {
		return nil, fmt.Errorf("taking connection over: writing: %w", err)
	}
	return c, nil
}

// Read reads data. It returns io.EOF after the peer's close_notify, and after an end without it unless that cuts a
// record: the reference implementation closes so.
func (c *Conn) Read(p []byte) (int, error) {
	for len(p) > 0 {
		if len(c.pending) > 0 {
			n := copy(p, c.pending)
			c.pending = c.pending[n:]
			return n, nil
		}
		if c.err != nil {
			return 0, c.err
		}
		n, err := c.record(p)
		if err != nil {
			c.park()
			if !isTemporary(err) {
				c.err = err
			}
			return 0, err
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, nil
}

func isTemporary(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Temporary() //nolint:staticcheck // it is what crypto/tls goes by: a Read that may be repeated
}

// record reads and opens the next record. Its data is put into p, or becomes pending if p is too short.
func (c *Conn) record(p []byte) (int, error) {
	head, payload, err := c.next()
	if err != nil {
		return 0, err
	}
	dst := payload[:0] // in place
	if len(p) >= len(payload)-tagSize {
		dst = p[:0]
	}
	var nonce [nonceSize]byte
	plain, err := c.in.aead.Open(dst, c.in.nonce(&nonce), payload, head)
	if err != nil {
		return 0, c.refuse(alertBadRecordMAC, errors.New("record does not verify"))
	}
	// The content type is the last byte that is not zero.
	content := bytes.TrimRight(plain, "\x00")
	if len(plain) > maxPlaintext+1 {
		return 0, c.refuse(alertRecordOverflow, fmt.Errorf("%d bytes of data in a record", len(plain)))
	}
	if len(content) == 0 {
		return 0, c.refuse(alertUnexpectedMessage, errors.New("record without content type"))
	}
	kind, data := content[len(content)-1], content[:len(content)-1]
	if kind != typeApplication || len(data) == 0 {
		return 0, c.control(kind, data)
	}
	if len(c.hand) > 0 {
		return 0, c.refuse(alertUnexpectedMessage, errors.New("data within a handshake message"))
	}
	c.useless = 0
	if len(p) < len(payload)-tagSize {
		c.pending = data
		return 0, nil
	}
	return len(data), nil
}

// next is the next whole record.
func (c *Conn) next() (head, payload []byte, err error) {
	size := headerSize
	for {
		if have := c.w - c.r; c.buf != nil && have >= headerSize {
			head = (*c.buf)[c.r : c.r+headerSize]
			length := int(binary.BigEndian.Uint16(head[offLength:]))
			switch {
			case head[0] != typeApplication || binary.BigEndian.Uint16(head[1:]) != version:
				return nil, nil, c.refuse(alertUnexpectedMessage, fmt.Errorf("record begins with %x", head))
			case length > maxCiphertext || length <= tagSize:
				return nil, nil, c.refuse(alertRecordOverflow, fmt.Errorf("record of %d bytes", length))
			}
			if size = headerSize + length; have >= size {
				payload = (*c.buf)[c.r+headerSize : c.r+size]
				c.r += size
				return head, payload, nil
			}
		}
		if err := c.fill(size); err != nil {
			return nil, nil, err
		}
	}
}

// fill reads once, into a buffer with place for a record of the given size.
func (c *Conn) fill(size int) error {
	if c.buf == nil {
		c.buf = take(&buffers)
		c.r, c.w = 0, copy(*c.buf, c.rest)
		c.rest = nil
		if c.w >= size {
			return nil
		}
	}
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if len(*c.buf)-c.r < size {
		c.r, c.w = 0, copy(*c.buf, (*c.buf)[c.r:c.w])
	}
	n, err := c.raw.Read((*c.buf)[c.w:])
	c.w += n
	switch {
	case n > 0 || err == nil:
		return nil
	case errors.Is(err, io.EOF) && c.w > c.r:
		return io.ErrUnexpectedEOF
	}
	return err
}

// park gives the buffer back. Pending data, which a temporary error does not come with, is not lost with it: there is
// none when a record is asked for.
func (c *Conn) park() {
	if c.buf == nil {
		return
	}
	c.rest = bytes.Clone((*c.buf)[c.r:c.w])
	buffers.Put(c.buf)
	c.buf, c.r, c.w = nil, 0, 0
}

// The pools hold buffers only between uses.
//
//nolint:gochecknoglobals // pools are shared by design: memory of one connection's burst serves another's
var (
	buffers = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}
	fences  = sync.Pool{New: func() any { b := make([]byte, fenceSize); return &b }}
)

func take(from *sync.Pool) *[]byte {
	b, ok := from.Get().(*[]byte)
	if !ok { // a pool of ours holds nothing else
		return new([]byte)
	}
	return b
}
