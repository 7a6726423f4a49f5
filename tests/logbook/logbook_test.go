package logbook_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"cocoon/tests/logbook"
)

// TestNothingIsLost: lines of many writers are all in the log, each whole, however often it is read meanwhile.
func TestNothingIsLost(t *testing.T) {
	const writers, each = 8, 200
	var b logbook.Book
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				_, _ = fmt.Fprintf(&b, "line %d of %d\n", i, w)
				if got := b.String(); got[len(got)-1] != '\n' {
					t.Errorf("half a line: %.20q", got[len(got)-min(len(got), 20):])
				}
			}
		})
	}
	all.Wait()
	lines := make(map[string]bool)
	for line := range strings.Lines(b.String()) {
		lines[line] = true
	}
	if len(lines) != writers*each {
		t.Errorf("%d lines, want %d", len(lines), writers*each)
	}
}
