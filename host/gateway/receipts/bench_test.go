package receipts

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkAppend keeps records of the usual size that come as fast as they can.
func BenchmarkAppend(b *testing.B) {
	s, err := Open(Config{Dir: b.TempDir(), Now: func() time.Time { return t0 }})
	if err != nil {
		b.Fatal(err)
	}
	r := record(1, t0)
	r.Receipt = []byte(`{"a":"` + strings.Repeat("x", 2800) + `"}`)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		r.ID, r.ChatID = fmt.Sprintf("%064x", n&1023), fmt.Sprintf("chat-%d", n&1023)
		r.Time = t0.Add(time.Duration(n/2) * time.Millisecond)
		if err := s.Append(r); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCheck is the verdict on a receipt whose evidence is known; its worker signs nothing.
func BenchmarkCheck(b *testing.B) {
	p := newParty()
	c := NewChecker(p, func() time.Time { return t0 })
	claims := make([]Claim, 512)
	for i := range claims {
		claims[i] = p.claim(b, int64(i), uint64(10*i+10), nil)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n%len(claims) == 0 {
			clear(c.ledger)
		}
		if _, err := c.Check(b.Context(), p, claims[n%len(claims)]); err != nil {
			b.Fatal(err)
		}
		n++
	}
}
