// Package fetch is the content-addressed store that builds read from, and the only part of the image room that talks
// to package mirrors (image.md section 9.2: any host may serve, SHA-256 decides).
//
// It owns the store's folder: sha256/HEX holds finished files, partial/HEX holds interrupted downloads. A file appears
// under sha256 only whole, synced and with the right hash. It trusts no server, no mirror and no earlier run: every
// file is hashed once per process before Ensure vouches for it, and again when its size or time changes; a wrong one is
// moved out of the way and fetched anew.
//
// A Store may be used by several goroutines, and several processes may share the folder: a download is owned through a
// lock on its partial file. It refuses files without a SHA-256, schemes other than http and https, and, offline, every
// connection.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

const (
	doneDir    = "sha256"
	partialDir = "partial"
	// badDir keeps files whose content no longer matches their name, for whoever wants to know why.
	badDir = "corrupt"
)

var hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ErrCorrupt marks a stored file whose content does not match its name.
var ErrCorrupt = errors.New("stored file is corrupt")

// Store is a folder of files named by their SHA-256.
type Store struct {
	dir string
	// writer wraps the file that downloads are written to; tests fill the disk here.
	writer func(*os.File) io.Writer

	mu       sync.Mutex
	verified map[string]stamp // by hex SHA-256
}

// stamp is what a file looked like when its hash was checked.
type stamp struct {
	size  int64
	mtime time.Time
}

// Open makes the folder where it is missing and returns its store.
func Open(dir string) (*Store, error) {
	for _, d := range []string{doneDir, partialDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("opening the store: %w", err)
		}
	}
	return &Store{dir: dir, writer: func(f *os.File) io.Writer { return f }, verified: map[string]stamp{}}, nil
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// Path returns the file with this hash and whether the store has it. It does not read the file: Ensure or Check do.
func (s *Store) Path(sha256Hex string) (string, bool) {
	if !hexSHA256.MatchString(sha256Hex) {
		return "", false
	}
	p := s.done(sha256Hex)
	info, err := os.Stat(p)
	return p, err == nil && info.Mode().IsRegular()
}

// Check hashes the stored file, unless this process has done so and the file's size and time are unchanged. A missing
// file is os.ErrNotExist, a wrong one ErrCorrupt.
func (s *Store) Check(ctx context.Context, sha256Hex string) error {
	if !hexSHA256.MatchString(sha256Hex) {
		return fmt.Errorf("checking a stored file: %q is not a SHA-256 in hex", sha256Hex)
	}
	info, err := os.Stat(s.done(sha256Hex))
	if err != nil {
		return fmt.Errorf("checking a stored file: %w", err)
	}
	now := stamp{info.Size(), info.ModTime()}
	if s.isVerified(sha256Hex, now) {
		return nil
	}
	sum, err := hashFile(ctx, s.done(sha256Hex))
	if err != nil {
		return fmt.Errorf("checking a stored file: %w", err)
	}
	if sum != sha256Hex {
		return fmt.Errorf("checking %s: %w: its SHA-256 is %s; delete it or fetch again", s.done(sha256Hex), ErrCorrupt, sum)
	}
	s.markVerified(sha256Hex, now)
	return nil
}

func (s *Store) isVerified(sum string, now stamp) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.verified[sum]
	return ok && old.size == now.size && old.mtime.Equal(now.mtime)
}

func (s *Store) markVerified(sum string, now stamp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified[sum] = now
}

func (s *Store) done(sum string) string    { return filepath.Join(s.dir, doneDir, sum) }
func (s *Store) partial(sum string) string { return filepath.Join(s.dir, partialDir, sum) }

// quarantine moves a corrupt file away, so that nothing reads it by name.
func (s *Store) quarantine(sum string) error {
	if err := os.MkdirAll(filepath.Join(s.dir, badDir), 0o755); err != nil {
		return fmt.Errorf("moving a corrupt file away: %w", err)
	}
	if err := os.Rename(s.done(sum), filepath.Join(s.dir, badDir, sum)); err != nil {
		return fmt.Errorf("moving a corrupt file away: %w", err)
	}
	return nil
}

// hashFile returns the file's SHA-256 in hex.
func hashFile(ctx context.Context, name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // read side
	h := sha256.New()
	if _, err := io.Copy(h, contextReader{ctx, f}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// contextReader stops a long copy when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // read side
	return d.Sync()
}
