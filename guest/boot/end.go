package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/guest/storage"
	"cocoon/measure/bootfiles"
)

const (
	// termGrace is how long processes may take to end after SIGTERM, killGrace after SIGKILL.
	termGrace = 5 * time.Second
	killGrace = 2 * time.Second
	// debugHold is how long a debug image waits after a failure, for somebody to read its console.
	debugHold = 10 * time.Minute
)

// Machine is what the end of a boot does to the machine; cmd/init has the real one.
type Machine interface {
	// KillAll sends a signal to every process but this one.
	KillAll(sig unix.Signal) error
	// AwaitChildren returns when no child is left or ctx ends.
	AwaitChildren(ctx context.Context) error
	// Unmount detaches a mount point.
	Unmount(path string) error
	// Flush writes out file systems and the console's pending output.
	Flush()
	// PowerOff does not return on a real machine.
	PowerOff() error
}

// Fail ends a boot that did not reach ready, or a guest whose required service died: name the stage, power off.
// Nothing is stopped in an orderly way first, because after a failure nothing is worth another instruction. A debug
// image waits before it powers off, until ctx ends or its time is over, and offers a shell meanwhile.
func Fail(ctx context.Context, st *State, m Machine, cause error) error {
	st.SetReady(false)
	end := End{Schema: EndSchema, Result: string(Failed), Error: cause.Error()}
	if stage, ok := errors.AsType[*StageError](cause); ok {
		end.Stage, end.Error = stage.Stage, stage.Err.Error()
	}
	st.printLine(slog.LevelError, end)
	if st.Image.Variant == bootfiles.Debug {
		st.Log.Warn("Debug image waits before it powers off", slog.Duration("dur", debugHold))
		hold, cancel := context.WithTimeout(ctx, debugHold)
		OfferShell(hold, st)
		<-hold.Done()
		cancel()
	}
	return powerOff(m)
}

// Stop ends a ready guest: withdraw readiness, stop the services, unmount, power off. Errors on the way are logged and
// do not stop the way. The context bounds the caller's own stop function, which ends the supervised services.
func Stop(ctx context.Context, st *State, m Machine, stopServices func(ctx context.Context) error) error {
	st.SetReady(false)
	warn := func(step string, err error) {
		if err != nil {
			st.Log.Warn("Step of the orderly end failed", slog.String("step", step), slog.String("err", err.Error()))
		}
	}
	if stopServices != nil {
		warn("stop services", stopServices(ctx))
	}
	warn("terminate processes", m.KillAll(unix.SIGTERM))
	if err := awaitChildren(ctx, m, termGrace); err != nil {
		warn("kill processes", m.KillAll(unix.SIGKILL))
		warn("collect processes", awaitChildren(ctx, m, killGrace))
	}
	warn("close volumes", st.closeVolumes(m))
	st.printLine(slog.LevelInfo, End{Schema: EndSchema, Result: "stopped"})
	return powerOff(m)
}

func awaitChildren(ctx context.Context, m Machine, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return m.AwaitChildren(ctx)
}

// closeVolumes unmounts in reverse order and removes the devices.
func (st *State) closeVolumes(m Machine) error {
	st.mu.Lock()
	volumes := slices.Clone(st.volumes)
	st.mu.Unlock()
	slices.Reverse(volumes)
	var errs []error
	for _, v := range volumes {
		if err := m.Unmount(v.mount); err != nil {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", v.mount, err))
			continue
		}
		errs = append(errs, st.removeDevice(v.name))
	}
	return errors.Join(errs...)
}

func (st *State) removeDevice(name string) error {
	ctl, err := st.deps.OpenControl()
	if err != nil {
		return err
	}
	return storage.Remove(ctl, name)
}

func powerOff(m Machine) error {
	m.Flush()
	if err := m.PowerOff(); err != nil {
		return fmt.Errorf("powering off: %w", err)
	}
	return nil
}
