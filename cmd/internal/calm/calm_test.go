package calm

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

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
