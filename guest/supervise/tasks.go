package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Tasks keeps goroutines of PID 1 running as Supervisor keeps processes: one that fails or panics is started again
// within its budget, one that returns nil has ended. A task that is beyond saving is reported and ends nothing else.
type Tasks struct {
	log *slog.Logger
	now func() time.Time
	wg  sync.WaitGroup

	ctx    context.Context //nolint:containedctx // ends with Stop
	cancel context.CancelFunc
}

// NewTasks makes a group without tasks. Stop must be called.
func NewTasks(log *slog.Logger, now func() time.Time) *Tasks {
	t := &Tasks{log: log, now: now}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Start runs a task until it returns nil, its budget is spent, or Stop is called. run must return when its context
// ends, and must bear being called again after an error.
func (t *Tasks) Start(name string, restart Restart, run func(ctx context.Context) error) {
	t.wg.Go(func() {
		b := budget{policy: restart}
		for {
			err := t.once(name, run)
			if err == nil || t.ctx.Err() != nil {
				return
			}
			pause, ok := b.next(t.now())
			if !ok {
				t.log.Error("Task failed", slog.String("task", name), slog.Any("err", err))
				return
			}
			t.log.Warn("Restarting task", slog.String("task", name), slog.Duration("dur", pause), slog.Any("err", err))
			timer := time.NewTimer(pause)
			select {
			case <-t.ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	})
}

// errPanicked marks a task that ended with a panic.
var errPanicked = errors.New("task panicked")

func (t *Tasks) once(name string, run func(ctx context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			t.log.Error("Task panicked", slog.String("task", name), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("%w: %v", errPanicked, p)
		}
	}()
	return run(t.ctx)
}

// Stop ends the tasks and waits for them until ctx ends. It is idempotent.
func (t *Tasks) Stop(ctx context.Context) error {
	t.cancel()
	done := make(chan struct{})
	go func() {
		t.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping tasks: %w", ctx.Err())
	}
}
