package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/host/localnet/network"
)

const (
	// upLog is what a detached process has to say, below the folder.
	upLog = "up" + logSuffix
	// detachTime bounds the wait for a detached network: the guest binary is built and the engine fetched before it starts.
	detachTime = 10 * time.Minute
	// maxComplaint is how much of the detached process's words an error quotes.
	maxComplaint = 2 << 10
)

// detached starts the same network in a process of its own and returns when it serves.
func (a *app) detached(ctx context.Context, u *upFlags) error {
	dir, err := a.detachedDir(u)
	if err != nil {
		return err
	}
	self, err := a.executable()
	if err != nil {
		return fmt.Errorf("looking for this program: %w", err)
	}
	words, err := os.Create(filepath.Join(dir, upLog))
	if err != nil {
		return fmt.Errorf("making log: %w", err)
	}
	defer words.Close()                          //nolint:errcheck // the child has it
	cmd := exec.Command(self, u.args(a, dir)...) //nolint:noctx // it outlives this process
	cmd.Stdout, cmd.Stderr = words, words
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt of the terminal is not for it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting network: %w", err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	s, err := awaitNetwork(ctx, dir, cmd.Process.Pid, exited)
	if err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM) // whoever is not told of it cannot end it
		return cli.Tag(cli.KindPrerequisite, fmt.Errorf("%w\n%s", err, complaint(words.Name())), "the whole log is "+words.Name())
	}
	if err := a.printer.Result(newUpResult(s.About)); err != nil {
		_, endErr := network.End(ctx, dir)
		return errors.Join(err, endErr)
	}
	return nil
}

// detachedDir is the folder of the network. What the network would refuse is refused before a process is made for it; the
// lock is that process's to take.
func (a *app) detachedDir(u *upFlags) (string, error) {
	c, err := a.localnetConfig(u)
	if err != nil {
		return "", err
	}
	if err := c.Early(); err != nil {
		return "", cli.Tag(cli.KindUsage, err, "run \"cocoon localnet up --help\"")
	}
	running, err := network.Running(c.Dir)
	if running {
		err = fmt.Errorf("%w in %s", network.ErrRunning, c.Dir)
	}
	if err == nil {
		err = os.MkdirAll(c.Dir, 0o700)
	}
	if err != nil {
		return "", untaken(c.Dir, err)
	}
	return filepath.Abs(c.Dir)
}

// args is the command line that starts the same network in the foreground.
func (u *upFlags) args(a *app, dir string) []string {
	out := []string{
		"localnet", "up", "--dir", dir, "--listen", u.listen, "--proxies", strconv.Itoa(u.proxies), "--workers", strconv.Itoa(u.workers), "--engine", u.engine, "--chain=" + strconv.FormatBool(u.chain),
		"--quiet", "--progress", "none", "--log-level", a.log.level, "--log-format", a.log.format,
	}
	for flag, value := range map[string]string{"--guest": u.guest, "--model": u.model, "--chat-template": u.template, "--root": a.root, "--cache": a.cache} {
		if value != "" {
			out = append(out, flag, value)
		}
	}
	return out
}

// awaitNetwork waits until the process's network serves.
func awaitNetwork(ctx context.Context, dir string, pid int, exited <-chan error) (*network.State, error) {
	ctx, cancel := context.WithTimeout(ctx, detachTime)
	defer cancel()
	const every = 20 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		s, err := network.Find(dir)
		switch {
		case err == nil && s.PID == pid:
			return s, nil
		case err != nil && !errors.Is(err, network.ErrNotRunning):
			return nil, err
		}
		select {
		case err := <-exited:
			if err == nil {
				err = errors.New("exit code 0")
			}
			return nil, fmt.Errorf("waiting for the network: its process ended: %w", err)
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the network: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// complaint is the end of what a process said.
func complaint(name string) string {
	data, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-maxComplaint):]))
}
