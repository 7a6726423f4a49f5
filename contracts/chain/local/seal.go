package local

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// sealed is what a lane ends with: the parts of a block and of the state after it.
type sealed struct {
	header                 blocks.Header // set when the block is assembled
	in, out, accountBlocks *cell.Cell
	accounts, queue        *cell.Cell
	balance                *big.Int
	flow                   blocks.Flow
}

// seal closes the lane. feesImported are those of the shard's blocks, for the masterchain.
func (l *lane) seal(feesImported *big.Int) (*sealed, error) {
	before, err := accountsBalance(l.accounts)
	if err != nil {
		return nil, err
	}
	s := &sealed{}
	if s.accountBlocks, err = l.closeAccounts(); err != nil {
		return nil, err
	}
	if s.in, err = blocks.BuildAug(tlb.AugInMsgDescr{}, itemsOf(l.in)); err != nil {
		return nil, err
	}
	if s.out, err = blocks.BuildAug(tlb.AugOutMsgDescr{}, itemsOf(l.out)); err != nil {
		return nil, err
	}
	if s.accounts, err = l.accounts.ToCell(); err != nil {
		return nil, err
	}
	if s.queue, err = l.queue.ToCell(); err != nil {
		return nil, err
	}
	if s.balance, err = accountsBalance(l.accounts); err != nil {
		return nil, err
	}
	s.flow = blocks.Flow{From: before, To: s.balance, FeesImported: feesImported}
	return s, s.countFlow()
}

func itemsOf(m map[chain.Hash]*cell.Cell) []blocks.Item {
	out := make([]blocks.Item, 0, len(m))
	for k, v := range m {
		out = append(out, blocks.Item{Key: k, Value: v}) // BuildAug sorts them
	}
	return out
}

// countFlow reads the sums that the dictionaries keep at their roots: ImportFees, and twice CurrencyCollection.
func (s *sealed) countFlow() error {
	in, err := rootExtra(s.in)
	if err != nil {
		return err
	}
	importFees, err := in.LoadBigCoins()
	if err != nil {
		return fmt.Errorf("counting imported money: %w", err)
	}
	if s.flow.Imported, err = blocks.Coins(in); err != nil {
		return err
	}
	out, err := rootExtra(s.out)
	if err != nil {
		return err
	}
	if s.flow.Exported, err = blocks.Coins(out); err != nil {
		return err
	}
	txs, err := rootExtra(s.accountBlocks)
	if err != nil {
		return err
	}
	fees, err := blocks.Coins(txs)
	if err != nil {
		return err
	}
	s.flow.Fees = fees.Add(fees, importFees).Add(fees, s.flow.FeesImported)
	return nil
}

// rootExtra is the extra of a packed HashmapAugE.
func rootExtra(dict *cell.Cell) (*cell.Slice, error) {
	s, err := dict.BeginParse()
	if err != nil {
		return nil, fmt.Errorf("counting money: %w", err)
	}
	full, err := s.LoadBoolBit()
	if err == nil && full {
		_, err = s.LoadRefCell()
	}
	if err != nil {
		return nil, fmt.Errorf("counting money: %w", err)
	}
	return s, nil
}

// closeAccounts writes the touched accounts into the state and returns the block's record of them.
func (l *lane) closeAccounts() (*cell.Cell, error) {
	keys := make([]account, 0, len(l.touched))
	for k := range l.touched {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b account) int { return slices.Compare(a[:], b[:]) })
	records := make([]blocks.Item, 0, len(keys))
	for _, k := range keys {
		rec, err := l.closeAccount(k, l.touched[k])
		if err != nil {
			return nil, fmt.Errorf("closing account %x: %w", k, err)
		}
		records = append(records, blocks.Item{Key: k, Value: rec})
	}
	return blocks.BuildAug(tlb.AugShardAccountBlocks{}, records)
}

// closeAccount writes one account into the state and returns the block's record of it.
func (l *lane) closeAccount(k account, t *touched) (*cell.Cell, error) {
	inline, err := t.txs.InlineCell()
	if err != nil {
		return nil, err
	}
	rec, err := blocks.AccountBlock(k[:], inline, t.before, t.state.ShardAccount().Account.Hash())
	if err != nil {
		return nil, err
	}
	return rec, l.store(k, t)
}

func (l *lane) store(k account, t *touched) error {
	key, err := hashKey(k)
	if err != nil {
		return err
	}
	if t.state.State().Status == tlb.AccountStatusNonExist || !t.state.State().IsValid {
		err := l.accounts.Delete(key)
		if err != nil && t.before != nil && string(t.before) == string(absentState().Hash()) {
			return nil // it was never there
		}
		return err
	}
	return l.accounts.Set(key, t.state.ShardAccountCell())
}

// update makes the Merkle update to the new state, and the new state as it follows from old state and update, so that
// the two are known to agree and no trace of this block's work stays in memory.
func (l *lane) update(old, next *cell.Cell) (update, clean *cell.Cell, err error) {
	traced := old.WithTrace(l.tree.RootTrace())
	if update, err = l.tree.CreateMerkleUpdate(traced, next); err != nil {
		return nil, nil, fmt.Errorf("making the state update: %w", err)
	}
	update = update.WithoutTrace()
	if clean, _, err = cell.ApplyMerkleUpdate(old, update); err != nil {
		return nil, nil, fmt.Errorf("checking the state update: %w", err)
	}
	if chain.Hash(clean.Hash()) != chain.Hash(next.Hash()) {
		return nil, nil, fmt.Errorf("checking the state update: it leads to %x, not %x", clean.Hash(), next.Hash())
	}
	return update, clean, nil
}

// accountsBalance is the sum of all accounts, from the dictionary's root (DepthBalanceInfo).
func accountsBalance(d *tlb.ShardAccountsAugDict) (*big.Int, error) {
	s, err := d.LoadRootExtra()
	if err != nil {
		return nil, fmt.Errorf("counting balances: %w", err)
	}
	if _, err := s.LoadUInt(5); err != nil {
		return nil, fmt.Errorf("counting balances: %w", err)
	}
	return blocks.Coins(s)
}
