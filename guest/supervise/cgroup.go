package supervise

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// Cgroups makes one cgroup v2 per service below Root. A nil *Cgroups does nothing.
type Cgroups struct {
	// Root is where cgroup2 is mounted, /sys/fs/cgroup in the guest.
	Root string
}

// Prepare enables the controllers that limits need for the children of Root.
func (c *Cgroups) Prepare() error {
	file := filepath.Join(c.Root, "cgroup.subtree_control")
	if err := os.WriteFile(file, []byte("+memory +pids"), 0); err != nil {
		return fmt.Errorf("enabling cgroup controllers: %w", err)
	}
	return nil
}

// join makes the service's group, sets its limits and arranges for the process to start inside it. The returned
// function releases the descriptor after the start.
func (c *Cgroups) join(cmd *exec.Cmd, name string, limits Limits) (release func(), err error) {
	if c == nil {
		return func() {}, nil
	}
	dir := filepath.Join(c.Root, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making cgroup: %w", err)
	}
	for _, l := range []struct {
		file  string
		value int64
	}{
		{"memory.max", limits.MemoryBytes},
		{"pids.max", limits.Pids},
	} {
		if l.value == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, l.file), strconv.AppendInt(nil, l.value, 10), 0); err != nil {
			return nil, fmt.Errorf("limiting cgroup %s: %w", name, err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening cgroup: %w", err)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(f.Fd())
	return func() { _ = f.Close() }, nil
}

// kill ends whatever the service left behind in its group. The group may be empty or gone.
func (c *Cgroups) kill(name string) {
	if c == nil {
		return
	}
	_ = os.WriteFile(filepath.Join(c.Root, name, "cgroup.kill"), []byte("1"), 0)
}

// adjustOOM sets how likely the kernel is to pick the process when memory runs out.
func adjustOOM(pid, score int) error {
	if score == 0 {
		return nil
	}
	file := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
	if err := os.WriteFile(file, strconv.AppendInt(nil, int64(score), 10), 0); err != nil {
		return fmt.Errorf("setting OOM score: %w", err)
	}
	return nil
}
