package fuzz

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cocoon/tests/arch"
)

// minTargets is the floor of the specification (tools-and-tests.md section 9).
const minTargets = 28

func targets(t *testing.T) (string, []Target) {
	t.Helper()
	root, err := arch.Root()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Targets(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, all
}

// TestEnoughTargets: the parsers of outside bytes have their targets.
func TestEnoughTargets(t *testing.T) {
	_, all := targets(t)
	if len(all) < minTargets {
		t.Errorf("%d fuzz targets, at least %d", len(all), minTargets)
	}
	for _, want := range []string{
		"guest/config", "guest/storage", "image/deb", "image/fs", "image/initrd", "image/lock", "image/recipe",
		"image/uki", "image/verity", "measure/bootfiles", "measure/eventlog", "measure/launch/acpi", "measure/launch/gpt",
		"measure/launch/pe", "measure/launch/smbios", "measure/ovmf", "measure/spec", "measure/strictjson", "measure/tdx",
	} {
		if !slices.ContainsFunc(all, func(x Target) bool { return x.Package == want }) {
			t.Errorf("%s parses outside bytes and has no fuzz target", want)
		}
	}
}

// TestTurns runs every target for a short while; a crasher fails with go test's own report.
func TestTurns(t *testing.T) {
	if !slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "fuzz") {
		t.Skip("skipped: fuzzing runs when COCOON_TEST names fuzz (make fuzz)")
	}
	turn := os.Getenv("COCOON_FUZZTIME")
	if turn == "" {
		turn = "5s"
	}
	if _, err := time.ParseDuration(turn); err != nil {
		t.Fatalf("COCOON_FUZZTIME: %v", err)
	}
	root, all := targets(t)
	execs := regexp.MustCompile(`execs: (\d+)`)
	total := 0
	for _, x := range all {
		t.Run(x.Package+"/"+x.Name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "test", "-run", "^$", "-fuzz", "^"+x.Name+"$", "-fuzztime", turn,
				"-fuzzminimizetime", "1x", "./"+x.Package)
			cmd.Dir = root
			out, err := cmd.CombinedOutput()
			if err != nil && !TimeUp(string(out)) {
				t.Fatalf("%v\n%s", err, out)
			}
			n := 0
			for _, m := range execs.FindAllStringSubmatch(string(out), -1) {
				n, _ = strconv.Atoi(m[1])
			}
			total += n
		})
	}
	t.Logf("%d targets, %d executions", len(all), total)
}

// TestTimeUp: only a turn whose sole complaint is its own deadline counts as ended well.
func TestTimeUp(t *testing.T) {
	const began = "fuzz: elapsed: 0s, gathering baseline coverage: 33/33 completed, now fuzzing with 2 workers\n"
	for name, tc := range map[string]struct {
		output string
		want   bool
	}{
		"the coordinator's deadline": {
			began + "--- FAIL: FuzzReadEvent (4.14s)\n    context deadline exceeded\nFAIL\nexit status 1\n", true,
		},
		"a failing input": {
			began + "--- FAIL: FuzzX (0.02s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: no\n    \n" +
				"    Failing input written to testdata/fuzz/FuzzX/582528ddfad69eb5\nFAIL\n", false,
		},
		"a target whose own error is a deadline": {
			began + "--- FAIL: FuzzX (0.02s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:9: context deadline exceeded\n" +
				"    Failing input written to testdata/fuzz/FuzzX/582528ddfad69eb5\nFAIL\n", false,
		},
		"a hang": {
			began + "--- FAIL: FuzzX (4.14s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\nFAIL\n", false,
		},
		"a build failure": {"# cocoon/x\nx.go:1: undefined\nFAIL\tcocoon/x [build failed]\n", false},
		"a panic after it": {
			began + "--- FAIL: FuzzX (4.14s)\n    context deadline exceeded\npanic: boom\nFAIL\n", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := TimeUp(tc.output); got != tc.want {
				t.Errorf("TimeUp is %v", got)
			}
		})
	}
}
