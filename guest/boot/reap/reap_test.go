package reap

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	// Orphans of this test's grandchildren become its own children, as they become PID 1's in the guest.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	goleak.VerifyTestMain(m)
}

// run starts a Reaper's loop and stops it with the test.
func run(t *testing.T) *Reaper {
	t.Helper()
	r := New()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// gone waits until the pid is no longer in the process table, as a zombie or otherwise.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
		select {
		case <-ctx.Done():
			t.Fatalf("process %d is still in the table", pid)
		case <-tick.C:
		}
	}
}

func TestExitStatusesBelongToTheirWaiters(t *testing.T) {
	r := run(t)
	for want := range 20 {
		cmd := exec.Command("sh", "-c", "exit "+strconv.Itoa(want))
		if err := r.Start(cmd); err != nil {
			t.Fatal(err)
		}
		err := r.Wait(cmd)
		var exit *exec.ExitError
		switch {
		case want == 0 && err != nil:
			t.Errorf("exit 0: %v", err)
		case want != 0 && (!errors.As(err, &exit) || exit.ExitCode() != want):
			t.Errorf("exit %d: %v", want, err)
		}
	}
}

func TestOrphansAreCollected(t *testing.T) {
	r := run(t)
	var out strings.Builder
	cmd := exec.Command("sh", "-c", "sleep 0.05 >/dev/null & echo $!")
	cmd.Stdout = &out
	if err := r.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(cmd); err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}

func TestADeadOwnedProcessHidesOrphansOnlyUntilItIsCollected(t *testing.T) {
	r := run(t)
	owned := exec.Command("true")
	if err := r.Start(owned); err != nil {
		t.Fatal(err)
	}
	orphan := exec.Command("true") // started behind the Reaper's back: nobody waits for it
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(owned); err != nil {
		t.Errorf("owned process: %v", err)
	}
	gone(t, orphan.Process.Pid)
}

func TestSweepReportsWhatItCollected(t *testing.T) {
	r := New()
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for total := 0; total == 0; {
		n, err := r.Sweep()
		if err != nil || ctx.Err() != nil {
			t.Fatalf("%v, %v", err, ctx.Err())
		}
		total += n
	}
	if n, err := r.Sweep(); n != 0 || err != nil {
		t.Errorf("nothing left, but Sweep = %d, %v", n, err)
	}
}

func TestAFailedStartOwnsNothing(t *testing.T) {
	r := New()
	if err := r.Start(exec.Command("/nonexistent/program")); err == nil {
		t.Fatal("started")
	}
	if len(r.owned) != 0 {
		t.Errorf("owns %v", r.owned)
	}
}

func TestDrainReturnsWhenNoChildIsLeft(t *testing.T) {
	r := New()
	owned, orphan := exec.Command("sleep", "0.05"), exec.Command("true")
	if err := errors.Join(r.Start(owned), orphan.Start()); err != nil {
		t.Fatal(err)
	}
	if err := Drain(); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{owned, orphan} {
		gone(t, cmd.Process.Pid)
	}
	if err := Drain(); err != nil {
		t.Errorf("without children: %v", err)
	}
}
