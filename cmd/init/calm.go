package main

import (
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// slack is how late a timeout of a busy role's threads may be. The runtime's monitor looks after the process every 20 us as
// long as anything runs in it; with the kernel's usual slack of 50 us that is about 14000 wake-ups a second, a tenth of
// what a request costs. What the monitor does (taking work from a thread that waits for a disk, preempting after 10 ms) has
// that time, and so has every timeout of a role. What arrives wakes its reader at once, as before.
const slack = 500 * time.Microsecond

// calm sets the slack of all threads of the process, whose later ones inherit it. Without the right to do so (CAP_SYS_NICE),
// or a kernel that offers it, everything stays as it is.
func calm() {
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
