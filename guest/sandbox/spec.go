package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"cocoon/measure/strictjson"
)

const (
	// maxSpecBytes bounds the document passed between the steps.
	maxSpecBytes = 256 << 10
	// minUID is the first uid that is not a system account.
	minUID = 1000
	// SocketDir is where the engine's unix socket lives, inside the sandbox.
	SocketDir = "/run/engine"
)

// Spec is everything the confinement of one engine depends on.
type Spec struct {
	// Name becomes the host name inside; it also names the scratch folder.
	Name string `json:"name"`
	// Lower lists the layer folders of the root file system, the topmost first.
	Lower []string `json:"lower"`
	// ScratchBytes bounds the tmpfs above the layers, /tmp and /dev/shm each.
	ScratchBytes int64 `json:"scratchBytes"`
	// Binds are folders made visible inside.
	Binds []Bind `json:"binds"`
	// Devices are character devices beyond null, zero, full, random and urandom.
	Devices []Device `json:"devices"`
	// UID and GID are the engine's; never 0.
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
	// Dir is the working folder inside.
	Dir string `json:"dir"`
	// Argv and Env start the engine; Argv[0] is an absolute path inside.
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
	// MaxFiles bounds open files.
	MaxFiles uint64 `json:"maxFiles"`
	// Forward is for an engine that listens on TCP.
	Forward *Forward `json:"forward,omitempty"`
}

// Bind makes Source (outside) visible at Target (inside).
type Bind struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	Writable bool   `json:"writable"`
}

// Device is a character device node inside.
type Device struct {
	Path  string `json:"path"`
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
}

var nameRule = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// forbiddenDevices may never appear inside, whatever the caller says: they make quotes, reach the host or memory.
func forbiddenDevices() []string {
	return []string{"tdx_guest", "vsock", "vhost-vsock", "mem", "kmsg", "port", "kvm", "mapper", "fuse", "tpm", "hvc", "ttyS", "vport", "virtio-ports"}
}

// Validate returns every broken rule.
func (s Spec) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(nameRule.MatchString(s.Name), "name: %q does not match %s", s.Name, nameRule)
	check(len(s.Lower) > 0, "lower: no layer")
	check(s.ScratchBytes >= 1<<20, "scratchBytes: %d is below 1 MiB", s.ScratchBytes)
	check(s.UID >= minUID && s.GID >= minUID, "uid, gid: %d, %d are below %d", s.UID, s.GID, minUID)
	check(clean(s.Dir), "dir: %q is not a clean absolute path", s.Dir)
	check(len(s.Argv) > 0 && clean(s.Argv[0]), "argv: the program is not a clean absolute path")
	check(s.MaxFiles >= 64, "maxFiles: %d is below 64", s.MaxFiles)
	for i, l := range s.Lower {
		// ':' and ',' separate overlay options; a layer path never has them.
		check(clean(l) && !strings.ContainsAny(l, ":,\\"), "lower[%d]: %q is not a clean absolute path", i, l)
	}
	for i, b := range s.Binds {
		check(clean(b.Source) && clean(b.Target), "binds[%d]: %q on %q are not clean absolute paths", i, b.Source, b.Target)
		check(!b.Writable || b.Target == SocketDir, "binds[%d]: only %s may be writable", i, SocketDir)
		check(!reserved(b.Target), "binds[%d]: %q would hide a folder of the sandbox", i, b.Target)
	}
	for i, d := range s.Devices {
		check(clean(d.Path) && strings.HasPrefix(d.Path, "/dev/"), "devices[%d]: %q is not below /dev", i, d.Path)
		for _, bad := range forbiddenDevices() {
			check(!strings.HasPrefix(strings.TrimPrefix(d.Path, "/dev/"), bad), "devices[%d]: %q is never allowed", i, d.Path)
		}
	}
	for i, e := range s.Env {
		check(strings.Contains(e, "=") && !strings.Contains(e, "\x00"), "env[%d]: not NAME=value", i)
	}
	if err := errors.Join(append(errs, s.Forward.check())...); err != nil {
		return fmt.Errorf("sandbox %q: %w", s.Name, err)
	}
	return nil
}

func clean(p string) bool {
	return path.IsAbs(p) && path.Clean(p) == p && !strings.Contains(p, "\x00")
}

func reserved(target string) bool {
	for _, r := range []string{"/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/bin"} {
		if target == r || strings.HasPrefix(target, r+"/") {
			return true
		}
	}
	return target == "/"
}

func (s Spec) encode() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// ReadSpec reads the document a parent step wrote to the inherited descriptor.
func ReadSpec(r io.Reader) (Spec, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSpecBytes+1))
	if err != nil {
		return Spec{}, fmt.Errorf("reading sandbox description: %w", err)
	}
	if len(data) > maxSpecBytes {
		return Spec{}, fmt.Errorf("reading sandbox description: over %d bytes", maxSpecBytes)
	}
	var s Spec
	if err := strictjson.Decode(data, &s); err != nil {
		return Spec{}, fmt.Errorf("reading sandbox description: %w", err)
	}
	return s, s.Validate()
}
