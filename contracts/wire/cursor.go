package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// ErrTL marks every refusal of TL bytes, so that a caller can answer it with the protocol's parse error.
var ErrTL = errors.New("TL")

// Cursor reads TL items from a slice it never changes. The first error stays: later calls return zero values, so a decoder
// reads all fields in order and asks End once.
type Cursor struct {
	data   []byte
	off    int
	err    error
	shares bool
}

// NewCursor reads data from its start.
func NewCursor(data []byte) *Cursor { return &Cursor{data: data} }

// SharingCursor is a cursor whose Own does not copy.
func SharingCursor(data []byte) *Cursor { return &Cursor{data: data, shares: true} }

// Remaining is how many bytes are left; none after an error.
func (c *Cursor) Remaining() int {
	if c.err != nil {
		return 0
	}
	return len(c.data) - c.off
}

// Err is the first error.
func (c *Cursor) Err() error { return c.err }

// Fail records a refusal that the caller found in the item it just read. The first error stays.
func (c *Cursor) Fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: byte %d: %w", ErrTL, c.off, fmt.Errorf(format, args...))
	}
}

// End is the first error, or one that says how many bytes follow the last item.
func (c *Cursor) End() error {
	if n := c.Remaining(); n > 0 {
		c.Fail("%d bytes after the last field", n)
	}
	return c.err
}

// Raw is the next n bytes, without a length. It shares the cursor's memory.
func (c *Cursor) Raw(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n < 0 || n > len(c.data)-c.off {
		c.Fail("%d bytes wanted, %d left", n, len(c.data)-c.off)
		return nil
	}
	out := c.data[c.off : c.off+n : c.off+n]
	c.off += n
	return out
}

// Fill copies the next len(dst) bytes: an int256, a key, a digest.
func (c *Cursor) Fill(dst []byte) { copy(dst, c.Raw(len(dst))) }

// Uint is a constructor id or a flags word.
func (c *Cursor) Uint() uint32 {
	b := c.Raw(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

// Int is an int.
func (c *Cursor) Int() int32 { return int32(c.Uint()) } //nolint:gosec // the same four bytes, signed or not

// Long is a long.
func (c *Cursor) Long() int64 {
	b := c.Raw(8)
	if b == nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b)) //nolint:gosec // the same eight bytes, signed or not
}

// Double is a double; every bit pattern is accepted, its range is the field's business.
func (c *Cursor) Double() float64 {
	return math.Float64frombits(uint64(c.Long())) //nolint:gosec // the same eight bytes, signed or not
}

// Bool is a boxed Bool.
func (c *Cursor) Bool() bool {
	id := c.Uint()
	if id != boolTrue && id != boolFalse {
		c.Fail("%08x is no Bool", id)
	}
	return c.err == nil && id == boolTrue
}

// ID reads a constructor id that must be want.
func (c *Cursor) ID(want uint32) {
	if id := c.Uint(); c.err == nil && id != want {
		c.Fail("constructor %08x, want %08x", id, want)
	}
}

// Flags is a flags word of which only the known bits may be set: the size of what an unknown bit announces is unknown.
func (c *Cursor) Flags(known uint32) uint32 {
	v := c.Uint()
	if extra := v &^ known; extra != 0 {
		c.Fail("unknown flag bit %d", bits.TrailingZeros32(extra))
		return 0
	}
	return v
}

// Count is the length of a vector whose elements take at least elem bytes each, so that a count that cannot be true
// is refused before anything is allocated for it.
func (c *Cursor) Count(elem int) int {
	n := c.Int()
	if limit := c.Remaining() / max(elem, 1); n < 0 || int64(n) > int64(limit) {
		c.Fail("vector of %d elements in %d bytes", n, c.Remaining())
		return 0
	}
	return int(n)
}

// Bytes is a bytes or string field of at most limit bytes. It shares the cursor's memory.
func (c *Cursor) Bytes(limit int) []byte {
	start := c.off
	n := c.length()
	if c.err == nil && n > uint64(max(limit, 0)) {
		c.Fail("%d bytes in a field of at most %d", n, limit)
	}
	if c.err == nil && n > uint64(c.Remaining()) { //nolint:gosec // a length
		c.Fail("%d bytes wanted, %d left", n, c.Remaining())
	}
	if c.err != nil {
		return nil
	}
	out := c.Raw(int(n)) //nolint:gosec // at most Remaining
	pad := -(c.off - start) & (word - 1)
	for _, b := range c.Raw(pad) {
		if b != 0 {
			c.Fail("padding is not zero")
			return nil
		}
	}
	return out
}

// Own is Bytes in memory of its own, unless the cursor is one that shares.
func (c *Cursor) Own(limit int) []byte {
	b := c.Bytes(limit)
	if c.shares || b == nil {
		return b
	}
	out := make([]byte, len(b))
	copy(out, b)
	return out
}

// String is Bytes as a string of its own memory.
func (c *Cursor) String(limit int) string { return string(c.Bytes(limit)) }

// length reads the length of bytes and refuses a form longer than needed.
func (c *Cursor) length() uint64 {
	var width int
	var least uint64
	switch mark := c.Raw(1); {
	case mark == nil:
		return 0
	case mark[0] == hugeMark:
		width, least = hugeBytes, longMax+1
	case mark[0] == longMark:
		width, least = 3, shortMax+1
	default:
		return uint64(mark[0])
	}
	var n uint64
	for i, b := range c.Raw(width) {
		n |= uint64(b) << (8 * i)
	}
	if n < least {
		c.Fail("length %d in %d bytes, where fewer do", n, width)
	}
	return n
}
