// Package sse cuts a stream of server-sent events into events without changing a byte (inference.md section 6.2).
//
// It owns the grammar that is accepted: lines end in LF or CRLF, an event ends at an empty line, and a line is a comment
// or one of the fields data, event, id and retry. Anything else is malformed at once, because clients answer NDJSON or
// HTML with silence. It trusts no input: an event is bounded, the cost is linear, and the result does not depend on how
// the bytes are cut into writes. A Splitter belongs to one stream. It never looks into the data.
package sse

import (
	"bytes"
	"errors"
)

// MaxEvent bounds one event: response.completed repeats the whole answer (inference.md section 6.2).
const MaxEvent = 16 << 20

// What can be wrong with a stream.
var (
	ErrMalformed = errors.New("a line that is neither a comment nor a field of an event")
	ErrTooLarge  = errors.New("an event of more than 16 MiB")
)

// Ping is the comment that keeps a connection alive; it is part of the bytes that a receipt covers.
const Ping = ": ping\n\n"

// Done is the event that ends a stream.
const Done = "data: [DONE]\n\n"

// Event is one event as it arrived. It is valid until the Splitter is used again.
type Event struct {
	// Raw is every byte, the empty line included.
	Raw []byte
	// Data is what its data lines say, joined by LF; nil when it has none. At is its offset in Raw, or -1 when several
	// lines were joined.
	Data []byte
	At   int
	// Fields says that it has a field at all; without one it is a comment.
	Fields bool
}

// Splitter collects bytes and hands out whole events.
type Splitter struct {
	buf []byte
	// start is where the event being collected begins; scanned is how far its lines were looked at, and searched how far
	// the line after them has no end.
	start, scanned, searched int
	fields                   bool
	data                     [][2]int // the values of its data lines, as offsets into buf
	joined                   []byte
	err                      error
}

// Write adds bytes of the stream. Earlier events become invalid.
func (s *Splitter) Write(p []byte) {
	if s.start > 0 && s.start == len(s.buf) {
		s.buf, s.start, s.scanned, s.searched = s.buf[:0], 0, 0, 0
	}
	if s.start > 0 && len(s.buf)+len(p) > cap(s.buf) {
		n := copy(s.buf, s.buf[s.start:])
		s.buf = s.buf[:n]
		s.scanned -= s.start
		s.searched -= s.start
		for i := range s.data {
			s.data[i][0] -= s.start
			s.data[i][1] -= s.start
		}
		s.start = 0
	}
	s.buf = append(s.buf, p...)
}

// Next returns the next whole event, or false when more bytes are needed. After an error it returns nothing more.
func (s *Splitter) Next() (Event, bool, error) {
	for s.err == nil {
		s.searched = max(s.searched, s.scanned)
		end := bytes.IndexByte(s.buf[s.searched:], '\n')
		if end >= 0 {
			end += s.searched - s.scanned
		}
		if len(s.buf)-s.start > MaxEvent && (end < 0 || s.scanned+end-s.start >= MaxEvent) {
			s.err = ErrTooLarge
			break
		}
		if end < 0 {
			s.searched = len(s.buf)
			return Event{}, false, s.early()
		}
		line := s.buf[s.scanned : s.scanned+end]
		from := s.scanned
		s.scanned += end + 1
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return s.event(), true, nil
		}
		if s.err = s.line(line, from); s.err != nil {
			break
		}
	}
	return Event{}, false, s.err
}

// Rest reports whether bytes are left that never became an event.
func (s *Splitter) Rest() bool { return len(s.buf) > s.start }

// line reads one line of an event; from is its offset.
func (s *Splitter) line(line []byte, from int) error {
	if bytes.IndexByte(line, '\r') >= 0 {
		return ErrMalformed
	}
	if line[0] == ':' {
		return nil
	}
	name, value, found := bytes.Cut(line, []byte(":"))
	if !field(name) {
		return ErrMalformed
	}
	s.fields = true
	if string(name) != "data" {
		return nil
	}
	at := from + len(name)
	if found {
		at++
		if len(value) > 0 && value[0] == ' ' {
			at++
		}
	}
	s.data = append(s.data, [2]int{at, from + len(line)})
	return nil
}

func field(name []byte) bool {
	switch string(name) {
	case "data", "event", "id", "retry":
		return true
	}
	return false
}

// early refuses a line that cannot become a field however it goes on, so that a stream of anything else is not collected.
func (s *Splitter) early() error {
	const longest = len("event")
	line := s.buf[s.scanned:]
	if len(line) <= longest || line[0] == ':' {
		return nil
	}
	name, _, found := bytes.Cut(line[:longest+1], []byte(":"))
	if !found || !field(name) {
		s.err = ErrMalformed
	}
	return s.err
}

// event hands out what was collected.
func (s *Splitter) event() Event {
	e := Event{Raw: s.buf[s.start:s.scanned:s.scanned], Fields: s.fields, At: -1}
	switch len(s.data) {
	case 0:
	case 1:
		e.Data, e.At = s.buf[s.data[0][0]:s.data[0][1]:s.data[0][1]], s.data[0][0]-s.start
	default:
		s.joined = s.joined[:0]
		for i, d := range s.data {
			if i > 0 {
				s.joined = append(s.joined, '\n')
			}
			s.joined = append(s.joined, s.buf[d[0]:d[1]]...)
		}
		e.Data = s.joined
	}
	s.start, s.fields, s.data = s.scanned, false, s.data[:0]
	return e
}

// Append writes an event with one data line; the data must not contain a line end.
func Append(dst, data []byte) []byte {
	dst = append(dst, "data: "...)
	dst = append(dst, data...)
	return append(dst, "\n\n"...)
}
