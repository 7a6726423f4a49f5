package pipeline_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
	"cocoon/image/pipeline/pipelinetest"
	"cocoon/image/qemu"
	"cocoon/image/qemu/qemutest"
)

func withQEMU(t *testing.T) *pipelinetest.Checkout {
	t.Helper()
	c := pipelinetest.New(t, t.TempDir(), "")
	c.AddQEMU(t)
	return c
}

func install(t *testing.T, o pipeline.Options) (*pipeline.QEMU, *events) {
	t.Helper()
	var ev events
	q, err := pipeline.InstallQEMU(t.Context(), o, pipelinetest.QEMUVersion, ev.add)
	if err != nil {
		t.Fatal(err)
	}
	return q, &ev
}

func TestInstallQEMUUnpacksOnce(t *testing.T) {
	c := withQEMU(t)
	plan, err := pipeline.PlanQEMU(c.Options(), pipelinetest.QEMUVersion)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(plan.Launcher); !errors.Is(err, os.ErrNotExist) || plan.Size != 0 {
		t.Errorf("planning made %s: %v, %d bytes", plan.Launcher, err, plan.Size)
	}
	first, ev := install(t, c.Options())
	if first.Launcher != plan.Launcher || first.Size == 0 || first.Packages != 1 || first.Group != pipelinetest.QEMUGroup {
		t.Errorf("installed %+v, planned %+v", first, plan)
	}
	if diff := cmp.Diff([]string{"qemu"}, ev.ran()); diff != "" {
		t.Errorf("steps of the first run (-want +got):\n%s", diff)
	}
	if version, err := qemu.Version(t.Context(), first.Launcher); err != nil || version != pipelinetest.QEMUVersion {
		t.Errorf("it says %q, %v", version, err)
	}
	again, ev := install(t, c.Options())
	if diff := cmp.Diff(first, again); diff != "" || len(ev.ran()) > 0 {
		t.Errorf("the second run did %q (-first +second):\n%s", ev.ran(), diff)
	}
	plan, err = pipeline.PlanQEMU(c.Options(), pipelinetest.QEMUVersion)
	if diff := cmp.Diff(first, plan); diff != "" || err != nil {
		t.Errorf("the plan of what is there (-installed +planned): %v\n%s", err, diff)
	}
}

func TestInstallQEMURepairsItsFolder(t *testing.T) {
	c := withQEMU(t)
	q, _ := install(t, c.Options())
	for name, damage := range map[string]func(library string) error{
		"removed": os.Remove,
		"changed": func(library string) error {
			return errors.Join(os.Chmod(library, 0o600), os.WriteFile(library, []byte("other"), 0o600))
		},
	} {
		if err := damage(filepath.Join(filepath.Dir(q.Launcher), "libone.so.1")); err != nil {
			t.Fatal(err)
		}
		again, ev := install(t, c.Options())
		if diff := cmp.Diff(q, again); diff != "" || len(ev.ran()) != 1 {
			t.Errorf("%s: the next run did %q (-before +after):\n%s", name, ev.ran(), diff)
		}
	}
}

func TestInstallQEMUAtTheSameTime(t *testing.T) {
	c := withQEMU(t)
	var group errgroup.Group
	for range 4 {
		group.Go(func() error {
			_, err := pipeline.InstallQEMU(t.Context(), c.Options(), pipelinetest.QEMUVersion, func(pipeline.Event) {})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(c.Cache, "steps", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("the cache has %q, %v, want one folder", left, err)
	}
}

func TestInstallQEMURefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		version string
		spoil   func(c *pipelinetest.Checkout)
		fits    func(error) bool
		want    string
	}{
		"another version": {
			"1.2.3", nil, func(err error) bool { return errors.Is(err, pipeline.ErrUsage) }, `no QEMU "1.2.3" in the lock; there are: 9.8.7`,
		},
		"a lock of another recipe": {
			pipelinetest.QEMUVersion,
			func(c *pipelinetest.Checkout) { c.Edit(t, "mkosi/image.toml", "hello", "hullo") },
			func(err error) bool { _, ok := errors.AsType[*lock.Mismatch](err); return ok }, "recipe",
		},
		"a missing package": {
			pipelinetest.QEMUVersion,
			func(c *pipelinetest.Checkout) {
				if err := os.Remove(c.StoreFile(t, "qemu-system-x86")); err != nil {
					t.Fatal(err)
				}
			},
			func(err error) bool { _, ok := errors.AsType[*fetch.MissingError](err); return ok }, "offline",
		},
		"a program of another version": {
			pipelinetest.QEMUVersion,
			func(c *pipelinetest.Checkout) {
				p := &c.Packages[pipelinetest.QEMUGroup][0]
				for i, f := range p.Files {
					if strings.HasSuffix(f.Name, "/ld-linux-x86-64.so.2") {
						p.Files[i].Body = qemutest.Linker("9.8.6")
					}
				}
				c.Relock(t)
			},
			func(error) bool { return true }, "are QEMU 9.8.7, their program says 9.8.6",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := withQEMU(t)
			if tc.spoil != nil {
				tc.spoil(c)
			}
			_, err := pipeline.InstallQEMU(t.Context(), c.Options(), tc.version, func(pipeline.Event) {})
			if err == nil || !tc.fits(err) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
			if done, err := filepath.Glob(filepath.Join(c.Cache, "steps", "*")); err != nil || len(done) > 0 {
				t.Errorf("the cache has %q, %v after a failure", done, err)
			}
		})
	}
}
