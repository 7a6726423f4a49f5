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
)

const (
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
	firstAnswer = 60 * time.Second
	// oomScore makes the engine the kernel's first choice, before any service of ours.
	oomScore = 500
	// tailLines is how much output an error carries outside production.
	tailLines = 15
)

// Starter starts services; *supervise.Supervisor does.
type Starter interface {
	Start(ctx context.Context, svc supervise.Service) error
}

// Config is what starting an engine takes.
type Config struct {
	// Self is the guest binary, which plays the steps of the sandbox.
	Self       string
	Supervisor Starter
	// Layers are the mounted folders that make the root, the topmost first; ModelDir is the mounted model volume.
	Layers   []string
	ModelDir string
	Measured config.Measured
	// SocketDir is the folder outside the sandbox that holds the engine's socket.
	SocketDir string
	// Verbose lets output of the engine into errors: never in production, where it may contain prompts.
	Verbose bool
}

// Report is what the engine stage tells.
type Report struct {
	Kind   string
	Socket string
	Answer Answer
	// Start is the time from the start to the first answer.
	Start time.Duration
}

// Start starts the engine under the supervisor and returns after its first completion.
func Start(ctx context.Context, cfg Config, now func() time.Time) (Report, error) {
	if cfg.Measured.Model == nil || cfg.ModelDir == "" {
		return Report{}, errors.New("starting engine: the measured configuration names no model")
	}
	k, err := choose(cfg.Layers)
	if err != nil {
		return Report{}, err
	}
	if err := prepareSocketDir(cfg.SocketDir); err != nil {
		return Report{}, err
	}
	out := &ring{}
	socket := filepath.Join(cfg.SocketDir, socketName)
	talk := newClient(socket)
	began := now()
	err = cfg.Supervisor.Start(ctx, supervise.Service{
		Name:         serviceName,
		Required:     true,
		Command:      func(context.Context) (*exec.Cmd, error) { return command(cfg, k, socket, out) },
		Ready:        talk.healthy,
		ReadyTimeout: k.ready,
		StopTimeout:  10 * time.Second,
		Restart:      supervise.Restart{Max: 5, Window: 10 * time.Minute, Backoff: time.Second},
		Limits:       supervise.Limits{Pids: maxPids, OOMScoreAdj: oomScore},
	})
	if err != nil {
		return Report{}, cfg.explain(err, out)
	}
	ask, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	answer, err := talk.complete(ask)
	if err != nil {
		return Report{}, cfg.explain(err, out)
	}
	return Report{Kind: k.name, Socket: socket, Answer: answer, Start: now().Sub(began)}, nil
}

// command builds one start. The socket of an earlier start is removed first: llama-server does not do it and fails to
// bind (inference.md section 12).
func command(cfg Config, k kind, socket string, out *ring) (*exec.Cmd, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing stale socket: %w", err)
	}
	cmd, err := sandbox.Command(cfg.Self, sandbox.Spec{
		Name:         serviceName,
		Lower:        cfg.Layers,
		ScratchBytes: scratchBytes,
		Binds: []sandbox.Bind{
			{Source: cfg.ModelDir, Target: modelTarget},
			{Source: cfg.SocketDir, Target: sandbox.SocketDir, Writable: true},
		},
		Devices:  k.devices,
		UID:      engineUID,
		GID:      engineGID,
		Dir:      "/tmp",
		Argv:     k.argv(k.program, cfg.Measured),
		Env:      k.env,
		MaxFiles: maxFiles,
	})
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
