package ledger

import (
	"bytes"
	"errors"
	"testing"
)

// counting notes how often it signs.
type counting struct {
	Keyed
	signed int
	fails  bool
}

func (c *counting) Sign(p Party, tokens int64) ([]byte, error) {
	c.signed++
	if c.fails {
		return nil, errors.New("no key today")
	}
	return c.Keyed.Sign(p, tokens)
}

// TestANumberIsSignedOnce: the same number of the same party, and only that, is taken from memory; what is handed out
// belongs to the caller, and a failure is not remembered.
func TestANumberIsSignedOnce(t *testing.T) {
	inner := &counting{Keyed: Keyed{Key: key()}}
	s := remember(inner)
	alice, bob := Party{Client, "alice"}, Party{Worker, "alice"}
	for i, step := range []struct {
		party  Party
		tokens int64
		signed int // by the end of the step
	}{{alice, 1, 1}, {alice, 1, 1}, {bob, 1, 2}, {alice, 2, 3}, {alice, 1, 4}, {bob, 1, 4}} {
		got, err := s.Sign(step.party, step.tokens)
		want, wantErr := inner.Keyed.Sign(step.party, step.tokens)
		if err != nil || wantErr != nil || !bytes.Equal(got, want) || inner.signed != step.signed {
			t.Errorf("step %d: %d signed, %v", i, inner.signed, err)
		}
		clear(got)
	}
	inner.fails = true
	for range 2 {
		if _, err := s.Sign(alice, 9); err == nil {
			t.Error("a failure was remembered as a success")
		}
	}
}
