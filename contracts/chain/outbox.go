package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/google/renameio/v2"
)

// Limits of an outbox file.
const (
	maxOutboxFile = 1 << 20
	maxPending    = 64
)

// FileOutbox is an Outbox in one file, replaced atomically and durably.
type FileOutbox struct{ Path string }

// Load implements Outbox. An absent file is an empty outbox.
func (f FileOutbox) Load() ([]Pending, error) {
	info, err := os.Stat(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading outbox %s: %w", f.Path, err)
	}
	if info.Size() > maxOutboxFile {
		return nil, fmt.Errorf("reading outbox %s: %w: %d bytes, at most %d", f.Path, ErrMalformed, info.Size(), maxOutboxFile)
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("reading outbox %s: %w", f.Path, err)
	}
	var out []Pending
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("reading outbox %s: %w: %w", f.Path, ErrMalformed, err)
	}
	return out, nil
}

// Save implements Outbox.
func (f FileOutbox) Save(p []Pending) error {
	if len(p) > maxPending {
		return fmt.Errorf("writing outbox %s: %d messages are pending, at most %d", f.Path, len(p), maxPending)
	}
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("writing outbox %s: %w", f.Path, err)
	}
	if err := renameio.WriteFile(f.Path, data, 0o600); err != nil {
		return fmt.Errorf("writing outbox %s: %w", f.Path, err)
	}
	return nil
}

// MemoryOutbox is an Outbox that a restart empties. The zero value is ready.
type MemoryOutbox struct {
	mu  sync.Mutex
	all []Pending
}

// Load implements Outbox.
func (m *MemoryOutbox) Load() ([]Pending, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Pending(nil), m.all...), nil
}

// Save implements Outbox.
func (m *MemoryOutbox) Save(p []Pending) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append([]Pending(nil), p...)
	return nil
}
