package dcap

import (
	"crypto/sha256"
	"sync"
)

// chainCache keeps chains by SHA-256 of their PEM area. Only chains that verified below the roots are kept, so nobody
// without a PCK certificate of Intel's can push others out. What is kept does not age: dates and revocation are checked
// at every use.
//
// It has two generations: a full young one becomes the old one, and what is still used moves back. So memory stays
// bounded and a get costs one lock.
type chainCache struct {
	mu         sync.Mutex
	limit      int // of one generation
	young, old map[[sha256.Size]byte]*pckChain
}

// newChainCache makes a cache of about size chains; of none if size is below 2.
func newChainCache(size int) *chainCache {
	return &chainCache{limit: max(size/2, 0), young: make(map[[sha256.Size]byte]*pckChain)}
}

func (c *chainCache) get(key [sha256.Size]byte) *pckChain {
	c.mu.Lock()
	defer c.mu.Unlock()
	if chain, ok := c.young[key]; ok {
		return chain
	}
	chain, ok := c.old[key]
	if ok {
		c.add(key, chain)
	}
	return chain
}

func (c *chainCache) put(key [sha256.Size]byte, chain *pckChain) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, chain)
}

// add puts a chain into the young generation; the lock is held.
func (c *chainCache) add(key [sha256.Size]byte, chain *pckChain) {
	if c.limit == 0 {
		return
	}
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[[sha256.Size]byte]*pckChain)
	}
	c.young[key] = chain
}
