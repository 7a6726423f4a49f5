package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/cmd/internal/cli"
	"cocoon/guest/boot"
	"cocoon/guest/config"
	"cocoon/guest/rtmr"
	"cocoon/guest/sandbox"
	"cocoon/guest/supervise"
	"cocoon/measure/bootfiles"
)

func TestCommandsAreChosenByNameOrArgument(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"by argument":          {[]string{"/init", "router"}, exitUsage, "error: init router: no listener is configured"},
		"by argv[0]":           {[]string{"/usr/bin/health", "-x"}, exitError, "error: init health: not in this build"},
		"by argument, renamed": {[]string{"/proc/self/fd/4", "seal"}, exitError, "error: init seal: not in this build"},
		"unknown argument":     {[]string{"/init", "shell"}, exitUsage, `"shell" is no command`},
		"init outside of PID":  {[]string{"/init"}, exitUsage, "only as PID 1"},
		"no arguments at all":  {nil, exitUsage, "only as PID 1"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := run(context.Background(), tc.args, io.Discard, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.want) {
				t.Errorf("code %d, stderr %q", code, stderr.String())
			}
		})
	}
}

func TestSandboxStepsRefuseToRunOutsideTheirStart(t *testing.T) {
	for _, verb := range []string{sandbox.EnterVerb, sandbox.ExecVerb} {
		cmd := exec.Command(os.Args[0])
		cmd.Args = []string{verb}
		cmd.Env = append(os.Environ(), rerun+"=1")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitError || !strings.Contains(string(out), "error: init "+verb) {
			t.Errorf("%s: %v, %s", verb, err, out)
		}
	}
}

// rerun makes the test binary play the guest binary: its argv[0] is then the command.
const rerun = "COCOON_TEST_INIT"

func TestMain(m *testing.M) {
	if os.Getenv(rerun) != "" {
		os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestEngineLayersLieTopmostFirst(t *testing.T) {
	st := &boot.State{Layers: []bootfiles.Layer{{ID: "base", Mount: "/run/layers/base"}, {ID: "gpu", Mount: "/run/layers/gpu"}, {ID: "engine", Mount: "/run/layers/engine"}}}
	if diff := cmp.Diff([]string{"/run/layers/engine", "/run/layers/gpu", "/run/layers/base"}, engineLayers(st)); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutAModelNoEngineStarts(t *testing.T) {
	s := newServices(slog.New(slog.DiscardHandler), supervise.Plain{}, nil, make(chan error, 1))
	err := s.startEngine(context.Background(), &boot.State{Measured: &config.Measured{Role: "worker"}})
	if _, skipped := errors.AsType[*boot.SkipError](err); !skipped {
		t.Errorf("err = %v", err)
	}
	if err := s.stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestARequiredServiceBeyondSavingIsReportedOnce(t *testing.T) {
	fatal := make(chan error, 1)
	s := newServices(slog.New(slog.DiscardHandler), supervise.Plain{}, nil, fatal)
	var starts atomic.Int32
	err := s.supervisor.Start(context.Background(), supervise.Service{
		Name: "probe", Required: true,
		Command: func(context.Context) (*exec.Cmd, error) {
			if starts.Add(1) > 1 {
				return nil, errors.New("program is gone")
			}
			return exec.Command("sleep", "0.05"), nil
		},
		Restart: supervise.Restart{Max: 1, Window: time.Minute, Backoff: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-fatal:
		if !strings.Contains(err.Error(), "required service probe") {
			t.Errorf("err = %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("nothing reported")
	}
	if err := s.stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestEveryCommandIsListedOnceAndDescribed(t *testing.T) {
	var stderr bytes.Buffer
	run(context.Background(), []string{"init", "help"}, io.Discard, &stderr)
	for _, c := range commands() {
		if strings.Count(stderr.String(), "init "+c.name+" ") != 1 || c.does == "" || c.run == nil {
			t.Errorf("command %s in %q", c.name, stderr.String())
		}
	}
}

func TestOutsideATDThereAreNoRegisters(t *testing.T) {
	if _, err := os.Stat(rtmr.DefaultDir); err == nil {
		t.Skip("this machine is a TD")
	}
	var td linuxTD
	if present, err := td.Present(); present || err != nil {
		t.Errorf("%t, %v", present, err)
	}
	if _, err := td.Attributes(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("attributes: %v", err)
	}
}

func TestAwaitChildrenEndsWithItsContext(t *testing.T) {
	cmd := exec.Command("cat") // which ends when it is told to
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := (linuxMachine{}).AwaitChildren(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := (linuxMachine{}).AwaitChildren(context.Background()); err != nil {
		t.Errorf("err = %v", err)
	}
}

// TestASignalIsTheNormalEndOfARole, and nothing else is: who supervises it tells them apart by the exit code.
func TestASignalIsTheNormalEndOfARole(t *testing.T) {
	broken := errors.New("broken")
	signalled, cancel := context.WithCancelCause(t.Context())
	told := errors.New("terminated signal received")
	cancel(told)
	for name, tc := range map[string]struct {
		stop context.Context
		err  error
		want int
	}{
		"signal":             {signalled, nil, 0},
		"signal, as cause":   {signalled, fmt.Errorf("serving: %w", told), 0},
		"signal, as context": {signalled, context.Canceled, 0},
		"broken while told":  {signalled, broken, exitError},
		"broken":             {t.Context(), broken, exitError},
		"nothing to do":      {t.Context(), nil, exitError},
		"misnamed":           {t.Context(), fmt.Errorf("opening: %w", cli.Misnamed("x", os.ErrNotExist)), exitUsage},
	} {
		code, err := served(tc.stop, tc.err)
		if code != tc.want || (err == nil) != (tc.want == 0) {
			t.Errorf("%s: exit code %d, %v", name, code, err)
		}
	}
}
