package emulate

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

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

// Answer is what an answer has to be.
type Answer struct {
	Endpoint api.Endpoint
	// Choices is how many were asked for; 0 is one. Every one of them has to end.
	Choices int64
	// Usage says that the app wants the counts, Limit is how many bytes may be held.
	Usage bool
	Limit int
}

// Stream makes events of an answer as it comes: of NDJSON row by row, of a whole document at its end.
type Stream struct {
	want Answer

	held []byte
	form form
	// choices says which have begun, and whether they have ended.
	choices map[int64]bool
	// counts holds the newest usage of the rows.
	counts []byte
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

// New begins an answer.
func New(want Answer) *Stream {
	return &Stream{want: want, choices: make(map[int64]bool)}
}

// end notes how far a choice has come. How it ended has to be one of the ends of a whole answer: an engine that was stopped
// says so in the same place (inference.md section 6.2).
func (s *Stream) end(choice jsonscan.Value) error {
	v, _ := choice.Get("index")
	index, _ := v.Int()
	v, _ = choice.Get("finish_reason")
	reason, ended := v.Text()
	if ended && !slices.Contains([]string{"stop", "length", "tool_calls", "content_filter", "function_call"}, reason) {
		return ErrTruncated
	}
	s.choices[index] = s.choices[index] || ended
	return nil
}

// complete says that every choice that was asked for, and every one that has begun, has ended.
func (s *Stream) complete() bool {
	for _, ended := range s.choices {
		if !ended {
			return false
		}
	}
	return int64(len(s.choices)) >= max(s.want.Choices, 1)
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
	if len(s.held) > s.want.Limit {
		return out, fmt.Errorf("%w: above %d bytes", ErrTooLarge, s.want.Limit)
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
		if delta || s.want.Endpoint == api.Completions && reason.Kind() != jsonscan.String {
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
	if e, ok := doc.Get("error"); ok && e.Kind() != jsonscan.Null {
		return nil, ErrTruncated
	}
	choices, _ := doc.Get("choices")
	n := 0
	for c := range choices.Each() {
		if err := s.end(c); err != nil {
			return nil, err
		}
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
	case !s.complete():
		return nil, ErrTruncated
	}
	if s.want.Usage && s.counts != nil {
		object := "chat.completion.chunk"
		if s.want.Endpoint == api.Completions {
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
	if s.want.Endpoint == api.Completions {
		c.object, write = "text_completion", c.text
	}
	for choice := range choices.Each() {
		if err := s.end(choice); err != nil {
			return nil, err
		}
		reason, _ := choice.Get("finish_reason")
		write(choice, reason)
	}
	if !s.complete() {
		return nil, ErrTruncated
	}
	if v, ok := doc.Get("usage"); ok && s.want.Usage {
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

// Events is a whole answer as the events of a stream. What is held needs no limit.
func Events(want Answer, body []byte) ([]byte, error) {
	want.Limit = len(body)
	s := New(want)
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
