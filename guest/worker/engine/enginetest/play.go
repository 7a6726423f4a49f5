package enginetest

import (
	"net/http"
	"strconv"
)

// player sends one script.
type player struct {
	w http.ResponseWriter
	r *http.Request
	s script
	// finished says that everything was sent; abort that the connection is to break.
	finished, abort bool
}

func (p *player) gone() bool { return p.r.Context().Err() != nil && !p.s.ignoreCancel }

func (p *player) play(stream bool) {
	if p.s.noHead {
		wait(p.r.Context().Done(), patience)
		return
	}
	if p.s.cutHead {
		p.cutHead()
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
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(p.s.whole)))
		_, _ = p.w.Write([]byte(p.s.whole))
		p.finished = true
		return
	}
	h.Set("Content-Type", p.s.contentType)
	p.w.WriteHeader(p.s.status)
	p.flush()
	p.stream()
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
		p.send(p.s.events[min(i, len(p.s.events)-1)])
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

// cutHead breaks the connection inside the head.
func (p *player) cutHead() {
	conn, _, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Ty"))
	_ = conn.Close()
	p.finished = true
}
