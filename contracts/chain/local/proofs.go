package local

import (
	"errors"
	"sync"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain/local/blocks"
)

// proofOnce is a proof that many answers need, made when the first does.
type proofOnce struct {
	once  sync.Once
	proof *cell.Cell
	err   error
}

func (o *proofOnce) get(build func() (*cell.Cell, error)) (*cell.Cell, error) {
	o.once.Do(func() { o.proof, o.err = build() })
	return o.proof, o.err
}

// StateProof proves which state the block leads to.
func (p *Produced) StateProof() (*cell.Cell, error) {
	return p.stateProof.get(func() (*cell.Cell, error) {
		if p.BOC == nil {
			return nil, errors.New("the zero state has no block to prove it by")
		}
		root, err := p.Root()
		if err != nil {
			return nil, err
		}
		return blocks.StateProof(root)
	})
}

// ShardsProof proves the shard hashes of a masterchain block's state.
func (p *Produced) ShardsProof() (*cell.Cell, error) {
	return p.shardsProof.get(func() (*cell.Cell, error) { return blocks.ShardsProof(p.State) })
}
