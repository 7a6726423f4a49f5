package receipts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// written is how many whole lines the day's file has.
func written(t *testing.T, dir string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "receipts-20260304.log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}

// TestABurstIsWrittenTogether: a lone record is in the file at once; those that follow within a few milliseconds come with
// the next write, at the latest with Sync. Whoever asks for one sees no difference.
func TestABurstIsWrittenTogether(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, t0, 0)
	chats := []string{}
	for i, step := range []struct {
		after time.Duration // the first record
		want  int           // lines in the file
	}{
		{0, 1}, {time.Millisecond, 1}, {4 * time.Millisecond, 1}, {together, 4}, {together + 1, 4}, {together - 1, 6}, {time.Hour, 7}, {time.Hour, 7},
	} {
		add(t, s, record(i, t0.Add(step.after)))
		chats = append(chats, fmt.Sprintf("chat-%d", i))
		if got := written(t, dir); got != step.want {
			t.Errorf("step %d: %d lines are written, want %d", i, got, step.want)
		}
		if got := ids(t, s); !slices.Equal(got, chats) {
			t.Errorf("step %d: %v", i, got)
		}
		if _, ok, err := s.Find(chats[i]); !ok || err != nil {
			t.Errorf("step %d is not found: %v", i, err)
		}
	}
	_, size, _ := s.Size()
	if err := s.Sync(); err != nil || written(t, dir) != 8 {
		t.Errorf("after Sync %d lines: %v", written(t, dir), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "receipts-20260304.log")); err != nil || info.Size() != size {
		t.Errorf("size %d was announced: %v", size, err)
	}
	big := record(8, t0.Add(time.Hour))
	big.Why = strings.Repeat("x", maxPending)
	if add(t, s, big); written(t, dir) != 9 {
		t.Error("much is not written at once")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestADiskThatTakesNothing: what cannot be written waits and is not lost, is written when the disk works again, and is
// bounded. Half a line that the failure left behind is cut off.
func TestADiskThatTakesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, t0, 0)
	add(t, s, record(0, t0))
	name := filepath.Join(dir, "receipts-20260304.log")
	good := s.tail.file
	bad, err := os.Open(name) // cannot be written
	if err != nil {
		t.Fatal(err)
	}
	s.tail.file = bad
	if err := s.Append(record(1, t0.Add(time.Second))); err == nil {
		t.Fatal("a disk that takes nothing is no error")
	}
	if _, ok, err := s.Find("chat-1"); !ok || err != nil {
		t.Errorf("what waits is not found: %v", err)
	}
	if err := s.Sync(); err == nil {
		t.Error("Sync says that all is durable")
	}
	if err := s.Append(record(2, t0.AddDate(0, 0, 1))); err == nil {
		t.Error("the next day began though the last is not written")
	}
	large := record(3, t0.Add(2*time.Second))
	large.Why = strings.Repeat("x", maxLine/2)
	for range 2 * maxStuck / (maxLine / 2) {
		if err := s.Append(large); err == nil {
			t.Fatal("a disk that takes nothing is no error")
		}
	}
	if n := len(s.tail.pending); n > maxStuck+maxLine {
		t.Errorf("%d bytes wait", n)
	}
	if _, err := good.WriteString("half a li"); err != nil {
		t.Fatal(err)
	}
	s.tail.file = good
	add(t, s, record(4, t0.Add(3*time.Second)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := bad.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, t0, 0)
	if got := ids(t, again); !slices.Equal(got, []string{"chat-0", "chat-1", "chat-3", "chat-4"}) {
		t.Errorf("left are %v", got)
	}
	if _, _, damaged := again.Size(); damaged != 0 {
		t.Errorf("%d lines are damaged", damaged)
	}
}

// TestRecordsAreAddedAndSyncedAtOnce: adding, syncing, reading and the turn of a day go on beside each other.
func TestRecordsAreAddedAndSyncedAtOnce(t *testing.T) {
	const workers, each = 4, 50
	dir := t.TempDir()
	s := open(t, dir, t0, 0)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range each {
				r := record(w*each+i, t0.AddDate(0, 0, i%2))
				if err := s.Append(r); err != nil {
					t.Error(err)
				}
				if _, ok, err := s.Find(r.ID); !ok || err != nil {
					t.Errorf("%s: %t, %v", r.ID, ok, err)
				}
				if i%5 == w {
					if err := s.Sync(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n, _, damaged := open(t, dir, t0, 0).Size(); n != workers*each || damaged != 0 {
		t.Errorf("%d records, %d damaged", n, damaged)
	}
}
