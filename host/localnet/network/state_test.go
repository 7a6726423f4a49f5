package network

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestANetworkIsFoundByItsLock: a description alone, as a killed process leaves it, is no network.
func TestANetworkIsFoundByItsLock(t *testing.T) {
	dir := t.TempDir()
	find := func(want error) {
		t.Helper()
		if _, err := Find(dir); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	find(ErrNotRunning)
	n := &Network{cfg: valid(t)}
	n.cfg.Dir = dir
	n.about = Describe(&n.cfg)
	if err := n.publish(); err != nil {
		t.Fatal(err)
	}
	find(ErrNotRunning)
	lock, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Take(dir); !errors.Is(err, ErrRunning) {
		t.Errorf("taken twice: %v", err)
	}
	find(ErrNotRunning) // what was left is not the description of this one
	if err := n.publish(); err != nil {
		t.Fatal(err)
	}
	s, err := Find(dir)
	if err != nil || s.PID != os.Getpid() || s.About.Dir != dir {
		t.Errorf("%+v, %v", s, err)
	}
	if err := os.Remove(filepath.Join(dir, StateName)); err != nil {
		t.Fatal(err)
	}
	find(ErrNotRunning) // it is starting
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	find(ErrNotRunning)
}

// TestSocketsOfAKilledNetworkAreCleared by the next one of the folder; nothing else is.
func TestSocketsOfAKilledNetworkAreCleared(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	left, err := makeSockets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "proxy.td"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there still: %v", left, err)
	}
	if _, err := makeSockets(dir); err != nil {
		t.Error(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	others := t.TempDir()
	link := filepath.Join(dir, socketsName)
	if err := errors.Join(os.Remove(link), os.Symlink(others, link)); err != nil {
		t.Fatal(err)
	}
	if lock, err = Take(dir); err != nil {
		t.Fatal(err)
	}
	defer lock.Close() //nolint:errcheck // the test is over
	if _, err := os.Stat(others); err != nil {
		t.Errorf("a folder that is no network's is gone: %v", err)
	}
}

// TestSocketsWhosePathsAreTooLongAreRefused by the name of the folder, and nothing is left of them.
func TestSocketsWhosePathsAreTooLongAreRefused(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", maxSocketPath))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	if _, err := makeSockets(t.TempDir()); err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(long); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	t.Setenv("TMPDIR", filepath.Join(long, "none"))
	if _, err := makeSockets(t.TempDir()); err == nil || !strings.Contains(err.Error(), "folder for sockets") {
		t.Errorf("%v", err)
	}
}

// TestDescriptionsOfNoNetworkAreRefused: nobody is sent a signal because of one.
func TestDescriptionsOfNoNetworkAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"no JSON":      {"{", "unexpected EOF"},
		"no process":   {"{}", "pid 0"},
		"every child":  {`{"pid": -1}`, "pid -1"},
		"the first":    {`{"pid": 1}`, "pid 1"},
		"without end":  {strings.Repeat(" ", maxState+1), "at most"},
		"text for pid": {`{"pid": "x"}`, "pid"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			lock, err := Take(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close() //nolint:errcheck // the test is over
			if err := os.WriteFile(filepath.Join(dir, StateName), []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := End(t.Context(), dir); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestEndWaitsForTheLock: the process is told, and the call returns when it is gone, or when the caller's time is.
func TestEndWaitsForTheLock(t *testing.T) {
	dir := t.TempDir()
	lock, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(dir, StateName), State{PID: child.Process.Pid}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := End(short, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("the process ended with %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := End(t.Context(), dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}

// TestRolesOfANetwork have names of their own, and owners that differ.
func TestRolesOfANetwork(t *testing.T) {
	roles := newRoles(&Config{Proxies: 2, Workers: 3}, "/run/x")
	if err := freePorts(t.Context(), roles); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	ports := make(map[int]bool)
	for _, r := range roles {
		for _, unique := range []string{r.name, r.owner} {
			if seen[unique] {
				t.Errorf("%s twice", unique)
			}
			seen[unique] = true
		}
		for _, p := range []int{r.pages, r.clients, r.workers, r.innerClients, r.innerWorkers} {
			if p != 0 && ports[p] {
				t.Errorf("port %d twice", p)
			}
			ports[p] = true
		}
		if d := r.describe("dir"); (d.Clients == "") != (r.kind == workerKind) || d.Log != "dir/"+r.name+".log" {
			t.Errorf("%+v", d)
		}
	}
	if len(roles) != 5 || !seen["proxy"] || !seen["proxy-2"] || !seen["worker-3"] {
		t.Errorf("%v", seen)
	}
}
