package repro

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"cocoon/image/pipeline"
)

const (
	// legDeadline bounds one leg: a cold light build takes about two minutes on two busy cores.
	legDeadline = time.Hour
	// legGrace is how long an interrupted leg may take to end by itself.
	legGrace = 10 * time.Second
	// nobody is Debian's unprivileged user and group.
	nobody = 65534
	// maxLine bounds a line of a leg's progress.
	maxLine = 1 << 16
	// lastLines is how much of a failed leg's output goes into the error.
	lastLines = 12
)

// leg is one of the two builds with everything that is different about it.
type leg struct {
	name     string
	dir      string // the leg's folder; the checkout's copy is below it
	source   string // name of the copy, of another length in each leg
	reverse  bool   // order in which the copy's files are created
	fileMode os.FileMode
	mtime    time.Time
	umask    string
	workers  int
	uid      int // -1 keeps the user
	env      []string
	grace    time.Duration // between being interrupted and being killed
}

func legA(scratch string) leg {
	return leg{
		name: "a", dir: filepath.Join(scratch, "a"), source: "src", fileMode: 0o644, umask: "022", workers: 1, uid: -1,
		mtime: time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC),
		env:   []string{"TZ=UTC", "LANG=C", "LC_ALL=C", "GOMAXPROCS=1"}, grace: legGrace,
	}
}

// legB also sets what a build must ignore: a date, another processor level, stamping.
func legB(scratch string) leg {
	uid := -1
	if os.Geteuid() == 0 && openToAll(scratch) {
		uid = nobody // in a closed folder another user could not work; the report shows equal users then
	}
	workers := max(2, runtime.NumCPU())
	return leg{
		name: "b", dir: filepath.Join(scratch, "b-with-a-longer-name"), source: "another/place/checkout", reverse: true,
		fileMode: 0o600, umask: "077", workers: workers, uid: uid, mtime: time.Date(2033, 12, 31, 23, 59, 59, 0, time.UTC),
		env: []string{
			"TZ=Pacific/Kiritimati", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", fmt.Sprintf("GOMAXPROCS=%d", workers),
			"SOURCE_DATE_EPOCH=1", "GOAMD64=v3", "GOFLAGS=-buildvcs=true", "CGO_ENABLED=1",
		}, grace: legGrace,
	}
}

// conditions lists what differed, for the report.
func conditions(legs [2]leg) []Condition {
	a, b := legs[0], legs[1]
	user := func(l leg) string {
		if l.uid < 0 {
			return fmt.Sprintf("uid %d", os.Geteuid())
		}
		return fmt.Sprintf("uid %d", l.uid)
	}
	return []Condition{
		{"working directory", a.checkout(), b.checkout()},
		{"home, caches, temporary folder", a.dir, b.dir},
		{"user", user(a), user(b)},
		{"umask", a.umask, b.umask},
		{"modes of the checkout", fmt.Sprintf("%04o", a.fileMode), fmt.Sprintf("%04o", b.fileMode)},
		{"file creation order", "sorted", "reversed"},
		{"file times", a.mtime.Format(time.DateOnly), b.mtime.Format(time.DateOnly)},
		{"steps at once", fmt.Sprint(a.workers), fmt.Sprint(b.workers)},
		{"environment", strings.Join(a.env, " "), strings.Join(b.env, " ")},
	}
}

func (l leg) checkout() string { return filepath.Join(l.dir, l.source) }
func (l leg) out() string      { return filepath.Join(l.dir, "out") }

// prepare copies the checkout and makes the leg's folders.
func (l leg) prepare(root string) error {
	for _, d := range []string{l.checkout(), filepath.Join(l.dir, "home"), filepath.Join(l.dir, "tmp")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := copyTree(root, l.checkout(), l); err != nil {
		return err
	}
	if l.uid < 0 {
		return nil
	}
	return chownAll(l.dir, l.uid)
}

// build runs the program in the leg's conditions.
func (l leg) build(ctx context.Context, s Spec, program, inputs, modules string) error {
	ctx, cancel := context.WithTimeout(ctx, legDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", slices.Concat([]string{
		"-c", "umask " + l.umask + ` && exec "$@"`, "sh", program, "image", "build", "--offline", "--progress", "plain",
		"--from", inputs, "--root", l.checkout(), "--cache", filepath.Join(l.dir, "cache"), "--out", l.out(),
		"--workers", fmt.Sprint(l.workers), "--variant", s.Options.Build, "--profile", profiles(s.Options),
	}, s.Options.Images)...)
	cmd.Dir = l.checkout()
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(l.dir, "home"), "TMPDIR=" + filepath.Join(l.dir, "tmp"),
		"GOCACHE=" + filepath.Join(l.dir, "home", "go-build"), "GOMODCACHE=" + modules, "GOENV=off",
	}, l.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if l.uid >= 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(l.uid), Gid: uint32(l.uid)} //nolint:gosec // a constant
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = l.grace
	progress, said := io.Pipe() // and not the program's own end of a pipe, which its children may keep when it is gone
	cmd.Stderr = said
	var last []string
	var following sync.WaitGroup
	following.Go(func() { last = l.follow(progress, s.Report) })
	err := cmd.Start()
	if err == nil {
		err = cmd.Wait()
	}
	_ = said.Close()
	following.Wait()
	if cmd.Process == nil {
		return fmt.Errorf("starting leg %s: %w", l.name, err)
	}
	if ctx.Err() != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // who of it did not end by itself
		return ctx.Err()
	}
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return fmt.Errorf("leg %s: %w:\n%s", l.name, err, strings.Join(last, "\n"))
	}
	return err
}

// follow passes lines on until there are no more, and returns the last ones. What comes behind a line that is too long is not
// looked at.
func (l leg) follow(r io.Reader, report func(leg, line string)) []string {
	var last []string
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		last = append(last, lines.Text())
		last = last[max(0, len(last)-lastLines):]
		if report != nil {
			report(l.name, lines.Text())
		}
	}
	_, _ = io.Copy(io.Discard, r) // who writes does not wait for us
	return last
}

func profiles(o pipeline.Options) string {
	names := make([]string, 0, len(o.Variants))
	for _, v := range o.Variants {
		names = append(names, string(v))
	}
	if len(names) == 0 {
		return "production"
	}
	return strings.Join(names, ",")
}
