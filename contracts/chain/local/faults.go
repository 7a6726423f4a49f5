package local

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// Externals says what the network does to external messages before they reach the mempool.
type Externals uint8

// The ways in which a network treats messages.
const (
	Deliver   Externals = iota
	Drop                // taken and lost
	Duplicate           // executed twice, as when two validators saw it
	Reorder             // newest first
)

// ParseExternals reads a word.
func ParseExternals(word string) (Externals, error) {
	if i := slices.Index(externalsWords[:], word); i >= 0 {
		return Externals(i), nil //nolint:gosec // below 4
	}
	return Deliver, fmt.Errorf("%q is none of %v", word, externalsWords)
}

var externalsWords = [...]string{"deliver", "drop", "duplicate", "reorder"} //nolint:gochecknoglobals // a table

// String implements fmt.Stringer.
func (e Externals) String() string { return externalsWords[e%Externals(len(externalsWords))] }

// faults of block production. The chain's lock guards them.
type faults struct {
	externals Externals
	delay     uint32 // ticks without shard block
	copies    atomic.Uint32
}

// SetExternals switches how external messages are treated from now on.
func (c *Chain) SetExternals(e Externals) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults.externals = e
}

// DelayShard lets the next n masterchain blocks know the shard block of today only.
func (c *Chain) DelayShard(n uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults.delay = n
}

// delayed tells whether the next tick goes without shard block, and counts it.
func (f *faults) delayed() bool {
	if f.delay == 0 {
		return false
	}
	f.delay--
	return true
}

// mangle puts a message into the pool as the faults want it.
func (f *faults) mangle(m *mempool, e external) error {
	switch f.externals {
	case Drop:
		return nil
	case Duplicate:
		if err := m.add(e); err != nil {
			return err
		}
		again := e
		again.hash[0] ^= byte(f.copies.Add(1)%256) | 1 // a name of its own in the pool; the message is the same
		return m.add(again)
	case Reorder:
		if err := m.add(e); err != nil {
			return err
		}
		slices.SortStableFunc(m.waiting, func(a, b external) int {
			if a.hash == e.hash {
				return -1
			}
			if b.hash == e.hash {
				return 1
			}
			return 0
		})
		return nil
	default:
		return m.add(e)
	}
}
