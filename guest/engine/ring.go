package engine

import (
	"strings"
	"sync"
)

// ringBytes is how much of an engine's output is kept.
const ringBytes = 16 << 10

// ring keeps the last bytes written to it. It is safe for concurrent use.
type ring struct {
	mu   sync.Mutex
	buf  [ringBytes]byte
	next int
	full bool
	all  uint64
}

// Write never fails and never blocks: an engine must not stall on its own chatter.
func (r *ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(p)
	r.all += uint64(n)
	if len(p) > ringBytes {
		p = p[len(p)-ringBytes:]
	}
	for len(p) > 0 {
		c := copy(r.buf[r.next:], p)
		p = p[c:]
		r.next += c
		if r.next == ringBytes {
			r.next, r.full = 0, true
		}
	}
	return n, nil
}

// tail is the last lines, at most n.
func (r *ring) tail(n int) []string {
	r.mu.Lock()
	text := string(r.buf[:r.next])
	if r.full {
		text = string(r.buf[r.next:]) + text
	}
	r.mu.Unlock()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[max(0, len(lines)-n):]
}

// total is how much has ever been written.
func (r *ring) total() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}
