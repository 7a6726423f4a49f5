// Package clitest holds commands to what cmd/README.md promises of every verb: exit codes, one error that names its input,
// a next step, bounded reading, and no result that got lost.
//
// It owns what stands where a file should be and the rules for a complaint; what a command line means belongs to the tests
// that write it. It trusts those. A Program may be used concurrently if its Run may. It refuses nothing by itself: it fails
// tests. Only tests import it.
package clitest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cocoon/cmd/internal/cli"
)

// maxHints is how many next steps are read.
const maxHints = 2

// Answer is how a command did.
type Answer struct {
	Code        int
	Out, ErrOut string
}

// Program is a command that runs in the test's process.
type Program struct {
	// Error and Hint begin the lines of an error and of a next step.
	Error, Hint string
	// Run runs a command line for a user whose folders are below home; with an empty one the user has none.
	Run func(home string, words ...string) Answer
}

// Complaint says what is wrong with how a command complained, if it did not do so as every command must.
func (p Program) Complaint(a Answer) error {
	switch {
	case !slices.Contains([]int{cli.ExitError, cli.ExitUsage, cli.ExitDifference, cli.ExitPrerequisite}, a.Code):
		return fmt.Errorf("exit code %d", a.Code)
	case !strings.HasPrefix(a.ErrOut, p.Error):
		return errors.New("no error on stderr")
	case strings.Count(a.ErrOut, p.Error) != 1:
		return errors.New("more than one error on stderr")
	case strings.Contains(a.ErrOut, "goroutine "):
		return errors.New("a stack on stderr")
	case strings.Count(a.ErrOut, p.Hint) > maxHints:
		return errors.New("more than two hints")
	}
	return nil
}

// Refuses runs a command line that is wrong in itself: a usage error, and nothing on stdout.
func (p Program) Refuses(t *testing.T, what string, words ...string) {
	t.Helper()
	a := p.Run(t.TempDir(), words...)
	if err := p.Complaint(a); a.Code != cli.ExitUsage || err != nil || a.Out != "" {
		t.Errorf("%s, wrong %s: exit code %d, %v, stdout %q\n%s", strings.Join(words[:min(len(words), 4)], " "), what, a.Code, err, a.Out, a.ErrOut)
	}
}

// Inputs are what stands where a file should be, by what is wrong with it.
func Inputs(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	out := map[string]string{"missing": filepath.Join(dir, "missing"), "folder": filepath.Join(dir, "folder"), "endless": "/dev/zero"}
	if err := os.Mkdir(out["folder"], 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "binary": "\x8b\x00\xff\x1f", "truncated": `{"a":`, "list": "[]", "null": "null", "unknown": `{"nosuchkey":1}`, "deep": strings.Repeat("[", 100_000), "spaces": " \n",
	} {
		out[name] = filepath.Join(dir, name)
		if err := os.WriteFile(out[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Reads is a command line that reads a file.
type Reads struct {
	// Line has FILE where the file stands.
	Line string
	// Wrong is the exit code for files that say something else; those that are missing or folders are usage errors always.
	Wrong int
	// Any lists inputs that mean something here.
	Any []string
	// Unnamed says that the error is about what the file holds, whatever its name.
	Unnamed bool
}

// RefusesFiles runs a command line with everything that is wrong as its file: refused by name, with the exit code of the
// table, in bounded memory, and with the next step if there is no such file.
func (p Program) RefusesFiles(t *testing.T, c Reads) {
	t.Helper()
	for kind, file := range Inputs(t) {
		if slices.Contains(c.Any, kind) {
			continue
		}
		want, absent := c.Wrong, kind == "missing" || kind == "folder"
		if absent {
			want = cli.ExitUsage
		}
		a := p.Run(t.TempDir(), strings.Fields(strings.ReplaceAll(c.Line, "FILE", file))...)
		if err := p.Complaint(a); err != nil || kind != "endless" && a.Code != want || a.Code == 0 {
			t.Errorf("%s: exit code %d, want %d; %v\n%s", kind, a.Code, want, err, a.ErrOut)
		}
		if !strings.Contains(a.ErrOut+a.Out, file) && !c.Unnamed {
			t.Errorf("%s: the file is not named\n%s", kind, a.ErrOut)
		}
		if !strings.Contains(a.ErrOut, p.Hint) && absent {
			t.Errorf("%s: no hint\n%s", kind, a.ErrOut)
		}
	}
}

// ErrFull is what a Full writer says.
var ErrFull = errors.New("no space left")

// Full is a stdout that takes nothing.
type Full struct{}

// Write takes nothing.
func (Full) Write([]byte) (int, error) { return 0, ErrFull }
