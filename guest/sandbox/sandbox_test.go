package sandbox

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestMain lets the test binary play the guest binary: it is re-executed for the second and third step.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case EnterVerb:
			code, err := Enter(slog.New(slog.NewTextHandler(os.Stderr, nil)))
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			os.Exit(code)
		case ExecVerb:
			fmt.Fprintln(os.Stderr, Exec())
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func valid() Spec {
	return Spec{
		Name: "engine", Lower: []string{"/run/layers/engine"}, ScratchBytes: 16 << 20,
		Binds: []Bind{{Source: "/run/model", Target: "/model"}, {Source: "/run/sock", Target: SocketDir, Writable: true}},
		UID:   2000, GID: 2000, Dir: "/", Argv: []string{"/usr/bin/engine"}, Env: []string{"A=b"}, MaxFiles: 1024,
	}
}

// TestSpecRules: each rule refuses by the field's name; the valid description passes.
func TestSpecRules(t *testing.T) {
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		spoil func(*Spec)
		want  string
	}{
		"root user":         {func(s *Spec) { s.UID = 0 }, "uid"},
		"system group":      {func(s *Spec) { s.GID = 100 }, "gid"},
		"no layer":          {func(s *Spec) { s.Lower = nil }, "lower"},
		"option injection":  {func(s *Spec) { s.Lower = []string{"/a,upperdir=/etc"} }, "lower[0]"},
		"relative layer":    {func(s *Spec) { s.Lower = []string{"a"} }, "lower[0]"},
		"writable model":    {func(s *Spec) { s.Binds[0].Writable = true }, "binds[0]"},
		"bind over proc":    {func(s *Spec) { s.Binds[0].Target = "/proc/sys" }, "binds[0]"},
		"bind over root":    {func(s *Spec) { s.Binds[0].Target = "/" }, "binds[0]"},
		"dotted bind":       {func(s *Spec) { s.Binds[0].Source = "/run/../etc" }, "binds[0]"},
		"quote device":      {func(s *Spec) { s.Devices = []Device{{"/dev/tdx_guest", 10, 1}} }, "never allowed"},
		"vsock device":      {func(s *Spec) { s.Devices = []Device{{"/dev/vsock", 10, 1}} }, "never allowed"},
		"device elsewhere":  {func(s *Spec) { s.Devices = []Device{{"/tmp/null", 1, 3}} }, "devices[0]"},
		"relative program":  {func(s *Spec) { s.Argv = []string{"engine"} }, "argv"},
		"no program":        {func(s *Spec) { s.Argv = nil }, "argv"},
		"environment":       {func(s *Spec) { s.Env = []string{"A"} }, "env[0]"},
		"tiny scratch":      {func(s *Spec) { s.ScratchBytes = 1 }, "scratchBytes"},
		"forward outside":   {func(s *Spec) { s.Forward = &Forward{SocketDir + "/e.sock", "192.0.2.1:80"} }, "forward"},
		"forward elsewhere": {func(s *Spec) { s.Forward = &Forward{"/tmp/e.sock", "127.0.0.1:80"} }, "forward"},
		"forward no port":   {func(s *Spec) { s.Forward = &Forward{SocketDir + "/e.sock", "127.0.0.1:0"} }, "forward"},
		"name with a slash": {func(s *Spec) { s.Name = "a/b" }, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			s := valid()
			tc.spoil(&s)
			if err := s.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Validate = %v, want %q", err, tc.want)
			}
			if _, err := Command("/init", s); err == nil {
				t.Fatal("Command accepted what Validate refuses")
			}
		})
	}
}

// call is one system call as the filter sees it.
type call struct {
	arch uint32
	nr   uint32
	args [6]uint64
}

// verdict runs the filter in x/net/bpf's interpreter, which reads words big-endian.
func verdict(t *testing.T, vm *bpf.VM, c call) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNr:], c.nr)
	binary.BigEndian.PutUint32(data[offArch:], c.arch)
	for i, a := range c.args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(a>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

// TestFilter: the verdict of every rule, and that the rest of the table is refused.
func TestFilter(t *testing.T) {
	prog, err := program()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	x86 := uint32(unix.AUDIT_ARCH_X86_64)
	for name, tc := range map[string]struct {
		call call
		want uint32
	}{
		"read":                {call{x86, unix.SYS_READ, [6]uint64{}}, actAllow},
		"mount":               {call{x86, unix.SYS_MOUNT, [6]uint64{}}, actEPERM},
		"move_mount":          {call{x86, unix.SYS_MOVE_MOUNT, [6]uint64{}}, actEPERM},
		"open_by_handle_at":   {call{x86, unix.SYS_OPEN_BY_HANDLE_AT, [6]uint64{}}, actEPERM},
		"process_vm_readv":    {call{x86, unix.SYS_PROCESS_VM_READV, [6]uint64{}}, actEPERM},
		"clock_settime":       {call{x86, unix.SYS_CLOCK_SETTIME, [6]uint64{}}, actEPERM},
		"clone thread":        {call{x86, unix.SYS_CLONE, [6]uint64{unix.CLONE_VM | unix.CLONE_THREAD}}, actAllow},
		"clone user ns":       {call{x86, unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWUSER}}, actEPERM},
		"clone net ns":        {call{x86, unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWNET | unix.CLONE_VM}}, actEPERM},
		"clone3":              {call{x86, unix.SYS_CLONE3, [6]uint64{}}, actNosys},
		"unix socket":         {call{x86, unix.SYS_SOCKET, [6]uint64{unix.AF_UNIX}}, actAllow},
		"vsock":               {call{x86, unix.SYS_SOCKET, [6]uint64{unix.AF_VSOCK}}, actEPERM},
		"packet":              {call{x86, unix.SYS_SOCKET, [6]uint64{unix.AF_PACKET}}, actEPERM},
		"netlink route":       {call{x86, unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, 3, unix.NETLINK_ROUTE}}, actAllow},
		"netlink audit":       {call{x86, unix.SYS_SOCKET, [6]uint64{unix.AF_NETLINK, 3, unix.NETLINK_AUDIT}}, actEPERM},
		"personality default": {call{x86, unix.SYS_PERSONALITY, [6]uint64{0xffffffff}}, actAllow},
		"personality change":  {call{x86, unix.SYS_PERSONALITY, [6]uint64{0x0040000}}, actEPERM},
		"ioctl TIOCSTI":       {call{x86, unix.SYS_IOCTL, [6]uint64{1, unix.TIOCSTI}}, actEPERM},
		"ioctl other":         {call{x86, unix.SYS_IOCTL, [6]uint64{1, unix.TCGETS}}, actAllow},
		"newer than known":    {call{x86, newestKnownCall + 1, [6]uint64{}}, actNosys},
		"x32":                 {call{x86, x32Bit | unix.SYS_READ, [6]uint64{}}, actKill},
		"i386":                {call{unix.AUDIT_ARCH_I386, 3, [6]uint64{}}, actKill},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verdict(t, vm, tc.call); got != tc.want {
				t.Fatalf("verdict %#x, want %#x", got, tc.want)
			}
		})
	}
	allowed := map[uint32]bool{}
	for _, nr := range allowedCalls() {
		if allowed[nr] {
			t.Errorf("call %d is listed twice", nr)
		}
		allowed[nr] = true
	}
	for _, r := range argRules() {
		allowed[r.nr] = true
	}
	for nr := uint32(0); nr <= newestKnownCall; nr++ {
		if got := verdict(t, vm, call{arch: x86, nr: nr}); !allowed[nr] && got != actEPERM {
			t.Errorf("call %d is not in the table and gets %#x", nr, got)
		}
	}
}

// TestConfinement runs a probe in place of the engine and holds every refusal against what is expected.
func TestConfinement(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: making namespaces and mounts needs root")
	}
	dir := t.TempDir()
	layer, model, sock := filepath.Join(dir, "layer"), filepath.Join(dir, "model"), filepath.Join(dir, "sock")
	for _, d := range []string{filepath.Join(layer, "usr/bin"), model, sock} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(sock, 2000, 2000); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(layer, "usr/bin/engine"), "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the probe: %v\n%s", err, out)
	}
	spec := valid()
	spec.Lower = []string{layer}
	spec.Binds = []Bind{{Source: model, Target: "/model"}, {Source: sock, Target: SocketDir, Writable: true}}
	got := runProbe(t, spec)
	for key, want := range map[string]string{
		"mount": "operation not permitted", "umount": "operation not permitted", "pivot_root": "operation not permitted",
		"chroot": "operation not permitted", "unshare": "operation not permitted", "setns": "operation not permitted",
		"ptrace": "operation not permitted", "bpf": "operation not permitted", "io_uring_setup": "operation not permitted",
		"userfaultfd": "operation not permitted", "keyctl": "operation not permitted", "finit_module": "operation not permitted",
		"kexec_load": "operation not permitted", "reboot": "operation not permitted", "clone3": "function not implemented",
		"clone_newuser": "operation not permitted", "setuid_root": "operation not permitted", "future_call": "function not implemented",
		"socket_vsock": "operation not permitted", "socket_packet": "operation not permitted", "socket_alg": "operation not permitted",
		"socket_audit": "operation not permitted", "socket_unix": "ok", "socket_inet": "ok",
		"open /dev/tdx_guest": "no such file or directory", "open /dev/vsock": "no such file or directory",
		"open /dev/mem": "no such file or directory", "open /sys/kernel": "no such file or directory",
		"open /sys/class/misc": "no such file or directory", "open /sys/devices/system/cpu/online": "ok",
		"open /init": "no such file or directory", "open /dev/null": "ok",
		"connect outside": "network is unreachable", "connect loopback": "connection refused",
		"write root": "ok", "write proc sys": "refused", "write model": "refused",
		"CapEff": "0000000000000000", "CapPrm": "0000000000000000", "CapBnd": "0000000000000000", "CapAmb": "0000000000000000",
		"NoNewPrivs": "1", "Seccomp": "2", "Uid": "2000 2000 2000 2000", "Gid": "2000 2000 2000 2000", "Groups": "",
		"pid": "small", "env": "A=b", "dev": "full null random shm urandom zero", "hostname": "engine",
	} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
	for target := range strings.FieldsSeq(got["fds"]) {
		// stdio, the runtime's poller and the folder being read are the probe's own.
		if own := strings.HasPrefix(target, "pipe:") || strings.HasPrefix(target, "anon_inode:") ||
			target == "/dev/null" || strings.HasPrefix(target, "/proc/"); !own && strings.ContainsAny(target, "/:") {
			t.Errorf("descriptor to %s was inherited (%s)", target, got["fds"])
		}
	}
}

func runProbe(t *testing.T, spec Spec) map[string]string {
	t.Helper()
	cmd, err := Command("/proc/self/exe", spec)
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Skipf("skipped: this machine does not let a process make namespaces: %v", err)
	}
	killer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("probe: %v\n%s%s", err, out.String(), errs.String())
	}
	var got map[string]string
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("probe printed %q: %v", out.String(), err)
	}
	return got
}

// TestExitStatus: the engine's exit status reaches the supervisor, and a missing program is an error.
func TestExitStatus(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: making namespaces and mounts needs root")
	}
	spec := valid()
	spec.Lower = []string{t.TempDir()}
	spec.Binds = nil
	cmd, err := Command("/proc/self/exe", spec)
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Skipf("skipped: this machine does not let a process make namespaces: %v", err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(errs.String(), "executing /usr/bin/engine") {
		t.Fatalf("a missing engine ended with %v: %s", err, errs.String())
	}
}

// FuzzSpec: no document panics, and what is accepted keeps the rules.
func FuzzSpec(f *testing.F) {
	good, err := valid().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, s := range []string{"{}", `{"uid":0}`, `{"name":"a","name":"b"}`, `{"binds":[{"target":"/"}]}`, "[]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ReadSpec(bytes.NewReader(data))
		if err == nil && (s.UID == 0 || len(s.Argv) == 0) {
			t.Fatalf("accepted %q", data)
		}
	})
}
