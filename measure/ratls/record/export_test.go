package record

import (
	"net"
)

// Kinds of records, for tests that make their own.
const (
	TypeAlert       = typeAlert
	TypeHandshake   = typeHandshake
	TypeApplication = typeApplication
	MaxPlaintext    = maxPlaintext
	MaxUseless      = maxUseless
	DefaultRekey    = rekeyAfter
)

// Of makes a Conn from traffic secrets, without a handshake.
func Of(raw net.Conn, id uint16, read, write []byte, client bool) (*Conn, error) {
	c := &Conn{raw: raw, client: client, rekey: rekeyAfter}
	var err error
	if c.in, err = newHalf(id, read); err != nil {
		return nil, err
	}
	c.out, err = newHalf(id, write)
	return c, err
}

// Seal is the next record that c would write, of any kind and with padding.
func (c *Conn) Seal(kind byte, data []byte, padding int) []byte {
	inner := append(append(append([]byte(nil), data...), kind), make([]byte, padding)...)
	last := len(inner) - 1
	return c.seal(make([]byte, 0, len(inner)+headerSize+tagSize), inner[last], inner[:last])
}

// RekeyAfter sets after how many records a key is replaced.
func (c *Conn) RekeyAfter(records uint64) { c.rekey = records }

// RequestUpdate asks the peer for a new key, and takes a new one.
func (c *Conn) RequestUpdate() error {
	if err := c.writeRecord(typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, updateRequested}); err != nil {
		return err
	}
	return c.out.next()
}

// NextKey goes over to the next key without telling the peer, who was told by a record of Seal's.
func (c *Conn) NextKey() error { return c.out.next() }

// Receive has c read records before anything else.
func (c *Conn) Receive(records []byte) { c.rest = records }

// HoldsBuffer tells whether a buffer is held.
func (c *Conn) HoldsBuffer() bool { return c.buf != nil }

// Written is how many records the current key has protected.
func (c *Conn) Written() uint64 { return c.out.seq }
