package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
	"cocoon/contracts/wire/tl"
	"cocoon/host/gateway/upstream"
)

func errorEvent(e *api.Error) []byte { return sse.Append(nil, e.Body()) }

// upstreamHead checks the head of a proxy's answer and copies what may pass.
func (x *exchange) upstreamHead(head *tl.HTTPResponse) (media string, err error) {
	const maxValue = 256
	if head.StatusCode < 200 || head.StatusCode > 599 {
		return "", fmt.Errorf("%w: status %d", upstream.ErrOrder, head.StatusCode)
	}
	media = jsonMedia
	for _, h := range head.Headers {
		if len(h.Value) > maxValue {
			continue
		}
		name := h.Name
		if name != "Content-Type" && !passes(name) { // as our proxies write them
			name = http.CanonicalHeaderKey(name)
		}
		if name == "Content-Type" {
			kind, err := mediaType(h.Value)
			if err == nil && (kind == eventStream || kind == "application/x-ndjson") {
				media = kind
			}
			continue
		}
		if passes(name) && printable(h.Value) {
			x.set(name, h.Value)
		}
	}
	return media, nil
}

// relayed is a stream on its way.
type relayed struct {
	x      *exchange
	split  sse.Splitter
	out    []byte
	held   []byte // the last event, until the answer is known to be whole
	last   kind
	silent time.Time // when the last byte came
}

// kind is what an event means for the end of a stream.
type kind uint8

const (
	other kind = iota
	terminal
	failure
)

// kindOf looks at an event as closely as the end of a stream needs.
func kindOf(ep api.Endpoint, data []byte) kind {
	switch {
	case len(data) == 0:
		return other
	case string(data) == "[DONE]":
		return terminal
	case !bytes.Contains(data, []byte(`"error"`)) && ep != api.Responses:
		return other
	}
	doc, err := jsonscan.Check(data)
	if err != nil {
		return other
	}
	if e, ok := doc.Get("error"); ok && e.Kind() != jsonscan.Null && ep != api.Responses {
		return failure
	}
	if ep == api.Responses {
		v, _ := doc.Get("type")
		switch name, _ := v.Text(); name {
		case "response.completed", "response.incomplete":
			return terminal
		case "response.failed", "error":
			return failure
		}
		if e, ok := doc.Get("error"); ok && e.Kind() == jsonscan.Object {
			return failure
		}
	}
	return other
}

// stream passes events on as they come (inference.md section 6.3).
func (x *exchange) stream() error {
	s := &relayed{x: x, silent: x.s.cfg.Now()}
	for {
		piece, err := x.call.Recv(x.s.cfg.Ping)
		switch {
		case errors.Is(err, upstream.ErrIdle):
			if !x.streaming || x.s.cfg.Now().Sub(s.silent) < x.s.cfg.Gap {
				continue
			}
			return fmt.Errorf("waiting for the stream to go on: %w", upstream.ErrLost)
		case err != nil:
			return s.broken(err)
		}
		s.silent = x.s.cfg.Now()
		if !x.committed && piece.Head != nil {
			media, err := x.upstreamHead(piece.Head)
			if err != nil {
				return err
			}
			x.first = s.silent.Sub(x.began)
			if media != eventStream || piece.Head.StatusCode != http.StatusOK {
				return x.collect(piece)
			}
			x.streaming = true
			x.head(http.StatusOK, eventStream)
		}
		if err := s.take(piece.Data); err != nil {
			return err
		}
		if piece.End {
			return s.finish()
		}
		if err := s.pass(); err != nil {
			return err
		}
	}
}

// take sorts the events that are whole: those that may be passed on, and the last one, which is held until the proxy has
// called the answer whole. Behind it a link may still break.
func (s *relayed) take(data []byte) error {
	s.split.Write(data)
	s.out = slices.Grow(s.out, len(data)) // nearly all of it goes on
	for {
		e, ok, err := s.split.Next()
		if err != nil {
			return fmt.Errorf("reading the proxy's stream: %w", err)
		}
		if !ok {
			break
		}
		k := kindOf(s.x.req.Endpoint, e.Data)
		if e.Fields {
			if s.last == terminal && k != terminal {
				continue // nothing follows the end
			}
			s.last = k
		}
		if k == terminal {
			s.held = append(s.held, e.Raw...)
			continue
		}
		s.out = append(s.out, e.Raw...)
	}
	return nil
}

// pass writes what may be passed on, in one write.
func (s *relayed) pass() error {
	if len(s.out) == 0 {
		return nil
	}
	out := s.out
	s.out = s.out[:0]
	return s.x.write(out)
}

// broken ends a stream that the proxy broke off: unless its last event says so already, the app is told.
func (s *relayed) broken(err error) error {
	if s.x.streaming && s.last == failure {
		s.x.outcome.status = statusFailed
		s.x.outcome.code = api.EngineError
		return nil
	}
	return err
}

// finish ends a stream that the proxy calls whole, if it is.
func (s *relayed) finish() error {
	x := s.x
	switch {
	case s.last == failure:
		x.outcome.status, x.outcome.code = statusFailed, api.EngineError
		return s.pass()
	case s.split.Rest() || s.last != terminal:
		if err := s.pass(); err != nil {
			return err
		}
		return &api.Error{Code: api.EngineTruncated, Message: "the stream ended before the answer was complete; try again"}
	}
	if x.s.cfg.Receipts == Require {
		if err := s.pass(); err != nil {
			return err
		}
		if err := x.required(); err != nil {
			return err
		}
	}
	s.out = append(s.out, s.held...)
	if err := s.pass(); err != nil {
		return err
	}
	x.outcome.status = statusComplete
	return nil
}
