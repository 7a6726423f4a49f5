// Package simtd is the protocol between a guest and the software TDX of its host (attestation.md section 16.2): frames
// of a u32 little-endian length and one JSON document, a request and its response in turn.
//
// It owns the documents, the framing and their bounds. It trusts neither side: lengths are checked before anything is
// allocated, documents are strict, sizes of registers and report data are fixed. It holds no keys and makes no
// evidence; the service is measure/measuretest, the guest's client is guest/device. A Conn serves one exchange at a
// time. It refuses frames over MaxFrame, unknown methods and keys, and fields that a method does not take.
package simtd

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"cocoon/measure/strictjson"
	"cocoon/measure/tdx"
)

const (
	// MaxFrame bounds a document; the largest is an event log of 256 KiB in hexadecimal.
	MaxFrame = 1 << 20
	// MaxLabel bounds the label of a seal key.
	MaxLabel = 256

	lengthSize = 4
)

// Method is what a request asks for.
type Method string

// The methods, with what the request gives and the response's data holds.
const (
	// GetReport: report data; a TDREPORT of 1024 bytes.
	GetReport Method = "GetReport"
	// GetQuote: report data; a quote.
	GetQuote Method = "GetQuote"
	// ExtendRTMR: register and digest; nothing.
	ExtendRTMR Method = "ExtendRTMR"
	// ReadMR: register; its 48 bytes.
	ReadMR Method = "ReadMR"
	// EventLog: nothing; the firmware's event log.
	EventLog Method = "EventLog"
	// SealKey: label; 32 bytes that only this TD gets.
	SealKey Method = "SealKey"
	// Reset: nothing; nothing. The TD is as after its boot.
	Reset Method = "Reset"
)

// Bytes are bytes that JSON carries as lower-case hexadecimal.
type Bytes []byte

// MarshalText writes hexadecimal digits.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

// UnmarshalText reads what MarshalText wrote.
func (b *Bytes) UnmarshalText(text []byte) error {
	out := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(out, text); err != nil {
		return fmt.Errorf("decoding bytes: %w", err)
	}
	*b = out
	return nil
}

// Request is one question. The ID comes back in the response, so that the answer to an abandoned question is noticed.
type Request struct {
	ID         uint64        `json:"id"`
	Method     Method        `json:"method"`
	ReportData Bytes         `json:"report_data,omitempty"`
	Register   *tdx.Register `json:"register,omitempty"`
	Digest     *tdx.Digest   `json:"digest,omitempty"`
	Label      string        `json:"label,omitempty"`
}

// Response is one answer: data, or an error in words.
type Response struct {
	ID    uint64 `json:"id"`
	Data  Bytes  `json:"data,omitempty"`
	Error string `json:"error,omitempty"`
}

// ErrRefused means that the service received the request and said no; asking again changes nothing.
var ErrRefused = errors.New("software TDX refused")

// Validate checks that a request has exactly what its method takes.
func (r *Request) Validate() error {
	takes, ok := map[Method]struct{ data, register, digest, label bool }{
		GetReport: {data: true}, GetQuote: {data: true}, ExtendRTMR: {register: true, digest: true},
		ReadMR: {register: true}, EventLog: {}, SealKey: {label: true}, Reset: {},
	}[r.Method]
	switch {
	case !ok:
		return fmt.Errorf("method %q is unknown", r.Method)
	case takes.data && len(r.ReportData) != tdx.ReportDataSize:
		return fmt.Errorf("%s: report data has %d bytes, want %d", r.Method, len(r.ReportData), tdx.ReportDataSize)
	case takes.label && (r.Label == "" || len(r.Label) > MaxLabel):
		return fmt.Errorf("%s: label has %d bytes, want 1 to %d", r.Method, len(r.Label), MaxLabel)
	}
	for _, f := range []struct {
		name         string
		takes, given bool
	}{
		{"report_data", takes.data, len(r.ReportData) > 0},
		{"register", takes.register, r.Register != nil},
		{"digest", takes.digest, r.Digest != nil},
		{"label", takes.label, r.Label != ""},
	} {
		if f.takes != f.given {
			return fmt.Errorf("%s: %s is given: %t, want %t", r.Method, f.name, f.given, f.takes)
		}
	}
	return nil
}

// Read reads one frame into what v points to: a *Request or a *Response. io.EOF means that the other side is gone
// between two frames.
func Read(r io.Reader, v any) error {
	var length [lengthSize]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("reading frame length: %w", err)
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n == 0 || n > MaxFrame {
		return fmt.Errorf("reading frame: length is %d, want 1 to %d", n, MaxFrame)
	}
	document, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(document) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("reading frame: %w", err)
	}
	return strictjson.Decode(document, v)
}

// Write writes one frame in one call.
func Write(w io.Writer, v any) error {
	document, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding frame: %w", err)
	}
	if len(document) > MaxFrame {
		return fmt.Errorf("writing frame: %d bytes, at most %d", len(document), MaxFrame)
	}
	frame := binary.LittleEndian.AppendUint32(make([]byte, 0, lengthSize+len(document)), uint32(len(document))) //nolint:gosec // at most MaxFrame
	if _, err := w.Write(append(frame, document...)); err != nil {
		return fmt.Errorf("writing frame: %w", err)
	}
	return nil
}

// maxStale bounds how many answers to earlier questions are skipped; a channel like a serial port keeps what a previous
// user of it has not read.
const maxStale = 64

// Conn is the asking side of a channel.
type Conn struct {
	rw io.ReadWriter
	id uint64
}

// NewConn makes a Conn. Questions are numbered from first on: a new user of an old channel takes another first number.
func NewConn(rw io.ReadWriter, first uint64) *Conn { return &Conn{rw: rw, id: first} }

// Call asks one question and waits for its answer. After an error other than ErrRefused the channel is of no more use.
func (c *Conn) Call(r Request) ([]byte, error) {
	r.ID = c.id
	c.id++
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := Write(c.rw, r); err != nil {
		return nil, err
	}
	for range maxStale {
		var a Response
		if err := Read(c.rw, &a); err != nil {
			return nil, err
		}
		switch {
		case a.ID != r.ID:
		case a.Error != "":
			return nil, fmt.Errorf("%w %s: %s", ErrRefused, r.Method, a.Error)
		default:
			return a.Data, nil
		}
	}
	return nil, fmt.Errorf("asking for %s: %d answers belong to other questions", r.Method, maxStale)
}
