package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lastCapability is probed upwards to here; Linux 6.18 has 41.
const lastCapability = 63

// Exec is the third step: it gives everything away and becomes the engine. It returns only on error.
//
// Capabilities, ids and filters belong to threads in Linux; everything happens on one locked thread, and the exec that
// follows makes that thread the whole process.
func Exec() error {
	spec, err := ReadSpec(os.NewFile(specFD, "spec"))
	if err != nil {
		return err
	}
	filter, err := assemble()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	for _, s := range []struct {
		what string
		do   func() error
	}{
		{"changing root", func() error { return unix.Chroot(".") }},
		{"entering working folder", func() error { return unix.Chdir(spec.Dir) }},
		{"limiting resources", func() error { return limit(spec) }},
		{"dropping bounding set", dropBounding},
		{"changing user", func() error { return become(spec.UID, spec.GID) }},
		{"dropping capabilities", dropCapabilities},
		{"setting no_new_privs", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"closing descriptors", func() error { return unix.CloseRange(specFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) }},
		{"installing system call filter", func() error { return install(filter) }},
	} {
		if err := s.do(); err != nil {
			return fmt.Errorf("confining engine: %s: %w", s.what, err)
		}
	}
	return fmt.Errorf("executing %s: %w", spec.Argv[0], unix.Exec(spec.Argv[0], spec.Argv, spec.Env))
}

func limit(spec Spec) error {
	unix.Umask(0o007)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: spec.MaxFiles, Max: spec.MaxFiles})
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	// Raising the hard limit needs a privilege that containers lack; what is allowed then is the hard limit.
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: now.Max, Max: now.Max})
}

func dropBounding() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	for c := uintptr(0); c <= lastCapability; c++ {
		if has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); err != nil || has == 0 {
			continue // the kernel has no such capability
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// become changes ids with raw calls: the library's wrappers act on all threads of a runtime that is about to go.
func become(uid, gid uint32) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return errno
	}
	return nil
}

func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

func install(filter []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}                                              //nolint:gosec // about 600 instructions
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))) //nolint:gosec // the system call takes a pointer
	runtime.KeepAlive(filter)
	if errno != 0 {
		return errno
	}
	return nil
}
