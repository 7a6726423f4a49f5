package modules

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// folder makes module files whose content is their own name.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// kernel answers per module and notes the order.
type kernel struct {
	answers map[string]error
	loaded  []string
}

func (k *kernel) insert(f *os.File) error {
	name := filepath.Base(f.Name())
	if err := k.answers[name]; err != nil {
		return err
	}
	k.loaded = append(k.loaded, name)
	return nil
}

func TestLoadFollowsTheMeasuredOrderAndFreesFiles(t *testing.T) {
	dir := folder(t, "dm_mod.ko", "dm_bufio.ko", "dm_verity.ko")
	order := []string{"dm_mod.ko", "dm_bufio.ko", "dm_verity.ko"}
	var k kernel
	res, err := Loader{Dir: dir, Insert: k.insert}.Load(context.Background(), order)
	if err != nil || res.Loaded != 3 {
		t.Fatalf("%+v, %v", res, err)
	}
	if diff := cmp.Diff(order, k.loaded); diff != "" {
		t.Error(diff)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%d files left in memory", len(left))
	}
}

func TestOnlyDeclaredModulesMayLackTheirHardware(t *testing.T) {
	answers := map[string]error{"tdx_guest.ko": unix.ENODEV}
	tests := map[string]struct {
		absent []string
		want   []string
		err    error
	}{
		"declared":   {absent: []string{"tdx_guest"}, want: []string{"tdx_guest"}},
		"undeclared": {absent: []string{"nvidia"}, err: unix.ENODEV},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			k := kernel{answers: answers}
			dir := folder(t, "erofs.ko", "tdx_guest.ko")
			res, err := Loader{Dir: dir, Insert: k.insert, MayBeAbsent: tc.absent}.
				Load(context.Background(), []string{"erofs.ko", "tdx_guest.ko"})
			if !errors.Is(err, tc.err) {
				t.Fatalf("err = %v, want %v", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, res.Absent); diff != "" || res.Loaded != 1 {
				t.Errorf("%+v %s", res, diff)
			}
		})
	}
}

func TestEveryOtherErrorStopsAtTheModulesName(t *testing.T) {
	tests := map[string]error{"version magic": unix.ENOEXEC, "bad signature": unix.EKEYREJECTED, "already there": unix.EEXIST, "unresolved symbol": unix.ENOENT}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			k := kernel{answers: map[string]error{"b.ko": answer}}
			_, err := Loader{Dir: folder(t, "a.ko", "b.ko", "c.ko"), Insert: k.insert, MayBeAbsent: []string{"b"}}.
				Load(context.Background(), []string{"a.ko", "b.ko", "c.ko"})
			if !errors.Is(err, answer) || !strings.Contains(err.Error(), "b.ko") {
				t.Errorf("err = %v", err)
			}
			if diff := cmp.Diff([]string{"a.ko"}, k.loaded); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	_, err := Loader{Dir: t.TempDir(), Insert: InsertFile}.Load(context.Background(), []string{"erofs.ko"})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "erofs.ko") {
		t.Errorf("err = %v", err)
	}
}

func TestLoadStopsAtItsDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var k kernel
	if _, err := (Loader{Dir: folder(t, "a.ko"), Insert: k.insert}).Load(ctx, []string{"a.ko"}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if len(k.loaded) != 0 {
		t.Error("loaded a module after the deadline")
	}
}

func TestInsertFileAsksTheKernel(t *testing.T) {
	f, err := os.Open(filepath.Join(folder(t, "junk.ko"), "junk.ko"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := InsertFile(f); err == nil {
		t.Error("the kernel took junk as a module")
	}
}
