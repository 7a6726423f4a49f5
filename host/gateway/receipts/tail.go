package receipts

import (
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	// together is how long after a write of records the next one is put off, so that a burst is written in few pieces.
	together = 5 * time.Millisecond
	// maxPending is how many bytes wait for that; maxStuck is how many do while the disk takes none.
	maxPending, maxStuck = 64 << 10, 4 << 20
)

// tail is the end of the file that is written to, with the lines that are not in it yet. Its owner holds a lock.
type tail struct {
	file    *os.File
	in      volume
	end     int64 // of what is in the file
	pending []byte
	wrote   time.Time // the time of the last record when lines were written last
	dirty   bool      // written since the last sync
	torn    bool      // the file may hold a part of a write that failed
}

// size is the file's when all is written.
func (t *tail) size() int64 { return t.end + int64(len(t.pending)) }

// add takes a line of a record and returns where it will stand, or a negative place if it does not fit. Lines are written
// when they are many, or when some time has passed since the last write: a lone one at once. What is left over waits for
// the next line or for flush. A line that was taken and could not be written is an error, too; it waits with the others.
func (t *tail) add(line []byte, at time.Time) (place int64, err error) {
	if len(t.pending) > maxStuck {
		if err := t.flush(); err != nil {
			return -1, err
		}
	}
	place = t.size()
	t.pending = append(t.pending, line...)
	if passed := at.Sub(t.wrote); len(t.pending) < maxPending && passed >= 0 && passed < together {
		return place, nil
	}
	t.wrote = at
	return place, t.flush()
}

// flush writes what is pending. What cannot be written stays pending.
func (t *tail) flush() error {
	if t.torn {
		if err := t.file.Truncate(t.end); err != nil {
			return fmt.Errorf("cutting off half a receipt: %w", err)
		}
		t.torn = false
	}
	if len(t.pending) == 0 {
		return nil
	}
	t.dirty = true
	if _, err := t.file.Write(t.pending); err != nil {
		t.torn = t.file.Truncate(t.end) != nil
		return fmt.Errorf("writing receipts: %w", err)
	}
	t.end, t.pending = t.size(), t.pending[:0]
	return nil
}

// copy fills line with the one at a place, if that is not in the file yet.
func (t *tail) copy(line []byte, at place) bool {
	if t.file == nil || at.in != t.in || at.at < t.end {
		return false
	}
	copy(line, t.pending[at.at-t.end:])
	return true
}

// close writes, syncs and closes the file. One that cannot be written stays open.
func (t *tail) close() error {
	if t.file == nil {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	err := errors.Join(t.file.Sync(), t.file.Close())
	t.file, t.dirty = nil, false
	if err != nil {
		return fmt.Errorf("closing receipts: %w", err)
	}
	return nil
}
