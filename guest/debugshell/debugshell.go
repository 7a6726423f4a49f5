// Package debugshell runs a shell on the console of a debug image, after ready and while a failed boot waits
// (image.md section 15).
//
// It owns the console's terminal while a shell is on it: the shell is the leader of its own session with the terminal
// as its controlling one, and is started again when it ends, a bounded number of times. The program is busybox from
// the base-debug layer, which the init of a debug image has verified; nothing else is ever executed. It trusts whoever
// holds the console: debug images are for that. Run is called by one goroutine. It refuses a boot.DebugMark that no
// debug image has made, and a terminal whose name is no console's.
package debugshell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"cocoon/guest/boot"
	"cocoon/guest/supervise"
)

const (
	// program is where the base-debug layer has its shell.
	program = "usr/bin/busybox"
	service = "debug-shell"
	// consoleList names the kernel's consoles; the last one is behind /dev/console (Documentation/ABI, sysfs-tty).
	consoleList = "/sys/class/tty/console/active"
	// maxConsoleList bounds that file.
	maxConsoleList = 256
	// stopTimeout is short because an interactive shell ignores SIGTERM.
	stopTimeout = time.Second
)

var (
	// ErrNotDebug means that the mark is not one of a debug image.
	ErrNotDebug = errors.New("this is no debug image: there is no shell")
	// ErrNoProgram means that no base layer holds a shell.
	ErrNoProgram = errors.New("no base layer holds " + program + "; debug images are built with the base-debug layer")

	consoleRule = regexp.MustCompile(`^(hvc|ttyS)[0-9]{1,2}$`)
)

// Shell is how to run the shell.
type Shell struct {
	Log       *slog.Logger
	Processes supervise.Processes
	Now       func() time.Time
	// Console opens the terminal anew: the kernel hangs it up when the shell of the previous one ends.
	Console func() (*os.File, error)
	// Restart is the budget; the zero value means one shell and no other.
	Restart supervise.Restart
}

// DefaultRestart lets a person leave the shell now and then, and ends a shell that does not work at all.
func DefaultRestart() supervise.Restart {
	return supervise.Restart{Max: 5, Window: time.Minute, Backoff: 200 * time.Millisecond}
}

// Run keeps a shell on the console until ctx ends. The first layer that has the program gives it.
func (s Shell) Run(ctx context.Context, mark boot.DebugMark, layers []string) error {
	if !mark.Valid() {
		return ErrNotDebug
	}
	path, err := find(layers)
	if err != nil {
		return err
	}
	s.Log.Warn("DEBUG SHELL on the console", slog.String("path", path))
	t := &terminal{open: s.Console}
	defer t.close()
	supervisor := supervise.New(supervise.Config{Logger: s.Log, Processes: s.Processes, Now: s.Now})
	defer supervisor.Stop()
	err = supervisor.Start(ctx, supervise.Service{
		Name: service, Restart: s.Restart, StopTimeout: stopTimeout,
		Command: func(context.Context) (*exec.Cmd, error) { return command(path, t) },
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// find returns the program of the topmost layer that has one. It follows no link: the program is one file.
func find(layers []string) (string, error) {
	for _, dir := range layers {
		path := filepath.Join(dir, program)
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("looking for the shell: %w", err)
		}
	}
	return "", fmt.Errorf("looking for the shell in %s: %w", strings.Join(layers, ", "), ErrNoProgram)
}

// command is one shell on a freshly opened terminal.
func command(path string, t *terminal) (*exec.Cmd, error) {
	tty, err := t.reopen()
	if err != nil {
		return nil, err
	}
	bin := filepath.Dir(path)
	return &exec.Cmd{
		Path: path, Args: []string{"sh"}, Dir: "/",
		Env:   []string{"PATH=" + bin + ":" + filepath.Join(filepath.Dir(bin), "sbin"), "HOME=/", "TERM=linux", `PS1=debug:\w# `},
		Stdin: tty, Stdout: tty, Stderr: tty,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	}, nil
}

// terminal is the console as this process holds it for the next shell. One goroutine of the supervisor uses it at a
// time, and close comes after its end.
type terminal struct {
	open func() (*os.File, error)
	file *os.File
}

func (t *terminal) reopen() (*os.File, error) {
	t.close()
	f, err := t.open()
	if err != nil {
		return nil, fmt.Errorf("opening the console: %w", err)
	}
	t.file = f
	return f, nil
}

func (t *terminal) close() {
	if t.file != nil {
		_ = t.file.Close()
		t.file = nil
	}
}

// OpenConsole opens the terminal behind /dev/console, which itself cannot control a session. root is put in front of
// the paths.
func OpenConsole(root string) (*os.File, error) {
	f, err := os.Open(filepath.Join(root, consoleList))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxConsoleList))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	name, err := lastConsole(string(raw))
	if err != nil {
		return nil, err
	}
	// Not this process's controlling terminal: the shell's session takes it.
	return os.OpenFile(filepath.Join(root, "/dev", name), os.O_RDWR|syscall.O_NOCTTY, 0)
}

// lastConsole picks the console behind /dev/console from the kernel's list.
func lastConsole(list string) (string, error) {
	names := strings.Fields(list)
	if len(names) == 0 {
		return "", errors.New("the kernel has no console")
	}
	name := names[len(names)-1]
	if !consoleRule.MatchString(name) {
		return "", fmt.Errorf("the console %q does not match %s", name, consoleRule)
	}
	return name, nil
}
