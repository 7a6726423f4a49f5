package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cocoon/guest/boot"
	"cocoon/guest/boot/reap"
	"cocoon/guest/klog"
	"cocoon/guest/supervise"
	"cocoon/measure/bootfiles"
)

// quietMachine notes the order of the end.
type quietMachine struct{ calls []string }

func (m *quietMachine) KillAll(sig unix.Signal) error {
	m.calls = append(m.calls, unix.SignalName(sig))
	return nil
}

func (m *quietMachine) AwaitChildren(context.Context) error { return nil }
func (m *quietMachine) Unmount(string) error                { return nil }
func (m *quietMachine) Flush()                              { m.calls = append(m.calls, "flush") }

func (m *quietMachine) PowerOff() error {
	m.calls = append(m.calls, "off")
	return nil
}

// testGuest is PID 1 with one stage.
func testGuest(t *testing.T, run func(context.Context, *boot.State) error) (guest, *quietMachine, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	deps := &boot.Deps{Root: t.TempDir(), Log: klog.New(klog.Options{Console: &out}), Level: new(slog.LevelVar), Now: time.Now}
	st := boot.NewState(deps)
	m := new(quietMachine)
	g := guest{
		stages: []boot.Stage{{Name: boot.StageReady, Run: run, Deadline: time.Minute}},
		state:  st, machine: m, reaper: reap.New(), fatal: make(chan error, 1),
	}
	g.services = newServices(st.Log, supervise.Plain{}, nil, g.fatal)
	return g, m, &out
}

func terminate(context.Context, *boot.State) error { return unix.Kill(os.Getpid(), unix.SIGTERM) }

func TestEveryWayOutOfTheBootIsAPowerOff(t *testing.T) {
	tests := map[string]struct {
		stage func(context.Context, *boot.State) error
		fatal error
		want  []string
		line  string
	}{
		"asked to stop":  {terminate, nil, []string{"SIGTERM", "flush", "off"}, `"result":"stopped"`},
		"stage fails":    {func(context.Context, *boot.State) error { return errors.New("no disk") }, nil, []string{"flush", "off"}, `"stage":"ready","error":"no disk"`},
		"service beyond": {func(context.Context, *boot.State) error { return nil }, errors.New("worker died"), []string{"flush", "off"}, `"result":"failed","error":"worker died"`},
		"stopped while it boots": {func(ctx context.Context, st *boot.State) error {
			err := terminate(ctx, st)
			<-ctx.Done()
			return errors.Join(err, ctx.Err())
		}, nil, []string{"SIGTERM", "flush", "off"}, `"result":"stopped"`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			g, m, out := testGuest(t, tc.stage)
			if tc.fatal != nil {
				g.fatal <- tc.fatal
			}
			if err := g.live(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, m.calls); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(out.String(), tc.line) {
				t.Errorf("%s is not on the console:\n%s", tc.line, out.String())
			}
		})
	}
}

// A ready guest of each variant ends on a signal; only the debug image's shell was up until then.
func TestOnlyAReadyDebugGuestOffersAShell(t *testing.T) {
	for _, variant := range []bootfiles.Variant{bootfiles.Production, bootfiles.Test, bootfiles.Debug} {
		t.Run(string(variant), func(t *testing.T) {
			var out bytes.Buffer
			calls, ended := 0, false
			started := make(chan struct{})
			deps := &boot.Deps{Root: t.TempDir(), Log: klog.New(klog.Options{Console: &out}), Level: new(slog.LevelVar), Now: time.Now}
			deps.DebugShell = func(ctx context.Context, _ boot.DebugMark, _ []string) error {
				calls++
				close(started)
				<-ctx.Done()
				ended = true
				return nil
			}
			m := new(quietMachine)
			g := guest{state: boot.NewState(deps), machine: m, reaper: reap.New(), fatal: make(chan error, 1)}
			g.services = newServices(g.state.Log, supervise.Plain{}, nil, g.fatal)
			g.stages = []boot.Stage{{Name: boot.StageReady, Deadline: time.Minute, Run: func(ctx context.Context, st *boot.State) error {
				st.Image = bootfiles.Image{Name: "proxy", Profile: "proxy", Variant: variant, Version: 1}
				st.Cmdline = bootfiles.Cmdline(variant)
				if variant != bootfiles.Debug {
					return terminate(ctx, st)
				}
				go func() {
					<-started
					_ = unix.Kill(os.Getpid(), unix.SIGTERM)
				}()
				return nil
			}}}
			if err := g.live(); err != nil {
				t.Fatal(err)
			}
			if want := variant == bootfiles.Debug; (calls == 1) != want || ended != want || m.calls[len(m.calls)-1] != "off" {
				t.Errorf("%d shells, ended %t, %v", calls, ended, m.calls)
			}
		})
	}
}

func TestTasksEndWithTheServices(t *testing.T) {
	s := newServices(slog.New(slog.DiscardHandler), supervise.Plain{}, nil, make(chan error, 1))
	ended := false
	s.background("probe", func(ctx context.Context) error {
		<-ctx.Done()
		ended = true
		return nil
	})
	if err := s.stop(context.Background()); err != nil || !ended {
		t.Errorf("ended %t, %v", ended, err)
	}
}

func TestTheWiringIsComplete(t *testing.T) {
	d := linuxDeps(klog.New(klog.Options{}), new(slog.LevelVar))
	network(d, slog.New(slog.DiscardHandler), nil)
	for name, missing := range map[string]bool{
		"OpenKmsg": d.OpenKmsg == nil, "Kernel": d.Kernel == nil, "InsertModule": d.InsertModule == nil, "TD": d.TD == nil,
		"FindDisk": d.FindDisk == nil, "OpenDisk": d.OpenDisk == nil, "OpenControl": d.OpenControl == nil,
		"Network": d.Network == nil, "OpenPort": d.OpenPort == nil, "Clock": d.Clock == nil, "Now": d.Now == nil,
	} {
		if missing {
			t.Errorf("%s is not wired", name)
		}
	}
	if d.Root != "/" {
		t.Errorf("root is %q", d.Root)
	}
}

func TestOnlyTheKernelsInitBoots(t *testing.T) {
	if startedByKernel() {
		t.Error("a test process takes itself for the machine's PID 1")
	}
}
