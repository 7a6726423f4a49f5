package record

import (
	"errors"
	"fmt"
	"io"
)

// Alerts (RFC 8446 section 6).
const (
	levelWarning = 1
	levelFatal   = 2

	alertCloseNotify       = 0
	alertUnexpectedMessage = 10
	alertBadRecordMAC      = 20
	alertRecordOverflow    = 22
	alertDecodeError       = 50
	alertInternal          = 80
	alertUserCanceled      = 90
)

// AlertError is the peer's reason to end the connection, the number of RFC 8446 section 6.
type AlertError uint8

// Error names the number.
func (a AlertError) Error() string {
	return fmt.Sprintf("reading record: peer sent alert %d", uint8(a))
}

// Messages after the handshake (RFC 8446 section 4.6).
const (
	messageHeader    = 4
	messageTicket    = 4
	messageKeyUpdate = 24
	// maxMessage bounds one; a ticket may have our own certificate in it.
	maxMessage = 1 << 16

	updateNotRequested = 0
	updateRequested    = 1
)

// refuse tells the peer what is wrong, as far as it listens, and gives the error.
func (c *Conn) refuse(alert byte, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed && c.outErr == nil {
		c.closed = true
		_ = c.writeRecord(typeAlert, []byte{levelFatal, alert}) // the error at hand says more
	}
	return fmt.Errorf("reading record: %w", err)
}

// control takes a record that is not data.
func (c *Conn) control(kind byte, data []byte) error {
	if c.useless++; c.useless > maxUseless {
		return c.refuse(alertUnexpectedMessage, fmt.Errorf("%d records in a row without data", c.useless))
	}
	if kind != typeHandshake && len(c.hand) > 0 {
		return c.refuse(alertUnexpectedMessage, errors.New("another record within a handshake message"))
	}
	switch {
	case kind == typeApplication: // empty
		return nil
	case kind == typeAlert && len(data) == 2:
		switch data[1] {
		case alertCloseNotify:
			return io.EOF
		case alertUserCanceled: // says nothing
			return nil
		}
		return AlertError(data[1])
	case kind == typeHandshake && len(data) > 0:
		return c.handshake(data)
	}
	return c.refuse(alertUnexpectedMessage, fmt.Errorf("record of type %d with %d bytes", kind, len(data)))
}

// handshake takes a piece of a stream of handshake messages.
func (c *Conn) handshake(data []byte) error {
	c.hand = append(c.hand, data...)
	for len(c.hand) >= messageHeader {
		kind, size := c.hand[0], int(c.hand[1])<<16|int(c.hand[2])<<8|int(c.hand[3])
		if size > maxMessage {
			return c.refuse(alertUnexpectedMessage, fmt.Errorf("handshake message of %d bytes", size))
		}
		if len(c.hand) < messageHeader+size {
			return nil
		}
		body := c.hand[messageHeader : messageHeader+size]
		c.hand = c.hand[messageHeader+size:]
		switch {
		case kind == messageTicket && c.client: // nothing is resumed
		case kind == messageKeyUpdate:
			if err := c.keyUpdate(body); err != nil {
				return err
			}
		default:
			return c.refuse(alertUnexpectedMessage, fmt.Errorf("handshake message of type %d", kind))
		}
	}
	if len(c.hand) == 0 {
		c.hand = nil
	}
	return nil
}

// keyUpdate changes the key that is read with, and has Write change the other one if the peer asks for it (RFC 8446
// section 4.6.3).
func (c *Conn) keyUpdate(body []byte) error {
	switch {
	case len(body) != 1 || body[0] > updateRequested:
		return c.refuse(alertDecodeError, fmt.Errorf("key update of %d bytes", len(body)))
	case len(c.hand) > 0:
		return c.refuse(alertUnexpectedMessage, errors.New("a message follows a key update under the old key"))
	}
	if err := c.in.next(); err != nil {
		return c.refuse(alertInternal, fmt.Errorf("updating key: %w", err))
	}
	if body[0] == updateRequested {
		c.owed.Store(true)
	}
	return nil
}
