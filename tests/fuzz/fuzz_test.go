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
			if err != nil {
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
