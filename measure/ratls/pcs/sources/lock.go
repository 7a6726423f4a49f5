package sources

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockName = ".lock"
	// lockLimit is how long another process may hold the store; its work there takes milliseconds.
	lockLimit = 5 * time.Second
	lockPoll  = 5 * time.Millisecond
)

// lock makes the caller the store's only user, among goroutines and processes, until release is called.
func (s *Store) lock() (release func(), err error) {
	name := filepath.Join(s.dir, lockName)
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := waitFor(f, s.lockLimit); err != nil {
		f.Close() //nolint:errcheck,gosec // nothing was written
		return nil, fmt.Errorf("locking %s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil // closing releases the lock
}

func waitFor(f *os.File, most time.Duration) error {
	limit := time.NewTimer(most)
	defer limit.Stop()
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-poll.C:
		case <-limit.C:
			return fmt.Errorf("another process has held it for %s", most)
		}
	}
}
