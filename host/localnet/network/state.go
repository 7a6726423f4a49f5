package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Files of the network's folder that are not a role's.
const (
	// StateName describes the network that runs; it is removed when that ends.
	StateName = "localnet.json"
	// lockName is held for as long as the network runs, so a stale description is known for what it is.
	lockName = "lock"
	// maxState bounds the description.
	maxState = 1 << 20
)

// ErrNotRunning is the error of whoever looks for a network where none runs, ErrRunning of whoever starts a second one.
var (
	ErrNotRunning = errors.New("no network is running")
	ErrRunning    = errors.New("a network is running already")
)

// State is what other processes know of a running network.
type State struct {
	// PID is the process that runs it and ends it in order on SIGTERM.
	PID     int         `json:"pid"`
	Started time.Time   `json:"started"`
	About   Description `json:"network"`
}

// Lock is a folder's, for one network. It ends with the process, however that ends.
type Lock struct{ file *os.File }

// Take makes a folder where there is none and locks it for a network, before anything is written there. What a network that
// was killed has left is cleared: its description, which would lead to a process that is another's by now, and its sockets.
func Take(dir string) (*Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			err = fmt.Errorf("%w in %s", ErrRunning, dir)
		}
		return nil, errors.Join(err, f.Close())
	}
	l := &Lock{f}
	err = os.Remove(filepath.Join(dir, StateName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, clearSockets(dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("clearing what is left of an earlier network: %w", err), l.Close())
	}
	return l, nil
}

// Close unlocks the folder; where none was locked it does nothing.
func (l *Lock) Close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}

// Running says whether a network has locked the folder, ready or not, without coming in the way of one that starts.
func Running(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // read side
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil {
		return false, fmt.Errorf("reading lock: %w", err)
	}
	return l.Type != unix.F_UNLCK, nil
}

// publish lets other processes find the network.
func (n *Network) publish() error {
	data, err := json.MarshalIndent(State{PID: os.Getpid(), Started: n.cfg.Now().UTC(), About: n.about}, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(n.cfg.Dir, StateName)
	if err := renameio.WriteFile(name, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	n.closers = append(n.closers, func() error { return os.Remove(name) })
	return nil
}

// Find describes the network that runs in a folder. The error is ErrNotRunning where none does, or none is ready yet.
func Find(dir string) (*State, error) {
	running, err := Running(dir)
	if err != nil {
		return nil, err
	}
	if !running {
		return nil, fmt.Errorf("%w in %s", ErrNotRunning, dir)
	}
	f, err := os.Open(filepath.Join(dir, StateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s yet: it is starting, or ending", ErrNotRunning, dir)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read side
	return readState(f)
}

func readState(f *os.File) (*State, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() > maxState {
		return nil, fmt.Errorf("reading %s: %d bytes, at most %d", f.Name(), st.Size(), maxState)
	}
	var out State
	if err := json.NewDecoder(f).Decode(&out); err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	if out.PID <= 1 {
		return nil, fmt.Errorf("reading %s: pid %d is no network's", f.Name(), out.PID)
	}
	return &out, nil
}

// End asks the network of a folder to end, and waits until it has. What is left when ctx ends first is not killed.
func End(ctx context.Context, dir string) (*State, error) {
	s, err := Find(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
		return s, fmt.Errorf("asking process %d to end: %w", s.PID, err)
	}
	const every = 50 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if running, err := Running(dir); err != nil || !running {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("waiting for process %d to end: %w", s.PID, ctx.Err())
		case <-tick.C:
		}
	}
}
