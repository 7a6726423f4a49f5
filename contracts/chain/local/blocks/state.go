package blocks

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Constructor tags of states in block.tlb.
const (
	tagState        = 0x9023afe2
	tagMcStateExtra = 0xcc26
	tagShardDescr   = 0xa
)

// State is ShardStateUnsplit.
type State struct {
	Workchain int32
	Seqno     uint32
	Time      uint32
	LT        uint64
	MinRefMC  uint32
	Queue     *cell.Cell // OutMsgQueueInfo
	Accounts  *cell.Cell // ShardAccounts
	// Balance is the sum of all accounts', ValidatorFees what validators have collected and not taken.
	Balance, ValidatorFees *big.Int
	// Libraries is the root of the public libraries' dictionary, nil when empty.
	Libraries *cell.Cell
	// Master is the masterchain block a shard's state refers to, nil in the masterchain and in zero states.
	Master *Ref
	// Extra is McStateExtra, nil in shards.
	Extra *cell.Cell
}

// Cell packs the state.
func (s State) Cell() (*cell.Cell, error) {
	rest := pack().uint(0, 64).uint(0, 64). // overload_history, underload_history
						currency(s.Balance).currency(s.ValidatorFees).maybe(s.Libraries).bit(s.Master != nil)
	if s.Master != nil {
		rest.blockRef(*s.Master)
	}
	return pack().uint(tagState, 32).int32(GlobalID).shard(s.Workchain).
		uint(uint64(s.Seqno), 32).uint(0, 32).uint(uint64(s.Time), 32).uint(s.LT, 64).uint(uint64(s.MinRefMC), 32).
		ref(s.Queue).bit(false).ref(s.Accounts).sub(rest).maybe(s.Extra).
		named("shard state")
}

// ParseState reads a state. When the root carries a trace, so does everything that is read from it.
func ParseState(root *cell.Cell) (State, error) {
	var s State
	var t tlb.ShardStateUnsplit
	c, err := root.BeginParse()
	if err != nil {
		return s, fmt.Errorf("reading state: %w", err)
	}
	fixed := []struct {
		bits uint
		into func(uint64)
	}{
		{32, func(v uint64) { t.GlobalID = int32(uint32(v)) }}, //nolint:gosec // two's complement
		{8, nil},
		{32, func(v uint64) { s.Workchain = int32(uint32(v)) }}, //nolint:gosec // two's complement
		{64, nil},
		{32, func(v uint64) { s.Seqno = uint32(v) }}, //nolint:gosec // 32 bits
		{32, nil},
		{32, func(v uint64) { s.Time = uint32(v) }}, //nolint:gosec // 32 bits
		{64, func(v uint64) { s.LT = v }},
		{32, func(v uint64) { s.MinRefMC = uint32(v) }}, //nolint:gosec // 32 bits
	}
	if tag, err := c.LoadUInt(32); err != nil || tag != tagState {
		return s, errors.New("reading state: not a shard state")
	}
	for _, f := range fixed {
		v, err := c.LoadUInt(f.bits)
		if err != nil {
			return s, fmt.Errorf("reading state: %w", err)
		}
		if f.into != nil {
			f.into(v)
		}
	}
	return s, s.parseRefs(c)
}

func (s *State) parseRefs(c *cell.Slice) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("reading state: %w", err)
		}
	}()
	if s.Queue, err = c.LoadRefCell(); err != nil {
		return err
	}
	if _, err = c.LoadBoolBit(); err != nil {
		return err
	}
	if s.Accounts, err = c.LoadRefCell(); err != nil {
		return err
	}
	rest, err := c.LoadRef()
	if err != nil {
		return err
	}
	if s.Extra, err = maybeRef(c); err != nil {
		return err
	}
	if _, err = rest.LoadSlice(128); err != nil {
		return err
	}
	if s.Balance, err = Coins(rest); err != nil {
		return err
	}
	if s.ValidatorFees, err = Coins(rest); err != nil {
		return err
	}
	if s.Libraries, err = maybeRef(rest); err != nil {
		return err
	}
	return s.parseMaster(rest)
}

func (s *State) parseMaster(rest *cell.Slice) error {
	has, err := rest.LoadBoolBit()
	if err != nil || !has {
		return err
	}
	r, err := loadRef(rest)
	if err != nil {
		return err
	}
	s.Master = &r
	return nil
}

func loadRef(s *cell.Slice) (Ref, error) {
	var t tlb.ExtBlkRef
	if err := tlb.LoadFromCell(&t, s); err != nil {
		return Ref{}, err
	}
	return refOf(t), nil
}

func maybeRef(s *cell.Slice) (*cell.Cell, error) {
	has, err := s.LoadBoolBit()
	if err != nil || !has {
		return nil, err
	}
	return s.LoadRefCell()
}

// Top is what the masterchain knows of the shard's newest block.
type Top struct {
	Ref     Ref
	StartLT uint64
	Time    uint32
	// Registered is the masterchain block that took it in first, MinRefMC the oldest one it depends on.
	Registered, MinRefMC uint32
	// Fees that the shard collected since the masterchain took in a block before.
	Fees *big.Int
}

// ShardHashes packs HashmapE 32 ^(BinTree ShardDescr) with one shard, as a cell of one bit and a reference.
func ShardHashes(t *Top) (*cell.Cell, error) {
	d := cell.NewDict(32)
	if t != nil {
		leaf, err := pack().uint(0, 1).uint(tagShardDescr, 4). // bt_leaf$0 shard_descr_new#a
									uint(uint64(t.Ref.Seqno), 32).uint(uint64(t.Registered), 32).uint(t.StartLT, 64).uint(t.Ref.EndLT, 64).
									hash(t.Ref.RootHash).hash(t.Ref.FileHash).
									uint(0, 5).uint(0, 3).uint(0, 32).uint(1<<63, 64). // split and merge wishes, flags, next_catchain_seqno, next_validator_shard
									uint(uint64(t.MinRefMC), 32).uint(uint64(t.Time), 32).uint(0, 1).
									sub(pack().currency(t.Fees).currency(new(big.Int))).
									named("shard description")
		if err != nil {
			return nil, err
		}
		value, err := pack().ref(leaf).cell()
		if err != nil {
			return nil, err
		}
		if err := d.SetIntKey(big.NewInt(int64(Basechain)), value); err != nil {
			return nil, fmt.Errorf("packing shard hashes: %w", err)
		}
	}
	return pack().maybe(d.AsCell()).named("shard hashes")
}

// ParseTop reads what a masterchain state says about the shard.
func ParseTop(state *cell.Cell) (Top, error) {
	zero := Top{Fees: new(big.Int)}
	st, err := ParseState(state)
	if err != nil {
		return zero, err
	}
	view, err := ParseMaster(st.Extra)
	if err != nil || view.Shards == nil {
		return zero, err
	}
	v, err := view.Shards.AsDict(32).LoadValueByIntKey(big.NewInt(int64(Basechain)))
	if err != nil {
		return zero, fmt.Errorf("reading shard hashes: %w", err)
	}
	leaf, err := v.LoadRef()
	if err != nil {
		return zero, fmt.Errorf("reading shard hashes: %w", err)
	}
	if _, err := leaf.LoadBoolBit(); err != nil { // bt_leaf$0
		return zero, fmt.Errorf("reading shard hashes: %w", err)
	}
	var d tlb.ShardDesc
	if err := tlb.LoadFromCell(&d, leaf); err != nil {
		return zero, fmt.Errorf("reading shard hashes: %w", err)
	}
	return Top{
		Ref:     Ref{EndLT: d.EndLT, Seqno: d.SeqNo, RootHash: chain.Hash(d.RootHash), FileHash: chain.Hash(d.FileHash)},
		StartLT: d.StartLT, Time: d.GenUTime, Registered: d.RegMcSeqno, MinRefMC: d.MinRefMcSeqNo, Fees: d.Currencies.FeesCollected.Coins.Nano(),
	}, nil
}
