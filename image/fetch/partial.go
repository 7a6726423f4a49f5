package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a locked partial file is asked for again; the wait as a whole ends with the context.
const lockPoll = 50 * time.Millisecond

// partial is a download in progress: a file under partial/ that this process has locked.
type partial struct {
	f    *os.File
	name string
	size int64
	hash hash.Hash
}

// openPartial opens and locks the partial file, waiting for another process that has it.
func openPartial(ctx context.Context, name string) (*partial, error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		p, err := tryPartial(name)
		if p != nil || err != nil {
			return p, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another process that fetches %s: %w", filepath.Base(name), context.Cause(ctx))
		}
	}
}

// tryPartial returns nil, nil while the file belongs to somebody else.
func tryPartial(name string) (*partial, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a partial file: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && sameFile(f, name) {
		return &partial{f: f, name: name, hash: sha256.New()}, nil
	}
	closeErr := f.Close()
	if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("locking a partial file: %w", err)
	}
	return nil, closeErr // locked by another, or renamed to its final place between open and lock
}

func sameFile(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}

// rewind reads what is there already, so that hash and size describe the file's content and writing goes on behind it.
func (p *partial) rewind(ctx context.Context) error {
	p.hash.Reset()
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading a partial file: %w", err)
	}
	n, err := io.Copy(p.hash, contextReader{ctx, p.f})
	if err != nil {
		return fmt.Errorf("reading a partial file: %w", err)
	}
	p.size = n
	return nil
}

// clear drops the content.
func (p *partial) clear() error {
	if err := p.f.Truncate(0); err != nil {
		return fmt.Errorf("clearing a partial file: %w", err)
	}
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("clearing a partial file: %w", err)
	}
	p.hash.Reset()
	p.size = 0
	return nil
}

func (p *partial) sum() string { return hex.EncodeToString(p.hash.Sum(nil)) }

// commit makes the content durable and gives the file its final name.
func (p *partial) commit(final string) error {
	if err := p.f.Sync(); err != nil {
		return fmt.Errorf("storing a file: %w", err)
	}
	if err := os.Rename(p.name, final); err != nil {
		return fmt.Errorf("storing a file: %w", err)
	}
	if err := syncDir(filepath.Dir(final)); err != nil {
		return fmt.Errorf("storing a file: %w", err)
	}
	return nil
}

// discard removes the file while it is still ours.
func (p *partial) discard() error {
	if err := os.Remove(p.name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing a partial file: %w", err)
	}
	return nil
}
