package blocks

import (
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// parseHeader reads what Header needs from a block's root.
func parseHeader(root *cell.Cell) (Header, error) {
	ref, err := root.PeekRef(0)
	if err != nil {
		return Header{}, err
	}
	var t tlb.BlockHeader
	if err := tlb.Parse(&t, ref); err != nil {
		return Header{}, err
	}
	h := Header{
		Workchain: t.Shard.WorkchainID, Seqno: t.SeqNo, Time: t.GenUtime, StartLT: t.StartLt, EndLT: t.EndLt,
		Validators: t.GenValidatorListHashShort, Catchain: t.GenCatchainSeqno, MinRefMC: t.MinRefMcSeqno,
		PrevKey: t.PrevKeyBlockSeqno, Key: t.KeyBlock, Prev: refOf(t.PrevRef.Prev1),
	}
	if t.GenSoftware != nil {
		h.Version, h.Capabilities = t.GenSoftware.Version, t.GenSoftware.Capabilities
	}
	if t.MasterRef != nil {
		m := refOf(*t.MasterRef)
		h.Master = &m
	}
	return h, nil
}

func refOf(r tlb.ExtBlkRef) Ref {
	return Ref{EndLT: r.EndLt, Seqno: r.SeqNo, RootHash: chain.Hash(r.RootHash), FileHash: chain.Hash(r.FileHash)}
}

// Coins reads a CurrencyCollection of coins alone from the front of a slice.
func Coins(s *cell.Slice) (*big.Int, error) {
	v, err := s.LoadBigCoins()
	if err != nil {
		return nil, fmt.Errorf("reading coins: %w", err)
	}
	extra, err := s.LoadBoolBit()
	if err != nil {
		return nil, fmt.Errorf("reading coins: %w", err)
	}
	if extra {
		return nil, fmt.Errorf("reading coins: extra currencies do not exist on a local network")
	}
	return v, nil
}
