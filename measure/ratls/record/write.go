package record

import (
	"encoding/binary"
	"fmt"
)

// Write writes data, up to four records in one call to the connection below.
func (c *Conn) Write(p []byte) (written int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, ErrClosed
	}
	if c.outErr != nil || len(p) == 0 {
		return 0, c.outErr
	}
	buf := take(&buffers)
	defer buffers.Put(buf)
	for len(p) > 0 && c.outErr == nil {
		out, size := (*buf)[:0], 0
		if c.owed.Swap(false) || c.out.seq >= c.rekey {
			if c.outErr = c.updateOut(); c.outErr != nil {
				break
			}
		}
		for len(p) > size && cap(out)-len(out) >= headerSize+maxPlaintext+1+tagSize {
			n := min(len(p)-size, maxPlaintext)
			out = c.seal(out, typeApplication, p[size:size+n])
			size += n
		}
		if _, c.outErr = c.raw.Write(out); c.outErr == nil {
			written, p = written+size, p[size:]
		}
	}
	return written, c.outErr
}

// CloseWrite tells the peer that nothing more comes. More than once is once.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.outErr != nil {
		return c.outErr
	}
	c.closed = true
	if err := c.writeRecord(typeAlert, []byte{levelWarning, alertCloseNotify}); err != nil {
		return fmt.Errorf("ending stream: %w", err)
	}
	return nil
}

// updateOut tells the peer that the key changes, and changes it; the lock is held.
func (c *Conn) updateOut() error {
	if err := c.writeRecord(typeHandshake, []byte{messageKeyUpdate, 0, 0, 1, updateNotRequested}); err != nil {
		return err
	}
	return c.out.next()
}

// writeRecord writes one short record; the lock is held.
func (c *Conn) writeRecord(kind byte, data []byte) error {
	out := c.seal(make([]byte, 0, headerSize+len(data)+1+tagSize), kind, data)
	_, err := c.raw.Write(out)
	return err
}

// seal appends a record, which out has place for.
func (c *Conn) seal(out []byte, kind byte, data []byte) []byte {
	start := len(out)
	out = append(out, typeApplication)
	out = binary.BigEndian.AppendUint16(out, version)
	out = binary.BigEndian.AppendUint16(out, uint16(len(data)+1+tagSize)) //nolint:gosec // at most a record's
	head, body := out[start:], len(out)
	out = append(append(out, data...), kind)
	var nonce [nonceSize]byte
	return out[:body+len(c.out.aead.Seal(out[body:body], c.out.nonce(&nonce), out[body:], head))]
}
