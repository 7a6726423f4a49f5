package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"cocoon/tests/inputs"
)

// foreign is an official SDK of another language, as its registry has it: exact versions, every file by its hash. The
// folder below testdata holds the pins and a script, which prints a line per check and exits with the number of failed ones.
type foreign struct {
	folder string
	// needs are the programs, install the command that brings the SDK into a copy of the folder, app the script's.
	needs        []string
	install, app []string
}

// TestOtherOfficialSDKsAreServed: unmodified, over a local network of processes with the pinned engine.
func TestOtherOfficialSDKsAreServed(t *testing.T) {
	if !inputs.Wants("web") {
		t.Skip("needs node, python3, their registries and the pinned engine: set COCOON_TEST=web")
	}
	sdks := map[string]foreign{
		"JavaScript": {"javascript", []string{"node", "npm"}, []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"}, []string{"node", "openai.mjs"}},
		"Python": {
			"python",
			[]string{"python3"},
			[]string{"python3", "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary=:all:", "--no-deps", "--target", "lib", "-r", "requirements.txt"},
			[]string{"env", "PYTHONPATH=lib", "python3", "app.py"},
		},
	}
	ready := make(map[string]string)
	for name, s := range sdks {
		if dir, why := s.get(t); why == "" {
			ready[name] = dir
		} else {
			t.Logf("%s is left out: %s", name, why)
		}
	}
	if len(ready) == 0 {
		t.Skip("no SDK can be had")
	}
	n, log := localnet(t, realEngine(t))
	running, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(running) }()
	about := n.Description()
	for name, s := range sdks {
		t.Run(name, func(t *testing.T) {
			if ready[name] == "" {
				t.Skip("it cannot be had, see above")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			app := exec.CommandContext(ctx, s.app[0], append(s.app[1:len(s.app):len(s.app)], about.URL+"/v1", about.Model, canary)...)
			app.Dir = ready[name]
			out, err := app.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
		})
	}
	interrupt()
	check(t, <-ended)
	silent(t, about.Dir, log)
}

// get brings an SDK into a folder of its own, or says why not.
func (s *foreign) get(t *testing.T) (dir, why string) {
	t.Helper()
	for _, program := range s.needs {
		if _, err := exec.LookPath(program); err != nil {
			return "", err.Error()
		}
	}
	dir = filepath.Join(t.TempDir(), s.folder)
	check(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", s.folder))))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, s.install[0], s.install[1:]...)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return "", err.Error() + "\n" + string(out)
	}
	return dir, ""
}
