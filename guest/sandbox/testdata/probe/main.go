// Command probe stands in for an engine and reports what it can and cannot do.
package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

func errname(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := err.(syscall.Errno); ok {
		return e.Error()
	}
	return err.Error()
}

func raw(nr, a, b, c uintptr) string {
	_, _, e := syscall.RawSyscall(nr, a, b, c)
	if e == 0 {
		return "ok"
	}
	return e.Error()
}

func open(name string) string {
	f, err := os.Open(name)
	if err == nil {
		f.Close()
		return "ok"
	}
	return strings.TrimPrefix(err.Error(), "open "+name+": ")
}

func status(key string) string {
	data, _ := os.ReadFile("/proc/self/status")
	for _, l := range strings.Split(string(data), "\n") {
		if v, ok := strings.CutPrefix(l, key+":"); ok {
			return strings.Join(strings.Fields(v), " ")
		}
	}
	return "absent"
}

func entries(dir string) string {
	es, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, e := range es {
		name := e.Name()
		if target, err := os.Readlink(dir + "/" + name); err == nil {
			name = target
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func main() {
	out := map[string]string{"fds": entries("/proc/self/fd")}
	dot, _ := syscall.BytePtrFromString(".")
	p := uintptr(unsafe.Pointer(dot))
	for name, c := range map[string][4]uintptr{
		"mount":          {165, p, p, 0},
		"umount":         {166, p, 0, 0},
		"pivot_root":     {155, p, p, 0},
		"chroot":         {161, p, 0, 0},
		"unshare":        {272, syscall.CLONE_NEWUSER, 0, 0},
		"setns":          {308, 0, 0, 0},
		"ptrace":         {101, 0, 0, 0},
		"bpf":            {321, 0, 0, 0},
		"io_uring_setup": {425, 1, 0, 0},
		"userfaultfd":    {323, 0, 0, 0},
		"keyctl":         {250, 0, 0, 0},
		"finit_module":   {313, 0, p, 0},
		"kexec_load":     {246, 0, 0, 0},
		"reboot":         {169, 0, 0, 0},
		"clone3":         {435, 0, 0, 0},
		"clone_newuser":  {56, syscall.CLONE_NEWUSER, 0, 0},
		"setuid_root":    {105, 0, 0, 0},
		"future_call":    {600, 0, 0, 0},
		"socket_vsock":   {41, 40, 1, 0},
		"socket_packet":  {41, 17, 3, 0},
		"socket_alg":     {41, 38, 5, 0},
		"socket_audit":   {41, 16, 3, 9},
		"socket_unix":    {41, 1, 1, 0},
		"socket_inet":    {41, 2, 1, 0},
	} {
		out[name] = raw(c[0], c[1], c[2], c[3])
	}
	for _, f := range []string{"/dev/tdx_guest", "/dev/vsock", "/dev/mem", "/sys/kernel", "/sys/class/misc", "/sys/devices/system/cpu/online", "/init", "/dev/null"} {
		out["open "+f] = open(f)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		out["connect outside"] = errname(syscall.Connect(fd, &syscall.SockaddrInet4{Port: 80, Addr: [4]byte{192, 0, 2, 1}}))
		out["connect loopback"] = errname(syscall.Connect(fd, &syscall.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}))
	}
	out["write root"] = errname(os.WriteFile("/run/engine/out", nil, 0o600))
	out["write sys"] = raw(83, p, 0o700, 0) // mkdir "." is refused anyway
	if err := os.WriteFile("/proc/sys/kernel/hostname", []byte("x"), 0o600); err != nil {
		out["write proc sys"] = "refused"
	}
	if err := os.WriteFile("/model/x", nil, 0o600); err != nil {
		out["write model"] = "refused"
	}
	for _, k := range []string{"CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups"} {
		out[k] = status(k)
	}
	out["pid"] = map[bool]string{true: "small", false: "large"}[os.Getpid() < 100]
	out["env"] = strings.Join(os.Environ(), " ")
	out["dev"] = entries("/dev")
	host, _ := os.Hostname()
	out["hostname"] = host
	_ = json.NewEncoder(os.Stdout).Encode(out)
}
