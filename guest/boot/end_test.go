package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"cocoon/guest/storage"
	"cocoon/measure/bootfiles"
)

// machine notes what is done to it.
type machine struct {
	calls []string
	// stubborn processes ignore SIGTERM.
	stubborn bool
	killed   bool
	busy     string
	offErr   error
}

func (m *machine) KillAll(sig unix.Signal) error {
	m.calls = append(m.calls, "kill "+unix.SignalName(sig))
	m.killed = m.killed || sig == unix.SIGKILL
	return nil
}

func (m *machine) AwaitChildren(ctx context.Context) error {
	if m.stubborn && !m.killed {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (m *machine) Unmount(path string) error {
	m.calls = append(m.calls, "unmount "+path)
	if path == m.busy {
		return unix.EBUSY
	}
	return nil
}

func (m *machine) Flush() { m.calls = append(m.calls, "flush") }

func (m *machine) PowerOff() error {
	m.calls = append(m.calls, "off")
	return m.offErr
}

// ends is the last line of the console.
func ends(t *testing.T, out *bytes.Buffer) End {
	t.Helper()
	var end End
	for line := range strings.Lines(out.String()) {
		if raw, ok := strings.CutPrefix(line, LinePrefix); ok && strings.Contains(raw, EndSchema) {
			if err := json.Unmarshal([]byte(raw), &end); err != nil {
				t.Fatal(err)
			}
		}
	}
	return end
}

func TestAFailureNamesItsStageAndPowersOffAtOnce(t *testing.T) {
	for _, variant := range []bootfiles.Variant{bootfiles.Production, bootfiles.Test, ""} {
		t.Run(string(variant), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, out := console(t, variant)
				st.SetReady(true)
				m := new(machine)
				start := time.Now()
				if err := Fail(context.Background(), st, m, &StageError{Stage: StageBase, Err: errors.New("no disk")}); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{"flush", "off"}, m.calls); diff != "" || time.Since(start) != 0 {
					t.Errorf("after %s: %s", time.Since(start), diff)
				}
				if diff := cmp.Diff(End{EndSchema, "failed", StageBase, "no disk"}, ends(t, out)); diff != "" {
					t.Error(diff)
				}
				if st.Document().Ready {
					t.Error("still ready")
				}
			})
		})
	}
}

func TestADebugImageWaitsBeforeItPowersOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, out := console(t, bootfiles.Debug)
		m := new(machine)
		start := time.Now()
		if err := Fail(context.Background(), st, m, errors.New("service died")); err != nil || time.Since(start) != debugHold {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if end := ends(t, out); end.Stage != "" || end.Error != "service died" {
			t.Errorf("%+v", end)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // somebody asks the machine to stop
		start = time.Now()
		if err := Fail(ctx, st, m, errors.New("again")); err != nil || time.Since(start) != 0 {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

func TestStopWithdrawsReadinessThenStopsServicesThenUnmounts(t *testing.T) {
	st, out := console(t, bootfiles.Production)
	dm := new(removals)
	st.deps.OpenControl = func() (storage.Control, error) { return dm, nil }
	st.SetReady(true)
	st.keepVolume(storage.Volume{Name: "base", Mount: "/run/layers/base"})
	st.keepVolume(storage.Volume{Name: "engine", Mount: "/run/layers/engine"})
	m := new(machine)
	err := Stop(context.Background(), st, m, func(context.Context) error {
		m.calls = append(m.calls, fmt.Sprintf("services, ready %t", st.Document().Ready))
		return nil
	})
	want := []string{"services, ready false", "kill SIGTERM", "unmount /run/layers/engine", "unmount /run/layers/base", "flush", "off"}
	if diff := cmp.Diff(want, m.calls); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if diff := cmp.Diff([]storage.Command{storage.DevRemove, storage.DevRemove}, dm.got); diff != "" {
		t.Error(diff)
	}
	if end := ends(t, out); end.Result != "stopped" {
		t.Errorf("%+v", end)
	}
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, _ := console(t, bootfiles.Production)
		m := &machine{stubborn: true}
		start := time.Now()
		if err := Stop(context.Background(), st, m, nil); err != nil || time.Since(start) != termGrace {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if diff := cmp.Diff([]string{"kill SIGTERM", "kill SIGKILL", "flush", "off"}, m.calls); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNothingOnTheWayStopsThePowerOff(t *testing.T) {
	st, out := console(t, bootfiles.Production)
	st.deps.OpenControl = func() (storage.Control, error) { return nil, unix.ENODEV }
	st.keepVolume(storage.Volume{Name: "base", Mount: "/run/layers/base"})
	st.keepVolume(storage.Volume{Name: "engine", Mount: "/run/layers/engine"})
	m := &machine{busy: "/run/layers/engine", offErr: unix.EPERM}
	err := Stop(context.Background(), st, m, func(context.Context) error { return errors.New("supervisor is stuck") })
	if !errors.Is(err, unix.EPERM) || m.calls[len(m.calls)-1] != "off" {
		t.Errorf("%v, %v", err, m.calls)
	}
	for _, want := range []string{"supervisor is stuck", "/run/layers/engine", unix.ENODEV.Error()} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not on the console:\n%s", want, out.String())
		}
	}
}

// removals is a device-mapper that notes its commands.
type removals struct{ got []storage.Command }

func (r *removals) Ioctl(c storage.Command, _ []byte) error {
	r.got = append(r.got, c)
	return nil
}
