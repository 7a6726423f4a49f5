package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// ErrExited marks a service that ended although nobody asked it to.
var ErrExited = errors.New("service exited")

// Processes starts and reaps processes. PID 1 passes an implementation that shares reaping with its orphan
// collector; Plain is for everybody else.
type Processes interface {
	Start(cmd *exec.Cmd) error
	Wait(cmd *exec.Cmd) error
}

// Plain starts and waits through os/exec alone.
type Plain struct{}

// Start is cmd.Start.
func (Plain) Start(cmd *exec.Cmd) error { return cmd.Start() }

// Wait is cmd.Wait.
func (Plain) Wait(cmd *exec.Cmd) error { return cmd.Wait() }

// Config is what a Supervisor needs from its caller.
type Config struct {
	Logger    *slog.Logger
	Processes Processes
	// Cgroups makes a group for a service; nil means no cgroups (tests, hosts without cgroup2).
	Cgroups *Cgroups
	// Fatal is called once per required service that is beyond saving, from a goroutine of the Supervisor.
	Fatal func(service string, err error)
	Now   func() time.Time
}

// Supervisor keeps services running.
type Supervisor struct {
	cfg Config
	wg  sync.WaitGroup

	mu       sync.Mutex
	stopping bool
	services []*running
}

type running struct {
	Service
	budget budget
	ctx    context.Context //nolint:containedctx // ends when Stop reaches this service
	cancel context.CancelFunc
	done   chan struct{} // closed when the keeper goroutine has ended

	mu     sync.Mutex
	status Status
}

// New returns a Supervisor with no services.
func New(cfg Config) *Supervisor { return &Supervisor{cfg: cfg} }

// Start starts a service and returns when it is ready. A service that is not ready in time, or that exits first, is
// killed and its error returned; the restart budget applies only after the first success.
func (s *Supervisor) Start(ctx context.Context, svc Service) error {
	if err := svc.Validate(); err != nil {
		return err
	}
	r := &running{Service: svc.withDefaults(), done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background()) // outlives the call that starts the service
	r.budget.policy = svc.Restart
	r.status = Status{Name: svc.Name, State: StateStarting, Required: svc.Required}
	if err := s.register(r); err != nil {
		return err
	}
	p, err := s.launch(ctx, r)
	if err != nil {
		r.cancel()
		r.set(StateFailed, err)
		close(r.done)
		return fmt.Errorf("starting service %s: %w", svc.Name, err)
	}
	s.wg.Go(func() {
		defer close(r.done)
		s.keep(r, p)
	})
	return nil
}

func (s *Supervisor) register(r *running) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return fmt.Errorf("starting service %s: the supervisor is stopping", r.Name)
	}
	if slices.ContainsFunc(s.services, func(o *running) bool { return o.Name == r.Name }) {
		return fmt.Errorf("starting service %s: already started", r.Name)
	}
	s.services = append(s.services, r)
	return nil
}

// process is one start of a service.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // valid after exited is closed
}

// launch starts the process and waits until it is ready.
func (s *Supervisor) launch(ctx context.Context, r *running) (*process, error) {
	cmd, err := r.Command(ctx)
	if err != nil {
		return nil, fmt.Errorf("building command: %w", err)
	}
	release, err := s.cfg.Cgroups.join(cmd, r.Name, r.Limits)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Processes.Start(cmd)
	release()
	if err != nil {
		return nil, fmt.Errorf("executing %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	s.wg.Go(func() {
		p.err = s.cfg.Processes.Wait(cmd)
		close(p.exited)
	})
	r.started(cmd.Process.Pid)
	if err := adjustOOM(cmd.Process.Pid, r.Limits.OOMScoreAdj); err != nil {
		s.cfg.Logger.Warn("Setting OOM score", slog.String("service", r.Name), slog.Any("err", err))
	}
	if err := s.awaitReady(ctx, r, p); err != nil {
		return nil, errors.Join(err, s.end(r, p))
	}
	r.set(StateReady, nil)
	return p, nil
}

// awaitReady looks until the process is ready. A process is late only by a look that began behind its limit: when the whole
// machine stood still meanwhile, the process did, too.
func (s *Supervisor) awaitReady(ctx context.Context, r *running, p *process) error {
	if r.Ready == nil {
		return nil
	}
	timeout := time.NewTimer(r.ReadyTimeout)
	defer timeout.Stop()
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	var seen uint64
	over := false
	for {
		probe, done := context.WithTimeout(ctx, probeTimeout)
		last := r.Ready(probe)
		done()
		if last == nil {
			return nil
		}
		if r.Progress != nil {
			if now := r.Progress(); now != seen {
				seen, over = now, false
				timeout.Reset(r.ReadyTimeout)
			}
		}
		if over {
			return r.late(last)
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%w before it was ready: %s", ErrExited, exitText(p.err))
		case <-r.ctx.Done():
			return fmt.Errorf("waiting for readiness: %w", r.ctx.Err())
		case <-ctx.Done():
			return fmt.Errorf("waiting for readiness: %w; %w", ctx.Err(), last)
		case <-timeout.C:
			over = true
		case <-tick.C:
		}
	}
}

// late is the error of a service that took too long.
func (r *running) late(last error) error {
	if r.Progress != nil {
		return fmt.Errorf("not ready, and no progress in %s: %w", r.ReadyTimeout, last)
	}
	return fmt.Errorf("not ready after %s: %w", r.ReadyTimeout, last)
}

// keep waits for the process to end and restarts it within the budget, until the supervisor stops.
func (s *Supervisor) keep(r *running, p *process) {
	for {
		select {
		case <-r.ctx.Done():
			if err := s.end(r, p); err != nil {
				s.cfg.Logger.Error("Stopping service", slog.String("service", r.Name), slog.Any("err", err))
			}
			r.set(StateStopped, nil)
			return
		case <-p.exited:
		}
		next, err := s.restart(r, fmt.Errorf("%w: %s", ErrExited, exitText(p.err)))
		if err != nil {
			if r.ctx.Err() != nil {
				r.set(StateStopped, nil)
				return
			}
			s.giveUp(r, err)
			return
		}
		p = next
	}
}

// restart tries to bring the service back until the budget is spent; the returned error is the last cause.
func (s *Supervisor) restart(r *running, cause error) (*process, error) {
	for {
		pause, ok := r.budget.next(s.cfg.Now())
		if !ok {
			return nil, fmt.Errorf("restart budget of %d in %s is spent: %w", r.Restart.Max, r.Restart.Window, cause)
		}
		r.restarting(cause)
		s.cfg.Logger.Warn("Restarting service", slog.String("service", r.Name), slog.Duration("dur", pause), slog.Any("err", cause))
		timer := time.NewTimer(pause)
		select {
		case <-r.ctx.Done():
			timer.Stop()
			return nil, r.ctx.Err()
		case <-timer.C:
		}
		p, err := s.launch(r.ctx, r)
		if err == nil {
			return p, nil
		}
		if r.ctx.Err() != nil {
			return nil, r.ctx.Err()
		}
		cause = err
	}
}

func (s *Supervisor) giveUp(r *running, err error) {
	r.set(StateFailed, err)
	s.cfg.Logger.Error("Service failed", slog.String("service", r.Name), slog.Any("err", err))
	if r.Required && s.cfg.Fatal != nil {
		s.cfg.Fatal(r.Name, err)
	}
}

// end asks the process to stop, then kills it and its cgroup.
func (s *Supervisor) end(r *running, p *process) error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	// ESRCH races with an exit that is about to be reported.
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling service %s: %w", r.Name, err)
	}
	if waitFor(p.exited, r.StopTimeout) {
		s.cfg.Cgroups.kill(r.Name)
		return nil
	}
	s.cfg.Logger.Warn("Killing service", slog.String("service", r.Name), slog.Duration("dur", r.StopTimeout))
	s.cfg.Cgroups.kill(r.Name)
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing service %s: %w", r.Name, err)
	}
	if !waitFor(p.exited, killGrace) {
		return fmt.Errorf("service %s did not end %s after it was killed", r.Name, killGrace)
	}
	return nil
}

// Stop ends every service in reverse order of starting and waits for all goroutines. It is idempotent.
func (s *Supervisor) Stop() {
	s.mu.Lock()
	s.stopping = true
	services := slices.Clone(s.services)
	s.mu.Unlock()
	for _, r := range slices.Backward(services) {
		r.cancel()
		<-r.done // bounded: end() has deadlines for every wait
	}
	s.wg.Wait()
}

// Status returns a snapshot of all services in starting order.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Status, len(s.services))
	for i, r := range s.services {
		out[i] = r.snapshot()
	}
	return out
}

func waitFor(ch <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ch:
		return true
	case <-timer.C:
		return false
	}
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

func (r *running) snapshot() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *running) set(state State, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.State = state
	r.status.Error = ""
	if err != nil {
		r.status.Error = err.Error()
	}
	if state == StateStopped || state == StateFailed {
		r.status.PID = 0
	}
}

func (r *running) started(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.PID = pid
}

func (r *running) restarting(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.State = StateRestarting
	r.status.Error = cause.Error()
	r.status.Restarts++
	r.status.PID = 0
}
