package boot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/guest/storage"
	"cocoon/measure/bootfiles"
)

func TestOnlyADebugImageHasTheMark(t *testing.T) {
	word := " " + bootfiles.DebugWord
	lines := map[string]string{
		"none accepted":     "",
		"production's":      bootfiles.Cmdline(bootfiles.Production),
		"debug's":           bootfiles.Cmdline(bootfiles.Debug),
		"test's":            bootfiles.Cmdline(bootfiles.Test),
		"test's with word":  bootfiles.Cmdline(bootfiles.Test) + word,
		"production's with": bootfiles.Cmdline(bootfiles.Production) + word,
		"word in a value":   bootfiles.Cmdline(bootfiles.Production) + " x=" + bootfiles.DebugWord,
		"longer word":       bootfiles.Cmdline(bootfiles.Production) + word + "2",
	}
	marked := map[string]bool{"debug's": true, "test's with word": true, "production's with": true}
	for _, variant := range []bootfiles.Variant{bootfiles.Production, bootfiles.Test, bootfiles.Debug, "", "Debug", "debug "} {
		for name, line := range lines {
			st := NewState(newRig(t).deps)
			st.Image = bootfiles.Image{Name: "worker", Variant: variant}
			st.Cmdline = line
			mark, ok := st.DebugMark()
			if want := variant == bootfiles.Debug && marked[name]; ok != want || mark.Valid() != want {
				t.Errorf("variant %q, command line %s: marked %t, valid %t", variant, name, ok, mark.Valid())
			}
		}
	}
}

// A mark that is not made by State.DebugMark would open the shell to other images, and the compiler cannot forbid the
// conversion of a value that one package makes. The source can be read.
func TestMarksAreMadeInOnePlace(t *testing.T) {
	root := filepath.Join("..", "..")
	made := map[string]int{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, form := range []string{"DebugMark{", "new(DebugMark", "new(boot.DebugMark", ".DebugShell("} {
			if n := strings.Count(string(raw), form); n > 0 {
				made[filepath.ToSlash(strings.TrimPrefix(path, root+"/"))+" "+form] += n
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{ // none for the refusal, one for the mark; one call of the shell
		"guest/boot/debug.go DebugMark{":   2,
		"guest/boot/debug.go .DebugShell(": 1,
	}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Error(diff)
	}
}

// offered boots a rig to its end, fails it there, and returns how the shell was called.
func offered(t *testing.T, r *rig) (layers []string, calls int) {
	t.Helper()
	r.deps.DebugShell = func(ctx context.Context, mark DebugMark, dirs []string) error {
		if !mark.Valid() {
			t.Error("called without a mark")
		}
		layers, calls = dirs, calls+1
		<-ctx.Done()
		return nil
	}
	st, err := r.boot()
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		OfferShell(ctx, st)
		return layers, calls
	}
	if err := Fail(context.Background(), st, new(machine), err); err != nil {
		t.Error(err)
	}
	return layers, calls
}

func TestAShellIsOfferedInDebugImagesOnlyHoweverTheBootEnds(t *testing.T) {
	for _, variant := range []bootfiles.Variant{bootfiles.Production, bootfiles.Test, bootfiles.Debug} {
		for name, change := range map[string]func(r *rig){
			"as far as it gets": func(r *rig) { r.td.present = true },
			"not a TD":          func(*rig) {},
			"no config":         func(r *rig) { r.td.present = true; clear(r.disks) },
			"ready": func(r *rig) {
				r.td.present = true
				done := func(context.Context, *State) error { return nil }
				r.deps.Hooks = Hooks{Seal: done, Storage: done, Engine: done, Identity: done, Service: done}
			},
		} {
			t.Run(string(variant)+", "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.image(variant, "worker")
					change(r)
					_, calls := offered(t, r)
					if want := map[bootfiles.Variant]int{bootfiles.Debug: 1}[variant]; calls != want {
						t.Errorf("%d shells, want %d", calls, want)
					}
				})
			})
		}
	}
}

func TestAFailureBeforeTheBaseLayerOpensItForTheShell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.image(bootfiles.Debug, "worker") // and no TD: the boot ends before the base stage
		layers, calls := offered(t, r)
		if diff := cmp.Diff([]string{filepath.Join(r.deps.Root, "/run/layers/base")}, layers); diff != "" || calls != 1 {
			t.Errorf("%d calls, %s", calls, diff)
		}
		if last := r.mounted[len(r.mounted)-1].Target; last != "/run/layers/base" {
			t.Errorf("the last mount is %s", last)
		}
	})
}

func TestAFailedBaseLayerIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.image(bootfiles.Debug, "worker")
		r.td.present = true
		delete(r.disks, "base")
		asked := 0
		find := r.deps.FindDisk
		r.deps.FindDisk = func(ctx context.Context, name string) (storage.Device, error) {
			if name == "base" {
				asked++
			}
			return find(ctx, name)
		}
		if _, calls := offered(t, r); calls != 1 || asked != 1 {
			t.Errorf("%d shells, the disk was looked for %d times", calls, asked)
		}
	})
}

func TestAShellThatCannotRunIsALogLineAndTheWaitGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.image(bootfiles.Debug, "worker")
		delete(r.disks, "base")
		r.deps.DebugShell = func(context.Context, DebugMark, []string) error { return errors.New("no base layer holds it") }
		st, err := r.boot()
		begin := time.Now()
		if err := Fail(context.Background(), st, new(machine), err); err != nil || time.Since(begin) != debugHold {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
		for _, want := range []string{`msg="No debug shell" err="no base layer holds it"`, `msg="Base layer not opened for the debug shell"`} {
			if !strings.Contains(r.out.String(), want) {
				t.Errorf("%s is not on the console:\n%s", want, r.out.String())
			}
		}
	})
}
