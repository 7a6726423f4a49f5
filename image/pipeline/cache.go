package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cocoon/image/manifest"
	"cocoon/measure/strictjson"
)

const (
	// recordName is the file that makes a folder of the cache complete; it is written last.
	recordName = "step.json"
	// maxRecord bounds it; facts are small.
	maxRecord = 64 << 20
	// unfinished is the prefix of folders that are still being written.
	unfinished = ".unfinished-"
)

// cache is `<cache>/steps`: one folder per key.
type cache struct{ dir string }

// openCache makes the folder and removes what a killed build left in it.
func openCache(dir string) (*cache, error) {
	c := &cache{filepath.Join(dir, "steps")}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("opening cache: %w", err)
	}
	if err := c.sweep(); err != nil {
		return nil, fmt.Errorf("opening cache: %w", err)
	}
	return c, nil
}

// sweep removes abandoned folders. A draft has a name before it has a lock; the lock on the folder of all steps keeps
// the two apart. Where somebody is making a draft, sweeping is left to the next run.
func (c *cache) sweep() error {
	all, err := c.lock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer all.Close() //nolint:errcheck // releases the lock
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			removeIfAbandoned(filepath.Join(c.dir, e.Name()))
		}
	}
	return nil
}

// lock locks the folder of all steps until the file is closed. Holders do a few system calls, or remove folders.
func (c *cache) lock(how int) (*os.File, error) {
	f, err := os.Open(c.dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// removeIfAbandoned deletes an unfinished folder unless a living process holds its lock.
func removeIfAbandoned(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close() //nolint:errcheck // releases the lock
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.RemoveAll(dir) // the next run tries again
	}
}

// load returns a complete and unchanged result, or nil.
func (c *cache) load(key string) *Result {
	dir := filepath.Join(c.dir, key)
	f, err := os.Open(filepath.Join(dir, recordName))
	if err != nil {
		return nil
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return nil
	}
	var r Result
	if strictjson.Decode(data, &r) != nil || r.Key != key {
		return nil
	}
	r.dir = dir
	for _, o := range r.Outputs {
		st, err := os.Stat(filepath.Join(dir, o.Name))
		if err != nil || st.Size() != o.Size || st.ModTime().UnixNano() != o.ModTime {
			return nil
		}
	}
	return &r
}

// draft is a folder that is being filled. Its lock tells other processes that somebody is at work.
type draft struct {
	dir  string
	lock *os.File
}

func (c *cache) draft(key string) (*draft, error) {
	all, err := c.lock(unix.LOCK_SH)
	if err != nil {
		return nil, fmt.Errorf("making a folder in the cache: %w", err)
	}
	defer all.Close() //nolint:errcheck // releases the lock
	dir, err := os.MkdirTemp(c.dir, unfinished+key[:12]+"-")
	if err != nil {
		return nil, fmt.Errorf("making a folder in the cache: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a folder in the cache: %w", err), os.RemoveAll(dir))
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", dir, err), f.Close(), os.RemoveAll(dir))
	}
	return &draft{dir, f}, nil
}

// discard removes the folder; after commit it only releases the lock.
func (d *draft) discard() error {
	return errors.Join(os.RemoveAll(d.dir), d.lock.Close())
}

// commit hashes the outputs, writes the record and gives the folder its final name.
func (c *cache) commit(d *draft, s *step, key string, w *work) (*Result, error) {
	r := &Result{Step: s.Name, Key: key, Inputs: s.Inputs, Detail: w.Detail, Outputs: []Output{}}
	if r.Inputs == nil {
		r.Inputs = []Input{}
	}
	if w.Facts != nil {
		facts, err := strictjson.Canonical(w.Facts)
		if err != nil {
			return nil, fmt.Errorf("keeping facts of step %q: %w", s.Name, err)
		}
		r.Facts = json.RawMessage(strings.TrimSpace(string(facts)))
	}
	for _, name := range slices.Concat(s.Outputs, w.Outputs) {
		o, err := seal(filepath.Join(d.dir, name))
		if err != nil {
			return nil, fmt.Errorf("keeping output of step %q: %w", s.Name, err)
		}
		r.Outputs = append(r.Outputs, o)
	}
	record, err := strictjson.Canonical(r)
	if err != nil {
		return nil, fmt.Errorf("keeping step %q: %w", s.Name, err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, recordName), record, 0o644); err != nil {
		return nil, fmt.Errorf("keeping step %q: %w", s.Name, err)
	}
	if err := os.Chmod(d.dir, 0o755); err != nil {
		return nil, fmt.Errorf("keeping step %q: %w", s.Name, err)
	}
	r.dir = filepath.Join(c.dir, key)
	if err := replaceDir(d.dir, r.dir); err != nil {
		return nil, fmt.Errorf("keeping step %q: %w", s.Name, err)
	}
	return r, nil
}

// seal makes an output read-only, because output folders share its inode, and describes it.
func seal(name string) (Output, error) {
	st, err := os.Stat(name)
	if err != nil {
		return Output{}, err
	}
	if !st.Mode().IsRegular() {
		return Output{}, fmt.Errorf("%s is not a regular file", filepath.Base(name))
	}
	mode := os.FileMode(0o444)
	if st.Mode().Perm()&0o100 != 0 {
		mode = 0o555
	}
	if err := os.Chmod(name, mode); err != nil {
		return Output{}, err
	}
	sum, size, err := manifest.HashFile(name)
	if err != nil {
		return Output{}, err
	}
	return Output{Name: filepath.Base(name), Size: size, SHA256: sum, ModTime: st.ModTime().UnixNano()}, nil
}

// replaceDir gives the folder from the name to, whether or not something of that name exists. At no time is there a
// half folder of that name.
func replaceDir(from, to string) error {
	err := os.Rename(from, to)
	if err == nil {
		return nil
	}
	if _, statErr := os.Lstat(to); errors.Is(statErr, fs.ErrNotExist) {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE); err != nil {
		return fmt.Errorf("exchanging %s: %w", to, err)
	}
	return os.RemoveAll(from)
}
