package mounts

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// recorder notes calls; fail names the target that cannot be mounted.
type recorder struct {
	calls []string
	fail  string
}

func (r *recorder) Mkdir(path string, _ os.FileMode) error {
	r.calls = append(r.calls, "mkdir "+path)
	return nil
}

func (r *recorder) Mount(m Mount) error {
	if m.Target == r.fail {
		return unix.EPERM
	}
	r.calls = append(r.calls, "mount "+m.Target)
	return nil
}

func TestApplyMakesMountPointsFirstAndInOrder(t *testing.T) {
	var r recorder
	if err := Apply(&r, Namespace()[:3]); err != nil {
		t.Fatal(err)
	}
	want := []string{"mkdir /dev", "mount /dev", "mkdir /proc", "mount /proc", "mkdir /sys", "mount /sys"}
	if diff := cmp.Diff(want, r.calls); diff != "" {
		t.Error(diff)
	}
}

func TestApplyStopsAtTheFirstFailureAndNamesIt(t *testing.T) {
	r := recorder{fail: "/run"}
	err := Apply(&r, Namespace())
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "tmpfs tmpfs on /run") {
		t.Errorf("err = %v", err)
	}
	if last := r.calls[len(r.calls)-1]; last != "mkdir /run" {
		t.Errorf("went on after the failure: %s", last)
	}
}

func TestNoFileSystemAllowsSetuidPrograms(t *testing.T) {
	for _, e := range append(Namespace(), AfterModules()...) {
		m, ok := e.(Mount)
		if !ok {
			continue
		}
		if m.Flags&unix.MS_NOSUID == 0 || m.Flags&unix.MS_NOEXEC == 0 {
			t.Errorf("%s may run programs", m)
		}
		if m.FSType != "devtmpfs" && m.Flags&unix.MS_NODEV == 0 {
			t.Errorf("%s may hold devices", m)
		}
	}
}

func TestParentsAreMountedBeforeChildren(t *testing.T) {
	seen := map[string]int{}
	for i, e := range Namespace() {
		path := ""
		switch e := e.(type) {
		case Mount:
			path = e.Target
		case Dir:
			path = e.Path
		}
		if _, dup := seen[path]; dup {
			t.Errorf("%s appears twice", path)
		}
		seen[path] = i
	}
	for _, pair := range [][2]string{{"/dev", "/dev/shm"}, {"/sys", "/sys/fs/cgroup"}, {"/sys", "/sys/kernel/security"}, {"/run", RunDir}} {
		if seen[pair[0]] > seen[pair[1]] {
			t.Errorf("%s is made after %s and would hide it", pair[0], pair[1])
		}
	}
}

func TestLinuxMkdirMakesParents(t *testing.T) {
	dir := t.TempDir() + "/a/b"
	if err := Apply(Linux{}, []Entry{Dir{Path: dir, Mode: 0o755}, Dir{Path: dir, Mode: 0o755}}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		t.Errorf("%v %v", st, err)
	}
}

func TestLinuxMountReportsTheKernelsError(t *testing.T) {
	err := Linux{}.Mount(Mount{Source: "none", Target: t.TempDir(), FSType: "nosuchfs"})
	if err == nil {
		t.Fatal("mounted a file system that does not exist")
	}
}
