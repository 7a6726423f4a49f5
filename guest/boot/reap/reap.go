// Package reap collects the dead children of PID 1 without taking the results of processes that somebody waits for.
//
// A process whose parent dies becomes PID 1's child; somebody must wait for it or its table entry stays for ever.
// Waiting for any pid would also collect children started through os/exec, whose Wait would then fail. The Reaper
// therefore looks before it collects (waitid with WNOWAIT) and leaves alone every pid that was started through it.
// It trusts the kernel's word on pids. Start, Wait and Sweep are safe for concurrent use; Run owns the signal
// subscription and returns when its context ends. It refuses nothing: an unknown dead child is always collected.
package reap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reaper starts processes and collects orphans.
type Reaper struct {
	mu    sync.Mutex
	owned map[int]bool
	kick  chan struct{}
}

// New makes a Reaper that owns no process.
func New() *Reaper {
	return &Reaper{owned: make(map[int]bool), kick: make(chan struct{}, 1)}
}

// Start starts the command and marks its pid as waited for. The caller must call Wait, from another goroutine if need
// be, as soon as it can: an owned process that has died hides later orphans until it is collected.
func (r *Reaper) Start(cmd *exec.Cmd) error {
	r.mu.Lock() // no sweep may see the pid before it is marked
	defer r.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	r.owned[cmd.Process.Pid] = true
	return nil
}

// Wait waits for a command started through Start and sweeps up what its death had hidden.
func (r *Reaper) Wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	r.mu.Lock()
	delete(r.owned, cmd.Process.Pid)
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default: // a sweep is already due
	}
	return err
}

// Run sweeps whenever a child dies, until ctx ends.
func (r *Reaper) Run(ctx context.Context) error {
	died := make(chan os.Signal, 1)
	signal.Notify(died, unix.SIGCHLD)
	defer signal.Stop(died)
	for {
		if _, err := r.Sweep(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-died:
		case <-r.kick:
		}
	}
}

// Sweep collects dead children until none is left or the next one belongs to somebody who waits for it. It returns
// how many it collected.
func (r *Reaper) Sweep() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := 0; ; n++ {
		pid, err := peek()
		if err != nil || pid == 0 || r.owned[pid] {
			return n, err
		}
		if _, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return n, fmt.Errorf("collecting process %d: %w", pid, err)
		}
	}
}

// Drain collects every child, owned or not, until none is left. It is for the end of the machine, after Run has ended:
// it waits as long as the last child lives and cannot be interrupted.
func Drain() error {
	for {
		_, err := unix.Wait4(-1, nil, 0, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("collecting processes: %w", err)
		}
	}
}

// siginfoPid is the offset of si_pid in a SIGCHLD siginfo_t on 64-bit Linux: three ints and a pad come first.
const siginfoPid = 16

// peek returns the pid of a dead child without collecting it, 0 when there is none.
func peek() (int, error) {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return 0, nil
		case err != nil:
			return 0, fmt.Errorf("looking for dead children: %w", err)
		}
		raw := (*[unsafe.Sizeof(info)]byte)(unsafe.Pointer(&info)) //nolint:gosec // siginfo_t is a C union
		return int(binary.NativeEndian.Uint32(raw[siginfoPid:])), nil
	}
}
