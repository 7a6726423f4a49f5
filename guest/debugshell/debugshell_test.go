package debugshell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"cocoon/guest/boot"
	"cocoon/guest/klog"
	"cocoon/guest/supervise"
	"cocoon/measure/bootfiles"
	"cocoon/tests/logbook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds the wait for a shell on a busy machine.
const patience = time.Minute

// mark is what a debug image's boot makes.
func mark(t *testing.T) boot.DebugMark {
	t.Helper()
	st := boot.NewState(&boot.Deps{Log: klog.New(klog.Options{})})
	st.Image = bootfiles.Image{Name: "proxy", Profile: "proxy", Variant: bootfiles.Debug, Version: 1}
	st.Cmdline = bootfiles.Cmdline(bootfiles.Debug)
	m, ok := st.DebugMark()
	if !ok {
		t.Fatal("a debug image has no mark")
	}
	return m
}

// layer is a folder with the machine's own shell in busybox's place.
func layer(t *testing.T) string {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skipf("no shell on this machine: %v", err)
	}
	code, err := os.ReadFile(sh)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, program)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, code, 0o755)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// console is a pseudo terminal; its far end is the person at the console.
type console struct {
	person *os.File
	lines  chan string
	opened int
	path   string
}

func newConsole(t *testing.T) *console {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &console{person: os.NewFile(uintptr(fd), "ptmx"), lines: make(chan string, 1024), path: fmt.Sprintf("/dev/pts/%d", number)}
	keep, err := c.open() // without it a read at the far end fails while no shell has the terminal open
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		scanner := bufio.NewScanner(c.person)
		for scanner.Scan() {
			c.lines <- scanner.Text()
		}
	})
	t.Cleanup(func() {
		_ = keep.Close()
		_ = c.person.Close()
		reader.Wait()
	})
	return c
}

func (c *console) open() (*os.File, error) {
	c.opened++
	return os.OpenFile(c.path, os.O_RDWR|unix.O_NOCTTY, 0)
}

// types sends a line.
func (c *console) types(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c.person, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// reads waits for a line that contains the text.
func (c *console) reads(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for seen := ""; ; {
		select {
		case line := <-c.lines:
			seen += line + "\n"
			if strings.Contains(line, text) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("%q did not appear:\n%s", text, seen)
		}
	}
}

// start runs a shell until the returned function is called, which gives Run's error.
func start(t *testing.T, c *console, restart supervise.Restart) (stop func() error, out *logbook.Book) {
	t.Helper()
	out = new(logbook.Book)
	s := Shell{Log: slog.New(slog.NewTextHandler(out, nil)), Processes: supervise.Plain{}, Now: time.Now, Console: c.open, Restart: restart}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	m, dir := mark(t), layer(t)
	go func() { done <- s.Run(ctx, m, []string{t.TempDir(), dir}) }()
	return func() error {
		cancel()
		return <-done
	}, out
}

func TestTheShellAnswersOnItsOwnTerminal(t *testing.T) {
	c := newConsole(t)
	stop, out := start(t, c, supervise.Restart{})
	c.types(t, "echo $((6*7)) answers, $HOME")
	c.reads(t, "42 answers, /")
	c.types(t, ": > /dev/tty && echo controls $((1+1))") // fails without a controlling terminal
	c.reads(t, "controls 2")
	begin := time.Now()
	if err := stop(); err != nil || time.Since(begin) > patience {
		t.Errorf("stopped after %s: %v", time.Since(begin), err)
	}
	if !strings.Contains(out.String(), "DEBUG SHELL") {
		t.Errorf("the log does not say that there was a shell:\n%s", out)
	}
}

func TestAShellThatEndsComesBackOnAFreshTerminalAsOftenAsTheBudgetSays(t *testing.T) {
	c := newConsole(t)
	stop, out := start(t, c, supervise.Restart{Max: 2, Window: time.Minute, Backoff: time.Millisecond})
	for i := range 3 {
		c.types(t, fmt.Sprintf("echo shell $((%d+1)); exit", i))
		c.reads(t, fmt.Sprintf("shell %d", i+1))
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(patience); !strings.Contains(out.String(), "restart budget of 2"); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("the budget has no end:\n%s", out)
		}
	}
	if err := stop(); err != nil || c.opened != 1+3 {
		t.Errorf("%v, the terminal was opened %d times", err, c.opened)
	}
}

func TestNoOtherImageHasAShell(t *testing.T) {
	forbidden := Shell{Log: slog.New(slog.DiscardHandler), Console: func() (*os.File, error) {
		t.Error("the console was opened")
		return nil, os.ErrPermission
	}}
	if err := forbidden.Run(context.Background(), boot.DebugMark{}, []string{layer(t)}); !errors.Is(err, ErrNotDebug) {
		t.Errorf("err = %v", err)
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	folder, plain, link := t.TempDir(), t.TempDir(), t.TempDir()
	err := errors.Join(
		os.MkdirAll(filepath.Join(folder, program), 0o755),
		os.MkdirAll(filepath.Join(plain, "usr/bin"), 0o755),
		os.WriteFile(filepath.Join(plain, program), nil, 0o600),
		os.MkdirAll(filepath.Join(link, "usr/bin"), 0o755),
		os.Symlink("/bin/sh", filepath.Join(link, program)),
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, layers := range map[string][]string{
		"no layer": nil, "empty layer": {t.TempDir()}, "a folder": {folder}, "not executable": {plain}, "a link": {link},
	} {
		t.Run(name, func(t *testing.T) {
			err := Shell{Log: slog.New(slog.DiscardHandler)}.Run(context.Background(), mark(t), layers)
			if !errors.Is(err, ErrNoProgram) || !strings.Contains(err.Error(), "base-debug") {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestAConsoleThatDoesNotOpenIsReported(t *testing.T) {
	s := Shell{Log: slog.New(slog.DiscardHandler), Processes: supervise.Plain{}, Now: time.Now, Console: func() (*os.File, error) { return nil, unix.EIO }}
	if err := s.Run(context.Background(), mark(t), []string{layer(t)}); !errors.Is(err, unix.EIO) {
		t.Errorf("err = %v", err)
	}
}

func TestTheConsoleIsTheLastOfTheKernelsList(t *testing.T) {
	tests := map[string]struct {
		list string
		want string
	}{
		"one":              {"hvc0\n", "hvc0"},
		"two":              {"ttyS0 hvc0\n", "hvc0"},
		"serial":           {"ttyS12", "ttyS12"},
		"none":             {"\n", ""},
		"virtual terminal": {"tty0", ""},
		"a path":           {"../../sda", ""},
		"long":             {"hvc000", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := lastConsole(tc.list)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("%q, %v", got, err)
			}
			root := t.TempDir()
			list := filepath.Join(root, consoleList)
			if err := errors.Join(os.MkdirAll(filepath.Dir(list), 0o755), os.Mkdir(filepath.Join(root, "dev"), 0o755), os.WriteFile(list, []byte(tc.list), 0o600)); err != nil {
				t.Fatal(err)
			}
			if tc.want != "" {
				if err := os.WriteFile(filepath.Join(root, "dev", tc.want), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f, err := OpenConsole(root)
			if (err == nil) != (tc.want != "") {
				t.Errorf("err = %v", err)
			}
			_ = f.Close()
		})
	}
	if _, err := OpenConsole(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}
