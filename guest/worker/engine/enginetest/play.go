package enginetest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// player sends one script.
type player struct {
	w http.ResponseWriter
	r *http.Request
	s script
	// finished says that everything was sent; abort that the connection is to break.
	finished, abort bool
	// tokens are those that were sent.
	tokens int
}

func (p *player) gone() bool { return p.r.Context().Err() != nil && !p.s.ignoreCancel }

func (p *player) play(stream bool) {
	if p.s.noHead {
		wait(p.r.Context().Done(), patience)
		return
	}
	if p.s.raw != nil {
		p.raw(p.s.raw(stream))
		return
	}
	wait(p.r.Context().Done(), p.s.head)
	h := p.w.Header()
	for name, value := range p.s.header {
		h.Set(name, value)
	}
	if p.s.closing {
		h.Set("Connection", "close")
	}
	if !stream && p.s.status == http.StatusOK {
		p.whole()
		return
	}
	h.Set("Content-Type", p.s.contentType)
	p.w.WriteHeader(p.s.status)
	p.flush()
	p.stream()
	p.close()
}

// whole sends an answer that is no stream; one whose end is cut or hangs stops in its middle.
func (p *player) whole() {
	h := p.w.Header()
	h.Set("Content-Type", p.s.wholeType)
	h.Set("Content-Length", strconv.Itoa(len(p.s.whole)))
	text := p.s.whole
	if p.s.end != clean {
		text = text[:len(text)/2]
	}
	p.send(text)
	p.tokens += wholeTokens * strings.Count(text, wholeContent)
	p.close()
}

// close ends an answer as its script says.
func (p *player) close() {
	switch {
	case p.gone():
	case p.s.end == cut:
		p.abort = true
	case p.s.end == hang:
		wait(p.r.Context().Done(), patience)
	default:
		p.finished = true
	}
}

func (p *player) flush() { _ = http.NewResponseController(p.w).Flush() }

// stream sends the events at their times.
func (p *player) stream() {
	wait(p.r.Context().Done(), p.s.first)
	for i := 0; i < len(p.s.events) || p.s.endless; i++ {
		if i > 0 {
			wait(p.r.Context().Done(), p.s.gap)
		}
		if p.gone() {
			return
		}
		event := p.s.events[min(i, len(p.s.events)-1)]
		p.send(event)
		p.tokens += strings.Count(event, `"delta":{"content":"`)
	}
}

func (p *player) send(text string) {
	if !p.s.oneByte {
		_, _ = p.w.Write([]byte(text))
		p.flush()
		return
	}
	for i := range len(text) {
		_, _ = p.w.Write([]byte{text[i]})
		p.flush()
	}
}

// raw writes bytes to the connection itself and closes it after a moment, with nothing that announces it.
func (p *player) raw(bytes string) {
	conn, _, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(bytes))
	wait(nil, time.Millisecond) // so that the other side may take the connection for a good one
	_ = conn.Close()
	p.finished = true
}
