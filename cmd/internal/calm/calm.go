// Package calm has a busy process wake seldom without need, and one at rest give its memory back.
//
// It owns one setting of the kernel, how late the timeouts of the process's threads may be, and the moment at which memory
// goes back to the system. It trusts nobody, reads nothing from outside, and refuses nothing: where the setting may not be
// made, by a process without CAP_SYS_NICE, threads keep what they have, and what the process was started with stays where
// it is as late or later. A service manager makes the setting for a process without rights: systemd by TimerSlackNSec=2ms.
// Call Down once, before there is work; it is for services that are waked by what arrives, not for programs that keep time.
// GiveBack runs until its context ends.
package calm

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// slack is how late a timeout of the process's threads may be. The runtime's monitor looks after the process every 20 us as
// long as anything runs in it; with the kernel's usual slack of 50 us that is about 14000 wake-ups a second, a tenth of
// what a request costs. What the monitor does (taking work from a thread that waits for a disk, preempting after 10 ms) has
// that time, and so has every timeout of a service. What arrives wakes its reader at once, as before.
const slack = 2 * time.Millisecond

// Down sets the slack of all threads of the process, whose later ones inherit it, unless the process was started with as much.
// It takes the right to do so (CAP_SYS_NICE) and a kernel that offers it. Setting it for the calling thread alone, which
// takes no right, would miss the monitor, which is a thread of its own.
func Down() {
	if own, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err == nil && time.Duration(own) >= slack {
		return
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, task := range tasks {
		_ = os.WriteFile(slackOf(task.Name()), strconv.AppendInt(nil, slack.Nanoseconds(), 10), 0) // a gain where it works
	}
}

// slackOf is where the kernel shows and takes the slack of a thread, in nanoseconds.
func slackOf(task string) string { return filepath.Join("/proc", task, "timerslack_ns") }
