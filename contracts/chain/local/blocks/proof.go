package blocks

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// prove builds a Merkle proof that contains what touch reads.
func prove(name string, root *cell.Cell, touch func(traced *cell.Cell) error) (*cell.Cell, error) {
	b := cell.NewMerkleProofBuilder(root)
	if err := touch(b.Root()); err != nil {
		return nil, fmt.Errorf("proving %s: %w", name, err)
	}
	p, err := b.CreateProof()
	if err != nil {
		return nil, fmt.Errorf("proving %s: %w", name, err)
	}
	return p, nil
}

// touchHeader reads a block's header with everything that it refers to and returns the block's slice, after the header.
func touchHeader(root *cell.Cell) (*cell.Slice, error) {
	s, err := root.BeginParse()
	if err != nil {
		return nil, err
	}
	h, err := s.LoadRef()
	if err != nil {
		return nil, err
	}
	for h.RefsNum() > 0 {
		if _, err := h.LoadRef(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// touchAll reads a cell and everything below it.
func touchAll(c *cell.Cell) error {
	s, err := c.BeginParse()
	if err != nil {
		return err
	}
	for s.RefsNum() > 0 {
		r, err := s.LoadRefCell()
		if err != nil {
			return err
		}
		if err := touchAll(r); err != nil {
			return err
		}
	}
	return nil
}

// HeaderProof proves a block's header.
func HeaderProof(block *cell.Cell) (*cell.Cell, error) {
	return prove("block header", block, func(r *cell.Cell) error {
		_, err := touchHeader(r)
		return err
	})
}

// StateProof proves which state a block leads to.
func StateProof(block *cell.Cell) (*cell.Cell, error) {
	return prove("state of block", block, func(r *cell.Cell) error {
		s, err := touchHeader(r)
		if err != nil {
			return err
		}
		if _, err := s.LoadRefCell(); err != nil { // value flow stays pruned
			return err
		}
		_, err = s.LoadRef()
		return err
	})
}

// touchCustom reads a masterchain block's McBlockExtra.
func touchCustom(r *cell.Cell) (*cell.Slice, error) {
	s, err := touchHeader(r)
	if err != nil {
		return nil, err
	}
	extra, err := skipRefs(s, 2)
	if err != nil {
		return nil, err
	}
	return skipRefs(extra, 3)
}

// skipRefs passes n references and loads the next one.
func skipRefs(s *cell.Slice, n int) (*cell.Slice, error) {
	for range n {
		if _, err := s.LoadRefCell(); err != nil {
			return nil, err
		}
	}
	return s.LoadRef()
}

// KeyConfigProof proves the whole configuration that a key block carries.
func KeyConfigProof(block *cell.Cell) (*cell.Cell, error) {
	return prove("configuration of key block", block, func(r *cell.Cell) error {
		custom, err := touchCustom(r)
		if err != nil {
			return err
		}
		var last *cell.Cell
		for custom.RefsNum() > 0 {
			if last, err = custom.LoadRefCell(); err != nil {
				return err
			}
			if _, err = last.BeginParse(); err != nil {
				return err
			}
		}
		if last == nil {
			return errors.New("the block carries no configuration")
		}
		return touchAll(last)
	})
}

// touchExtra reads a masterchain state down to McStateExtra and its info cell; each is told what to read more of. The
// statistics cell is read too: strict clients want it.
func touchExtra(r *cell.Cell, shards, config bool, info func(MasterView) error) error {
	st, err := ParseState(r)
	if err != nil {
		return err
	}
	if st.Extra == nil {
		return errors.New("not a masterchain state")
	}
	v, err := ParseMaster(st.Extra)
	if err != nil {
		return err
	}
	if shards && v.Shards != nil {
		if err := touchAll(v.Shards); err != nil {
			return err
		}
	}
	if config {
		if err := touchAll(v.Config); err != nil {
			return err
		}
	}
	if info != nil {
		return info(v)
	}
	return nil
}

// ShardsProof proves the shard hashes of a masterchain state.
func ShardsProof(state *cell.Cell) (*cell.Cell, error) {
	return prove("shard hashes", state, func(r *cell.Cell) error { return touchExtra(r, true, false, nil) })
}

// ConfigProof proves the whole configuration of a masterchain state.
func ConfigProof(state *cell.Cell) (*cell.Cell, error) {
	return prove("configuration", state, func(r *cell.Cell) error { return touchExtra(r, false, true, nil) })
}

// AncestorProof proves that a masterchain state knows an older block.
func AncestorProof(state *cell.Cell, seqno uint32) (*cell.Cell, error) {
	return prove("older block", state, func(r *cell.Cell) error {
		return touchExtra(r, false, false, func(v MasterView) error { return v.History.touch(seqno) })
	})
}

// AccountProof proves an account's entry in a state, or that there is none. It returns the account's cell, nil when
// absent.
func AccountProof(state *cell.Cell, account []byte) (proof, found *cell.Cell, err error) {
	proof, err = prove("account", state, func(r *cell.Cell) error {
		found, err = findAccount(r, account)
		return err
	})
	if found != nil {
		found = found.WithoutTrace()
	}
	return proof, found, err
}

func findAccount(root *cell.Cell, account []byte) (*cell.Cell, error) {
	st, err := ParseState(root)
	if err != nil {
		return nil, err
	}
	v, err := LookupAccount(st.Accounts, account)
	if err != nil || v == nil {
		return nil, err
	}
	return v.PeekRefCell()
}

// LookupAccount finds a ShardAccount in ShardAccounts, nil when absent.
func LookupAccount(accounts *cell.Cell, account []byte) (*cell.Slice, error) {
	s, err := accounts.BeginParse()
	if err != nil {
		return nil, err
	}
	d, err := s.LoadAugDict(256, tlb.AugShardAccounts{}, true)
	if err != nil {
		return nil, err
	}
	key, err := pack().bytes(account).cell()
	if err != nil {
		return nil, err
	}
	v, err := d.LoadValue(key)
	if errors.Is(err, cell.ErrNoSuchKeyInDict) {
		return nil, nil
	}
	return v, err
}

// TransactionRef names a transaction in a block.
type TransactionRef struct {
	Account []byte
	LT      uint64
}

// TransactionsProof proves that a block contains transactions, or that it does not, and returns their cells, nil for
// one that is not there.
func TransactionsProof(block *cell.Cell, refs []TransactionRef) (proof *cell.Cell, found []*cell.Cell, err error) {
	proof, err = prove("transactions", block, func(r *cell.Cell) error {
		if _, err := accountBlocks(r); err != nil { // so that an empty list is proven too
			return err
		}
		for _, ref := range refs {
			tx, err := Transaction(r, ref)
			if err != nil {
				return err
			}
			found = append(found, tx)
		}
		return nil
	})
	for i, tx := range found {
		if tx != nil {
			found[i] = tx.WithoutTrace()
		}
	}
	return proof, found, err
}

// Transaction finds a transaction in a block, nil when absent.
func Transaction(block *cell.Cell, ref TransactionRef) (*cell.Cell, error) {
	d, err := accountBlocks(block)
	if err != nil {
		return nil, err
	}
	key, err := pack().bytes(ref.Account).cell()
	if err != nil {
		return nil, err
	}
	v, err := d.LoadValue(key)
	if errors.Is(err, cell.ErrNoSuchKeyInDict) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var acc tlb.AccountBlock
	if err := tlb.LoadFromCell(&acc, v); err != nil {
		return nil, err
	}
	tx, err := acc.Transactions.LoadValueByIntKey(new(big.Int).SetUint64(ref.LT))
	if errors.Is(err, cell.ErrNoSuchKeyInDict) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return tx.PeekRefCell()
}

func accountBlocks(block *cell.Cell) (*cell.AugmentedDictionary, error) {
	s, err := touchHeader(block)
	if err != nil {
		return nil, err
	}
	extra, err := skipRefs(s, 2)
	if err != nil {
		return nil, err
	}
	accounts, err := skipRefs(extra, 2)
	if err != nil {
		return nil, err
	}
	return accounts.LoadAugDict(256, tlb.AugShardAccountBlocks{}, true)
}

// Transactions lists a block's transactions in the order of account and logical time.
func Transactions(block *cell.Cell) ([]TransactionRef, []*cell.Cell, error) {
	d, err := accountBlocks(block)
	if err != nil {
		return nil, nil, fmt.Errorf("listing transactions: %w", err)
	}
	items, err := d.RangeExtra(false, false)
	if err != nil {
		return nil, nil, fmt.Errorf("listing transactions: %w", err)
	}
	var refs []TransactionRef
	var txs []*cell.Cell
	for _, item := range items {
		var acc tlb.AccountBlock
		if err := tlb.LoadFromCell(&acc, item.Value); err != nil {
			return nil, nil, fmt.Errorf("listing transactions: %w", err)
		}
		list, err := acc.Transactions.RangeExtra(false, false)
		if err != nil {
			return nil, nil, fmt.Errorf("listing transactions: %w", err)
		}
		for _, tx := range list {
			lt, err := tx.Key.BeginParse()
			if err != nil {
				return nil, nil, fmt.Errorf("listing transactions: %w", err)
			}
			at, err := lt.LoadUInt(64)
			if err != nil {
				return nil, nil, fmt.Errorf("listing transactions: %w", err)
			}
			c, err := tx.Value.PeekRefCell()
			if err != nil {
				return nil, nil, fmt.Errorf("listing transactions: %w", err)
			}
			refs, txs = append(refs, TransactionRef{Account: acc.Addr, LT: at}), append(txs, c)
		}
	}
	return refs, txs, nil
}

// WholeProof proves a cell with everything below it.
func WholeProof(c *cell.Cell) (*cell.Cell, error) { return prove("cell", c, touchAll) }

// PrunedAccount proves an account's own cells: its state is there, code, data and libraries are cut off.
func PrunedAccount(account *cell.Cell) (*cell.Cell, error) {
	return prove("account", account, func(r *cell.Cell) error {
		_, err := r.BeginParse()
		return err
	})
}

// ShardLinkProof proves which shard blocks a masterchain block registers.
func ShardLinkProof(block *cell.Cell) (*cell.Cell, error) {
	return prove("shard link", block, func(r *cell.Cell) error {
		custom, err := touchCustom(r)
		if err != nil {
			return err
		}
		if _, err := custom.LoadUInt(16 + 1); err != nil { // tag, key_block
			return err
		}
		shards, err := maybeRef(custom)
		if err != nil || shards == nil {
			return err
		}
		return touchAll(shards)
	})
}

// ShardDescription is the cell of a masterchain state's ShardDescr.
func ShardDescription(state *cell.Cell) (*cell.Cell, error) {
	st, err := ParseState(state)
	if err != nil {
		return nil, err
	}
	view, err := ParseMaster(st.Extra)
	if err != nil {
		return nil, err
	}
	if view.Shards == nil {
		return nil, errors.New("the state knows no shard")
	}
	v, err := view.Shards.AsDict(32).LoadValueByIntKey(big.NewInt(int64(Basechain)))
	if err != nil {
		return nil, fmt.Errorf("reading shard hashes: %w", err)
	}
	leaf, err := v.LoadRef()
	if err != nil {
		return nil, fmt.Errorf("reading shard hashes: %w", err)
	}
	if _, err := leaf.LoadBoolBit(); err != nil { // bt_leaf$0
		return nil, fmt.Errorf("reading shard hashes: %w", err)
	}
	return leaf.ToCell()
}

// BlindProof proves a state down to its accounts, but none of them: what a server would send that hides one.
func BlindProof(state *cell.Cell) (*cell.Cell, error) {
	return prove("nothing about accounts", state, func(r *cell.Cell) error {
		st, err := ParseState(r)
		if err != nil {
			return err
		}
		_, err = st.Accounts.BeginParse()
		return err
	})
}
