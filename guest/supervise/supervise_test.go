package supervise

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSupervisor(t *testing.T, fatal func(string, error)) *Supervisor {
	t.Helper()
	s := New(Config{
		Logger:    slog.New(slog.DiscardHandler),
		Processes: Plain{},
		Fatal:     fatal,
		Now:       time.Now,
	})
	t.Cleanup(s.Stop)
	return s
}

func shell(script string) func(context.Context) (*exec.Cmd, error) {
	return func(context.Context) (*exec.Cmd, error) { return exec.Command("/bin/sh", "-c", script), nil }
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// TestReadyBeforeReturn: Start returns only once the probe succeeds.
func TestReadyBeforeReturn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready")
	s := newSupervisor(t, nil)
	err := s.Start(t.Context(), Service{
		Name:    "a",
		Command: shell("sleep 0.1; : >" + file + "; exec sleep 60"),
		Ready:   func(context.Context) error { _, err := os.Stat(file); return err },
	})
	if err != nil {
		t.Fatal(err)
	}
	if st := s.Status()[0]; st.State != StateReady || st.PID == 0 {
		t.Fatalf("status %+v", st)
	}
}

// TestStartFailures: each way of not getting ready is an error that says which.
func TestStartFailures(t *testing.T) {
	never := func(context.Context) error { return errors.New("no socket") }
	for name, tc := range map[string]struct {
		svc  Service
		want string
	}{
		"exits first":    {Service{Name: "a", Command: shell("exit 7"), Ready: never}, "exit status 7"},
		"never ready":    {Service{Name: "a", Command: shell("exec sleep 60"), Ready: never, ReadyTimeout: 200 * time.Millisecond}, "no socket"},
		"cannot execute": {Service{Name: "a", Command: func(context.Context) (*exec.Cmd, error) { return exec.Command("/no/such/program"), nil }}, "/no/such/program"},
		"no command":     {Service{Name: "a"}, "command: missing"},
		"bad name":       {Service{Name: "A b", Command: shell("")}, "name:"},
		"no window":      {Service{Name: "a", Command: shell(""), Restart: Restart{Max: 1}}, "restart.window"},
		"bad score":      {Service{Name: "a", Command: shell(""), Limits: Limits{OOMScoreAdj: 2000}}, "oom_score_adj"},
	} {
		t.Run(name, func(t *testing.T) {
			err := newSupervisor(t, nil).Start(t.Context(), tc.svc)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Start = %v, want %q", err, tc.want)
			}
		})
	}
}

// TestProgressExtendsThePatience: a start that gets on is waited for beyond its limit, and is killed once it stops.
func TestProgressExtendsThePatience(t *testing.T) {
	const limit = 300 * time.Millisecond
	began := time.Now()
	steps := uint64(0)
	until := func(last uint64) func() uint64 {
		return func() uint64 {
			if steps++; steps > last {
				return last
			}
			return steps
		}
	}
	err := newSupervisor(t, nil).Start(t.Context(), Service{
		Name: "a", Command: shell("exec sleep 60"), ReadyTimeout: limit, Progress: until(20),
		Ready: func(context.Context) error { return errors.New("loading") },
	})
	if err == nil || !strings.Contains(err.Error(), "no progress in 300ms: loading") || time.Since(began) < 20*probeInterval {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	steps = 0
	ready := func(context.Context) error {
		if steps < 15 { // 750 ms
			return errors.New("loading")
		}
		return nil
	}
	if err := newSupervisor(t, nil).Start(t.Context(), Service{
		Name: "a", Command: shell("exec sleep 60"), ReadyTimeout: limit, Progress: until(100), Ready: ready,
	}); err != nil {
		t.Error(err)
	}
}

// TestAMachineThatStoodStillIsNoLateProcess: the limit and a probe are due at the same moment, and the process is ready, or got
// on, meanwhile.
func TestAMachineThatStoodStillIsNoLateProcess(t *testing.T) {
	const limit = time.Second
	for name, gotOn := range map[string]bool{"is ready": false, "got on": true} {
		t.Run(name, func(t *testing.T) {
			for range 20 { // of two things that are due, either may be seen first
				synctest.Test(t, func(t *testing.T) {
					looks := 0
					r := &running{ctx: t.Context(), Service: Service{ReadyTimeout: limit, Ready: func(context.Context) error {
						if looks++; looks > 1 && !gotOn || looks > 2 {
							return nil
						}
						<-time.After(2 * limit) // nothing runs
						return errors.New("loading")
					}}}
					if gotOn {
						r.Progress = func() uint64 { return uint64(looks) }
					}
					if err := new(Supervisor).awaitReady(t.Context(), r, new(process)); err != nil {
						t.Errorf("look %d: %v", looks, err)
					}
				})
			}
		})
	}
}

// TestBackoffIsCapped: 1, 2, 4 and so on up to the cap, for as long as the budget lasts.
func TestBackoffIsCapped(t *testing.T) {
	b := budget{policy: Restart{Max: 8, Window: time.Hour, Backoff: time.Second, MaxBackoff: 30 * time.Second}}
	now := time.Unix(0, 0)
	for i, seconds := range []int64{1, 2, 4, 8, 16, 30, 30, 30} {
		if got, ok := b.next(now); !ok || int64(got/time.Second) != seconds {
			t.Errorf("restart %d after %s, %v; want %d s", i+1, got, ok, seconds)
		}
	}
	if _, ok := b.next(now); ok {
		t.Error("a restart beyond the budget")
	}
	if got, ok := b.next(now.Add(time.Hour)); !ok || got != time.Second {
		t.Errorf("after the window: %s, %v", got, ok)
	}
}

// TestRestartThenFatal: a required service that keeps dying uses its budget exactly, then is reported once.
func TestRestartThenFatal(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	var mu sync.Mutex
	var fatal []error
	s := newSupervisor(t, func(_ string, err error) { mu.Lock(); defer mu.Unlock(); fatal = append(fatal, err) })
	err := s.Start(t.Context(), Service{
		Name: "a", Required: true, Command: shell("echo x >>" + count + "; exit 3"),
		Restart: Restart{Max: 2, Window: time.Minute, Backoff: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the verdict", func() bool { mu.Lock(); defer mu.Unlock(); return len(fatal) == 1 })
	starts, err := os.ReadFile(count)
	if err != nil || strings.Count(string(starts), "x") != 3 {
		t.Fatalf("started %q times, want 3 (%v)", starts, err)
	}
	if !errors.Is(fatal[0], ErrExited) || !strings.Contains(fatal[0].Error(), "exit status 3") {
		t.Fatalf("verdict %v", fatal[0])
	}
	if st := s.Status()[0]; st.State != StateFailed || st.Restarts != 2 {
		t.Fatalf("status %+v", st)
	}
}

// TestOptionalServiceIsNotFatal: what is not required may die without a verdict.
func TestOptionalServiceIsNotFatal(t *testing.T) {
	called := make(chan struct{}, 1)
	s := newSupervisor(t, func(string, error) { called <- struct{}{} })
	if err := s.Start(t.Context(), Service{Name: "a", Command: shell("exit 0")}); err != nil {
		t.Fatal(err)
	}
	await(t, "failed state", func() bool { return s.Status()[0].State == StateFailed })
	s.Stop()
	if len(called) != 0 {
		t.Fatal("an optional service was reported as fatal")
	}
}

// TestStopOrderAndKill: SIGTERM first, SIGKILL after the timeout, nothing left behind.
func TestStopOrderAndKill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "term")
	ready := filepath.Join(t.TempDir(), "ready")
	s := newSupervisor(t, func(string, error) { t.Error("stopping is not a failure") })
	polite := Service{
		Name: "polite", Required: true,
		Command: shell("trap ': >" + file + "; exit 0' TERM; : >" + ready + "; while :; do sleep 0.01; done"),
		Ready:   func(context.Context) error { _, err := os.Stat(ready); return err },
	}
	stubborn := Service{
		Name: "stubborn", Required: true, StopTimeout: 100 * time.Millisecond,
		Command: shell("trap '' TERM; while :; do sleep 0.01; done"),
	}
	for _, svc := range []Service{polite, stubborn} {
		if err := s.Start(t.Context(), svc); err != nil {
			t.Fatal(err)
		}
	}
	s.Stop()
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the polite service did not see SIGTERM: %v", err)
	}
	for _, st := range s.Status() {
		if st.State != StateStopped || st.PID != 0 {
			t.Errorf("status %+v", st)
		}
	}
	if err := s.Start(t.Context(), Service{Name: "late", Command: shell("")}); err == nil {
		t.Error("a service was started after Stop")
	}
}

// TestReverseOrder: what was started last is stopped first.
func TestReverseOrder(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	s := newSupervisor(t, nil)
	for _, name := range []string{"first", "second", "third"} {
		ready := filepath.Join(dir, name)
		err := s.Start(t.Context(), Service{
			Name:    name,
			Command: shell("trap 'sleep 0.05; echo " + name + " >>" + log + "; exit 0' TERM; : >" + ready + "; while :; do sleep 0.01; done"),
			Ready:   func(context.Context) error { _, err := os.Stat(ready); return err },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Stop()
	got, err := os.ReadFile(log)
	if err != nil || string(got) != "third\nsecond\nfirst\n" {
		t.Fatalf("stopped in order %q (%v)", got, err)
	}
}

// TestDuplicateName: one service per name.
func TestDuplicateName(t *testing.T) {
	s := newSupervisor(t, nil)
	svc := Service{Name: "a", Command: shell("exec sleep 60")}
	if err := s.Start(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), svc); err == nil || !strings.Contains(err.Error(), "already started") {
		t.Fatalf("second start = %v", err)
	}
}

// TestBudget: the window slides and the pause doubles up to the window.
func TestBudget(t *testing.T) {
	b := budget{policy: Restart{Max: 3, Window: 10 * time.Second, Backoff: 3 * time.Second}}
	at := time.Unix(1000, 0)
	for i, want := range []time.Duration{3 * time.Second, 6 * time.Second, 10 * time.Second} {
		if got, ok := b.next(at); !ok || got != want {
			t.Fatalf("restart %d: %s, %v, want %s", i, got, ok, want)
		}
	}
	if _, ok := b.next(at.Add(9 * time.Second)); ok {
		t.Fatal("a fourth restart within the window was allowed")
	}
	if got, ok := b.next(at.Add(10 * time.Second)); !ok || got != 3*time.Second {
		t.Fatalf("after the window: %s, %v", got, ok)
	}
}

// TestCgroupFiles: limits are written where cgroup2 reads them, and killing goes through cgroup.kill.
func TestCgroupFiles(t *testing.T) {
	c := &Cgroups{Root: t.TempDir()}
	if err := c.Prepare(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/true")
	release, err := c.join(cmd, "engine", Limits{MemoryBytes: 1 << 30, Pids: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	c.kill("engine")
	for file, want := range map[string]string{"memory.max": "1073741824", "pids.max": "512", "cgroup.kill": "1"} {
		got, err := os.ReadFile(filepath.Join(c.Root, "engine", file))
		if err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", file, got, err, want)
		}
	}
	if !cmd.SysProcAttr.UseCgroupFD {
		t.Error("the process would start outside its cgroup")
	}
}
