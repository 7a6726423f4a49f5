package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/gguf"
	"cocoon/host/localnet/network"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
)

// makeParts gets what the network is made of, in its folder: its log, the guest binary, and the engine with its model.
func (a *app) makeParts(ctx context.Context, u *upFlags, c *network.Config) (*os.File, error) {
	log, err := os.Create(gatewayLog(c.Dir))
	if err != nil {
		return nil, fmt.Errorf("making log: %w", err)
	}
	c.Log = a.loggerTo(log)
	if c.Guest == "" {
		c.Guest, err = a.buildGuest(ctx, c.Dir)
	}
	if err == nil && u.engine == engineLlama {
		err = a.realEngine(ctx, u.model, c)
	}
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return log, nil
}

// buildGuest builds the guest binary of the checkout into the folder.
func (a *app) buildGuest(ctx context.Context, dir string) (string, error) {
	root, err := a.checkout()
	if err != nil {
		return "", cli.Tag(cli.KindUsage, err, "name the guest binary with --guest FILE, or run the command inside a checkout")
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "init")
	build := exec.CommandContext(ctx, "go", "build", "-o", name, "./cmd/init")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", cli.Tag(cli.KindPrerequisite, fmt.Errorf("building the guest binary: %w\n%s", err, out), "name one with --guest FILE")
	}
	return name, nil
}

// realEngine puts the pinned engine below the network's folder, and a model where none is named.
func (a *app) realEngine(ctx context.Context, model string, c *network.Config) error {
	o, err := a.options()
	if err != nil {
		return err
	}
	if model == "" {
		if model, err = writeDemo(c); err != nil {
			return err
		}
	}
	if c.Model, err = filepath.Abs(model); err != nil {
		return err
	}
	pins, err := lock.Load(pipeline.LockPath(o.Root))
	if err != nil {
		return err
	}
	store, err := fetch.Open(pipeline.StoreDir(o.CacheDir))
	if err != nil {
		return err
	}
	c.Engine = filepath.Join(c.Dir, "engine")
	return network.UnpackEngine(ctx, pins, store, o.CacheDir, c.Engine)
}

// writeDemo writes the demonstration's model and template below the network's folder.
func writeDemo(c *network.Config) (string, error) {
	m, err := gguf.Demo()
	if err != nil {
		return "", err
	}
	var data bytes.Buffer
	if _, err := m.WriteTo(&data); err != nil {
		return "", err
	}
	name := filepath.Join(c.Dir, demoFile)
	if err := os.WriteFile(name, data.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("writing model: %w", err)
	}
	if c.Template == "" {
		c.Template = filepath.Join(c.Dir, "scripted.jinja")
		if err := os.WriteFile(c.Template, []byte(gguf.DemoTools), 0o600); err != nil {
			return "", fmt.Errorf("writing chat template: %w", err)
		}
	}
	return name, nil
}
