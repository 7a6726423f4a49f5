package clitest

import (
	"os"
	"strings"
	"testing"

	"cocoon/cmd/internal/cli"
)

// TestAComplaintIsHeldToEveryRule: what each rule is there for is seen.
func TestAComplaintIsHeldToEveryRule(t *testing.T) {
	p := Program{Error: "x: error: ", Hint: "x: hint: "}
	for name, tc := range map[string]struct {
		answer Answer
		want   string
	}{
		"good":       {Answer{cli.ExitUsage, "", "x: error: bad\nx: hint: do y\n"}, ""},
		"success":    {Answer{cli.ExitOK, "", "x: error: bad\n"}, "exit code 0"},
		"killed":     {Answer{137, "", "x: error: bad\n"}, "exit code 137"},
		"silent":     {Answer{cli.ExitError, "", ""}, "no error on stderr"},
		"noise":      {Answer{cli.ExitError, "", "note\nx: error: bad\n"}, "no error on stderr"},
		"twice":      {Answer{cli.ExitError, "", "x: error: bad\nx: error: bad\n"}, "more than one error"},
		"stack":      {Answer{cli.ExitError, "", "x: error: bad\ngoroutine 1 [running]:\n"}, "a stack"},
		"three ways": {Answer{cli.ExitError, "", "x: error: bad\n" + strings.Repeat("x: hint: do y\n", 3)}, "more than two hints"},
	} {
		err := p.Complaint(tc.answer)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestInputsAreWhatTheySay: a table of wrong files with a good one in it would hold nobody to anything.
func TestInputsAreWhatTheySay(t *testing.T) {
	inputs := Inputs(t)
	for kind, name := range inputs {
		info, err := os.Stat(name)
		switch kind {
		case "missing":
			if !os.IsNotExist(err) {
				t.Errorf("%s: %v", kind, err)
			}
		case "folder":
			if err != nil || !info.IsDir() {
				t.Errorf("%s: %v", kind, err)
			}
		case "endless":
			if err != nil || info.Mode().IsRegular() {
				t.Errorf("%s: %v", kind, err)
			}
		default:
			if err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s: %v", kind, err)
			}
		}
	}
	if len(inputs) < 10 {
		t.Errorf("%d inputs", len(inputs))
	}
}
