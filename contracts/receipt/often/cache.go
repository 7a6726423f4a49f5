package often

import (
	"crypto/ed25519"
	"sync"

	"filippo.io/edwards25519"
)

const (
	// worthIt is how often a key comes before it gets a table, which costs as much to make as five verifications, the first
	// one, with the generator's, as a dozen.
	worthIt = 16
	// maxKeys bounds the keys that are remembered, and so the memory: 64 KiB for each that has a table.
	maxKeys = 128
)

// Cache remembers the keys that come. A nil one remembers nothing.
type Cache struct {
	mu        sync.Mutex
	keys      map[[ed25519.PublicKeySize]byte]*use
	generator *table // from the time that a key is worth it
}

// use is what is known of a key.
type use struct {
	times int
	key   *key // from the time that it is worth it
}

// Verify says what ed25519.Verify would; of a key of another size it is false.
func (c *Cache) Verify(public ed25519.PublicKey, message, signature []byte) bool {
	if len(public) != ed25519.PublicKeySize {
		return false
	}
	if k := c.find(public); k != nil {
		return k.verify(message, signature) == nil
	}
	return ed25519.Verify(public, message, signature)
}

// find is the key's table, or nil while it has none.
func (c *Cache) find(public ed25519.PublicKey) *key {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.keys[[ed25519.PublicKeySize]byte(public)]
	if u == nil {
		if c.keys == nil || len(c.keys) >= maxKeys {
			c.keys = make(map[[ed25519.PublicKeySize]byte]*use)
		}
		u = new(use)
		c.keys[[ed25519.PublicKeySize]byte(public)] = u
	}
	if u.times++; u.times == worthIt {
		if c.generator == nil {
			c.generator = newTable(edwards25519.NewGeneratorPoint(), generatorWidth)
		}
		u.key, _ = newKey(public, c.generator) // a key that is none has no table, and crypto/ed25519 refuses it
	}
	return u.key
}
