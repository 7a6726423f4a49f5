package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"cocoon/measure/bootfiles"
)

// deadlineGrace is how long a stage may take to return its own error after its context ended; a stage stuck in the
// kernel never does.
const deadlineGrace = time.Second

// Run runs the stages in order until one fails. The error is a *StageError.
func Run(ctx context.Context, stages []Stage, st *State) error {
	for _, s := range stages {
		start := st.deps.Now()
		err := runStage(ctx, s, st)
		status, err := st.judge(s, err)
		status.DurationMS = st.deps.Now().Sub(start).Milliseconds()
		st.record(status)
		if err != nil {
			return &StageError{Stage: s.Name, Err: err}
		}
	}
	return nil
}

// runStage runs one stage in a goroutine, so that one stuck in a system call cannot hold the boot, and turns a panic
// into an error.
func runStage(ctx context.Context, s Stage, st *State) error {
	ctx, cancel := context.WithTimeout(ctx, s.Deadline)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				st.Log.Error("Stage panicked", slog.String("stage", s.Name), slog.String("stack", string(debug.Stack())))
				done <- fmt.Errorf("panic: %v", p)
			}
		}()
		done <- s.Run(ctx, st)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(deadlineGrace)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return fmt.Errorf("%w of %s: %w", ErrDeadline, s.Deadline, context.Cause(ctx))
	}
}

// judge turns a stage's error into its status and into the error that ends the boot, if any.
func (st *State) judge(s Stage, err error) (Status, error) {
	status := Status{Schema: StageSchema, Stage: s.Name, Status: OK, Detail: st.takeDetail()}
	var skip *SkipError
	var missing *NotInBuildError
	switch {
	case err == nil:
		return status, nil
	case errors.As(err, &skip):
		status.Status, status.Reason = Skipped, skip.Reason
		return status, nil
	case errors.As(err, &missing) && s.Policy == Later && st.Image.Variant == bootfiles.Test:
		status.Status, status.Reason = Skipped, missing.Error()
		return status, nil
	default:
		status.Status, status.Error = Failed, err.Error()
		return status, err
	}
}
