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
	free, err := take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(dir); !errors.Is(err, ErrRunning) {
		t.Errorf("taken twice: %v", err)
	}
	s, err := Find(dir)
	if err != nil || s.PID != os.Getpid() || s.About.Dir != dir {
		t.Errorf("%+v, %v", s, err)
	}
	if err := os.Remove(filepath.Join(dir, StateName)); err != nil {
		t.Fatal(err)
	}
	find(ErrNotRunning) // it is starting
	if err := free(); err != nil {
		t.Fatal(err)
	}
	find(ErrNotRunning)
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
			free, err := take(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer free() //nolint:errcheck // the test is over
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
	free, err := take(dir)
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
	if err := free(); err != nil {
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
