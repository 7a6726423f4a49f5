package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"cocoon/guest/config"
	"cocoon/guest/sandbox"
	"cocoon/guest/supervise"
	settings "cocoon/guest/worker/engine"
)

const (
	// chatPath is asked for the first completion.
	chatPath = "/v1/chat/completions"
	// stallLimit is how long an engine that is still loading may show no progress (inference.md section 15).
	stallLimit = 5 * time.Minute
	// serviceName is the engine's name for supervisor, cgroup and sandbox.
	serviceName = "engine"
	// engineUID and engineGID belong to the engine alone.
	engineUID = 2000
	engineGID = 2000
	// scratchBytes bounds each tmpfs of the sandbox; the cgroup bounds their sum.
	scratchBytes = 4 << 30
	// maxFiles bounds the engine's open descriptors.
	maxFiles = 65536
	// maxPids bounds its processes and threads.
	maxPids = 4096
	// firstAnswer bounds the completion that ends the start.
	firstAnswer = stallLimit
	// oomScore makes the engine the kernel's first choice, before any service of ours.
	oomScore = 500
	// tailLines is how much output an error carries outside production.
	tailLines = 15
)

// restart is the policy of inference.md section 12: 1, 2, 4 and so on up to 30 s. An engine that cannot be kept up ends
// the machine, whose worker would be of no use.
func restart() supervise.Restart {
	return supervise.Restart{Max: 20, Window: time.Hour, Backoff: time.Second, MaxBackoff: 30 * time.Second}
}

// Starter starts services; *supervise.Supervisor does.
type Starter interface {
	Start(ctx context.Context, svc supervise.Service) error
}

// Config is what starting an engine takes.
type Config struct {
	// Self is the guest binary, which plays the steps of the sandbox.
	Self       string
	Supervisor Starter
	// Layers are the mounted folders that make the root, the topmost first; Roots are the engine layers' root hashes.
	Layers, Roots []string
	// ModelDir is the mounted model volume, ModelFile the file in it for engines that load one.
	ModelDir, ModelFile string
	// ModelName is what apps ask for, and what the engine calls its model unless its settings say otherwise.
	ModelName string
	// Settings is the measured engine.toml, Wishes what the host chose within its bounds.
	Settings Settings
	Wishes   config.Engine
	// Reads counts what has been read of the model volume, if anybody knows: progress of a loading engine.
	Reads func() uint64
	// SocketDir is the folder outside the sandbox that holds the engine's socket.
	SocketDir string
	// Verbose lets output of the engine into errors: never in production, where it may contain prompts.
	Verbose bool
}

// Report is what the engine stage tells.
type Report struct {
	Kind, Origin string
	Socket       string
	Answer       Answer
	// Start is the time from the start to the first answer.
	Start time.Duration
}

// Start starts the engine under the supervisor and returns after its first completion.
func Start(ctx context.Context, cfg Config, now func() time.Time) (Report, error) {
	if cfg.ModelDir == "" {
		return Report{}, errors.New("starting engine: the measured configuration names no model")
	}
	out := &ring{}
	svc, socket, err := cfg.service(out)
	if err != nil {
		return Report{}, err
	}
	if err := prepareSocketDir(cfg.SocketDir); err != nil {
		return Report{}, err
	}
	talk := newClient(socket, cfg.Settings.Config)
	svc.Ready = talk.ready
	began := now()
	if err := cfg.Supervisor.Start(ctx, svc); err != nil {
		return Report{}, cfg.explain(err, out)
	}
	report := Report{Kind: cfg.Settings.Kind, Origin: cfg.Settings.Origin, Socket: socket}
	if cfg.Settings.Ready.Then == "completion" && cfg.Settings.Allows(chatPath) {
		ask, cancel := context.WithTimeout(ctx, firstAnswer)
		defer cancel()
		if report.Answer, err = talk.complete(ask); err != nil {
			return Report{}, cfg.explain(err, out)
		}
	}
	report.Start = now().Sub(began)
	return report, nil
}

// service is the engine as the supervisor sees it, and its socket outside. What is wrong with the settings is found
// before anything runs.
func (c Config) service(out *ring) (svc supervise.Service, socket string, err error) {
	name, forward, err := c.Settings.socketName()
	if err == nil {
		err = c.Settings.inLayer(c.Roots)
	}
	if err != nil {
		return svc, "", err
	}
	c.Settings.Call(c.ModelName)
	argv, err := c.Settings.Command(settings.Values{
		Model: c.Settings.Model, File: c.ModelFile, Socket: sandbox.SocketDir + "/" + name,
		MaxRequests: c.Wishes.MaxRequests, GPUFraction: float64(c.Wishes.GPUPercent) / 100, TP: c.Wishes.TensorParallel,
	})
	if err != nil {
		return svc, "", fmt.Errorf("starting engine: %w", err)
	}
	socket = filepath.Join(c.SocketDir, name)
	spec := c.sandbox(argv)
	spec.Forward = forward
	svc = supervise.Service{
		Name: serviceName, Required: true, Restart: restart(), StopTimeout: 10 * time.Second,
		Limits:  supervise.Limits{Pids: maxPids, OOMScoreAdj: oomScore},
		Command: func(context.Context) (*exec.Cmd, error) { return c.command(spec, socket, out) },
	}
	svc.ReadyTimeout, svc.Progress = c.patience(out)
	return svc, socket, nil
}

// patience is how long the engine may take to be ready: as engine.toml says or, with a timeout of 0, for as long as it
// shows progress.
func (c Config) patience(out *ring) (time.Duration, func() uint64) {
	ready := c.Settings.Ready
	if ready.Timeout > 0 {
		return time.Duration(ready.Timeout), nil
	}
	return stallLimit, func() uint64 {
		var n uint64
		if c.Reads != nil {
			n = c.Reads()
		}
		if ready.Progress != settings.ReadProgress {
			n += out.total()
		}
		return n
	}
}

// sandbox describes the engine's confinement.
func (c Config) sandbox(argv []string) sandbox.Spec {
	return sandbox.Spec{
		Name:         serviceName,
		Lower:        c.Layers,
		ScratchBytes: scratchBytes,
		Binds: []sandbox.Bind{
			{Source: c.ModelDir, Target: modelTarget},
			{Source: c.SocketDir, Target: sandbox.SocketDir, Writable: true},
		},
		UID:      engineUID,
		GID:      engineGID,
		Dir:      "/tmp",
		Argv:     argv,
		Env:      c.Settings.environment(),
		MaxFiles: maxFiles,
	}
}

// command builds one start. The socket of an earlier start is removed first: llama-server does not do it and fails to
// bind (inference.md section 12).
func (c Config) command(spec sandbox.Spec, socket string, out *ring) (*exec.Cmd, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing stale socket: %w", err)
	}
	cmd, err := sandbox.Command(c.Self, spec)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, nil
}

func prepareSocketDir(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("making socket folder: %w", err)
	}
	if err := os.Chown(dir, engineUID, engineGID); err != nil {
		return fmt.Errorf("giving the socket folder to the engine: %w", err)
	}
	return nil
}

// explain adds the end of the engine's output, where that is allowed.
func (c Config) explain(err error, out *ring) error {
	if !c.Verbose {
		return err
	}
	return fmt.Errorf("%w; its last output: %q", err, out.tail(tailLines))
}
