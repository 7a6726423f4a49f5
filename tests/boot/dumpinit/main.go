// Command dumpinit is the only program of a machine that the boot tests start to see what firmware and kernel left
// behind: it prints files of the pseudo file systems and powers the machine off.
//
// It owns the choice of files and their form on the second console: one line a file, the path and its content in
// base64, and a last line that says the dump is whole (cocoon/tests/boot reads them). It runs as PID 1 of an initrd
// that holds nothing else but two kernel modules, trusts nothing and checks nothing: judging is the test's. It
// refuses to run as anything but PID 1, because it ends in a power-off.
package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// port is the virtio console: unlike a second serial port it adds nothing to the ACPI tables under test.
const port = "/dev/hvc0"

// Words at the start of a line; the reader has the same.
const (
	wordFile  = "FILE"
	wordError = "ERROR"
	wordDone  = "DONE"
)

// modules are loaded from the initrd when they are there; the file systems below need them.
var modules = []string{"/lib/modules/efivarfs.ko", "/lib/modules/qemu_fw_cfg.ko"} //nolint:gochecknoglobals // constant table

// mounts lists file systems by type and place.
var mounts = [][2]string{ //nolint:gochecknoglobals // constant table
	{"proc", "/proc"},
	{"sysfs", "/sys"},
	{"devtmpfs", "/dev"},
	{"securityfs", "/sys/kernel/security"},
	{"efivarfs", "/sys/firmware/efi/efivars"},
}

// patterns are the files to print; what does not exist on a machine is left out.
var patterns = []string{ //nolint:gochecknoglobals // constant table
	"/proc/cmdline",
	"/sys/kernel/security/tpm0/binary_bios_measurements",
	"/sys/class/tpm/tpm0/pcr-sha384/*",
	"/sys/firmware/dmi/tables/DMI",
	"/sys/firmware/acpi/tables/data/CCEL",
	"/sys/firmware/efi/efivars/Boot[O0-9]*",
	"/sys/firmware/efi/efivars/SecureBoot-*",
	"/sys/firmware/qemu_fw_cfg/by_name/bootorder/raw",
	"/sys/firmware/qemu_fw_cfg/by_name/etc/table-loader/raw",
	"/sys/firmware/qemu_fw_cfg/by_name/etc/acpi/*/raw",
	"/sys/firmware/qemu_fw_cfg/by_name/etc/smbios/smbios-tables/raw",
}

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "error: dumpinit powers the machine off; it runs only as PID 1 of a test's machine")
		os.Exit(2)
	}
	prepare()
	if err := dump(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "error: powering off:", err)
}

// prepare loads and mounts; what is missing afterwards is missing from the dump, which the test notices.
func prepare() {
	for _, name := range modules {
		if err := load(name); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
		}
	}
	for _, m := range mounts {
		err := os.MkdirAll(m[1], 0o755)
		if err == nil {
			err = unix.Mount(m[0], m[1], m[0], 0, "")
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "error: mounting %s: %v\n", m[1], err)
		}
	}
}

func load(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
		return fmt.Errorf("loading %s: %w", name, err)
	}
	return nil
}

// dump prints every file and then that it is done.
func dump() error {
	f, err := os.OpenFile(port, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<16)
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := write(out, name); err != nil {
				return err
			}
		}
	}
	if _, err := fmt.Fprintln(out, wordDone); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return f.Close()
}

func write(out io.Writer, name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		_, err = fmt.Fprintf(out, "%s %s %s\n", wordError, name, strings.ReplaceAll(err.Error(), "\n", " "))
		return err
	}
	_, err = fmt.Fprintf(out, "%s %s %s\n", wordFile, name, base64.StdEncoding.EncodeToString(data))
	return err
}
