// Package blocks writes TON blocks and shard states as cells, and proofs about them.
//
// It owns the TL-B layouts of crypto/block/block.tlb that a one-shard chain needs: headers, value flow, message
// descriptors, states, the masterchain's extras, the configuration, validator signatures, and the Merkle proofs that a
// liteserver answers with. It trusts its caller's values and decides nothing: which messages run and in which order is
// the chain's business (package local). Functions are pure and may be used concurrently. It refuses values that do not
// fit their fields and flows of money that do not add up.
package blocks

import (
	"crypto/sha256"
	"fmt"
	"math/big"
	"sync"

	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Identity of the local network.
const (
	// GlobalID marks every block, state and version-5 wallet of a local network as "not mainnet" (-239) and "not
	// testnet" (-3).
	GlobalID = -217
	// Shard is the id of the only shard of a workchain: the whole of it.
	Shard = -0x8000000000000000
	// Masterchain and Basechain are the two workchains.
	Masterchain = int32(-1)
	Basechain   = int32(0)
)

// Constructor tags of block.tlb.
const (
	tagBlock        = 0x11ef55aa
	tagBlockInfo    = 0x9bc7a987
	tagSoftware     = 0xc4
	tagValueFlow    = 0xb8e48dfb
	tagBlockExtra   = 0x4a33f6fd
	tagMcBlockExtra = 0xcca5
	tagHashUpdate   = 0x72
	tagAccountBlock = 0x5
)

// Ref is ExtBlkRef: a block as another block refers to it.
type Ref struct {
	EndLT              uint64
	Seqno              uint32
	RootHash, FileHash chain.Hash
}

func (p *packer) blockRef(r Ref) *packer {
	return p.uint(r.EndLT, 64).uint(uint64(r.Seqno), 32).hash(r.RootHash).hash(r.FileHash)
}

// ID is the full id of a block in a workchain's only shard.
func (r Ref) ID(workchain int32) *ton.BlockIDExt {
	return &ton.BlockIDExt{
		Workchain: workchain, Shard: Shard, SeqNo: r.Seqno,
		RootHash: append([]byte(nil), r.RootHash[:]...), FileHash: append([]byte(nil), r.FileHash[:]...),
	}
}

// Header is BlockInfo.
type Header struct {
	Workchain      int32
	Seqno          uint32
	Time           uint32 // unix seconds
	StartLT, EndLT uint64
	// Validators and Catchain name the set that signs: its hash and sequence number.
	Validators, Catchain uint32
	MinRefMC, PrevKey    uint32
	Key                  bool
	Version              uint32 // global version
	Capabilities         uint64
	// Master is the masterchain block that a shard's block refers to, nil in the masterchain.
	Master *Ref
	Prev   Ref
}

// Cell packs the header: block_info#9bc7a987 with gen_software, without merge, split and vertical blocks.
func (h Header) Cell() (*cell.Cell, error) {
	p := pack().uint(tagBlockInfo, 32).uint(0, 32). // version
							bit(h.Workchain != Masterchain).uint(0, 5). // not_master, after_merge, before_split, after_split, want_split, want_merge
							bit(h.Key).bit(false).uint(1, 8)            // key_block, vert_seqno_incr, flags: gen_software present
	p.uint(uint64(h.Seqno), 32).uint(0, 32)
	p.shard(h.Workchain)
	p.uint(uint64(h.Time), 32).uint(h.StartLT, 64).uint(h.EndLT, 64)
	p.uint(uint64(h.Validators), 32).uint(uint64(h.Catchain), 32).uint(uint64(h.MinRefMC), 32).uint(uint64(h.PrevKey), 32)
	p.uint(tagSoftware, 8).uint(uint64(h.Version), 32).uint(h.Capabilities, 64)
	if h.Master != nil {
		p.sub(pack().blockRef(*h.Master))
	}
	return p.sub(pack().blockRef(h.Prev)).named("block header")
}

// shard stores ShardIdent of the whole workchain.
func (p *packer) shard(workchain int32) *packer {
	return p.uint(0, 2).uint(0, 6).int32(workchain).uint(0, 64)
}

// Flow is where a block's money came from and went to, in nanoTON.
type Flow struct {
	From, To           *big.Int // balances of all accounts before and after
	Imported, Exported *big.Int // in messages from and to other blocks
	Fees               *big.Int // collected by validators, FeesImported included
	FeesImported       *big.Int // of shards' blocks, masterchain only
}

// Check refuses a flow that makes or loses money.
func (f Flow) Check() error {
	in := new(big.Int).Add(f.From, f.Imported)
	in.Add(in, f.FeesImported)
	out := new(big.Int).Add(f.To, f.Exported)
	out.Add(out, f.Fees)
	if in.Cmp(out) != 0 {
		return fmt.Errorf("checking the value flow: %s nanoTON came (%s before, %s imported, %s fees of shards) and %s went (%s after, %s exported, %s fees)",
			in, f.From, f.Imported, f.FeesImported, out, f.To, f.Exported, f.Fees)
	}
	return nil
}

func (f Flow) cell() (*cell.Cell, error) {
	zero := new(big.Int)
	return pack().uint(tagValueFlow, 32).
		sub(pack().currency(f.From).currency(f.To).currency(f.Imported).currency(f.Exported)).
		currency(f.Fees).
		sub(pack().currency(f.FeesImported).currency(zero).currency(zero).currency(zero)). // recovered, created, minted
		named("value flow")
}

// Body is what a block contains besides its header.
type Body struct {
	In, Out, Accounts *cell.Cell // InMsgDescr, OutMsgDescr, ShardAccountBlocks
	Flow              Flow
	Update            *cell.Cell // Merkle update from the old to the new state
	RandSeed          chain.Hash
	Custom            *cell.Cell // McBlockExtra, nil in shards
}

// Block is a finished block. Use it by pointer.
type Block struct {
	Header Header
	BOC    []byte
	Ref    Ref

	parse  sync.Once
	root   *cell.Cell
	failed error
}

// Root is the block's cell, read from its file when it is first needed.
func (b *Block) Root() (*cell.Cell, error) {
	b.parse.Do(func() {
		if b.root == nil {
			b.root, b.failed = cell.FromBOC(b.BOC)
		}
	})
	if b.failed != nil {
		return nil, fmt.Errorf("reading block: %w", b.failed)
	}
	return b.root, nil
}

// ID of the block.
func (b *Block) ID() *ton.BlockIDExt { return b.Ref.ID(b.Header.Workchain) }

// Assemble packs a block and computes its id.
func Assemble(h Header, body Body) (*Block, error) {
	if err := body.Flow.Check(); err != nil {
		return nil, err
	}
	header, err := h.Cell()
	if err != nil {
		return nil, err
	}
	flow, err := body.Flow.cell()
	if err != nil {
		return nil, err
	}
	extra := pack().uint(tagBlockExtra, 32).ref(body.In).ref(body.Out).ref(body.Accounts).
		hash(body.RandSeed).hash(chain.Hash{}).maybe(body.Custom) // created_by: nobody gets block rewards
	root, err := pack().uint(tagBlock, 32).int32(GlobalID).ref(header).ref(flow).ref(body.Update).sub(extra).named("block")
	if err != nil {
		return nil, err
	}
	return seal(h, root)
}

// serialization is the only form of a block's file: its hash is part of the id.
func serialization() cell.BOCSerializeOptions {
	return cell.BOCSerializeOptions{WithCRC32C: true, WithIndex: true, WithCacheBits: true, WithTopHash: true, WithIntHashes: true}
}

// seal serializes a block. It forgets the cells, which still refer to the state they were made from.
func seal(h Header, root *cell.Cell) (*Block, error) {
	boc, err := root.ToBOCWithOptionsErr(serialization())
	if err != nil {
		return nil, fmt.Errorf("serializing block: %w", err)
	}
	return &Block{Header: h, BOC: boc, Ref: refTo(h, root, boc)}, nil
}

func refTo(h Header, root *cell.Cell, boc []byte) Ref {
	return Ref{EndLT: h.EndLT, Seqno: h.Seqno, RootHash: chain.Hash(root.Hash()), FileHash: sha256.Sum256(boc)}
}

// Parse reads a block that Assemble wrote.
func Parse(boc []byte) (*Block, error) {
	root, err := cell.FromBOC(boc)
	if err != nil {
		return nil, fmt.Errorf("reading block: %w", err)
	}
	h, err := parseHeader(root)
	if err != nil {
		return nil, fmt.Errorf("reading block: %w", err)
	}
	return &Block{Header: h, BOC: boc, Ref: refTo(h, root, boc), root: root}, nil
}
