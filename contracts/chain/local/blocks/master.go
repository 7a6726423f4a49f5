package blocks

import (
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// MasterExtra is McStateExtra.
type MasterExtra struct {
	Shards     *cell.Cell // ShardHashes as packed by that function
	ConfigAddr chain.Hash
	Config     *cell.Cell // root of the configuration
	// Validators and Catchain name the set that signs the next block.
	Validators, Catchain uint32
	History              *History
	// AfterKey: this state is a key block's. LastKey is the newest key block before this block.
	AfterKey bool
	LastKey  *Ref
	// Global is all money of the network.
	Global *big.Int
}

// Cell packs the extra.
func (m MasterExtra) Cell() (*cell.Cell, error) {
	history, err := m.History.dict.ToCell()
	if err != nil {
		return nil, fmt.Errorf("packing previous blocks: %w", err)
	}
	info := pack().uint(0, 16).uint(uint64(m.Validators), 32).uint(uint64(m.Catchain), 32).bit(false).
		inline(history).bit(m.AfterKey).bit(m.LastKey != nil)
	if m.LastKey != nil {
		info.blockRef(*m.LastKey)
	}
	return pack().uint(tagMcStateExtra, 16).inline(m.Shards).hash(m.ConfigAddr).ref(m.Config).sub(info).currency(m.Global).
		named("masterchain state")
}

// MasterView is what reading McStateExtra gives, with the trace of its root.
type MasterView struct {
	Shards  *cell.Cell // root of the shard hashes, nil when there is none
	Config  *cell.Cell
	History *History
	LastKey *Ref
	After   bool
	Global  *big.Int
}

// ParseMaster reads McStateExtra.
func ParseMaster(extra *cell.Cell) (v MasterView, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("reading masterchain state: %w", err)
		}
	}()
	c, err := extra.BeginParse()
	if err != nil {
		return v, err
	}
	if tag, err := c.LoadUInt(16); err != nil || tag != tagMcStateExtra {
		return v, fmt.Errorf("tag %x", tag)
	}
	if v.Shards, err = maybeRef(c); err != nil {
		return v, err
	}
	if _, err = c.LoadSlice(256); err != nil {
		return v, err
	}
	if v.Config, err = c.LoadRefCell(); err != nil {
		return v, err
	}
	info, err := c.LoadRef()
	if err != nil {
		return v, err
	}
	if v.Global, err = Coins(c); err != nil {
		return v, err
	}
	return v, v.parseInfo(info)
}

func (v *MasterView) parseInfo(info *cell.Slice) error {
	if _, err := info.LoadSlice(16 + 32 + 32 + 1); err != nil {
		return err
	}
	d, err := info.LoadAugDict(32, keyMaxLT{}, false)
	if err != nil {
		return err
	}
	v.History = &History{dict: d}
	if v.After, err = info.LoadBoolBit(); err != nil {
		return err
	}
	has, err := info.LoadBoolBit()
	if err != nil || !has {
		return err
	}
	r, err := loadRef(info)
	v.LastKey = &r
	return err
}

// History is OldMcBlocksInfo: every masterchain block before this one.
type History struct{ dict *cell.AugmentedDictionary }

// NewHistory is the history of a zero state.
func NewHistory() (*History, error) {
	d, err := cell.NewAugDict(32, keyMaxLT{})
	if err != nil {
		return nil, fmt.Errorf("packing previous blocks: %w", err)
	}
	return &History{dict: d}, nil
}

// Add puts a block in.
func (h *History) Add(r Ref, key bool) error {
	v, err := pack().bit(key).blockRef(r).cell()
	if err == nil {
		err = h.dict.SetIntKey(big.NewInt(int64(r.Seqno)), v)
	}
	if err != nil {
		return fmt.Errorf("packing previous blocks: %w", err)
	}
	return nil
}

// touch reads one block's entry, so that a proof contains it.
func (h *History) touch(seqno uint32) error {
	_, err := h.dict.LoadValueByIntKey(big.NewInt(int64(seqno)))
	return err
}

// keyMaxLT is the augmentation of OldMcBlocksInfo: KeyMaxLt, whether a key block is below and the greatest logical time.
type keyMaxLT struct{}

// SkipExtra implements cell.Augmentation.
func (keyMaxLT) SkipExtra(s *cell.Slice) error {
	_, err := s.LoadSlice(1 + 64)
	return err
}

// EmptyExtra implements cell.Augmentation.
func (keyMaxLT) EmptyExtra() (*cell.Cell, error) { return pack().bit(false).uint(0, 64).cell() }

// LeafExtra implements cell.Augmentation.
func (keyMaxLT) LeafExtra(v *cell.Slice) (*cell.Cell, error) {
	key, lt, err := loadKeyLT(v.Copy())
	if err != nil {
		return nil, err
	}
	return pack().bit(key).uint(lt, 64).cell()
}

// CombineExtra implements cell.Augmentation.
func (keyMaxLT) CombineExtra(l, r *cell.Slice) (*cell.Cell, error) {
	lk, ll, err := loadKeyLT(l)
	if err != nil {
		return nil, err
	}
	rk, rl, err := loadKeyLT(r)
	if err != nil {
		return nil, err
	}
	return pack().bit(lk || rk).uint(max(ll, rl), 64).cell()
}

func loadKeyLT(s *cell.Slice) (bool, uint64, error) {
	key, err := s.LoadBoolBit()
	if err != nil {
		return false, 0, err
	}
	lt, err := s.LoadUInt(64)
	return key, lt, err
}

// MasterBlockExtra is McBlockExtra.
type MasterBlockExtra struct {
	Shards *cell.Cell // as packed by ShardHashes
	// Fees of the shard's blocks that this block takes in, nil for none.
	Fees       *big.Int
	Key        bool
	ConfigAddr chain.Hash
	Config     *cell.Cell // only in key blocks
}

// Cell packs the extra.
func (m MasterBlockExtra) Cell() (*cell.Cell, error) {
	fees, err := tlb.NewShardFeesAugDict()
	if err != nil {
		return nil, fmt.Errorf("packing shard fees: %w", err)
	}
	if m.Fees != nil && m.Fees.Sign() > 0 {
		key, err := pack().int32(Basechain).uint(1<<63, 64).cell()
		if err != nil {
			return nil, err
		}
		value, err := pack().currency(m.Fees).currency(new(big.Int)).cell()
		if err != nil {
			return nil, err
		}
		if err := fees.Set(key, value); err != nil {
			return nil, fmt.Errorf("packing shard fees: %w", err)
		}
	}
	feesCell, err := fees.ToCell()
	if err != nil {
		return nil, fmt.Errorf("packing shard fees: %w", err)
	}
	p := pack().uint(tagMcBlockExtra, 16).bit(m.Key).inline(m.Shards).inline(feesCell).
		sub(pack().uint(0, 1).uint(0, 1).uint(0, 1)) // prev_blk_signatures, recover_create_msg, mint_msg
	if m.Key {
		p.hash(m.ConfigAddr).ref(m.Config)
	}
	return p.named("masterchain block")
}
