package supervise

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTasksAreRestartedWithinTheirBudget(t *testing.T) {
	policy := Restart{Max: 2, Window: time.Hour, Backoff: time.Second}
	tests := map[string]struct {
		run   func(call int) error
		calls int
		log   string
	}{
		"ends":            {func(int) error { return nil }, 1, ""},
		"fails once":      {func(call int) error { return map[int]error{1: errors.New("no link")}[call] }, 2, "no link"},
		"fails for ever":  {func(int) error { return errors.New("no link") }, 3, `level=ERROR msg="Task failed" task=probe`},
		"panics for ever": {func(call int) error { return []error{}[call] }, 3, "task panicked: runtime error: index out of range"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				tasks := NewTasks(slog.New(slog.NewTextHandler(&out, nil)), time.Now)
				calls := 0
				tasks.Start("probe", policy, func(context.Context) error {
					calls++
					return tc.run(calls)
				})
				<-time.After(time.Minute)
				synctest.Wait()
				if err := tasks.Stop(context.Background()); err != nil || calls != tc.calls || !strings.Contains(out.String(), tc.log) {
					t.Errorf("%d calls, want %d, %v:\n%s", calls, tc.calls, err, out.String())
				}
			})
		})
	}
}

func TestStopEndsTasksInAnyState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks := NewTasks(slog.New(slog.DiscardHandler), time.Now)
		policy := Restart{Max: 9, Window: time.Hour, Backoff: time.Minute}
		tasks.Start("working", policy, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		tasks.Start("between two runs", policy, func(context.Context) error { return errors.New("later") })
		synctest.Wait()
		start := time.Now()
		if err := errors.Join(tasks.Stop(context.Background()), tasks.Stop(context.Background())); err != nil || time.Since(start) != 0 {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestStopDoesNotWaitForEverForAStuckTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tasks := NewTasks(slog.New(slog.DiscardHandler), time.Now)
		release := make(chan struct{})
		tasks.Start("stuck", Restart{}, func(context.Context) error {
			<-release
			return nil
		})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := tasks.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		close(release)
		synctest.Wait()
	})
}
