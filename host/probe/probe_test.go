package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cocoon/measure/launch"
	"cocoon/measure/launch/acpi"
	"cocoon/tests/golden"
)

// installed is the QEMU under test: the one COCOON_QEMU names, else the one in PATH.
func installed(t *testing.T) *QEMU {
	t.Helper()
	q, err := Find(t.Context(), os.Getenv("COCOON_QEMU"))
	if errors.Is(err, ErrNoQEMU) {
		t.Skipf("no QEMU: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func shape(t *testing.T, name string) *launch.Machine {
	t.Helper()
	m, err := launch.Shape(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// rehearse makes a published shape startable with old QEMU versions.
func rehearse(m *launch.Machine) *launch.Machine {
	m.MachineType = shapeType
	return m
}

const shapeType = "pc-q35-7.2"

func TestEveryBuiltInShapeIsOffered(t *testing.T) {
	t.Parallel()
	q := installed(t)
	for _, name := range launch.Shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := rehearse(shape(t, name))
			got, err := q.Read(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			order := string(got.Files["bootorder"])
			if want := "/rom@genroms/linuxboot_dma.bin\x00"; m.Boot != launch.BootDisk && order != want {
				t.Errorf("boot order %q, want %q", order, want)
			}
			if m.Boot == launch.BootDisk && order != "" {
				t.Errorf("boot order %q of a disk boot, want none", order)
			}
			tables := got.Files[acpi.FileTables]
			loader, err := acpi.Loader(tables)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(loader, got.Files[acpi.FileLoader]) {
				t.Error("the loader script does not follow from the tables")
			}
			if !bytes.Contains(tables, []byte("MCFG")) {
				t.Error("no MCFG: the chipset was not programmed before the tables were read")
			}
		})
	}
}

func TestRepeatedProbesAreEqual(t *testing.T) {
	t.Parallel()
	q, m := installed(t), shape(t, "test")
	var first []byte
	for i := range 5 {
		got, err := q.Read(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = got.Files[acpi.FileTables]
		}
		if !bytes.Equal(first, got.Files[acpi.FileTables]) {
			t.Fatalf("run %d differs from the first", i)
		}
	}
}

func TestTheKindOfDeviceInASlotDoesNotMatter(t *testing.T) {
	t.Parallel()
	q := installed(t)
	m, other := shape(t, "test"), shape(t, "test")
	i := slices.IndexFunc(other.Devices, func(d launch.Device) bool { return d.Serial == launch.SerialData })
	other.Devices[i] = launch.Device{Kind: launch.RNG, ID: "filler", Bus: launch.RootBus, Slot: other.Devices[i].Slot}
	a, errA := q.Read(t.Context(), m)
	b, errB := q.Read(t.Context(), other)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Files[acpi.FileTables], b.Files[acpi.FileTables]) {
		t.Error("a disk and an entropy device in one slot give different tables")
	}
	other.Devices = slices.Delete(other.Devices, i, i+1)
	c, err := q.Read(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a.Files[acpi.FileTables], c.Files[acpi.FileTables]) {
		t.Error("an empty slot gives the tables of an occupied one")
	}
}

func TestTablesEqualThoseOfTheHardwareToolsFixture(t *testing.T) {
	t.Parallel()
	q := locked(t, "10.0.13") // derived.json: byte_equal_with
	var fixture struct {
		Argv []string `json:"qtest_argv"`
	}
	golden.JSON(t, "measure/acpi/q35-with-hpet/derived.json", &fixture)
	tables := golden.Vector(t, "measure/acpi/q35-with-hpet/acpi_tables.bin.gz")
	const physBits, runs = 46, 50
	for i := range runs {
		socket := filepath.Join(t.TempDir(), "qtest")
		args := slices.Concat(fixture.Argv, []string{"-S", "-display", "none", "-qtest", "unix:" + socket, "-qtest-log", "none"})
		got, err := q.run(t.Context(), args, socket, physBits)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Files[acpi.FileTables], tables) {
			t.Fatalf("run %d: the tables differ from the fixture", i)
		}
	}
}

// script is a program that stands in for QEMU.
func script(t *testing.T, body string) *QEMU {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &QEMU{Path: path, Version: "0.0.0"}
}

func TestADyingQEMUIsQuoted(t *testing.T) {
	t.Parallel()
	q := script(t, "echo 'unsupported machine type' >&2; exit 1")
	if _, err := q.Read(t.Context(), shape(t, "test")); err == nil || !strings.Contains(err.Error(), "unsupported machine type") {
		t.Errorf("error %v does not repeat QEMU's words", err)
	}
}

func TestTheLastWordsAreKept(t *testing.T) {
	t.Parallel()
	var words tail
	for range 1000 {
		fmt.Fprint(&words, "warning: this is harmless\n") //nolint:errcheck // it cannot fail
	}
	fmt.Fprint(&words, "the reason") //nolint:errcheck // it cannot fail
	if got := string(words.words); len(got) != maxWords || !strings.HasSuffix(got, "the reason") {
		t.Errorf("kept %d bytes: %q", len(got), got[len(got)-20:])
	}
}

func TestASilentQEMUEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := script(t, "exec cat >/dev/null </dev/zero").Read(ctx, shape(t, "test")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a deadline", err)
	}
}

func TestFindRefusesWhatIsNotQEMU(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"missing":    filepath.Join(t.TempDir(), "nothing"),
		"no version": script(t, "echo hello").Path,
		"failing":    script(t, "exit 3").Path,
	} {
		if _, err := Find(t.Context(), path); !errors.Is(err, ErrNoQEMU) {
			t.Errorf("%s: error %v, want %v", name, err, ErrNoQEMU)
		}
	}
}
