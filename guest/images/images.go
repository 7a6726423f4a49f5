// Package images gives the policy of the RA-TLS router the images that the root contract allows (image_source "chain").
//
// It owns nothing but the step from the contracts room's plain hashes to the measure room's: the two do not know each
// other. It trusts the registry.Watcher, which reads proven state and stops answering when that is too old. A Chain may be
// used concurrently and answers from memory. It refuses to be made for models, which are no images.
package images

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"cocoon/contracts/registry"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// Chain is a policy.Images that follows a root's lists.
type Chain struct {
	watcher *registry.Watcher
	lists   []registry.List
	last    atomic.Pointer[converted]
}

// converted are a snapshot's hashes in the other type.
type converted struct {
	of     *registry.Snapshot
	hashes []tdx.Hash
}

var _ policy.Images = (*Chain)(nil)

// New follows the lists of images that peers may run: a proxy's clients want registry.Proxies, a proxy wants
// registry.Workers of those that serve it.
func New(w *registry.Watcher, lists ...registry.List) (*Chain, error) {
	if w == nil || len(lists) == 0 {
		return nil, errors.New("following a root's images: a watcher and at least one list are needed")
	}
	for _, l := range lists {
		if l != registry.Proxies && l != registry.Workers {
			return nil, fmt.Errorf("following a root's images: %s hashes are no images", l)
		}
	}
	return &Chain{watcher: w, lists: lists}, nil
}

// Allowed implements policy.Images. The time is that of the block in which the lists were proven.
func (c *Chain) Allowed() ([]tdx.Hash, time.Time, error) {
	s, err := c.watcher.Snapshot()
	if err != nil {
		return nil, time.Time{}, err
	}
	last := c.last.Load()
	if last == nil || last.of != s {
		last = &converted{of: s}
		for _, l := range c.lists {
			for _, h := range s.Hashes(l) {
				last.hashes = append(last.hashes, tdx.Hash(h))
			}
		}
		c.last.Store(last)
	}
	return last.hashes, s.Block.Time, nil
}
