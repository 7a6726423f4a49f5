package ratls

import (
	"container/list"
	"sync"
	"time"
)

// lru is a cache bounded by entries and bytes, whose entries also end at a time.
type lru[K comparable, V any] struct {
	maxEntries, maxBytes int

	mu    sync.Mutex
	bytes int
	order list.List // of *slot[K, V], most recently used first
	index map[K]*list.Element
}

type slot[K comparable, V any] struct {
	key   K
	value V
	size  int
	until time.Time
}

func newLRU[K comparable, V any](maxEntries, maxBytes int) *lru[K, V] {
	return &lru[K, V]{maxEntries: maxEntries, maxBytes: maxBytes, index: make(map[K]*list.Element)}
}

// get returns what is stored under the key and has not ended.
func (c *lru[K, V]) get(key K, now time.Time) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.index[key]
	if !ok {
		return value, false
	}
	s := slotOf[K, V](e)
	if now.After(s.until) {
		c.remove(e)
		return value, false
	}
	c.order.MoveToFront(e)
	return s.value, true
}

// put stores a value of a size in bytes, in place of an older one. What is larger than the cache is not stored.
func (c *lru[K, V]) put(key K, value V, size int, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.index[key]; ok {
		c.remove(e)
	}
	if size > c.maxBytes || c.maxEntries < 1 {
		return
	}
	for c.order.Len() >= c.maxEntries || c.bytes+size > c.maxBytes {
		c.remove(c.order.Back())
	}
	c.index[key] = c.order.PushFront(&slot[K, V]{key, value, size, until})
	c.bytes += size
}

func (c *lru[K, V]) remove(e *list.Element) {
	s := slotOf[K, V](e)
	c.order.Remove(e)
	delete(c.index, s.key)
	c.bytes -= s.size
}

func (c *lru[K, V]) usage() (entries, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len(), c.bytes
}

func slotOf[K comparable, V any](e *list.Element) *slot[K, V] {
	s, _ := e.Value.(*slot[K, V]) // nothing else is stored
	return s
}
