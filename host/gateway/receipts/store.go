// Package receipts keeps a gateway's receipts and says which of them are good (inference.md sections 10.5 and 10.7).
//
// It owns an append-only file per day with a checksum on every line, the index over them, and the evidence that receipts
// are judged by. It trusts neither its own disk, whose torn or damaged lines are left out and counted, nor a proxy, whose
// documents are bounded and verified. Quotes, prices and images are judged by the caller's Evidence. Store and Checker are
// safe for concurrent use; a crash loses at most what was not yet synced. Records hold hashes and counts, never content.
package receipts

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultAge is how long receipts are kept, DefaultSize how many bytes of them (inference.md section 10.7).
	DefaultAge = 30 * 24 * time.Hour
	// DefaultSize is in bytes.
	DefaultSize = 1 << 30
)

// Config says where receipts are kept and for how long; zero limits are the defaults.
type Config struct {
	Dir  string
	Age  time.Duration
	Size int64
	Now  func() time.Time
}

// Store is the receipts of one gateway.
type Store struct {
	cfg Config

	mu      sync.Mutex
	tail    tail
	line    []byte // memory for the record that is being added
	index   index
	sizes   map[day]int64
	damaged int
}

// Open reads what is there. Lines that are damaged are left out and counted; a line that was being written when the
// machine stopped is cut off.
func Open(cfg Config) (*Store, error) {
	if cfg.Age <= 0 {
		cfg.Age = DefaultAge
	}
	if cfg.Size <= 0 {
		cfg.Size = DefaultSize
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening receipts: %w", err)
	}
	s := &Store{cfg: cfg, index: newIndex(), sizes: make(map[day]int64)}
	days, err := s.days()
	if err != nil {
		return nil, err
	}
	for _, d := range days {
		if err := s.load(d); err != nil {
			return nil, fmt.Errorf("opening receipts: %s: %w", d.file(), err)
		}
	}
	return s, s.expire()
}

// Read opens a store to look at, as it stands: nothing is cut, dropped or created, and nothing can be appended.
func Read(dir string) (*Store, error) {
	s := &Store{cfg: Config{Dir: dir}, index: newIndex(), sizes: make(map[day]int64)}
	days, err := s.days()
	if err != nil {
		return nil, err
	}
	for _, d := range days {
		f, err := os.Open(s.path(d))
		if err != nil {
			return nil, fmt.Errorf("opening receipts: %w", err)
		}
		whole, damaged, err := s.loadFrom(f, d)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("opening receipts: %s: %w", d.file(), err)
		}
		s.sizes[d], s.damaged = whole, s.damaged+damaged
	}
	return s, nil
}

func (s *Store) path(d day) string { return filepath.Join(s.cfg.Dir, d.file()) }

func (s *Store) loadFrom(f io.Reader, d day) (whole int64, damaged int, err error) {
	return scan(f, func(at int64, line []byte, r Record) { s.index.add(&r, place{d, uint32(len(line)), at}) }) //nolint:gosec // at most maxLine
}

// days lists the days that there are, oldest first.
func (s *Store) days() ([]day, error) {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("listing receipts: %w", err)
	}
	var days []day
	for _, e := range entries {
		if d, ok := dayOfFile(e.Name()); ok && e.Type().IsRegular() {
			days = append(days, d)
		}
	}
	slices.Sort(days)
	return days, nil
}

// load indexes one file.
func (s *Store) load(d day) error {
	f, err := os.OpenFile(s.path(d), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written but a cut, which is checked
	whole, damaged, err := s.loadFrom(f, d)
	if err != nil {
		return err
	}
	s.damaged += damaged
	s.sizes[d] = whole
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > whole {
		return f.Truncate(whole)
	}
	return nil
}

// Append adds a record. It is durable after the next Sync, and outlives the process from the moment it is written: at once,
// or with those that follow shortly, at the latest by Sync. An error may leave the record to the next try.
func (s *Store) Append(r Record) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line, err = appendLine(s.line[:0], &r); err != nil {
		return err
	}
	if err := s.turn(dayOf(r.Time)); err != nil {
		return err
	}
	at, err := s.tail.add(s.line, r.Time)
	if at >= 0 {
		s.index.add(&r, place{s.tail.day, uint32(len(s.line)), at}) //nolint:gosec // at most maxLine
		s.sizes[s.tail.day] = s.tail.size()
	}
	return err
}

// turn opens the file of a day. Callers hold the lock.
func (s *Store) turn(d day) error {
	if s.tail.file != nil && s.tail.day == d {
		return nil
	}
	if err := s.tail.close(); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(d), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening receipts: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("opening receipts: %w", err), f.Close())
	}
	s.tail = tail{file: f, day: d, end: info.Size(), pending: s.tail.pending[:0]}
	return s.expire()
}

// expire drops days that are too old, and then the oldest until the rest fits. Callers hold the lock.
func (s *Store) expire() error {
	oldest, total := dayOf(s.cfg.Now().Add(-s.cfg.Age)), int64(0)
	for _, size := range s.sizes {
		total += size
	}
	for _, d := range slices.Sorted(maps.Keys(s.sizes)) {
		if d == s.tail.day || d >= oldest && total <= s.cfg.Size {
			continue
		}
		if err := os.Remove(s.path(d)); err != nil {
			return fmt.Errorf("dropping old receipts: %w", err)
		}
		total -= s.sizes[d]
		delete(s.sizes, d)
		s.index.forget(d)
	}
	return nil
}

// Find returns the record of a receipt id or of a chat id.
func (s *Store) Find(id string) (Record, bool, error) {
	s.mu.Lock()
	at, ok := s.index.find(id)
	s.mu.Unlock()
	if !ok {
		return Record{}, false, nil
	}
	r, err := s.read(at)
	return r, err == nil, err
}

func (s *Store) read(at place) (Record, error) {
	line, err := s.lineAt(at)
	if err != nil {
		return Record{}, fmt.Errorf("reading receipt: %w", err)
	}
	r, err := decode(line)
	if err != nil {
		return r, fmt.Errorf("reading receipt: %w", err)
	}
	return r, nil
}

func (s *Store) lineAt(at place) ([]byte, error) {
	line := make([]byte, at.size)
	s.mu.Lock()
	unwritten := s.tail.copy(line, at)
	s.mu.Unlock()
	if unwritten {
		return line, nil
	}
	f, err := os.Open(s.path(at.day))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	_, err = f.ReadAt(line, at.at)
	return line, err
}

// All goes through the records, oldest day first, as they were when it began.
func (s *Store) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s.mu.Lock()
		places := s.index.places()
		s.mu.Unlock()
		for _, at := range places {
			if !yield(s.read(at)) {
				return
			}
		}
	}
}

// Size is how many records there are, their bytes, and the lines that were damaged when the store was opened.
func (s *Store) Size() (records int, size int64, damaged int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.sizes {
		size += n
	}
	return len(s.index.byID), size, s.damaged
}

// Sync makes everything appended so far durable. Records can be added meanwhile.
func (s *Store) Sync() error {
	s.mu.Lock()
	err := s.tail.flush()
	file, dirty := s.tail.file, s.tail.dirty
	s.tail.dirty = false
	s.mu.Unlock()
	if !dirty {
		return err
	}
	syncErr := file.Sync()
	if syncErr == nil || errors.Is(syncErr, os.ErrClosed) { // who closed it has synced it
		return err
	}
	s.mu.Lock()
	s.tail.dirty = true
	s.mu.Unlock()
	return errors.Join(err, fmt.Errorf("syncing receipts: %w", syncErr))
}

// Close syncs and closes the store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tail.close()
}
