package adnl

import (
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/blocks"
)

// maxLinks bounds one answer; a client asks on from where it ended.
const maxLinks = 16

// blockProof leads from a block that the client trusts to another one: back along the older blocks that a state knows,
// forward along key blocks whose configuration names the signers of the next.
func (s *Server) blockProof(q ton.GetBlockProof) (tl.Serializable, error) {
	from, err := s.find(q.KnownBlock, true)
	if err != nil {
		return nil, err
	}
	target := q.TargetBlock
	if q.Mode&1 == 0 || target == nil {
		last, _, err := s.head()
		if err != nil {
			return nil, err
		}
		target = last.ID()
	}
	to, err := s.find(target, true)
	if err != nil {
		return nil, err
	}
	if from.Header.Workchain != blocks.Masterchain || to.Header.Workchain != blocks.Masterchain {
		return nil, refuse(codeBad, "want masterchain blocks")
	}
	w := walk{server: s, at: from, to: to}
	if err := w.run(); err != nil {
		return nil, err
	}
	return ton.PartialBlockProof{Complete: w.at == to, From: from.ID(), To: w.at.ID(), Steps: w.steps}, nil
}

// walk is a proof being made.
type walk struct {
	server *Server
	at, to *local.Produced
	steps  []any
}

func (w *walk) run() error {
	switch {
	case w.to.Ref.Seqno < w.at.Ref.Seqno:
		return w.back(w.to)
	case w.to.Ref.Seqno == w.at.Ref.Seqno:
		w.at = w.to
		return nil
	}
	if !w.at.Header.Key || w.at.Ref.Seqno == 0 {
		if err := w.toKey(); err != nil {
			return err
		}
	}
	for w.at != w.to && len(w.steps) < maxLinks {
		next, err := w.next()
		if err != nil {
			return err
		}
		if err := w.forward(next); err != nil {
			return err
		}
	}
	return nil
}

// toKey goes back to the key block whose configuration is in force. The first block is the first key block.
func (w *walk) toKey() error {
	if w.at.Ref.Seqno == 0 {
		return refuse(codeBad, "the zero state is no key block with a proof: begin with block 1")
	}
	key, err := w.server.current().BlockAt(blocks.Masterchain, w.at.Header.PrevKey, true)
	if err != nil {
		return err
	}
	return w.back(key)
}

// next is the key block after this one, or the target when none comes before.
func (w *walk) next() (*local.Produced, error) {
	here := w.at.Ref.Seqno
	first, err := w.server.current().Search(blocks.Masterchain, w.to.Ref.Seqno, func(h blocks.Header) bool {
		return h.Seqno > here && (h.Key || h.PrevKey > here)
	})
	if err != nil || first >= w.to.Ref.Seqno {
		return w.to, err
	}
	return w.server.current().BlockAt(blocks.Masterchain, first, true)
}

func (w *walk) back(to *local.Produced) error {
	if to.BOC == nil {
		return refuse(codeBad, "the zero state has no block to prove: pin block 1 instead")
	}
	root, err := to.Root()
	if err != nil {
		return err
	}
	dest, err := blocks.HeaderProof(root)
	if err != nil {
		return err
	}
	proof, err := w.at.StateProof()
	if err != nil {
		return err
	}
	state, err := blocks.AncestorProof(w.at.State, to.Ref.Seqno)
	if err != nil {
		return err
	}
	w.steps = append(w.steps, ton.BlockLinkBackward{
		ToKeyBlock: to.Header.Key, From: w.at.ID(), To: to.ID(), DestProof: dest.ToBOC(), Proof: proof.ToBOC(), StateProof: state.ToBOC(),
	})
	w.at = to
	return nil
}

func (w *walk) forward(to *local.Produced) error {
	root, err := to.Root()
	if err != nil {
		return err
	}
	dest, err := blocks.HeaderProof(root)
	if err != nil {
		return err
	}
	if root, err = w.at.Root(); err != nil {
		return err
	}
	config, err := blocks.KeyConfigProof(root)
	if err != nil {
		return err
	}
	signatures, err := blocks.DecodeSignatures(to.Signatures)
	if err != nil {
		return err
	}
	w.steps = append(w.steps, ton.BlockLinkForward{
		ToKeyBlock: to.Header.Key, From: w.at.ID(), To: to.ID(), DestProof: dest.ToBOC(), ConfigProof: config.ToBOC(),
		SignatureSet: ton.SignatureSet{
			ValidatorSetHash: int32(to.Header.Validators), CatchainSeqno: int32(to.Header.Catchain), Signatures: signatures, //nolint:gosec // two's complement on the wire
		},
	})
	w.at = to
	return nil
}
