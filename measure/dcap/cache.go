package dcap

import (
	"crypto/sha256"
	"sync"
)

// cache keeps what was verified once, by SHA-256 of the bytes it was verified from. Only what verified below the roots
// is kept, so nobody without a PCK certificate of Intel's can push others out. What is kept does not age: dates and
// revocation are checked at every use.
//
// It has two generations: a full young one becomes the old one, and what is still used moves back. So memory stays
// bounded and a get costs one lock.
type cache[V any] struct {
	mu         sync.Mutex
	limit      int // of one generation
	young, old map[[sha256.Size]byte]*V
}

// newCache makes a cache of about size values; of none if size is below 2.
func newCache[V any](size int) *cache[V] {
	return &cache[V]{limit: max(size/2, 0), young: make(map[[sha256.Size]byte]*V)}
}

// get is the value of a key, or nil.
func (c *cache[V]) get(key [sha256.Size]byte) *V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[key]; ok {
		return v
	}
	v, ok := c.old[key]
	if ok {
		c.add(key, v)
	}
	return v
}

func (c *cache[V]) put(key [sha256.Size]byte, v *V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, v)
}

// add puts a value into the young generation; the lock is held.
func (c *cache[V]) add(key [sha256.Size]byte, v *V) {
	if c.limit == 0 {
		return
	}
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]*V)
	}
	c.young[key] = v
}
