package calm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestMemoryIsGivenBackOnceAtRest: not while the process works, and not again before it has worked.
func TestMemoryIsGivenBackOnceAtRest(t *testing.T) {
	const mib = 1 << 20
	var r rest
	for i, look := range []struct {
		made uint64
		want bool
	}{
		{20 * mib, false},         // it starts
		{20*mib + 1, true},        // and rests
		{20*mib + mib/2, false},   // and has nothing more
		{25 * mib, false},         // it works a little
		{25*mib + 1, false},       // which is not worth it
		{500 * mib, false},        // it works
		{900 * mib, false},        // and works
		{900*mib + mib - 1, true}, // and rests
		{901 * mib, false},
	} {
		if got := r.due(look.made); got != look.want {
			t.Errorf("look %d at %d bytes: %t", i, look.made, got)
		}
	}
}

func TestWhatWasMadeIsCounted(t *testing.T) {
	const size = 4 << 20
	before := made()
	keep := make([]byte, size)
	if got := made() - before; got < size || len(keep) != size {
		t.Errorf("%d bytes were made, %d are counted", size, got)
	}
}

func TestGivingBackEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*look+time.Second)
		defer cancel()
		began := time.Now()
		GiveBack(ctx)
		if took := time.Since(began); took != 3*look+time.Second {
			t.Errorf("ended after %s", took)
		}
	})
}
