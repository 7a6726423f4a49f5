// Package logbook keeps what a test's subject logs, for every room's tests.
//
// It owns a buffer that can be read while it is written; what stands in it is the subject's. It trusts nothing and judges
// nothing, refuses nothing, and may be used concurrently. It holds whatever a test makes its subject say.
package logbook

import (
	"bytes"
	"sync"
)

// Book is a log. The zero value is an empty one.
type Book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds to the log; it never fails.
func (b *Book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is what was written so far.
func (b *Book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
