package repro

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/diff"
	"cocoon/image/pipeline"
	"cocoon/measure/bootfiles"
)

func TestEveryConditionIsDifferentInTheTwoLegs(t *testing.T) {
	all := conditions([2]leg{legA(os.TempDir()), legB(os.TempDir())})
	if len(all) < 9 {
		t.Errorf("%d conditions, the specification names nine", len(all))
	}
	for _, c := range all {
		if c.A == c.B && (c.Name != "user" || os.Geteuid() == 0) {
			t.Errorf("%s is %q in both legs", c.Name, c.A)
		}
	}
}

// writeFiles makes a small checkout.
func writeFiles(t *testing.T, files map[string]os.FileMode) string {
	t.Helper()
	root := t.TempDir()
	for name, mode := range files {
		p := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(name), 0o600), os.Chmod(p, mode)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestCopyTreeVariesModesAndTimesAndKeepsContent(t *testing.T) {
	root := writeFiles(t, map[string]os.FileMode{
		"go.mod": 0o644, "cmd/init/main.go": 0o664, "mkosi/tool": 0o755, ".git/config": 0o644, "out/proxy/image.efi": 0o644,
		"image/out/kept.go": 0o644,
	})
	for _, l := range []leg{legA(t.TempDir()), legB(t.TempDir())} {
		to := t.TempDir()
		if err := copyTree(root, to, l); err != nil {
			t.Fatal(err)
		}
		want := map[string]os.FileMode{
			"go.mod": l.fileMode, "cmd/init/main.go": l.fileMode, "image/out/kept.go": l.fileMode, "mkosi/tool": l.fileMode | l.fileMode>>2&0o111,
		}
		got := make(map[string]os.FileMode)
		err := filepath.WalkDir(to, func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			st, err := d.Info()
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(to, p)
			got[rel] = st.Mode().Perm()
			if data, err := os.ReadFile(p); err != nil || string(data) != rel {
				t.Errorf("leg %s: %s holds %q, %v", l.name, rel, data, err)
			}
			if !st.ModTime().Equal(l.mtime) {
				t.Errorf("leg %s: %s has time %v", l.name, rel, st.ModTime())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("leg %s: modes differ (-want +got):\n%s", l.name, diff)
		}
		if got["mkosi/tool"]&0o100 == 0 || got["go.mod"]&0o111 != 0 {
			t.Errorf("leg %s: the x bit was not kept: %v", l.name, got)
		}
	}
}

func TestLinkTreeLeavesTheOriginalsAlone(t *testing.T) {
	from := writeFiles(t, map[string]os.FileMode{"a@v1/x.go": 0o444, "a@v1/secret.go": 0o600, "cache/download/a.zip": 0o444})
	to := filepath.Join(t.TempDir(), "modules")
	if err := linkTree(from, to); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"a@v1/x.go": 0o444, "a@v1/secret.go": 0o600} {
		if st, err := os.Stat(filepath.Join(from, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("the original of %s has mode %v, %v", name, st.Mode(), err)
		}
		if st, err := os.Stat(filepath.Join(to, name)); err != nil || st.Mode().Perm()&0o004 == 0 {
			t.Errorf("%s is not readable by others: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(to, "cache/download/a.zip")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an archive was shared: %v", err)
	}
}

func TestOpenToAllLooksAtEveryFolderAbove(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "closed", "inner")
	if err := errors.Join(os.MkdirAll(inner, 0o755), os.Chmod(filepath.Join(dir, "closed"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if openToAll(inner) {
		t.Error("a folder below a closed one counts as open")
	}
	if !openToAll("/usr") {
		t.Error("/usr counts as closed")
	}
	if openToAll(filepath.Join(dir, "missing")) {
		t.Error("a missing folder counts as open")
	}
}

func TestEqualNeedsImagesAndSameManifests(t *testing.T) {
	differs := &diff.Report{Artefacts: []diff.Artefact{{Name: "x"}}}
	for name, tc := range map[string]struct {
		images []Image
		want   bool
	}{
		"nothing was built":  {nil, false},
		"equal":              {[]Image{{Report: &diff.Report{}, SameManifest: true}}, true},
		"artefact differs":   {[]Image{{Report: differs, SameManifest: true}}, false},
		"manifest differs":   {[]Image{{Report: &diff.Report{}}}, false},
		"one of two differs": {[]Image{{Report: &diff.Report{}, SameManifest: true}, {Report: differs}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (&Outcome{Images: tc.images}).Equal(); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// fakeBuilder stands in for the program: a shell script.
func fakeBuilder(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "builder")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestALegRunsInItsConditions(t *testing.T) {
	scratch := t.TempDir()
	if err := os.Chmod(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, l := range []leg{legA(scratch), legB(scratch)} {
		l.uid = -1
		if err := l.prepare(writeFiles(t, map[string]os.FileMode{"go.mod": 0o644})); err != nil {
			t.Fatal(err)
		}
		program := fakeBuilder(t, `umask >&2; echo "$TZ" >&2; echo "$HOME" >&2; pwd >&2; echo "$*" >&2; env | grep -c COCOON >&2; exit 0`)
		var lines []string
		s := Spec{Report: func(_, line string) { lines = append(lines, line) }, Options: pipeline.Options{Build: "cpu", Images: []string{"proxy"}}}
		t.Setenv("COCOON_OUT", "/elsewhere")
		if err := l.build(t.Context(), s, program, "/inputs", "/modules"); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"0" + l.umask, strings.TrimPrefix(l.env[0], "TZ="), filepath.Join(l.dir, "home"), l.checkout(),
			"image build --offline --progress plain --from /inputs --root " + l.checkout() + " --cache " + filepath.Join(l.dir, "cache") +
				" --out " + l.out() + " --workers " + fmt.Sprint(l.workers) + " --variant cpu --profile production proxy",
			"0",
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("leg %s differs (-want +got):\n%s", l.name, diff)
		}
	}
}

func TestAFailedLegShowsItsLastLines(t *testing.T) {
	l := legA(t.TempDir())
	if err := os.MkdirAll(l.checkout(), 0o755); err != nil {
		t.Fatal(err)
	}
	err := l.build(t.Context(), Spec{}, fakeBuilder(t, "echo 'cocoon: error: no space' >&2; exit 5"), "", "")
	if err == nil || !strings.Contains(err.Error(), "leg a") || !strings.Contains(err.Error(), "no space") {
		t.Errorf("got %v, want the leg and its last line", err)
	}
}

// TestACancelledLegEnds, also when neither the program nor what it started minds the interrupt, and nobody of it is left.
func TestACancelledLegEnds(t *testing.T) {
	const long = 5 * time.Minute // what the program would take
	for name, script := range map[string]string{
		"at once":  "echo $$ >&2; exec sleep 300",
		"by force": "trap '' INT; sleep 300 & echo $! >&2; wait",
	} {
		t.Run(name, func(t *testing.T) {
			l := legA(t.TempDir())
			l.grace = 100 * time.Millisecond
			if err := os.MkdirAll(l.checkout(), 0o755); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var pid string
			start := time.Now()
			err := l.build(ctx, Spec{Report: func(_, line string) { pid = line; cancel() }}, fakeBuilder(t, script), "", "")
			if !errors.Is(err, context.Canceled) || time.Since(start) > long/2 {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
			for end := time.Now().Add(long / 2); runs(t, pid); <-time.After(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("process %s goes on", pid)
				}
			}
		})
	}
}

// runs is whether a process is there and not a dead one that nobody has asked about yet.
func runs(t *testing.T, pid string) bool {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	if err != nil || pid == "" {
		t.Fatalf("process %q: %v", pid, err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// TestALineTooLongStopsNobody: what a program says is looked at up to a bound, and read to its end.
func TestALineTooLongStopsNobody(t *testing.T) {
	l := legA(t.TempDir())
	if err := os.MkdirAll(l.checkout(), 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("echo short >&2; head -c %d /dev/zero >&2; exit 5", 4*maxLine)
	err := l.build(t.Context(), Spec{}, fakeBuilder(t, script), "", "")
	if err == nil || !strings.Contains(err.Error(), "exit status 5") || !strings.HasSuffix(err.Error(), "short") {
		t.Errorf("got %v", err)
	}
}

func TestRemoveAllDeletesReadOnlyFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "mod@v1"), 0o755), os.WriteFile(filepath.Join(dir, "mod@v1", "f"), nil, 0o444),
		os.Chmod(filepath.Join(dir, "mod@v1"), 0o555)); err != nil {
		t.Fatal(err)
	}
	if err := removeAll(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestProfilesDefaultToProduction(t *testing.T) {
	if got := profiles(pipeline.Options{}); got != "production" {
		t.Errorf("got %q", got)
	}
	if got := profiles(pipeline.Options{Variants: []bootfiles.Variant{bootfiles.Test, bootfiles.Debug}}); got != "test,debug" {
		t.Errorf("got %q", got)
	}
}
