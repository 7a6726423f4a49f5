package eventlog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Difference is the first event of a register in which two logs differ.
type Difference struct {
	// Index is the register: MR index or PCR.
	Index uint32
	// Position counts the register's events from 0.
	Position int
	// A and B are the events there; nil where a log ends.
	A, B *Event
}

// String names both events.
func (d Difference) String() string {
	return fmt.Sprintf("register %d, event %d: %s | %s", d.Index, d.Position, name(d.A), name(d.B))
}

func name(e *Event) string {
	if e == nil {
		return "end of log"
	}
	return fmt.Sprintf("%s %s", e.Type, e.Describe())
}

// Diff compares two logs of one kind register by register and returns the first difference of each, ascending.
// Everything after a register's first difference follows from it and is left out. Events are equal when type and
// digest are: the data is a claim. The bank is SHA-384 where both logs have it, else the first they share.
func Diff(a, b *Log) ([]Difference, error) {
	if a.Kind != b.Kind {
		return nil, errors.New("comparing event logs: one is a TD's, the other a TPM's")
	}
	bank, ok := commonBank(a, b)
	if !ok {
		return nil, fmt.Errorf("comparing event logs: %w: %v and %v have none in common", ErrNoBank, a.Algorithms, b.Algorithms)
	}
	var out []Difference
	for index := range a.Kind.maxIndex() + 1 {
		ea, eb := a.Register(index), b.Register(index)
		for i := range max(len(ea), len(eb)) {
			d := Difference{Index: index, Position: i}
			if i < len(ea) {
				d.A = ea[i]
			}
			if i < len(eb) {
				d.B = eb[i]
			}
			if d.A == nil || d.B == nil || d.A.Type != d.B.Type || !bytes.Equal(d.A.Digest(bank), d.B.Digest(bank)) {
				out = append(out, d)
				break
			}
		}
	}
	return out, nil
}

func commonBank(a, b *Log) (Algorithm, bool) {
	for _, alg := range append([]Algorithm{SHA384}, a.Algorithms...) {
		if slices.Contains(a.Algorithms, alg) && slices.Contains(b.Algorithms, alg) {
			return alg, true
		}
	}
	return 0, false
}
