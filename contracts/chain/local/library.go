package local

import (
	"fmt"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// maxLibraries bounds what is published at once.
const maxLibraries = 64

// PublishLibrary makes a cell a public library with the next masterchain block, as if the configuration contract had
// published it. Contracts then may refer to it by hash.
func (c *Chain) PublishLibrary(lib *cell.Cell) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lib == nil || len(c.libraries) >= maxLibraries {
		return fmt.Errorf("publishing library: no cell, or %d wait already", len(c.libraries))
	}
	c.libraries = append(c.libraries, lib)
	return nil
}

// publish adds the waiting libraries to a state's dictionary.
func (c *Chain) publish(root *cell.Cell) (*cell.Cell, error) {
	if len(c.libraries) == 0 {
		return root, nil
	}
	d := cell.NewDict(256)
	if root != nil {
		d = root.AsDict(256)
	}
	for _, lib := range c.libraries {
		v, err := blocks.Library(lib, blocks.ConfigAddress())
		if err != nil {
			return nil, err
		}
		k, err := hashKey(chain.Hash(lib.Hash()))
		if err != nil {
			return nil, err
		}
		if err := d.Set(k, v); err != nil {
			return nil, fmt.Errorf("publishing library: %w", err)
		}
	}
	return d.AsCell(), nil
}
