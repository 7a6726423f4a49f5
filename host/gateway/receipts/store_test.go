package receipts

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func open(t *testing.T, dir string, now time.Time, size int64) *Store {
	t.Helper()
	s, err := Open(Config{Dir: dir, Now: func() time.Time { return now }, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func record(i int, at time.Time) Record {
	return Record{
		Time: at, ID: fmt.Sprintf("%064x", i), ChatID: fmt.Sprintf("chat-%d", i), Model: "<m>", Key: "k", Proxy: "p", Class: ClassOK, Tokens: 5, Cost: 7,
		Receipt: json.RawMessage(`{"a":"<é>","n":1}`),
	}
}

func add(t *testing.T, s *Store, records ...Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

func ids(t *testing.T, s *Store) (out []string) {
	t.Helper()
	for r, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r.ChatID)
	}
	return out
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, t0, 0)
	add(t, s, record(1, t0), record(2, t0.AddDate(0, 0, 1)), record(3, t0.AddDate(0, 0, 1)))
	check := func(s *Store) {
		t.Helper()
		for _, id := range []string{fmt.Sprintf("%064x", 2), "chat-2"} {
			got, ok, err := s.Find(id)
			if diff := cmp.Diff(record(2, t0.AddDate(0, 0, 1)), got); diff != "" || !ok || err != nil {
				t.Errorf("%s: %v %v %s", id, ok, err, diff)
			}
		}
		if _, ok, err := s.Find("none"); ok || err != nil {
			t.Errorf("an unknown id: %v %v", ok, err)
		}
		if got := ids(t, s); !slices.Equal(got, []string{"chat-1", "chat-2", "chat-3"}) {
			t.Errorf("order %v", got)
		}
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, t0, 0)
	check(again)
	add(t, again, record(4, t0.AddDate(0, 0, 1)))
	look, err := Read(dir)
	if err != nil || len(ids(t, look)) != 4 {
		t.Errorf("reading beside it: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestEveryCutOfTheFileIsSurvived: whatever part of the last write reached the disk, all records before it are there, and
// the next one is readable.
func TestEveryCutOfTheFileIsSurvived(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, t0, 0)
	add(t, s, record(1, t0), record(2, t0))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "receipts-20260304.log")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(whole, '\n') + 1
	for cut := first; cut < len(whole); cut++ {
		if err := os.WriteFile(name, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, t0, 0)
		add(t, s, record(3, t0))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again := open(t, dir, t0, 0)
		if got := ids(t, again); !slices.Equal(got, []string{"chat-1", "chat-3"}) {
			t.Fatalf("cut at %d: %v", cut, got)
		}
		if _, _, damaged := again.Size(); damaged != 0 {
			t.Fatalf("cut at %d: %d lines damaged", cut, damaged)
		}
	}
}

func TestADamagedLineIsLeftOutAlone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, t0, 0)
	add(t, s, record(1, t0), record(2, t0), record(3, t0))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "receipts-20260304.log")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.IndexByte(data, '\n') + 60
	data[at] ^= 1
	data = append(data, strings.Repeat("x", 2*maxLine)+"\n"...)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, t0, 0)
	if got := ids(t, s); !slices.Equal(got, []string{"chat-1", "chat-3"}) {
		t.Errorf("got %v", got)
	}
	if n, _, damaged := s.Size(); n != 2 || damaged != 2 {
		t.Errorf("%d records, %d damaged", n, damaged)
	}
}

func TestOldDaysAndTooMuchAreDropped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, t0, 0)
	add(t, s, record(1, t0.AddDate(0, 0, -40)), record(2, t0.AddDate(0, 0, -2)), record(3, t0))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, t0, 0)
	if got := ids(t, s); !slices.Equal(got, []string{"chat-2", "chat-3"}) {
		t.Errorf("by age: %v", got)
	}
	small := open(t, dir, t0, 300)
	if got := ids(t, small); !slices.Equal(got, []string{"chat-3"}) {
		t.Errorf("by size: %v", got)
	}
}

// TestADayIsDroppedInParts: within one day, too, no more is kept than the limit and one file, what is left is found, and a
// store that is opened again goes on in the newest file.
func TestADayIsDroppedInParts(t *testing.T) {
	dir, limit := t.TempDir(), int64(8000)
	s := open(t, dir, t0, limit)
	const all = 200
	for i := range all {
		switch i {
		case all / 4:
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, t0, limit)
		case all / 2: // somebody else has dropped what would have been next
			if err := os.Remove(s.path(slices.Min(slices.Collect(maps.Keys(s.sizes))))); err != nil {
				t.Fatal(err)
			}
		}
		add(t, s, record(i, t0))
		if _, size, _ := s.Size(); size > limit+limit/share+maxLine/100 {
			t.Fatalf("%d bytes are kept", size)
		}
	}
	n, size, damaged := s.Size()
	if n < 10 || n >= all || size < limit/2 || damaged != 0 {
		t.Errorf("%d records in %d bytes, %d damaged", n, size, damaged)
	}
	got := ids(t, s)
	for i, id := range got {
		if want := fmt.Sprintf("chat-%d", all-len(got)+i); id != want {
			t.Fatalf("record %d of %d is %s, want %s", i, len(got), id, want)
		}
	}
	if _, ok, err := s.Find("chat-0"); ok || err != nil {
		t.Errorf("what was dropped is found: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestNamesOfFiles: every file of a day has one name, and other names are none.
func TestNamesOfFiles(t *testing.T) {
	first := volumeOf(t0)
	for v, want := range map[volume]string{first: "receipts-20260304.log", first + 1: "receipts-20260304.01.log", first + 99: "receipts-20260304.99.log"} {
		if got, ok := volumeOfFile(want); v.file() != want || got != v || !ok || v.day() != first {
			t.Errorf("%d is %s, which is %d, %t", v, v.file(), got, ok)
		}
	}
	for _, name := range []string{"receipts-20260304.00.log", "receipts-20260304.1.log", "receipts-99999999.log", "receipts-2026030.log", "x-20260304.log", ""} {
		if v, ok := volumeOfFile(name); ok {
			t.Errorf("%q is %d", name, v)
		}
	}
}

func TestWhatCannotBeKept(t *testing.T) {
	s := open(t, t.TempDir(), t0, 0)
	r := record(1, t0)
	r.Why = strings.Repeat("x", maxLine)
	if err := s.Append(r); err == nil {
		t.Error("a record that cannot be read again was written")
	}
	if _, err := Open(Config{Dir: "/dev/null/x", Now: time.Now}); err == nil {
		t.Error("a folder that cannot be")
	}
}

// childVariable makes the test binary a process that appends and syncs until it is killed.
const childVariable = "COCOON_RECEIPTS_CHILD"

func TestAChildThatAppends(t *testing.T) {
	dir := os.Getenv(childVariable)
	if dir == "" {
		t.Skip("only runs as the child of TestAKilledProcessLosesNothingThatWasSynced")
	}
	s, err := Open(Config{Dir: dir, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := s.Size()
	for i := first; ; i++ {
		if err := s.Append(record(i, time.Now())); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			continue // some are never synced
		}
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stdout.WriteString("synced " + strconv.Itoa(i) + "\n"); err != nil {
			return
		}
	}
}

func TestAKilledProcessLosesNothingThatWasSynced(t *testing.T) {
	dir := t.TempDir()
	for kill := 1; kill <= 12; kill++ {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestAChildThatAppends$")
		cmd.Env = append(os.Environ(), childVariable+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last, lines := -1, bufio.NewScanner(out)
		for n := 0; n < kill && lines.Scan(); n++ {
			if text, ok := strings.CutPrefix(lines.Text(), "synced "); ok {
				if last, err = strconv.Atoi(text); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Process.Kill(); err != nil { // in the middle of whatever it does
			t.Fatal(err)
		}
		for lines.Scan() { // what it had said before it died counts, too
			if text, ok := strings.CutPrefix(lines.Text(), "synced "); ok {
				if n, err := strconv.Atoi(text); err == nil {
					last = n
				}
			}
		}
		_ = cmd.Wait() // it was killed
		s := open(t, dir, time.Now(), 0)
		for i := 0; i <= last; i++ {
			want := record(i, time.Now())
			got, ok, err := s.Find(want.ID)
			if err != nil || !ok || string(got.Receipt) != string(want.Receipt) {
				t.Fatalf("after kill %d record %d of %d is gone: %t, %v", kill, i, last, ok, err)
			}
		}
		if _, _, damaged := s.Size(); damaged != 0 {
			t.Errorf("after kill %d: %d damaged lines", kill, damaged)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
