package session

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/wire/tl"
)

// TestSilenceIsCountedFromTheLastWord: a peer that spoke has its whole time again, and no more than that.
func TestSilenceIsCountedFromTheLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spoke, dead = 25 * time.Second, 30 * time.Second
		a, b := net.Pipe()
		go io.Copy(io.Discard, b) //nolint:errcheck // it hears what comes
		word := frameOf(&tl.TCPConnect{ID: 1})
		time.AfterFunc(spoke, func() { _, _ = b.Write(word) })
		began := time.Now()
		err := New(a, Options{Dead: dead}, &echo{}).Run(t.Context())
		if took := time.Since(began); !errors.Is(err, ErrSilent) || took != spoke+dead {
			t.Errorf("%v after %s, want %s", err, took, spoke+dead)
		}
		_ = b.Close()
	})
}
