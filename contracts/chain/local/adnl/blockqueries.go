package adnl

import (
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/blocks"
)

func (s *Server) now() uint32 { return uint32(s.opts.Now().Unix()) } //nolint:gosec // TON's times are 32 bits wide

func (s *Server) head() (*local.Produced, *ton.ZeroStateIDExt, error) {
	t, err := s.current().At(s.newest())
	if err != nil {
		return nil, nil, err
	}
	zero, err := s.current().BlockAt(blocks.Masterchain, 0, false)
	if err != nil {
		return nil, nil, err
	}
	id := zero.ID()
	return t.Master, &ton.ZeroStateIDExt{Workchain: id.Workchain, RootHash: id.RootHash, FileHash: id.FileHash}, nil
}

func (s *Server) masterchainInfo(ton.GetMasterchainInf) (tl.Serializable, error) {
	last, zero, err := s.head()
	if err != nil {
		return nil, err
	}
	return ton.MasterchainInfo{Last: last.ID(), StateRootHash: last.State.Hash(), Init: zero}, nil
}

func (s *Server) masterchainInfoExt(q ton.GetMasterchainInfoExt) (tl.Serializable, error) {
	last, zero, err := s.head()
	if err != nil {
		return nil, err
	}
	return ton.MasterchainInfoExt{
		Mode: q.Mode, Version: protocolVersion, Capabilities: capabilities, Last: last.ID(), LastUTime: last.Header.Time, Now: s.now(),
		StateRootHash: last.State.Hash(), Init: zero,
	}, nil
}

func (s *Server) version(ton.GetVersion) (tl.Serializable, error) {
	return ton.Version{Version: protocolVersion, Capabilities: capabilities, Now: s.now()}, nil
}

func (s *Server) time(ton.GetTime) (tl.Serializable, error) {
	return ton.CurrentTime{Now: s.now()}, nil
}

func (s *Server) blockData(q ton.GetBlockData) (tl.Serializable, error) {
	p, err := s.find(q.ID, false)
	if err != nil {
		return nil, err
	}
	if p.BOC == nil {
		return nil, refuse(codeNotReady, "the zero state is no block")
	}
	return ton.BlockData{ID: p.ID(), Payload: p.BOC}, nil
}

// state gives zero states, which have no block to make them from.
func (s *Server) state(q ton.GetState) (tl.Serializable, error) {
	p, err := s.find(q.ID, true)
	if err != nil {
		return nil, err
	}
	if p.Ref.Seqno != 0 {
		return nil, refuse(codeBad, "only zero states are given whole")
	}
	return ton.BlockState{ID: p.ID(), RootHash: p.Ref.RootHash[:], FileHash: p.Ref.FileHash[:], Data: p.State.ToBOC()}, nil
}

func (s *Server) blockHeader(q ton.GetBlockHeader) (tl.Serializable, error) {
	p, err := s.find(q.ID, false)
	if err != nil {
		return nil, err
	}
	return header(p, q.Mode)
}

func header(p *local.Produced, mode uint32) (tl.Serializable, error) {
	if p.BOC == nil {
		return nil, refuse(codeNotReady, "the zero state has no header")
	}
	root, err := p.Root()
	if err != nil {
		return nil, err
	}
	proof, err := blocks.HeaderProof(root)
	if err != nil {
		return nil, err
	}
	return ton.BlockHeader{ID: p.ID(), Mode: mode, HeaderProof: proof.ToBOC()}, nil
}

// Ways to look a block up (lookupBlock mode).
const (
	bySeqno = 1
	byLT    = 2
	byTime  = 4
)

func (s *Server) lookupBlock(q ton.LookupBlock) (tl.Serializable, error) {
	if q.ID == nil || (q.ID.Workchain != blocks.Masterchain && q.ID.Workchain != blocks.Basechain) {
		return nil, refuse(codeBad, "no such workchain")
	}
	seqno, err := s.lookup(q)
	if err != nil {
		return nil, err
	}
	if err := s.visible(q.ID.Workchain, seqno); err != nil || seqno == 0 {
		return nil, refuse(codeNotReady, "block not found")
	}
	p, err := s.current().BlockAt(q.ID.Workchain, seqno, false)
	if err != nil {
		return nil, err
	}
	return header(p, q.Mode)
}

func (s *Server) lookup(q ton.LookupBlock) (uint32, error) {
	last := s.newest()
	if q.ID.Workchain == blocks.Basechain {
		var err error
		if last, err = s.current().ShardAt(last); err != nil {
			return 0, err
		}
	}
	switch q.Mode & (bySeqno | byLT | byTime) {
	case bySeqno:
		return uint32(q.ID.Seqno), nil //nolint:gosec // two's complement on the wire
	case byLT: // the block whose end is the first not before
		return s.current().Search(q.ID.Workchain, last, func(h blocks.Header) bool { return h.EndLT >= q.LT })
	case byTime: // the last block not after
		next, err := s.current().Search(q.ID.Workchain, last, func(h blocks.Header) bool { return h.Time > q.UTime })
		return next - 1, err
	}
	return 0, refuse(codeBad, "look a block up by number, logical time or time")
}

func (s *Server) allShards(q ton.GetAllShardsInfo) (tl.Serializable, error) {
	t, err := s.tick(q.ID)
	if err != nil {
		return nil, err
	}
	proof, err := shardsProof(t.Master)
	if err != nil {
		return nil, err
	}
	shards, err := shardHashes(t)
	if err != nil {
		return nil, err
	}
	return ton.AllShardsInfo{ID: t.Master.ID(), Proof: proof, Data: shards}, nil
}

func shardHashes(t local.Tick) (*cell.Cell, error) {
	st, err := blocks.ParseState(t.Master.State)
	if err != nil {
		return nil, err
	}
	view, err := blocks.ParseMaster(st.Extra)
	if err != nil {
		return nil, err
	}
	b := cell.BeginCell()
	if err := b.StoreMaybeRef(view.Shards); err != nil {
		return nil, err
	}
	return b.EndCell(), nil
}

// masterProof proves a block's state and something in it.
func masterProof(p *local.Produced, inside func(*cell.Cell) (*cell.Cell, error)) ([]*cell.Cell, error) {
	state, err := p.StateProof()
	if err != nil {
		return nil, err
	}
	what, err := inside(p.State)
	if err != nil {
		return nil, err
	}
	return []*cell.Cell{state, what}, nil
}

// shardsProof proves a block's state and the shards that it knows.
func shardsProof(p *local.Produced) ([]*cell.Cell, error) {
	return masterProof(p, func(*cell.Cell) (*cell.Cell, error) { return p.ShardsProof() })
}

func (s *Server) shardInfo(q ton.GetShardInfo) (tl.Serializable, error) {
	t, err := s.tick(q.ID)
	if err != nil {
		return nil, err
	}
	if q.Workchain != blocks.Basechain || t.Shard.Ref.Seqno == 0 {
		return nil, refuse(codeBad, "no such shard")
	}
	proof, err := shardsProof(t.Master)
	if err != nil {
		return nil, err
	}
	descr, err := blocks.ShardDescription(t.Master.State)
	if err != nil {
		return nil, err
	}
	return ton.ShardInfo{ID: t.Master.ID(), ShardBlock: t.Shard.ID(), ShardProof: proof, ShardDescription: descr}, nil
}

// shardBlockProof leads from a masterchain block to a shard block. Every shard block is the newest one of the
// masterchain block that registered it, so one link is enough.
func (s *Server) shardBlockProof(q ton.GetShardBlockProof) (tl.Serializable, error) {
	p, err := s.find(q.ID, false)
	if err != nil {
		return nil, err
	}
	if q.ID.Workchain != blocks.Basechain || p.Header.Master == nil {
		return nil, refuse(codeBad, "want a block of the basechain")
	}
	master, err := s.current().BlockAt(blocks.Masterchain, p.Header.Master.Seqno+1, false)
	if err != nil {
		return nil, err
	}
	root, err := master.Root()
	if err != nil {
		return nil, err
	}
	proof, err := blocks.ShardLinkProof(root)
	if err != nil {
		return nil, err
	}
	return ton.ShardBlockProof{MasterchainID: master.ID(), Links: []ton.ShardBlockLink{{ID: p.ID(), Proof: proof.ToBOC()}}}, nil
}
