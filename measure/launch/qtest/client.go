// Package qtest reads what an unmodified QEMU would show to a guest's firmware, through QEMU's qtest protocol and
// without running any guest code (measure.md section 7).
//
// It owns the protocol, the chipset registers that firmware would have programmed, and fw_cfg DMA. It neither starts
// QEMU nor opens sockets: the caller hands over a connection whose deadline it controls, so that a silent QEMU ends
// in an error here. QEMU is trusted to be the binary the caller named, but every reply is bounded and checked. A
// Client belongs to one goroutine.
package qtest

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of the protocol: a line carries at most one fw_cfg file in base64.
const (
	maxReply = 4 << 20
	maxRead  = 2 << 20
)

// ErrProtocol marks a reply that is not what the protocol says.
var ErrProtocol = errors.New("qtest protocol")

// Client speaks the qtest protocol: one line per command, one line per reply.
type Client struct {
	w io.Writer
	r *bufio.Reader
}

// NewClient starts a conversation on a connection that QEMU has opened.
func NewClient(rw io.ReadWriter) *Client {
	return &Client{w: rw, r: bufio.NewReaderSize(rw, 1<<16)}
}

// command sends one line and returns the words behind OK.
func (c *Client) command(format string, args ...any) ([]string, error) {
	line := fmt.Sprintf(format, args...)
	if _, err := io.WriteString(c.w, line+"\n"); err != nil {
		return nil, fmt.Errorf("sending %q: %w", summary(line), err)
	}
	for {
		reply, err := c.line()
		if err != nil {
			return nil, fmt.Errorf("waiting for the answer to %q: %w", summary(line), err)
		}
		words := strings.Fields(reply)
		if len(words) > 0 && words[0] == "IRQ" { // asynchronous, interrupts are of no interest here
			continue
		}
		if len(words) == 0 || words[0] != "OK" {
			return nil, fmt.Errorf("%w: %q answered with %q", ErrProtocol, summary(line), summary(reply))
		}
		return words[1:], nil
	}
}

// line reads one reply within bounds.
func (c *Client) line() (string, error) {
	var out []byte
	for {
		part, err := c.r.ReadSlice('\n')
		out = append(out, part...)
		switch {
		case len(out) > maxReply:
			return "", fmt.Errorf("%w: reply longer than %d bytes", ErrProtocol, maxReply)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return "", err
		}
		return strings.TrimRight(string(out), "\r\n"), nil
	}
}

func summary(s string) string {
	const most = 60
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// out writes to an I/O port; width is the protocol's letter: b, w or l.
func (c *Client) out(width string, port uint16, value uint32) error {
	_, err := c.command("out%s 0x%x 0x%x", width, port, value)
	return err
}

// inl reads 32 bits from an I/O port.
func (c *Client) inl(port uint16) (uint32, error) {
	words, err := c.command("inl 0x%x", port)
	if err != nil {
		return 0, err
	}
	if len(words) != 1 {
		return 0, fmt.Errorf("%w: inl answered with %d values", ErrProtocol, len(words))
	}
	v, err := strconv.ParseUint(words[0], 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return uint32(v), nil
}

// write puts bytes into guest memory.
func (c *Client) write(addr uint64, data []byte) error {
	_, err := c.command("write 0x%x 0x%x 0x%s", addr, len(data), hex.EncodeToString(data))
	return err
}

// read takes bytes out of guest memory.
func (c *Client) read(addr uint64, size int) ([]byte, error) {
	if size < 1 || size > maxRead {
		return nil, fmt.Errorf("reading guest memory: %d bytes, want 1..%d", size, maxRead)
	}
	words, err := c.command("b64read 0x%x 0x%x", addr, size)
	if err != nil {
		return nil, err
	}
	if len(words) != 1 {
		return nil, fmt.Errorf("%w: b64read answered with %d values", ErrProtocol, len(words))
	}
	data, err := base64.StdEncoding.DecodeString(words[0])
	if err != nil || len(data) != size {
		return nil, fmt.Errorf("%w: b64read returned %d bytes, want %d", ErrProtocol, len(data), size)
	}
	return data, nil
}
