// Package tl is the vocabulary of the network: every message, function and stored record as a Go type, generated from one
// schema (protocol.md sections 3.1 to 3.5).
//
// It owns the schema, which lists the layouts of the second generation of the reference implementation, the first
// generation's where their ids differ, and our extensions. It trusts no byte: a value is read to its last byte or refused
// with an error that matches wire.ErrTL; vectors and strings are bounded by what is left, unknown flag bits, ids and
// words for Bool are refused. Optional fields are pointers; when one flag announces several, a missing one among them
// is written as zero. Values are plain data and share no memory with what they were read from, except a View's. It knows
// nothing of connections, nor of which numbers make sense.
package tl

import (
	"fmt"

	"cocoon/contracts/wire"
)

const (
	// MaxString bounds a string: names, addresses, headers, texts of errors.
	MaxString = 64 << 10
	// MaxBytes bounds bytes; the frame around them is no longer.
	MaxBytes = 1 << 24
)

// Object is a value with an id of its own.
type Object interface {
	TLID() uint32
	TLName() string
	TLType() string
	// Size is how many bytes Append appends.
	Size() int
	Append(dst []byte) []byte
}

// Function is an Object that asks for an answer of the type TLType.
type Function interface {
	Object
	isFunction()
}

// UnknownError is an id that the schema does not have.
type UnknownError struct{ ID uint32 }

// Error names the id.
func (e *UnknownError) Error() string { return fmt.Sprintf("TL: no constructor has the id %08x", e.ID) }

// Unwrap makes it one of wire.ErrTL.
func (e *UnknownError) Unwrap() error { return wire.ErrTL }

// Parse reads one value and nothing else.
func Parse(data []byte) (Object, error) { return parse(wire.NewCursor(data)) }

// View is Parse for who keeps data and changes it no more: fields of bytes share its memory, strings do not.
func View(data []byte) (Object, error) { return parse(wire.SharingCursor(data)) }

func parse(c *wire.Cursor) (Object, error) {
	id := c.Uint()
	if err := c.Err(); err != nil {
		return nil, err
	}
	v := decode(id, c)
	if v == nil {
		return nil, &UnknownError{ID: id}
	}
	if err := c.End(); err != nil {
		return nil, fmt.Errorf("%s: %w", v.TLName(), err)
	}
	return v, nil
}

// Encode writes a value with its id.
func Encode(v Object) []byte { return v.Append(make([]byte, 0, v.Size())) }

func int256(c *wire.Cursor) (out [32]byte) {
	c.Fill(out[:])
	return out
}

// readString reads a string. What nearly every http.request and http.response says takes no memory.
func readString(c *wire.Cursor) string {
	b := c.Bytes(MaxString)
	switch string(b) {
	case "POST":
		return "POST"
	case "X-Cocoon-Request-Id":
		return "X-Cocoon-Request-Id"
	case "HTTP/1.1":
		return "HTTP/1.1"
	case "/v1/chat/completions":
		return "/v1/chat/completions"
	case "OK":
		return "OK"
	case "Content-Type":
		return "Content-Type"
	case "application/json":
		return "application/json"
	case "text/event-stream":
		return "text/event-stream"
	case "X-Cocoon-Worker-Start":
		return "X-Cocoon-Worker-Start"
	case "X-Cocoon-Worker-End":
		return "X-Cocoon-Worker-End"
	case "X-Cocoon-Proxy-Start":
		return "X-Cocoon-Proxy-Start"
	case "X-Cocoon-Proxy-End":
		return "X-Cocoon-Proxy-End"
	case "X-Cocoon-Cost-Nano":
		return "X-Cocoon-Cost-Nano"
	case "X-Aci-Keyset-Digest":
		return "X-Aci-Keyset-Digest"
	}
	return string(b)
}

// orZero is what a pointer points to.
func orZero[T any](p *T) (zero T) {
	if p == nil {
		return zero
	}
	return *p
}

// orNew is a pointer to what there is, or to a zero value.
func orNew[T any](p *T) *T {
	if p == nil {
		return new(T)
	}
	return p
}
