package emulate

import (
	"bytes"
	"errors"
	"fmt"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

// MaxHeld is what a hop that relays holds of one answer (inference.md section 9).
const MaxHeld = 1 << 20

// What can be wrong with an answer.
var (
	// ErrTruncated is an answer that never said that it is complete.
	ErrTruncated = errors.New("the answer is not complete")
	// ErrMalformed is an answer that is neither JSON nor rows of it.
	ErrMalformed = errors.New("the answer is neither JSON nor a row of JSON objects")
	// ErrTooLarge is an answer of which too much would have to be held.
	ErrTooLarge = errors.New("the answer is too large to be made a stream")
)

// Stream makes events of an answer as it comes: of NDJSON row by row, of a whole document at its end.
type Stream struct {
	ep    api.Endpoint
	usage bool
	limit int

	held []byte
	form form
	// finished says that a row had a finish reason, counts holds the newest usage of the rows.
	finished bool
	counts   []byte
	// seen is how much of held was looked through for the end of a row.
	seen int
}

// form is what an answer turned out to be.
type form uint8

const (
	undecided form = iota
	document
	rows
)

// New begins an answer of an endpoint; usage says that the app wants the counts, limit is how many bytes may be held.
func New(ep api.Endpoint, usage bool, limit int) *Stream {
	return &Stream{ep: ep, usage: usage, limit: limit}
}

// Write takes bytes of the answer and returns the events that became whole.
func (s *Stream) Write(data []byte) ([]byte, error) {
	s.held = append(s.held, data...)
	var out []byte
	start := 0
	for s.form != document {
		end := bytes.IndexByte(s.held[s.seen:], '\n')
		if end < 0 {
			s.seen = len(s.held)
			break
		}
		end += s.seen
		row := bytes.TrimSpace(s.held[start:end])
		s.seen = end + 1
		if s.form == undecided && len(row) > 0 {
			if s.form = s.decide(row); s.form == document {
				break
			}
		}
		event, err := s.row(row)
		if err != nil {
			return out, err
		}
		out, start = append(out, event...), s.seen
	}
	s.held = append(s.held[:0], s.held[start:]...)
	s.seen -= min(start, s.seen)
	if len(s.held) > s.limit {
		return out, fmt.Errorf("%w: above %d bytes", ErrTooLarge, s.limit)
	}
	return out, nil
}

// decide looks at the first line: a part of an answer is a row of a stream, anything else the beginning of a document.
func (s *Stream) decide(line []byte) form {
	doc, err := jsonscan.Check(line)
	if err != nil {
		return document
	}
	choices, _ := doc.Get("choices")
	for c := range choices.Each() {
		_, delta := c.Get("delta")
		reason, _ := c.Get("finish_reason")
		if delta || s.ep == api.Completions && reason.Kind() != jsonscan.String {
			return rows
		}
	}
	return document
}

// row is the event of one row; an empty row has none.
func (s *Stream) row(row []byte) ([]byte, error) {
	if len(row) == 0 {
		return nil, nil
	}
	doc, err := jsonscan.Check(row)
	if err != nil {
		return nil, ErrMalformed
	}
	if _, failed := doc.Get("error"); failed {
		return nil, ErrTruncated
	}
	choices, _ := doc.Get("choices")
	n := 0
	for c := range choices.Each() {
		reason, _ := c.Get("finish_reason")
		s.finished = s.finished || reason.Kind() == jsonscan.String
		n++
	}
	if v, ok := doc.Get("usage"); ok && v.Kind() == jsonscan.Object {
		s.counts = append(s.counts[:0], v.Raw()...)
	}
	if n == 0 {
		return nil, nil // counts alone, which come at the end
	}
	e := jsonscan.NewEdit(doc)
	e.Cut("usage")
	return sse.Append(nil, line(e.Bytes())), nil
}

// End returns the last events, or says why the answer is not whole.
func (s *Stream) End() ([]byte, error) {
	rest := bytes.TrimSpace(s.held)
	s.held, s.seen = nil, 0
	if s.form != rows {
		return s.whole(rest)
	}
	out, err := s.row(rest)
	switch {
	case err != nil:
		return nil, err
	case !s.finished:
		return nil, ErrTruncated
	}
	if s.usage && s.counts != nil {
		object := "chat.completion.chunk"
		if s.ep == api.Completions {
			object = "text_completion"
		}
		out = sse.Append(out, []byte(`{"object":"`+object+`","choices":[],"usage":`+string(line(s.counts))+`}`))
	}
	return append(out, sse.Done...), nil
}

// whole is the stream of a whole document, or of rows of which each could have been one.
func (s *Stream) whole(body []byte) ([]byte, error) {
	doc, err := jsonscan.Check(body)
	if err != nil {
		return s.split(body)
	}
	choices, _ := doc.Get("choices")
	c := chunks{object: "chat.completion.chunk", doc: doc}
	write := c.message
	if s.ep == api.Completions {
		c.object, write = "text_completion", c.text
	}
	n := 0
	for choice := range choices.Each() {
		reason, _ := choice.Get("finish_reason")
		if reason.Kind() != jsonscan.String {
			return nil, ErrTruncated
		}
		write(choice, reason)
		n++
	}
	if n == 0 {
		return nil, ErrTruncated
	}
	if v, ok := doc.Get("usage"); ok && s.usage {
		c.event(nil, v.Raw())
	}
	return append(c.out, sse.Done...), nil
}

// split makes events of rows that did not look like parts when they came.
func (s *Stream) split(body []byte) ([]byte, error) {
	var out []byte
	for row := range bytes.Lines(body) {
		event, err := s.row(bytes.TrimSpace(row))
		if err != nil {
			return nil, err
		}
		out = append(out, event...)
	}
	s.form = rows
	tail, err := s.End()
	return append(out, tail...), err
}

// Events is a whole answer as the events of a stream.
func Events(ep api.Endpoint, body []byte, usage bool) ([]byte, error) {
	s := New(ep, usage, len(body))
	out, err := s.Write(body)
	if err != nil {
		return nil, err
	}
	tail, err := s.End()
	if err != nil {
		return nil, err
	}
	return append(out, tail...), nil
}
