package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// rig is a driver over a cache in a temporary folder, with a record of its events.
type rig struct {
	*driver
	mu     sync.Mutex
	events []Event
}

func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	c, err := openCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{driver: &driver{cache: c, workers: 2, now: time.Now}}
	r.report = func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}
	return r
}

func (r *rig) cachedSteps() []string {
	var out []string
	for _, e := range r.events {
		if e.Kind == StepDone && e.Cached {
			out = append(out, e.Step)
		}
	}
	slices.Sort(out)
	return out
}

// writes is a step that leaves one file and counts its runs.
func writes(name, content string, runs *atomic.Int32, needs ...string) step {
	return step{
		Name: name, Kind: name, Version: 1, Needs: needs, Outputs: []string{"file"},
		Inputs: []Input{{Kind: "test", Name: name, SHA256: content}},
		Run: func(_ context.Context, w *work) error {
			runs.Add(1)
			var all strings.Builder
			for _, n := range needs {
				p, err := w.needPath(n, "file")
				if err != nil {
					return err
				}
				data, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				all.Write(data)
			}
			w.Facts = map[string]int{"needs": len(needs)}
			return os.WriteFile(w.out("file"), []byte(all.String()+content), 0o644)
		},
	}
}

func TestSecondRunUsesEveryCachedStep(t *testing.T) {
	dir := t.TempDir()
	var runs atomic.Int32
	table := []step{writes("a", "1", &runs), writes("b", "2", &runs), writes("c", "3", &runs, "a", "b")}
	for range 2 {
		r := newRig(t, dir)
		results, err := r.run(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		p, err := results["c"].Path("file")
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(p); err != nil || string(data) != "123" {
			t.Fatalf("output %q, %v, want 123", data, err)
		}
	}
	if runs.Load() != 3 {
		t.Errorf("%d runs, want 3: the second run must be cached", runs.Load())
	}
}

func TestAChangeRebuildsExactlyWhatDependsOnIt(t *testing.T) {
	for name, tc := range map[string]struct {
		change func([]step)
		cached []string
	}{
		"nothing":      {func([]step) {}, []string{"a", "b", "c"}},
		"input of a":   {func(s []step) { s[0].Inputs[0].SHA256 = "x" }, []string{"b", "c"}}, // same bytes come out
		"version of b": {func(s []step) { s[1].Version++ }, []string{"a", "c"}},
		"params of c":  {func(s []step) { s[2].Params = []string{"p"} }, []string{"a", "b"}},
		"bytes of a":   {func(s []step) { s[0] = writes("a", "9", new(atomic.Int32)) }, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			table := func() []step {
				n := new(atomic.Int32)
				return []step{writes("a", "1", n), writes("b", "2", n), writes("c", "3", n, "a", "b")}
			}
			if _, err := newRig(t, dir).run(t.Context(), table()); err != nil {
				t.Fatal(err)
			}
			steps := table()
			tc.change(steps)
			r := newRig(t, dir)
			if _, err := r.run(t.Context(), steps); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.cached, r.cachedSteps()); diff != "" {
				t.Errorf("cached steps differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestADamagedCacheEntryIsRebuilt(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"output changed": func(d string) error { return os.WriteFile(filepath.Join(d, "file"), []byte("x"), 0o644) },
		"output missing": func(d string) error { return os.Remove(filepath.Join(d, "file")) },
		"record cut":     func(d string) error { return os.Truncate(filepath.Join(d, recordName), 20) },
		"record missing": func(d string) error { return os.Remove(filepath.Join(d, recordName)) },
		"record of other": func(d string) error {
			return os.WriteFile(filepath.Join(d, recordName), []byte(`{"step":"a","key":"00","inputs":[],"outputs":[]}`), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var runs atomic.Int32
			results, err := newRig(t, dir).run(t.Context(), []step{writes("a", "1", &runs)})
			if err != nil {
				t.Fatal(err)
			}
			folder := results["a"].dir
			if err := os.Chmod(filepath.Join(folder, "file"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := damage(folder); err != nil {
				t.Fatal(err)
			}
			results, err = newRig(t, dir).run(t.Context(), []step{writes("a", "1", &runs)})
			if err != nil {
				t.Fatal(err)
			}
			p, _ := results["a"].Path("file")
			if data, err := os.ReadFile(p); err != nil || string(data) != "1" || runs.Load() != 2 {
				t.Errorf("content %q, %v after %d runs, want the rebuilt output", data, err, runs.Load())
			}
		})
	}
}

func TestAFailedStepLeavesNothingAndNamesItself(t *testing.T) {
	dir := t.TempDir()
	boom := errors.New("no space left")
	bad := writes("a", "1", new(atomic.Int32))
	bad.Run = func(_ context.Context, w *work) error {
		return errors.Join(os.WriteFile(w.out("file"), []byte("half"), 0o644), boom)
	}
	r := newRig(t, dir)
	_, err := r.run(t.Context(), []step{bad, writes("b", "2", new(atomic.Int32), "a")})
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), `step "a"`) {
		t.Fatalf("got %v, want the step's own error with its name", err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "steps"))
	if err != nil || len(entries) != 0 {
		t.Errorf("the cache holds %v, %v after a failed step", entries, err)
	}
}

func TestCancellingStopsRunningStepsAndResumes(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var runs atomic.Int32
	first := writes("a", "1", &runs)
	slow := writes("b", "2", &runs, "a")
	whole := slow.Run
	slow.Run = func(ctx context.Context, _ *work) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	if _, err := newRig(t, dir).run(ctx, []step{first, slow}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want a cancelled context", err)
	}
	slow.Run = whole
	r := newRig(t, dir)
	if _, err := r.run(t.Context(), []step{first, slow}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a"}, r.cachedSteps()); diff != "" {
		t.Errorf("the resumed build's cached steps differ (-want +got):\n%s", diff)
	}
}

func TestADeadlineEndsAStep(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := &cache{filepath.Join(dir, "steps")}
		if err := os.MkdirAll(c.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		s := writes("a", "1", new(atomic.Int32))
		s.Deadline = time.Minute
		s.Run = func(ctx context.Context, _ *work) error { <-ctx.Done(); return ctx.Err() }
		d := &driver{cache: c, workers: 1, now: time.Now, report: func(Event) {}}
		start := time.Now()
		if _, err := d.run(t.Context(), []step{s}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an expired deadline", err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("ended after %v, want the step's own minute", d)
		}
	})
}

func TestIndependentStepsRunAtMostWorkersAtATime(t *testing.T) {
	r := newRig(t, t.TempDir())
	r.workers = 2
	var now, most atomic.Int32
	together := make(chan struct{})
	var once sync.Once
	var table []step
	for _, name := range []string{"a", "b", "c", "d"} {
		s := writes(name, name, new(atomic.Int32))
		inner := s.Run
		s.Run = func(ctx context.Context, w *work) error {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			if n == 2 {
				once.Do(func() { close(together) })
			}
			select {
			case <-together: // two were seen running at once
			case <-ctx.Done():
				return ctx.Err()
			}
			return inner(ctx, w)
		}
		table = append(table, s)
	}
	if _, err := r.run(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	if most.Load() != 2 {
		t.Errorf("%d steps ran at once, want 2", most.Load())
	}
}

func TestNoCacheRunsAgainAndNoticesOtherBytes(t *testing.T) {
	for name, tc := range map[string]struct {
		bytes string
		notes int
	}{"same": {"1", 0}, "other": {"2", 1}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := newRig(t, dir).run(t.Context(), []step{writes("a", "1", new(atomic.Int32))}); err != nil {
				t.Fatal(err)
			}
			r := newRig(t, dir)
			r.noCache = true
			var runs atomic.Int32
			s := writes("a", tc.bytes, &runs)
			s.Inputs[0].SHA256 = "1"
			if _, err := r.run(t.Context(), []step{s}); err != nil {
				t.Fatal(err)
			}
			notes := 0
			for _, e := range r.events {
				if e.Kind == StepNote {
					notes++
				}
			}
			if runs.Load() != 1 || notes != tc.notes {
				t.Errorf("%d runs and %d notes, want 1 and %d", runs.Load(), notes, tc.notes)
			}
		})
	}
}

func TestOpenCacheRemovesAbandonedFoldersOnly(t *testing.T) {
	dir := t.TempDir()
	c, err := openCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	alive, err := c.draft(strings.Repeat("a", 64))
	if err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(c.dir, unfinished+"dead-1")
	if err := os.MkdirAll(filepath.Join(dead, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := openCache(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(alive.dir); err != nil {
		t.Errorf("the folder of a running build went away: %v", err)
	}
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a killed build's folder is still there: %v", err)
	}
	if err := alive.discard(); err != nil {
		t.Error(err)
	}
}

func TestCheckTableNamesTheBadRow(t *testing.T) {
	n := new(atomic.Int32)
	for name, tc := range map[string]struct {
		table []step
		want  string
	}{
		"twice":   {[]step{writes("a", "", n), writes("a", "", n)}, `step "a" is in the table twice`},
		"missing": {[]step{writes("a", "", n, "b")}, `step "a" needs "b"`},
		"later":   {[]step{writes("a", "", n, "b"), writes("b", "", n)}, `step "a" needs "b"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newRig(t, t.TempDir()).run(t.Context(), tc.table)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAStepReadsOnlyWhatItsRowLists(t *testing.T) {
	s := writes("b", "", new(atomic.Int32))
	s.Run = func(_ context.Context, w *work) error { _, err := w.needPath("a", "file"); return err }
	_, err := newRig(t, t.TempDir()).run(t.Context(), []step{writes("a", "", new(atomic.Int32)), s})
	if err == nil || !strings.Contains(err.Error(), "does not list it") {
		t.Errorf("got %v, want a refusal: an unlisted need is not in the key", err)
	}
}

func TestPlaceKeepsBytesAndHoles(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	f, err := os.Create(src)
	if err != nil {
		t.Fatal(err)
	}
	const size = 8<<20 + 3
	_, err = f.WriteAt([]byte("data"), 4<<20)
	if err := errors.Join(err, f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func(src, dst string) error{"place": place, "copy": sparseCopy} {
		dst := filepath.Join(dir, name)
		if err := put(src, dst); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(dst)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: the bytes differ (%v)", name, err)
		}
		var st unix.Stat_t
		if err := unix.Stat(dst, &st); err != nil || st.Blocks*512 > 1<<20 {
			t.Errorf("%s: uses %d bytes on disk (%v), want the holes kept", name, st.Blocks*512, err)
		}
		if err := put(src, dst); err == nil {
			t.Errorf("%s: overwrote an existing file", name)
		}
	}
}
