package boot

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"cocoon/guest/clock"
	"cocoon/guest/config"
	"cocoon/guest/klog"
	"cocoon/guest/mounts"
	"cocoon/guest/netcfg"
	"cocoon/guest/rtmr"
	"cocoon/guest/storage"
)

// TD is the trust domain as the td stage sees it.
type TD interface {
	// Present reports whether the tdx_guest driver shows measurement registers.
	Present() (bool, error)
	// Attributes reads the TD's attributes from a report.
	Attributes() (rtmr.Attributes, error)
	// Bank is the register bank of a present TD.
	Bank() rtmr.Bank
}

// Simulation is the software TDX of a test's host. Its registers outlive a boot, so a boot begins by resetting them.
type Simulation interface {
	rtmr.Bank
	Reset(ctx context.Context) error
}

// Hook is the work of a stage that another part of the guest brings. A nil hook is a *NotInBuildError.
type Hook func(ctx context.Context, st *State) error

// Hooks are the stages' plugs. GPU and Engine run after the stage has mounted its layers.
type Hooks struct {
	GPU      Hook
	Seal     Hook
	Storage  Hook
	Engine   Hook
	Identity Hook
	Service  Hook
}

// Deps is everything the stages touch outside their own memory.
type Deps struct {
	// Root is put in front of every path; "/" in the guest.
	Root string
	Log  *klog.Handler
	// Level is the handler's level; the runtime section may change it.
	Level *slog.LevelVar
	Now   func() time.Time

	// OpenKmsg opens the kernel log.
	OpenKmsg func() (io.Writer, error)
	Kernel   mounts.Kernel
	// InsertModule loads an open module file.
	InsertModule func(f *os.File) error
	TD           TD
	// Simulated finds the software TDX of the host, or nil. It is asked in test images alone, and where there is no TD.
	Simulated func() (Simulation, error)
	// FindDisk waits for a disk by serial, or a partition by name.
	FindDisk func(ctx context.Context, name string) (storage.Device, error)
	OpenDisk func(d storage.Device) (storage.Disk, error)
	// AttachArchive makes the archive on a verity device mountable.
	AttachArchive func(node string, bytes uint64) (*storage.View, error)
	// OpenControl opens device-mapper.
	OpenControl func() (storage.Control, error)
	Network     func(ctx context.Context, n config.Network) (netcfg.Report, error)
	// OpenPort lets connections to one TCP port in; see State.OpenPort.
	OpenPort func(port uint16) error
	Clock    func(ctx context.Context, servers []string) (clock.Result, error)
	// DebugShell offers a shell on the console until ctx ends. It finds its program below one of the folders, which are
	// the base layers' mount points. Only OfferShell calls it, with the mark of a debug image.
	DebugShell func(ctx context.Context, mark DebugMark, layers []string) error
	Hooks      Hooks
}
