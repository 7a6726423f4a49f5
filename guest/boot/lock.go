package boot

import (
	"context"
	"fmt"
	"os"
	"strings"
)

// sysctl is one kernel setting and the value it must read back.
type sysctl struct{ name, value string }

const (
	lockdownPath = "/sys/kernel/security/lockdown"
	// lockdownLevel is the kernel lockdown level; integrity keeps user space from changing kernel memory.
	lockdownLevel = "integrity"
)

// lockSysctls is the table of image.md section 5. modules_disabled and kexec_load_disabled are one-way.
func lockSysctls() []sysctl {
	return []sysctl{
		{"kernel.modules_disabled", "1"},
		{"kernel.kexec_load_disabled", "1"},
		{"kernel.dmesg_restrict", "1"},
		{"kernel.kptr_restrict", "2"},
		{"kernel.perf_event_paranoid", "3"},
		{"kernel.yama.ptrace_scope", "2"},
		{"kernel.sysrq", "0"},
		{"kernel.core_pattern", ""},
		{"vm.unprivileged_userfaultfd", "0"},
		{"kernel.io_uring_disabled", "2"},
	}
}

// runLock closes the kernel: after it no module, no other kernel, and no way for user space to change this one. It
// comes after the GPU layer, because lockdown refuses unsigned modules.
func runLock(_ context.Context, st *State) error {
	table := lockSysctls()
	for _, s := range table {
		if err := st.setSysctl(s); err != nil {
			return err
		}
	}
	st.Detail("sysctls", len(table))
	if err := os.WriteFile(st.path(lockdownPath), []byte(lockdownLevel), 0); err != nil {
		return fmt.Errorf("raising kernel lockdown: %w", err)
	}
	raw, err := st.readBounded(lockdownPath, maxBootFile)
	if err != nil {
		return err
	}
	got := strings.TrimSpace(string(raw))
	st.Detail("lockdown", got)
	if !strings.Contains(got, "["+lockdownLevel+"]") {
		return fmt.Errorf("raising kernel lockdown: it reads %q afterwards, want [%s]", got, lockdownLevel)
	}
	return nil
}

// setSysctl writes a setting and reads it back.
func (st *State) setSysctl(s sysctl) error {
	file := "/proc/sys/" + strings.ReplaceAll(s.name, ".", "/")
	// The newline makes an empty value a write: the kernel ignores writes of no bytes.
	if err := os.WriteFile(st.path(file), []byte(s.value+"\n"), 0); err != nil {
		return fmt.Errorf("setting %s: %w", s.name, err)
	}
	raw, err := st.readBounded(file, maxBootFile)
	if err != nil {
		return err
	}
	if got := strings.TrimSuffix(string(raw), "\n"); got != s.value {
		return fmt.Errorf("setting %s: it reads %q afterwards, want %q", s.name, got, s.value)
	}
	return nil
}
