package adnl

import (
	"bytes"
	"errors"
	"slices"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/blocks"
)

// Limits of lists, as on the main network.
const (
	maxTransactions      = 16
	maxBlockTransactions = 256
)

func (s *Server) transactions(q ton.GetTransactions) (tl.Serializable, error) {
	if q.AccID == nil || len(q.AccID.ID) != len(chain.Hash{}) || len(q.TxHash) != len(chain.Hash{}) || q.Limit < 1 {
		return nil, refuse(codeBad, "malformed query for transactions")
	}
	addr := address.NewAddress(0, byte(q.AccID.Workchain), q.AccID.ID) //nolint:gosec // -1 or 0, two's complement
	at := chain.Cursor{LT: uint64(q.LT), Hash: chain.Hash(q.TxHash)}   //nolint:gosec // two's complement on the wire
	out := ton.TransactionList{}
	var cells []*cell.Cell
	for len(cells) < int(min(q.Limit, maxTransactions)) && at.LT != 0 {
		c, block, err := s.current().TransactionAt(addr, at)
		if errors.Is(err, chain.ErrMissing) {
			return nil, refuse(codeNoData, "cannot compute block with specified transaction: lt not in db")
		}
		if err != nil {
			return nil, err
		}
		if err := s.visible(block.Header.Workchain, block.Ref.Seqno); err != nil {
			return nil, err
		}
		var tx tlb.Transaction
		if err := tlb.Parse(&tx, c); err != nil {
			return nil, err
		}
		out.IDs, cells = append(out.IDs, block.ID()), append(cells, c)
		at = chain.Cursor{LT: tx.PrevTxLT, Hash: chain.Hash(tx.PrevTxHash)}
	}
	out.Transactions = cell.ToBOCWithOptions(cells, cell.BOCSerializeOptions{WithCRC32C: true})
	return out, nil
}

func (s *Server) oneTransaction(q ton.GetOneTransaction) (tl.Serializable, error) {
	p, err := s.find(q.ID, false)
	if err != nil {
		return nil, err
	}
	if q.AccID == nil || len(q.AccID.ID) != len(chain.Hash{}) || q.AccID.Workchain != p.Header.Workchain {
		return nil, refuse(codeBad, "the account is not of the block's workchain")
	}
	root, err := p.Root()
	if err != nil {
		return nil, err
	}
	proof, txs, err := blocks.TransactionsProof(root, []blocks.TransactionRef{{Account: q.AccID.ID, LT: uint64(q.LT)}}) //nolint:gosec // two's complement on the wire
	if err != nil {
		return nil, err
	}
	out := ton.TransactionInfo{ID: p.ID(), Proof: proof.ToBOC()}
	if txs[0] != nil {
		out.Transaction = txs[0].ToBOC()
	}
	return out, nil
}

// Options of a block's list of transactions (listBlockTransactions mode).
const (
	listProof   = 1 << 5
	listReverse = 1 << 6
	listAfter   = 1 << 7
	listFields  = 7 // account, logical time, hash
)

// slice is one page of a block's transactions.
type slice struct {
	refs       []blocks.TransactionRef
	txs        []*cell.Cell
	incomplete bool
	proof      *cell.Cell
}

func (s *Server) list(id *ton.BlockIDExt, mode, count uint32, after *ton.TransactionID3) (*local.Produced, *slice, error) {
	p, err := s.find(id, false)
	if err != nil {
		return nil, nil, err
	}
	if p.BOC == nil {
		return nil, nil, refuse(codeNotReady, "the zero state has no transactions")
	}
	root, err := p.Root()
	if err != nil {
		return nil, nil, err
	}
	refs, _, err := blocks.Transactions(root)
	if err != nil {
		return nil, nil, err
	}
	reverse := mode&listReverse != 0
	if reverse {
		slices.Reverse(refs)
	}
	if mode&listAfter != 0 && after != nil {
		last := blocks.TransactionRef{Account: after.Account, LT: after.LT}
		refs = slices.DeleteFunc(refs, func(r blocks.TransactionRef) bool { return !passes(r, last, reverse) })
	}
	out := &slice{}
	if most := int(min(count, maxBlockTransactions)); len(refs) > most {
		refs, out.incomplete = refs[:most], true
	}
	out.refs = refs
	out.proof, out.txs, err = blocks.TransactionsProof(root, refs)
	return p, out, err
}

// passes tells whether a transaction comes after another one in the list's order.
func passes(r, last blocks.TransactionRef, reverse bool) bool {
	order := bytes.Compare(r.Account, last.Account)
	if order == 0 {
		switch {
		case r.LT > last.LT:
			order = 1
		case r.LT < last.LT:
			order = -1
		}
	}
	if reverse {
		return order < 0
	}
	return order > 0
}

func (s *Server) blockTransactions(q ton.ListBlockTransactions) (tl.Serializable, error) {
	p, page, err := s.list(q.ID, q.Mode, q.Count, q.After)
	if err != nil {
		return nil, err
	}
	out := ton.BlockTransactions{ID: p.ID(), ReqCount: int32(min(q.Count, maxBlockTransactions)), Incomplete: page.incomplete}
	for i, r := range page.refs {
		id := ton.TransactionID{Flags: q.Mode & listFields}
		if q.Mode&1 != 0 {
			id.Account = r.Account
		}
		if q.Mode&2 != 0 {
			id.LT = r.LT
		}
		if q.Mode&4 != 0 {
			id.Hash = page.txs[i].Hash()
		}
		out.TransactionIds = append(out.TransactionIds, id)
	}
	if q.Mode&listProof != 0 {
		out.Proof = page.proof
	}
	return out, nil
}

func (s *Server) blockTransactionsExt(q ton.ListBlockTransactionsExt) (tl.Serializable, error) {
	p, page, err := s.list(q.ID, q.Mode, q.Count, q.After)
	if err != nil {
		return nil, err
	}
	out := ton.BlockTransactionsExt{
		ID: p.ID(), ReqCount: int32(min(q.Count, maxBlockTransactions)), Incomplete: page.incomplete, Transactions: page.txs,
	}
	if q.Mode&listProof != 0 {
		out.Proof = page.proof.ToBOC()
	}
	return out, nil
}
