package buildroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// maxTail is how much of a command's output an error quotes.
	maxTail = 4 << 10
	// waitDelay is what a killed command's children get to close their output.
	waitDelay = 5 * time.Second
	// searchPath is both where the machine's own tools are found and the PATH inside.
	searchPath = "/usr/sbin:/usr/bin:/sbin:/bin"
	// hostName is what uname -n says inside.
	hostName = "cocoon"
)

// enter runs inside the new namespaces, still with the machine's root: it mounts, names the host, and goes on in the
// root. Arguments: ROOT DIR [SOURCE TARGET]... -- COMMAND...
const enter = `set -eu
root=$1 dir=$2
shift 2
for d in ` + "null zero full random urandom" + `; do mount --bind "/dev/$d" "$root/dev/$d"; done
while [ "$1" != -- ]; do
  mount --bind "$1" "$root/$2"
  shift 2
done
hostname ` + hostName + `
unset PWD OLDPWD
exec unshare --root "$root" --wd "$dir" "$@"`

// ErrNoDeadline refuses a command that could hang for ever.
var ErrNoDeadline = errors.New("context has no deadline")

// Command is one program run.
type Command struct {
	Args []string // Args[0] is a path inside the root
	Dir  string   // working folder inside the root, absolute
	Env  []string // KEY=value; PATH, HOME, LC_ALL and TZ have fixed defaults
	// Binds are folders of the machine that the command sees: place inside (relative, existing) -> absolute folder.
	Binds []Bind
	// Stdin is what the command reads; nil is nothing.
	Stdin io.Reader
	// Log receives what the command prints, when set.
	Log io.Writer
}

// Bind shows a folder of the machine at a place inside.
type Bind struct {
	Source string
	Inside string
}

// CommandError reports a command that failed, with the end of what it printed.
type CommandError struct {
	Args []string
	Tail string
	Err  error
}

// Error quotes the output's end, and for a refused namespace the usual cause.
func (e *CommandError) Error() string {
	text := fmt.Sprintf("running %s in a build root: %v", strings.Join(e.Args, " "), e.Err)
	if strings.Contains(e.Tail, "unshare: ") && strings.Contains(e.Tail, "Operation not permitted") {
		text += "; this machine forbids user namespaces: on Ubuntu set kernel.apparmor_restrict_unprivileged_userns=0, or build as root"
	}
	if e.Tail != "" {
		text += "; its last output:\n" + e.Tail
	}
	return text
}

// Unwrap gives the exit status.
func (e *CommandError) Unwrap() error { return e.Err }

// Run runs a command to its end.
func (r *Root) Run(ctx context.Context, c Command) error {
	if _, ok := ctx.Deadline(); !ok {
		return fmt.Errorf("running %v in a build root: %w", c.Args, ErrNoDeadline)
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("running %v in a build root: %w", c.Args, err)
	}
	tool, err := findTool("unshare")
	if err != nil {
		return err
	}
	for _, b := range c.Binds {
		if err := r.mkdir(b.Inside); err != nil {
			return fmt.Errorf("running %v in a build root: %w", c.Args, err)
		}
	}
	cmd := exec.CommandContext(ctx, tool, r.arguments(c)...)
	cmd.Env = append([]string{"PATH=" + searchPath, "HOME=/", "LC_ALL=C.UTF-8", "TZ=UTC"}, c.Env...)
	cmd.Stdin = c.Stdin
	out := &tail{also: c.Log}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = waitDelay
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(cause, err)
		}
		return &CommandError{c.Args, out.String(), err}
	}
	return nil
}

func (r *Root) arguments(c Command) []string {
	args := []string{"--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child"}
	if os.Geteuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	args = append(args, "--", "/bin/sh", "-c", enter, "sh", r.dir, c.Dir)
	for _, b := range c.Binds {
		args = append(args, b.Source, b.Inside)
	}
	return append(append(args, "--"), c.Args...)
}

func (c Command) check() error {
	switch {
	case len(c.Args) == 0 || !filepath.IsAbs(c.Args[0]):
		return errors.New("the program is not an absolute path")
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("working folder %q is not absolute", c.Dir)
	}
	for _, b := range c.Binds {
		if !filepath.IsAbs(b.Source) || !filepath.IsLocal(b.Inside) {
			return fmt.Errorf("bind %q -> %q, want an absolute source and a relative place", b.Source, b.Inside)
		}
	}
	return nil
}

func findTool(name string) (string, error) {
	for _, dir := range filepath.SplitList(searchPath) {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", fmt.Errorf("finding %s in %s: not there; install the package util-linux", name, searchPath)
}

// tail keeps the end of what is written to it.
type tail struct {
	also io.Writer
	end  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.end = append(t.end, p...)
	if over := len(t.end) - maxTail; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	if t.also != nil {
		if _, err := t.also.Write(p); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// String drops the first, probably cut, line when there are several.
func (t *tail) String() string {
	out := bytes.TrimSpace(t.end)
	if _, rest, ok := bytes.Cut(out, []byte("\n")); ok && len(t.end) >= maxTail {
		out = rest
	}
	return string(out)
}
