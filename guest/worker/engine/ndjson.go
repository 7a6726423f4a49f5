package engine

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"cocoon/contracts/api/sse"
)

// events turns a stream of JSON lines into server-sent events, for engines whose engine.toml says ndjson.
type events struct {
	io.Closer
	in  *bufio.Reader
	out []byte
	err error
}

func newEvents(body io.ReadCloser) *events {
	return &events{Closer: body, in: bufio.NewReaderSize(body, 64<<10)}
}

// Read gives the next bytes of events.
func (e *events) Read(p []byte) (int, error) {
	for len(e.out) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		line, err := e.line()
		e.err = err
		if line = bytes.TrimSpace(line); len(line) > 0 {
			e.out = sse.Append(nil, line)
		}
	}
	n := copy(p, e.out)
	e.out = e.out[n:]
	return n, nil
}

// line reads one line, at most as long as an event.
func (e *events) line() ([]byte, error) {
	var line []byte
	for {
		part, err := e.in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > sse.MaxEvent:
			return nil, ErrTooLarge
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}
