package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"cocoon/guest/boot"
	"cocoon/guest/engine"
	"cocoon/guest/klog"
	"cocoon/guest/mounts"
	"cocoon/guest/sandbox"
	"cocoon/guest/storage"
	"cocoon/guest/supervise"
	"cocoon/measure/bootfiles"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// engineSocketDir is where the worker finds the engine's socket.
	engineSocketDir = "/run/engine"
	// engineFile is the engine.toml that the engine was started from; the worker reads the same.
	engineFile = mounts.RunDir + "/engine.toml"
)

// services is what PID 1 supervises: processes, and goroutines of its own.
type services struct {
	cgroups    *supervise.Cgroups
	supervisor *supervise.Supervisor
	tasks      *supervise.Tasks
}

// newServices makes a supervisor that shares reaping with PID 1. The first required service beyond saving is sent to
// fatal; later ones change nothing, because the machine is then on its way down.
func newServices(log *slog.Logger, processes supervise.Processes, cgroups *supervise.Cgroups, fatal chan<- error) *services {
	return &services{
		cgroups: cgroups, tasks: supervise.NewTasks(log, time.Now),
		supervisor: supervise.New(supervise.Config{
			Logger: log, Processes: processes, Cgroups: cgroups, Now: time.Now,
			Fatal: func(service string, err error) {
				select {
				case fatal <- fmt.Errorf("required service %s: %w", service, err):
				default:
				}
			},
		}),
	}
}

// background keeps a task of PID 1 running until the machine stops.
func (s *services) background(name string, run func(ctx context.Context) error) {
	s.tasks.Start(name, supervise.Restart{Max: 10, Window: time.Hour, Backoff: time.Second}, run)
}

// startEngine is the hook of the engine stage: its layers and the model volume are mounted.
func (s *services) startEngine(ctx context.Context, st *boot.State) error {
	if st.Measured.Model == nil {
		return &boot.SkipError{Reason: "the spec names no model"}
	}
	if err := s.cgroups.Prepare(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the guest binary: %w", err)
	}
	layers := engineLayers(st)
	settings, err := engine.Choose(st.Spec, layers)
	if err != nil {
		return err
	}
	report, err := engine.Start(ctx, engine.Config{
		Self: self, Supervisor: s.supervisor, Layers: layers, Roots: layerRoots(st),
		ModelDir: st.ModelDir, ModelFile: st.Measured.Model.File, ModelName: st.Measured.Model.Name(),
		Settings: settings, Wishes: st.Runtime.Engine, Reads: modelReads(st.ModelNode),
		SocketDir: engineSocketDir, Verbose: st.Image.Variant != bootfiles.Production,
	}, time.Now)
	if err != nil {
		return err
	}
	if err := os.WriteFile(engineFile, settings.File, 0o444); err != nil {
		return fmt.Errorf("showing engine.toml to the worker: %w", err)
	}
	st.Detail("engine", report.Kind)
	st.Detail("settings", report.Origin)
	st.Detail("answer_tokens", report.Answer.CompletionTokens)
	if st.Image.Variant == bootfiles.Test { // the words answer a question of our own; even so nobody else sees them
		st.Detail("answer", report.Answer.Content)
	}
	st.Detail("start_ms", report.Start.Milliseconds())
	return nil
}

// engineLayers lists the mount points that make the engine's root, the topmost first: a later layer lies over an
// earlier one.
func engineLayers(st *boot.State) []string {
	dirs := make([]string, 0, len(st.Layers))
	for _, l := range slices.Backward(st.Layers) {
		dirs = append(dirs, l.Mount)
	}
	return dirs
}

// layerRoots are the root hashes of the engine layers.
func layerRoots(st *boot.State) []string {
	layers := st.LayersOf(bootfiles.RoleEngine)
	roots := make([]string, 0, len(layers))
	for _, l := range layers {
		roots = append(roots, l.RootHash)
	}
	return roots
}

// modelReads counts reads of the model volume. Without a count that the kernel gives there is no progress to see, which is
// as good as none.
func modelReads(node string) func() uint64 {
	sys := os.DirFS("/sys")
	return func() uint64 {
		n, err := storage.SectorsRead(sys, node)
		if err != nil {
			return 0
		}
		return n
	}
}

// stop ends the services in reverse order and then the tasks that they may rely on, until ctx ends.
func (s *services) stop(ctx context.Context) error {
	return errors.Join(s.stopServices(ctx), s.tasks.Stop(ctx))
}

func (s *services) stopServices(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		s.supervisor.Stop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping services: %w", ctx.Err())
	}
}

// enterSandbox is pid 1 of the engine's namespaces.
func enterSandbox(context.Context, io.Writer, []string) (int, error) {
	return sandbox.Enter(slog.New(klog.New(klog.Options{Console: os.Stderr})))
}

// execSandboxed becomes the engine; it returns only when it could not.
func execSandboxed(context.Context, io.Writer, []string) (int, error) {
	return exitError, errors.Join(errors.New("engine not started"), sandbox.Exec())
}

// forwardSandboxed is `init sandbox-forward SOCKET ADDRESS`, in the engine's sandbox.
func forwardSandboxed(ctx context.Context, _ io.Writer, args []string) (int, error) {
	const operands = 2
	if len(args) != operands {
		return exitUsage, errors.New("write the socket and the address")
	}
	return exitError, sandbox.RunForward(ctx, args[0], args[1])
}
