package calm

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the program of a user without rights: it calms itself and says what slack it has then.
func TestMain(m *testing.M) {
	if os.Getenv("CALM") == "" {
		os.Exit(m.Run())
	}
	Down()
	own, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(own))
}

// TestASlackThatWasInheritedStays: who starts the service may have chosen a longer one, and a shorter one is replaced.
func TestASlackThatWasInheritedStays(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Skipf("the kernel shows no slack: %v", err)
	}
	set := func(d time.Duration) {
		t.Helper()
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(d.Nanoseconds()), 0, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	defer set(time.Duration(before))
	const longer = 3 * slack
	set(longer)
	Down()
	if got, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || time.Duration(got) != longer {
		t.Errorf("%s, %v, want %s", time.Duration(got), err, longer)
	}
}

// TestWithoutTheRightNothingBreaks, and what a service manager has set for the process is what it runs with.
func TestWithoutTheRightNothingBreaks(t *testing.T) {
	drop, err := exec.LookPath("setpriv")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("takes root and setpriv to give up rights")
	}
	runtime.LockOSThread() // the child inherits this thread's
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		t.Skipf("the kernel shows no slack: %v", err)
	}
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0) //nolint:errcheck // as it was
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(drop, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--reuid=65534", "--clear-groups", "/proc/self/fd/3")
	program, err := os.Open(self) // its folder is closed to others
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close() //nolint:errcheck // read side
	child.ExtraFiles = []*os.File{program}
	child.Env = []string{"CALM=yes"}
	out, err := child.CombinedOutput()
	if err != nil {
		t.Skipf("this machine does not let rights be given up: %v, %s", err, out)
	}
	want := strconv.FormatInt(slack.Nanoseconds(), 10)
	if got := strings.TrimSpace(string(out)); got != want {
		t.Errorf("%s ns, want %s", got, want)
	}
}

// TestDown: every thread that there is has the slack, where it may be set.
func TestDown(t *testing.T) {
	self := slackOf(strconv.Itoa(os.Getpid()))
	before, err := os.ReadFile(self)
	if err != nil {
		t.Skipf("the kernel shows no slack: %v", err)
	}
	if err := os.WriteFile(self, []byte(strings.TrimSpace(string(before))), 0); err != nil {
		t.Skipf("the slack may not be set: %v", err)
	}
	Down()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	want := strconv.FormatInt(slack.Nanoseconds(), 10)
	for _, task := range tasks {
		got, err := os.ReadFile(slackOf(task.Name()))
		if err != nil { // a thread may end
			continue
		}
		if s := strings.TrimSpace(string(got)); s != want {
			t.Errorf("thread %s: %s ns, want %s", task.Name(), s, want)
		}
	}
}
