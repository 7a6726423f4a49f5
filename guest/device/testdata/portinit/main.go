// Command portinit is PID 1 of the machine in which the serial port is tested: it asks the software TDX of its host for
// one of everything, prints what came of it on the console and powers the machine off.
//
// It owns the questions; the answers are compared by the test outside. It trusts everything and refuses to run as
// anything but PID 1, because it ends in a power-off.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/guest/device"
	"cocoon/guest/rtmr"
	"cocoon/measure/simtd"
)

func main() {
	if os.Getpid() != 1 {
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintf(os.Stdout, "portinit: error: %v\n", err)
	}
	cancel()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func run(ctx context.Context, out io.Writer) error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := errors.Join(os.MkdirAll(m[1], 0o755), unix.Mount(m[0], m[1], m[0], 0, "")); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mounting %s: %w", m[1], err)
		}
	}
	address, err := simtd.ParseAddress("port:org.cocoon.simtd")
	if err != nil {
		return err
	}
	s := device.NewSimulated(address)
	value, err := rtmr.NewLog(s, io.Discard).Extend("cocoon:tdx_inited")
	if err != nil {
		return err
	}
	quote, err := s.Quote(ctx, [64]byte{1, 2, 3})
	if err != nil {
		return err
	}
	log, err := s.EventLog(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "portinit: rtmr3 %s log %d\nportinit: quote %x\n", value, len(log), quote)
	return s.Close()
}
