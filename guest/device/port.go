package device

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cocoon/measure/simtd"
)

const (
	// portClass is where the kernel describes virtio-serial ports (Linux, drivers/char/virtio_console.c).
	portClass = "sys/class/virtio-ports"
	// maxPorts bounds the ports that are looked at; QEMU's bus has 31.
	maxPorts = 64
)

// portNode finds the device node of a port below root. udev makes links of the ports' names; without it, the name is
// looked for in sysfs, where the host's choice of it is shown.
func portNode(root, path string) (string, error) {
	node := filepath.Join(root, path)
	_, err := os.Stat(node)
	if err == nil || !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) != simtd.PortDir {
		return node, err
	}
	ports, err := os.ReadDir(filepath.Join(root, portClass))
	if err != nil {
		return "", fmt.Errorf("looking for serial port %s: %w", filepath.Base(path), err)
	}
	for _, p := range ports[:min(len(ports), maxPorts)] {
		name, err := os.ReadFile(filepath.Join(root, portClass, p.Name(), "name"))
		if err == nil && strings.TrimSpace(string(name)) == filepath.Base(path) {
			return filepath.Join(root, "dev", p.Name()), nil
		}
	}
	return "", fmt.Errorf("looking for serial port %s: %w among the %d of this machine", filepath.Base(path), fs.ErrNotExist, len(ports))
}

// HasPort reports whether this machine has the virtio-serial port with the name.
func HasPort(name string) (bool, error) {
	_, err := portNode("/", filepath.Join(simtd.PortDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
