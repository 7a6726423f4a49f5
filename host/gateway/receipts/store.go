// Package receipts keeps a gateway's receipts and says which of them are good (inference.md sections 10.5 and 10.7).
//
// It owns an append-only file per day with a checksum on every line, the index over them, and the evidence that receipts
// are judged by. It trusts neither its own disk, whose torn or damaged lines are left out and counted, nor a proxy, whose
// documents are bounded and verified. Quotes, prices and images are judged by the caller's Evidence. Store and Checker are
// safe for concurrent use; a crash loses at most what was not yet synced. Records hold hashes and counts, never content.
package receipts

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"cocoon/contracts/receipt"
)

const (
	// DefaultAge is how long receipts are kept, DefaultSize how many bytes of them (inference.md section 10.7).
	DefaultAge = 30 * 24 * time.Hour
	// DefaultSize is in bytes.
	DefaultSize = 1 << 30
	// maxLine bounds a record: a receipt and what stands around it.
	maxLine = receipt.MaxDocument + 4096
	// checksum is the length of a line's checksum and the space behind it.
	checksum = 9
)

// dayFile is the name of a day's file.
var dayFile = regexp.MustCompile(`^receipts-\d{8}\.log$`)

// Record is one receipt with what the gateway knows around it.
type Record struct {
	Time   time.Time `json:"time"`
	ID     string    `json:"id"`
	ChatID string    `json:"chat_id,omitempty"`
	Model  string    `json:"model"`
	// Key is the name of the API key that the request was made with.
	Key   string `json:"key,omitempty"`
	Proxy string `json:"proxy"`
	// Class is "ok", or the class of the rule that the receipt breaks; Why says more.
	Class  string `json:"class"`
	Why    string `json:"why,omitempty"`
	Status string `json:"status,omitempty"`
	Tokens int64  `json:"tokens"`
	// Cost is in nanoTON.
	Cost uint64 `json:"cost_nano,string"`
	// Receipt is the document as it came, JSON in one line; absent when it was none.
	Receipt json.RawMessage `json:"receipt,omitempty"`
}

// OK says that the receipt was verified.
func (r *Record) OK() bool { return r.Class == ClassOK }

// ClassOK is the class of a good receipt.
const ClassOK = "ok"

// place is where a record stands.
type place struct {
	file string
	at   int64
	size int
}

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
	file    *os.File
	name    string
	end     int64
	dirty   bool
	byID    map[string]place
	byChat  map[string]string
	sizes   map[string]int64
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
	s := &Store{cfg: cfg, byID: make(map[string]place), byChat: make(map[string]string), sizes: make(map[string]int64)}
	names, err := s.files()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.load(name); err != nil {
			return nil, fmt.Errorf("opening receipts: %s: %w", name, err)
		}
	}
	return s, s.expire()
}

// Read opens a store to look at, as it stands: nothing is cut, dropped or created, and nothing can be appended.
func Read(dir string) (*Store, error) {
	s := &Store{cfg: Config{Dir: dir}, byID: make(map[string]place), byChat: make(map[string]string), sizes: make(map[string]int64)}
	names, err := s.files()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("opening receipts: %w", err)
		}
		whole, damaged, err := s.loadFrom(f, name)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("opening receipts: %s: %w", name, err)
		}
		s.sizes[name], s.damaged = whole, s.damaged+damaged
	}
	return s, nil
}

func (s *Store) loadFrom(f io.Reader, name string) (whole int64, damaged int, err error) {
	return scan(f, func(at int64, line []byte, r Record) { s.index(r, place{name, at, len(line)}) })
}

// files lists the days, oldest first.
func (s *Store) files() ([]string, error) {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("listing receipts: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && dayFile.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// load indexes one file.
func (s *Store) load(name string) error {
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written but a cut, which is checked
	whole, damaged, err := s.loadFrom(f, name)
	if err != nil {
		return err
	}
	s.damaged += damaged
	s.sizes[name] = whole
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > whole {
		return f.Truncate(whole)
	}
	return nil
}

// scan goes through the lines of a file. It returns where the last whole line ends.
func scan(in io.Reader, visit func(at int64, line []byte, r Record)) (whole int64, damaged int, err error) {
	reader := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := reader.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return whole, damaged, nil // what is left has no line end: it was being written
		case errors.Is(err, bufio.ErrBufferFull):
			n, skipErr := skip(reader)
			if skipErr != nil {
				return whole, damaged + 1, nil //nolint:nilerr // the overlong line has no end: it is cut off
			}
			whole += int64(len(line)) + n
			damaged++
			continue
		case err != nil:
			return whole, damaged, err
		}
		if r, err := decode(line); err == nil {
			visit(whole, line, r)
		} else {
			damaged++
		}
		whole += int64(len(line))
	}
}

// skip reads to the end of an overlong line.
func skip(r *bufio.Reader) (n int64, err error) {
	for {
		line, err := r.ReadSlice('\n')
		n += int64(len(line))
		if !errors.Is(err, bufio.ErrBufferFull) {
			return n, err
		}
	}
}

// encode writes a record as a line: its CRC-32C, a space, the document.
func encode(r Record) ([]byte, error) {
	const around = 1 << 10
	paper := r.Receipt
	r.Receipt = nil
	doc := bytes.NewBuffer(make([]byte, checksum, checksum+around+len(paper)))
	enc := json.NewEncoder(doc)
	enc.SetEscapeHTML(false) // a receipt's bytes stay as they are
	if err := enc.Encode(r); err != nil {
		return nil, fmt.Errorf("writing receipt: %w", err)
	}
	line := bytes.TrimSuffix(doc.Bytes(), []byte("\n"))
	if bytes.IndexByte(paper, '\n') >= 0 {
		return nil, errors.New("writing receipt: it is not in one line")
	}
	if len(paper) > 0 { // the document is spliced in as it came: it is JSON in one line (Record)
		line = append(line[:len(line)-1], `,"receipt":`...)
		line = append(append(line, paper...), '}')
	}
	if len(line) > maxLine {
		return nil, fmt.Errorf("writing receipt: %d bytes, at most %d", len(line)-checksum, maxLine-checksum)
	}
	sum := crc32.Checksum(line[checksum:], crc32.MakeTable(crc32.Castagnoli))
	copy(line, fmt.Sprintf("%08x ", sum))
	return append(line, '\n'), nil
}

func decode(line []byte) (r Record, err error) {
	if len(line) <= checksum || line[checksum-1] != ' ' {
		return r, errors.New("no checksum")
	}
	want, err := strconv.ParseUint(string(line[:checksum-1]), 16, 32)
	body := bytes.TrimSuffix(line[checksum:], []byte("\n"))
	if err != nil || uint64(crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))) != want {
		return r, errors.New("the checksum does not fit")
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("reading record: %w", err)
	}
	if r.ID == "" {
		return r, errors.New("no id")
	}
	return r, nil
}

func (s *Store) index(r Record, at place) {
	s.byID[r.ID] = at
	if r.ChatID != "" {
		s.byChat[r.ChatID] = r.ID
	}
}

// Append adds a record. It is durable after the next Sync.
func (s *Store) Append(r Record) error {
	line, err := encode(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.turn("receipts-" + r.Time.UTC().Format("20060102") + ".log"); err != nil {
		return err
	}
	if _, err := s.file.Write(line); err != nil {
		return errors.Join(fmt.Errorf("writing receipt: %w", err), s.file.Truncate(s.end))
	}
	s.index(r, place{s.name, s.end, len(line)})
	s.end += int64(len(line))
	s.sizes[s.name], s.dirty = s.end, true
	return nil
}

// turn opens the file of a day. Callers hold the lock.
func (s *Store) turn(name string) error {
	if s.file != nil && s.name == name {
		return nil
	}
	if err := s.closeFile(); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(s.cfg.Dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening receipts: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("opening receipts: %w", err), f.Close())
	}
	s.file, s.name, s.end = f, name, info.Size()
	return s.expire()
}

// expire drops days that are too old, and then the oldest until the rest fits. Callers hold the lock.
func (s *Store) expire() error {
	oldest := "receipts-" + s.cfg.Now().Add(-s.cfg.Age).UTC().Format("20060102") + ".log"
	total := int64(0)
	names := make([]string, 0, len(s.sizes))
	for name, size := range s.sizes {
		names, total = append(names, name), total+size
	}
	slices.Sort(names)
	for _, name := range names {
		if name == s.name || name >= oldest && total <= s.cfg.Size {
			continue
		}
		if err := os.Remove(filepath.Join(s.cfg.Dir, name)); err != nil {
			return fmt.Errorf("dropping old receipts: %w", err)
		}
		total -= s.sizes[name]
		delete(s.sizes, name)
		s.forget(name)
	}
	return nil
}

func (s *Store) forget(name string) {
	for id, at := range s.byID {
		if at.file == name {
			delete(s.byID, id)
		}
	}
	for chat, id := range s.byChat {
		if _, ok := s.byID[id]; !ok {
			delete(s.byChat, chat)
		}
	}
}

// Find returns the record of a receipt id or of a chat id.
func (s *Store) Find(id string) (Record, bool, error) {
	s.mu.Lock()
	if other, ok := s.byChat[id]; ok {
		id = other
	}
	at, ok := s.byID[id]
	s.mu.Unlock()
	if !ok {
		return Record{}, false, nil
	}
	r, err := s.read(at)
	return r, err == nil, err
}

func (s *Store) read(at place) (Record, error) {
	f, err := os.Open(filepath.Join(s.cfg.Dir, at.file))
	if err != nil {
		return Record{}, fmt.Errorf("reading receipt: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	line := make([]byte, at.size)
	if _, err := f.ReadAt(line, at.at); err != nil {
		return Record{}, fmt.Errorf("reading receipt: %w", err)
	}
	r, err := decode(line)
	if err != nil {
		return r, fmt.Errorf("reading receipt: %w", err)
	}
	return r, nil
}

// All goes through the records, oldest day first, as they were when it began.
func (s *Store) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		s.mu.Lock()
		places := make([]place, 0, len(s.byID))
		for _, at := range s.byID {
			places = append(places, at)
		}
		s.mu.Unlock()
		slices.SortFunc(places, func(a, b place) int {
			if a.file != b.file {
				if a.file < b.file {
					return -1
				}
				return 1
			}
			return int(a.at - b.at)
		})
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
	return len(s.byID), size, s.damaged
}

// Sync makes everything appended so far durable.
func (s *Store) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || !s.dirty {
		return nil
	}
	s.dirty = false
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("syncing receipts: %w", err)
	}
	return nil
}

func (s *Store) closeFile() error {
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Sync(), s.file.Close())
	s.file, s.dirty = nil, false
	if err != nil {
		return fmt.Errorf("closing receipts: %w", err)
	}
	return nil
}

// Close syncs and closes the store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closeFile()
}
