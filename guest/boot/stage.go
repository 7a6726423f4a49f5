package boot

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Names of the stages, in the table's order. Tests and the host CLI match on them.
const (
	StageConsole     = "console"
	StageMounts      = "mounts"
	StageCmdline     = "cmdline"
	StageModules     = "modules"
	StageTD          = "td"
	StageConfig      = "config"
	StageDebugMarker = "debug-marker"
	StageBase        = "base"
	StageNetwork     = "network"
	StageClock       = "clock"
	StageGPU         = "gpu"
	StageLock        = "lock"
	StageSeal        = "seal"
	StageStorage     = "storage"
	StageModel       = "model"
	StageEngine      = "engine"
	StageIdentity    = "identity"
	StageService     = "service"
	StageReady       = "ready"
)

// Policy says what a stage's *NotInBuildError means. Every other error ends the boot.
type Policy uint8

const (
	// Required stages must succeed in every variant.
	Required Policy = iota
	// Later stages may be missing from the test variant, which records them as skipped.
	Later
)

// Stage is one step of the boot.
type Stage struct {
	Name string
	// Run does the work; it returns when ctx ends.
	Run func(ctx context.Context, st *State) error
	// Deadline bounds Run.
	Deadline time.Duration
	Policy   Policy
}

// NotInBuildError means that this build does not contain the work of a stage.
type NotInBuildError struct{ Stage string }

// Error names the stage.
func (e *NotInBuildError) Error() string {
	return fmt.Sprintf("stage %s is not in this build", e.Stage)
}

// SkipError means that a stage has nothing to do on this machine; it is recorded, and the boot goes on.
type SkipError struct{ Reason string }

// Error gives the reason.
func (e *SkipError) Error() string { return "skipped: " + e.Reason }

// StageError is how a boot ends: the stage that failed and why.
type StageError struct {
	Stage string
	Err   error
}

// Error names the stage first.
func (e *StageError) Error() string { return fmt.Sprintf("stage %s: %v", e.Stage, e.Err) }

// Unwrap gives the cause.
func (e *StageError) Unwrap() error { return e.Err }

// ErrDeadline means that a stage did not return in time.
var ErrDeadline = errors.New("stage did not end before its deadline")
