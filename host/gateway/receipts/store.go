// Package receipts keeps a gateway's receipts and says which of them are good (inference.md sections 10.5 and 10.7).
//
// It owns append-only files, one or more for a day, with a checksum on every line, the index over them, and the evidence that receipts
// are judged by. It trusts neither its own disk, whose torn or damaged lines are left out and counted, nor a proxy, whose
// documents are bounded and verified. Quotes, prices and images are judged by the caller's Evidence. Store and Checker are
// safe for concurrent use; a crash loses at most what was not yet synced. Records hold hashes and counts, never content.
package receipts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	// share is the part of the size that one file has at most: so much is dropped at once.
	share = 8
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
	sizes   map[volume]int64
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
	s := &Store{cfg: cfg, index: newIndex(), sizes: make(map[volume]int64)}
	volumes, err := s.volumes()
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		if err := s.load(v); err != nil {
			return nil, fmt.Errorf("opening receipts: %s: %w", v.file(), err)
		}
	}
	return s, s.expire()
}

// Read opens a store to look at, as it stands: nothing is cut, dropped or created, and nothing can be appended.
func Read(dir string) (*Store, error) {
	s := &Store{cfg: Config{Dir: dir}, index: newIndex(), sizes: make(map[volume]int64)}
	volumes, err := s.volumes()
	if err != nil {
		return nil, err
	}
	for _, v := range volumes {
		f, err := os.Open(s.path(v))
		if err != nil {
			return nil, fmt.Errorf("opening receipts: %w", err)
		}
		whole, damaged, err := s.loadFrom(f, v)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("opening receipts: %s: %w", v.file(), err)
		}
		s.sizes[v], s.damaged = whole, s.damaged+damaged
	}
	return s, nil
}

func (s *Store) path(v volume) string { return filepath.Join(s.cfg.Dir, v.file()) }

func (s *Store) loadFrom(f io.Reader, v volume) (whole int64, damaged int, err error) {
	return scan(f, func(at int64, line []byte, r Record) { s.index.add(&r, place{v, uint32(len(line)), at}) }) //nolint:gosec // at most maxLine
}

// volumes lists the files that there are, oldest first.
func (s *Store) volumes() ([]volume, error) {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("listing receipts: %w", err)
	}
	var found []volume
	for _, e := range entries {
		if v, ok := volumeOfFile(e.Name()); ok && e.Type().IsRegular() {
			found = append(found, v)
		}
	}
	slices.Sort(found)
	return found, nil
}

// load indexes one file.
func (s *Store) load(v volume) error {
	f, err := os.OpenFile(s.path(v), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written but a cut, which is checked
	whole, damaged, err := s.loadFrom(f, v)
	if err != nil {
		return err
	}
	s.damaged += damaged
	s.sizes[v] = whole
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
	turned, err := s.turn(s.room(volumeOf(r.Time)))
	if err != nil {
		return err
	}
	at, err := s.tail.add(s.line, r.Time)
	if at >= 0 {
		s.index.add(&r, place{s.tail.in, uint32(len(s.line)), at}) //nolint:gosec // at most maxLine
		s.sizes[s.tail.in] = s.tail.size()
	}
	if turned {
		err = errors.Join(err, s.expire())
	}
	return err
}

// room is a day's file that a record goes into: the newest, or the next one when that is full. Callers hold the lock.
func (s *Store) room(day volume) volume {
	v := s.tail.in
	if s.tail.file == nil || v.day() != day {
		v = day
		for other := range s.sizes {
			if other.day() == day {
				v = max(v, other)
			}
		}
	}
	if s.sizes[v] >= s.cfg.Size/share && v < day+perDay-1 {
		v++
	}
	return v
}

// turn opens a file to write to, and says whether it is another than before. Callers hold the lock.
func (s *Store) turn(v volume) (another bool, err error) {
	if s.tail.file != nil && s.tail.in == v {
		return false, nil
	}
	if err := s.tail.close(); err != nil {
		return false, err
	}
	f, err := os.OpenFile(s.path(v), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return false, fmt.Errorf("opening receipts: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return false, errors.Join(fmt.Errorf("opening receipts: %w", err), f.Close())
	}
	s.tail = tail{file: f, in: v, end: info.Size(), pending: s.tail.pending[:0]}
	return true, nil
}

// expire drops files that are too old, and then the oldest until the rest fits. Callers hold the lock.
func (s *Store) expire() error {
	oldest, total := volumeOf(s.cfg.Now().Add(-s.cfg.Age)), int64(0)
	for _, size := range s.sizes {
		total += size
	}
	for _, v := range slices.Sorted(maps.Keys(s.sizes)) {
		if v == s.tail.in || v >= oldest && total <= s.cfg.Size {
			continue
		}
		if err := os.Remove(s.path(v)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("dropping old receipts: %w", err)
		}
		total -= s.sizes[v]
		delete(s.sizes, v)
		s.index.forget(v)
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
	f, err := os.Open(s.path(at.in))
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	_, err = f.ReadAt(line, at.at)
	return line, err
}

// All goes through the records, oldest file first, as they were when it began.
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
