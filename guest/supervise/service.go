package supervise

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"time"
)

// Defaults of the waits; every one has an upper bound.
const (
	// DefaultReadyTimeout is how long a service may take to become ready.
	DefaultReadyTimeout = 30 * time.Second
	// DefaultStopTimeout is how long a service may take to end after SIGTERM before it is killed.
	DefaultStopTimeout = 5 * time.Second
	// probeInterval is the pause between two readiness probes.
	probeInterval = 50 * time.Millisecond
	// probeTimeout bounds one readiness probe.
	probeTimeout = 5 * time.Second
	// killGrace is how long a killed process may take to be reaped before it is reported as stuck.
	killGrace = 5 * time.Second
)

// Service describes one process to keep running.
type Service struct {
	// Name is unique; it is also the cgroup's name.
	Name string
	// Required services end the guest when their restart budget is spent; others are only reported.
	Required bool
	// Command builds the process anew for every start. It must not start it.
	Command func(ctx context.Context) (*exec.Cmd, error)
	// Ready is polled until it returns nil; nil means "ready once started".
	Ready func(ctx context.Context) error
	// Progress, when it is set, is a count that changes while a starting service gets on; ReadyTimeout then begins anew
	// with each change.
	Progress func() uint64
	// ReadyTimeout and StopTimeout bound the waits; 0 means the defaults.
	ReadyTimeout time.Duration
	StopTimeout  time.Duration
	// Restart is the budget after the first start.
	Restart Restart
	// Limits is what the service's cgroup may use.
	Limits Limits
}

// Restart is a budget: at most Max restarts within any Window; Backoff is waited before the first restart and
// doubles with each further one up to MaxBackoff, or up to Window when that is 0.
type Restart struct {
	Max        int
	Window     time.Duration
	Backoff    time.Duration
	MaxBackoff time.Duration
}

// Limits bounds a service's resources; 0 means no bound of its own.
type Limits struct {
	MemoryBytes int64 // memory.max
	Pids        int64 // pids.max
	OOMScoreAdj int   // -1000..1000, higher dies first
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// Validate returns every broken rule of the description.
func (s Service) Validate() error {
	var errs []error
	for _, rule := range []struct {
		ok   bool
		text string
	}{
		{nameRule.MatchString(s.Name), fmt.Sprintf("name: %q does not match %s", s.Name, nameRule)},
		{s.Command != nil, "command: missing"},
		{s.ReadyTimeout >= 0 && s.StopTimeout >= 0, "timeouts: negative"},
		{s.Restart.Max >= 0, fmt.Sprintf("restart.max: %d is negative", s.Restart.Max)},
		{s.Restart.Max == 0 || s.Restart.Window > 0, "restart.window: needed when restart.max is above 0"},
		{s.Limits.MemoryBytes >= 0 && s.Limits.Pids >= 0, "limits: negative"},
		{s.Limits.OOMScoreAdj >= -1000 && s.Limits.OOMScoreAdj <= 1000, fmt.Sprintf("limits.oom_score_adj: %d is outside -1000..1000", s.Limits.OOMScoreAdj)},
	} {
		if !rule.ok {
			errs = append(errs, errors.New(rule.text))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("service %q: %w", s.Name, err)
	}
	return nil
}

func (s Service) withDefaults() Service {
	if s.ReadyTimeout == 0 {
		s.ReadyTimeout = DefaultReadyTimeout
	}
	if s.StopTimeout == 0 {
		s.StopTimeout = DefaultStopTimeout
	}
	return s
}

// State is where a service is in its life.
type State string

// The states of a service.
const (
	StateStarting   State = "starting"
	StateReady      State = "ready"
	StateRestarting State = "restarting"
	StateStopped    State = "stopped"
	StateFailed     State = "failed"
)

// Status is a snapshot of one service for the status document.
type Status struct {
	Name     string `json:"name"`
	State    State  `json:"state"`
	Required bool   `json:"required"`
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	Error    string `json:"error,omitempty"`
}
