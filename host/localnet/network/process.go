package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// stopTime is how long a child may take to end before it is killed.
	stopTime = 15 * time.Second
	// logTail is how much of a child's log an error quotes.
	logTail = 1 << 10
)

// part is something that runs until it is stopped.
type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// parts end in the reverse of the order in which they began.
type parts struct {
	list []*part
	// ended gets the first part that ends before it was stopped.
	ended chan *part
}

func newParts() *parts { return &parts{ended: make(chan *part, 1)} }

// start runs a part. It outlives the caller's context: stop decides when it ends.
func (p *parts) start(ctx context.Context, name string, run func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	one := &part{name: name, cancel: cancel, done: make(chan struct{})}
	p.list = append(p.list, one)
	go func() {
		defer close(one.done)
		one.err = run(ctx)
		if ctx.Err() == nil {
			select {
			case p.ended <- one:
			default:
			}
		}
	}()
}

// stop ends all parts, each before those that it needs.
func (p *parts) stop() error {
	var errs []error
	for _, one := range slices.Backward(p.list) {
		one.cancel()
		<-one.done
		if one.err != nil {
			errs = append(errs, fmt.Errorf("running %s: %w", one.name, one.err))
		}
	}
	p.list = nil
	return errors.Join(errs...)
}

// wait returns when ctx ends, or with what ended before it should.
func (p *parts) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case one := <-p.ended:
		if one.err == nil {
			return fmt.Errorf("the %s ended by itself", one.name)
		}
		return nil // stop says why
	}
}

// child runs a program until ctx ends. Its output goes to a file, whose end is part of the error.
func child(ctx context.Context, logFile string, cmd *exec.Cmd) error {
	out, err := os.Create(logFile)
	if err != nil {
		return fmt.Errorf("making log: %w", err)
	}
	defer out.Close() //nolint:errcheck // the child has written it
	cmd.Stdout, cmd.Stderr = out, out
	// An interrupt of the terminal is for us: children end in their order. If we are killed they end too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", filepath.Base(cmd.Path), err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err = <-exited:
		return fmt.Errorf("%s ended (%w), the end of %s is:\n%s", filepath.Base(cmd.Path), cmp.Or(err, errNoReason), logFile, tail(logFile))
	case <-ctx.Done():
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(stopTime)
	defer limit.Stop()
	select {
	case err = <-exited:
		var status *exec.ExitError
		if err != nil && !errors.As(err, &status) { // how it ends when it is told to is its own matter
			return err
		}
	case <-limit.C:
		return errors.Join(fmt.Errorf("%s did not end within %s and was killed", filepath.Base(cmd.Path), stopTime), cmd.Process.Kill(), <-exited)
	}
	return nil
}

// errNoReason stands for the error of a program that ended well when it should not have ended.
var errNoReason = errors.New("exit code 0")

// tail is the end of a file, in whole lines.
func tail(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // read side
	st, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	data, err := io.ReadAll(io.NewSectionReader(f, max(0, st.Size()-logTail), logTail))
	if err != nil {
		return err.Error()
	}
	text := string(data)
	if st.Size() > logTail {
		_, text, _ = strings.Cut(text, "\n")
	}
	return strings.TrimSpace(text)
}
