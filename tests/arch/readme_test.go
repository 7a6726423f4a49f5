package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// snippets are the commands in a document's sh blocks, one a line.
func snippets(text string) []string {
	var out []string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && line != "" && !strings.HasPrefix(line, "#"):
			out = append(out, line)
		}
	}
	return out
}

// TestReadmeCommands: every command that a README shows exists: make's verbs, the commands and their verbs.
func TestReadmeCommands(t *testing.T) {
	root := repository(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for _, name := range append([]string{"."}, Rooms()...) {
		text, err := os.ReadFile(filepath.Join(root, name, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range snippets(string(text)) {
			shown++
			words := strings.Fields(command)
			switch {
			case words[0] == "make" && len(words) > 1:
				if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(words[1]) + `:`).Match(makefile) {
					t.Errorf("%s/README.md: %q: the Makefile has no such verb", name, command)
				}
			case slices.Contains([]string{"cocoon", "measure"}, words[0]):
				checkVerb(t, root, "./cmd/"+words[0], words[1:])
			case words[0] == "go" && len(words) > 3 && words[1] == "run":
				checkVerb(t, root, words[2], words[3:])
			}
		}
	}
	if shown < 5 {
		t.Errorf("only %d commands found: the reader of sh blocks is broken", shown)
	}
}

// checkVerb asks the command for help on its verb; a verb that does not exist is a usage error.
func checkVerb(t *testing.T, root, command string, args []string) {
	t.Helper()
	var verbs []string
	for _, a := range args {
		if !regexp.MustCompile(`^[a-z]+$`).MatchString(a) {
			break
		}
		verbs = append(verbs, a)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", command}, append(verbs, "-h")...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(strings.ToLower(string(out)), "usage") {
		t.Errorf("%s %s: %v\n%s", command, strings.Join(verbs, " "), err, out)
	}
}

// TestReadmeLength: the front page fits in the head.
func TestReadmeLength(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 150 {
		t.Errorf("README.md has %d lines, at most 150", n)
	}
}

// TestNoMachinePaths: nothing in the repository names the machine or the place it was written on.
func TestNoMachinePaths(t *testing.T) {
	root := repository(t)
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "grep", "-nIE", `(^|[^a-z])/wor[k]/|registry\.np[m]js|pypi\.or[g]|proxy\.golan[g]`, "--", ".", ":!go.sum").Output()
	if err == nil && len(out) > 0 {
		t.Errorf("machine paths or registry hosts:\n%s", out)
	}
}

// TestNothingBuiltIsTracked: sources, locks and vectors are small; what is larger was built, and belongs into no history.
func TestNothingBuiltIsTracked(t *testing.T) {
	const most = 256 << 10
	root := repository(t)
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("no git checkout: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		info, err := os.Lstat(filepath.Join(root, name))
		if err != nil {
			continue // deleted and not committed yet
		}
		if info.Size() > most {
			t.Errorf("%s has %d bytes, at most %d are tracked", name, info.Size(), most)
		}
	}
}
