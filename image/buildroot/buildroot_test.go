package buildroot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/rootfs"
)

// The test binary is also the program inside the roots: it is static, so a root needs nothing else.
const probe = "COCOON_BUILDROOT_PROBE"

func TestMain(m *testing.M) {
	switch os.Getenv(probe) {
	case "report":
		os.Exit(report())
	case "fail":
		fmt.Fprintln(os.Stderr, strings.Repeat("noise\n", 2000)+"the last words")
		os.Exit(7)
	case "hang":
		os.Exit(int(pause()))
	}
	os.Exit(m.Run())
}

// seen is what a program inside finds.
type seen struct {
	Names      []string `json:"names"`
	Host       string   `json:"host"`
	Dir        string   `json:"dir"`
	Env        []string `json:"env"`
	Interfaces []string `json:"interfaces"`
	PID        int      `json:"pid"`
	Null       string   `json:"null"`
}

func report() int {
	var s seen
	entries, err := os.ReadDir("/")
	for _, e := range entries {
		s.Names = append(s.Names, e.Name())
	}
	s.Host, _ = os.Hostname()
	s.Dir, _ = os.Getwd()
	s.Env = os.Environ()
	s.PID = os.Getpid()
	s.Interfaces = upInterfaces()
	if st, statErr := os.Stat("/dev/null"); statErr == nil {
		s.Null = st.Mode().Type().String()
	}
	data, jsonErr := json.Marshal(s)
	if errors.Join(err, jsonErr, os.WriteFile("report.json", data, 0o600)) != nil {
		return 1
	}
	return 0
}

// upInterfaces are the indexes of network interfaces that are up; package net would make the binary dynamic.
func upInterfaces() (up []string) {
	rib, err := syscall.NetlinkRIB(syscall.RTM_GETLINK, syscall.AF_UNSPEC)
	if err != nil {
		return []string{err.Error()}
	}
	msgs, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return []string{err.Error()}
	}
	for _, m := range msgs { // struct ifinfomsg: flags at 8
		if m.Header.Type == syscall.RTM_NEWLINK && m.Data[8]&syscall.IFF_UP != 0 {
			up = append(up, fmt.Sprint(m.Data[4]))
		}
	}
	return up
}

// newRoot writes a root with the test binary as /bin/probe, or skips where namespaces are not to be had.
func newRoot(t *testing.T) *Root {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "true").CombinedOutput(); err != nil {
		if out2, err := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "--mount", "true").CombinedOutput(); err != nil {
			t.Skipf("this machine gives us no namespaces: %s %s", out, out2)
		}
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	tree := rootfs.New()
	add := func(name string, n *rootfs.Inode) {
		if err := tree.Add(name, n); err != nil {
			t.Fatal(err)
		}
	}
	add("bin/probe", &rootfs.Inode{Type: rootfs.File, Mode: 0o755, Content: rootfs.Bytes(self)})
	add("task/link", &rootfs.Inode{Type: rootfs.Symlink, Mode: 0o777, Target: "/bin/probe"})
	shared := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte("shared"))}
	add("task/a", shared)
	add("task/b", shared)
	r, err := Create(t.Context(), filepath.Join(t.TempDir(), "root"), tree)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestCommandSeesItsRootAndNothingElse(t *testing.T) {
	r := newRoot(t)
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "file"), []byte("bound"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COCOON_LEAK", "1")
	err := r.Run(deadline(t), Command{
		Args: []string{"/task/link"}, Dir: "/task", Env: []string{probe + "=report"},
		Binds: []Bind{{other, "bound/here"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := r.ReadFile("task/report.json")
	if err != nil {
		t.Fatal(err)
	}
	var got seen
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got.Env)
	want := seen{
		Names: []string{"bin", "bound", "dev", "proc", "task", "tmp"}, Host: hostName, Dir: "/task", PID: 1,
		Env:  []string{probe + "=report", "HOME=/", "LC_ALL=C.UTF-8", "PATH=" + searchPath, "TZ=UTC"},
		Null: (os.ModeDevice | os.ModeCharDevice).String(),
	}
	slices.Sort(want.Env)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the program saw (-want +got):\n%s", diff)
	}
	if _, err := r.ReadFile("bound/here/file"); err == nil {
		t.Error("the bind is visible outside the command")
	}
}

func TestFailureQuotesTheEndOfTheOutput(t *testing.T) {
	r := newRoot(t)
	err := r.Run(deadline(t), Command{Args: []string{"/bin/probe"}, Dir: "/", Env: []string{probe + "=fail"}})
	var failed *CommandError
	var status *exec.ExitError
	if !errors.As(err, &failed) || !errors.As(err, &status) || status.ExitCode() != 7 {
		t.Fatalf("error %v, want a CommandError with exit status 7", err)
	}
	if !strings.HasSuffix(failed.Tail, "the last words") || len(failed.Tail) > maxTail {
		t.Errorf("tail of %d bytes ends with %q", len(failed.Tail), failed.Tail[max(0, len(failed.Tail)-40):])
	}
}

func TestDeadlineEndsAHangingCommand(t *testing.T) {
	r := newRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := r.Run(ctx, Command{Args: []string{"/bin/probe"}, Dir: "/", Env: []string{probe + "=hang"}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline", err)
	}
}

func TestRunRefuses(t *testing.T) {
	r := &Root{t.TempDir()}
	for name, tc := range map[string]struct {
		ctx  context.Context
		cmd  Command
		want string
	}{
		"no deadline":      {t.Context(), Command{Args: []string{"/x"}, Dir: "/"}, "no deadline"},
		"relative program": {deadline(t), Command{Args: []string{"x"}, Dir: "/"}, "not an absolute path"},
		"no program":       {deadline(t), Command{Dir: "/"}, "not an absolute path"},
		"relative dir":     {deadline(t), Command{Args: []string{"/x"}, Dir: "w"}, "not absolute"},
		"escaping bind":    {deadline(t), Command{Args: []string{"/x"}, Dir: "/", Binds: []Bind{{"/a", "../b"}}}, "relative place"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := r.Run(tc.ctx, tc.cmd); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestCreateKeepsLinksAndExecutableBits(t *testing.T) {
	tree := rootfs.New()
	shared := &rootfs.Inode{Type: rootfs.File, Mode: 0o4711, UID: 5, Content: rootfs.Bytes([]byte("x"))}
	for name, n := range map[string]*rootfs.Inode{
		"a/one": shared, "a/two": shared,
		"b": {Type: rootfs.Symlink, Mode: 0o777, Target: "../../outside"},
	} {
		if err := tree.Add(name, n); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "root")
	r, err := Create(t.Context(), dir, tree)
	if err != nil {
		t.Fatal(err)
	}
	one, err1 := os.Stat(filepath.Join(dir, "a/one"))
	two, err2 := os.Stat(filepath.Join(dir, "a/two"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(one, two) || one.Mode() != 0o755 {
		t.Errorf("hard links are the same file: %v, mode %v, want true and 0755", os.SameFile(one, two), one.Mode())
	}
	if _, err := r.ReadFile("b"); err == nil {
		t.Error("a link out of the root was followed")
	}
	if _, err := Create(t.Context(), dir, tree); err == nil {
		t.Error("a folder with something in it was accepted")
	}
	if err := r.Remove(); err != nil {
		t.Error(err)
	}
}

// pause waits for a signal that never comes.
func pause() uintptr {
	_, _, err := syscall.Syscall(syscall.SYS_PAUSE, 0, 0, 0)
	return uintptr(err)
}
