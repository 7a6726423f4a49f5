package storage

import (
	"testing"
	"testing/fstest"
)

// TestSectorsRead: the third number counts; a file that is none of the kernel's is an error.
func TestSectorsRead(t *testing.T) {
	stat := func(text string) fstest.MapFS { return fstest.MapFS{"block/dm-3/stat": {Data: []byte(text)}} }
	if n, err := SectorsRead(stat("     12        0     4096      7 0 0 0 0 0 0 0\n"), "/dev/dm-3"); n != 4096 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for name, sys := range map[string]fstest.MapFS{"short": stat("1 2"), "words": stat("a b c d"), "negative": stat("1 2 -3"), "absent": {}} {
		if n, err := SectorsRead(sys, "/dev/dm-3"); err == nil {
			t.Errorf("%s: %d", name, n)
		}
	}
}
