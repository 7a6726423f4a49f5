// Command readinit is the only program of a machine that compares the forms of a model: it opens each volume as the
// guest does, reads it in the ways that engines read, prints the times and powers the machine off.
//
// It owns the ways of reading and their report on the second console, in the lines that cocoon/tests/boot reads of
// dumpinit. Opening is guest/storage's, so what is timed is what a worker has. It runs as PID 1 of an initrd with the
// modules and a list of volumes, trusts both, and judges nothing: that is the test's. It refuses to run as anything but
// PID 1, because it ends in a power-off.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/guest/mounts"
	"cocoon/guest/storage"
)

const (
	// port is the virtio console; the words are dumpinit's.
	port      = "/dev/hvc0"
	wordFile  = "FILE"
	wordError = "ERROR"
	wordDone  = "DONE"

	// volumesFile lists the volumes, modulesFile the modules in order.
	volumesFile = "/volumes.json"
	modulesFile = "/modules"
	// result is the name of the report.
	result = "result.json"
	// diskWait bounds the wait for a disk.
	diskWait = 10 * time.Second
	// large is the name of the file that is timed; header what is read of a file's begin.
	large  = "large.bin"
	header = 4096
	// smallReads alternate between the begin and the middle of the large file.
	smallReads = 80
)

// Report is what was seen of one volume.
type Report struct {
	// Files are SHA-256 in hex by path.
	Files map[string]string `json:"files"`
	// Millis are wall times by way of reading; Members counts what the archive's index has.
	Millis  map[string]float64 `json:"millis"`
	Members int                `json:"members"`
}

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "error: readinit powers the machine off; it runs only as PID 1 of a test's machine")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "error: powering off:", err)
}

func run() error {
	if err := prepare(); err != nil {
		return err
	}
	out, err := os.OpenFile(port, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close() //nolint:errcheck // the console
	reports, err := compare()
	if err != nil {
		_, err = fmt.Fprintf(out, "%s %s %s\n%s\n", wordError, result, strings.ReplaceAll(err.Error(), "\n", " "), wordDone)
		return err
	}
	text, err := json.Marshal(reports)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s %s %s\n%s\n", wordFile, result, base64.StdEncoding.EncodeToString(text), wordDone)
	return err
}

// prepare mounts what is needed and loads the modules.
func prepare() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m[1], 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m[1], err)
		}
	}
	order, err := os.ReadFile(modulesFile)
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(order)) {
		f, err := os.Open(filepath.Join("/lib/modules", name))
		if err != nil {
			return err
		}
		if err := errors.Join(unix.FinitModule(int(f.Fd()), "", 0), f.Close()); err != nil {
			return fmt.Errorf("loading %s: %w", name, err)
		}
	}
	return nil
}

// compare opens, reads and closes every volume.
func compare() (map[string]Report, error) {
	text, err := os.ReadFile(volumesFile)
	if err != nil {
		return nil, err
	}
	var volumes []storage.Volume
	if err := json.Unmarshal(text, &volumes); err != nil {
		return nil, err
	}
	control, err := storage.OpenControl()
	if err != nil {
		return nil, err
	}
	opener := storage.Opener{
		Find: storage.Finder{Sys: os.DirFS("/sys")}.Find, Control: control, Kernel: mounts.Linux{}, Attach: storage.AttachArchive,
		Read: func(d storage.Device) (storage.Disk, error) { return storage.OpenDevice(d) },
	}
	reports := make(map[string]Report)
	for _, v := range volumes {
		ctx, cancel := context.WithTimeout(context.Background(), diskWait)
		began := time.Now()
		opened, err := opener.Open(ctx, v)
		cancel()
		if err != nil {
			return nil, err
		}
		r := Report{Files: make(map[string]string), Millis: map[string]float64{"open": millis(began)}, Members: opened.Members}
		if err := r.read(v.Mount); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name, err)
		}
		reports[v.Name] = r
		if err := unix.Unmount(v.Mount, 0); err != nil {
			return nil, fmt.Errorf("unmounting %s: %w", v.Mount, err)
		}
		if err := storage.Remove(control, v.Name); err != nil { // nothing holds the device any more: no loop device, no file
			return nil, err
		}
	}
	return reports, nil
}

func millis(began time.Time) float64 { return float64(time.Since(began).Microseconds()) / 1000 }

// read hashes every file and times the ways of reading the large one, each with nothing cached but the last.
func (r Report) read(dir string) error {
	large := filepath.Join(dir, large)
	for _, way := range []struct {
		name string
		do   func(string) error
		warm bool
	}{
		{"sequential", sequential, false},
		{"mmap backward", mapped, false},
		{"backward in 1 MiB", backwards, false},
		{"80 small reads", small, false},
		{"sequential, cached", sequential, true},
	} {
		if !way.warm {
			if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
				return err
			}
		} else if err := sequential(large); err != nil {
			return err
		}
		began := time.Now()
		if err := way.do(large); err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		r.Millis[way.name] = millis(began)
	}
	files := os.DirFS(dir)
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // read side
		h := sha256.New()
		_, err = io.Copy(h, f)
		r.Files[name] = hex.EncodeToString(h.Sum(nil))
		return err
	})
}

// pieces reads the file in pieces of a size, at the offsets that next gives until it is negative.
func pieces(name string, size int64, next func(i, total int64) int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	st, err := f.Stat()
	if err != nil {
		return err
	}
	b := make([]byte, size)
	for i := int64(0); ; i++ {
		at := next(i, st.Size())
		if at < 0 {
			return nil
		}
		if _, err := f.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}

const mebi = 1 << 20

func sequential(name string) error {
	return pieces(name, mebi, func(i, total int64) int64 {
		if i*mebi >= total {
			return -1
		}
		return i * mebi
	})
}

func backwards(name string) error {
	return pieces(name, mebi, func(i, total int64) int64 { return total/mebi*mebi - (i+1)*mebi })
}

func small(name string) error {
	return pieces(name, header, func(i, total int64) int64 {
		if i == smallReads {
			return -1
		}
		return i%2*(total/2) + i*header
	})
}

// mapped touches every page from the last to the first.
func mapped(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	st, err := f.Stat()
	if err != nil {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	sum := byte(0)
	for at := len(data) - 1; at >= 0; at -= 4096 {
		sum ^= data[at]
	}
	if sum == 0 && len(data) == 0 {
		return errors.New("the file is empty")
	}
	return unix.Munmap(data)
}
