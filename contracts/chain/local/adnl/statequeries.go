package adnl

import (
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/blocks"
)

// maxLibraries bounds one query.
const maxLibraries = 16

func (s *Server) configAll(q ton.GetConfigAll) (tl.Serializable, error) {
	return s.config(q.Mode, q.BlockID)
}

// configParams proves the whole configuration, which contains the wanted parameters.
func (s *Server) configParams(q ton.GetConfigParams) (tl.Serializable, error) {
	return s.config(q.Mode, q.BlockID)
}

func (s *Server) config(mode int32, id *ton.BlockIDExt) (tl.Serializable, error) {
	t, err := s.tick(id)
	if err != nil {
		return nil, err
	}
	proof, err := masterProof(t.Master, blocks.ConfigProof)
	if err != nil {
		return nil, err
	}
	return ton.ConfigAll{Mode: int(mode), ID: t.Master.ID(), StateProof: proof[0].ToBOC(), ConfigProof: proof[1].ToBOC()}, nil
}

func (s *Server) libraries(q ton.GetLibraries) (tl.Serializable, error) {
	last, _, err := s.head()
	if err != nil {
		return nil, err
	}
	_, found, err := findLibraries(last, q.LibraryList)
	return ton.LibraryResult{Result: found}, err
}

func (s *Server) librariesWithProof(q ton.GetLibrariesWithProof) (tl.Serializable, error) {
	t, err := s.tick(q.ID)
	if err != nil {
		return nil, err
	}
	data, found, err := findLibraries(t.Master, q.LibraryList)
	if err != nil {
		return nil, err
	}
	state, err := t.Master.StateProof()
	if err != nil {
		return nil, err
	}
	return ton.LibraryResultWithProof{ID: t.Master.ID(), Mode: q.Mode, Result: found, StateProof: state.ToBOC(), DataProof: data.ToBOC()}, nil
}

func findLibraries(p *local.Produced, list [][]byte) (*cell.Cell, []*ton.LibraryEntry, error) {
	if len(list) > maxLibraries {
		return nil, nil, refuse(codeBad, "%d libraries, at most %d", len(list), maxLibraries)
	}
	hashes := make([]chain.Hash, len(list))
	for i, h := range list {
		if len(h) != len(chain.Hash{}) {
			return nil, nil, refuse(codeBad, "a library's hash has %d bytes", len(h))
		}
		hashes[i] = chain.Hash(h)
	}
	proof, cells, err := blocks.Libraries(p.State, hashes)
	if err != nil {
		return nil, nil, err
	}
	var out []*ton.LibraryEntry
	for i, c := range cells {
		if c != nil {
			out = append(out, &ton.LibraryEntry{Hash: list[i], Data: c.ToBOC()})
		}
	}
	return proof, out, nil
}

// queueLimit is from where on a shard of the main network takes no external messages.
const queueLimit = 8000

func (s *Server) queueSizes(q ton.GetOutMsgQueueSizes) (tl.Serializable, error) {
	t, err := s.current().At(s.newest())
	if err != nil {
		return nil, err
	}
	out := ton.OutMsgQueueSizes{ExtMsgQueueSizeLimit: queueLimit}
	for _, p := range []*local.Produced{t.Master, t.Shard} {
		if q.Mode&1 != 0 && q.WC != p.Header.Workchain {
			continue
		}
		n, err := queued(p.State)
		if err != nil {
			return nil, err
		}
		out.Shards = append(out.Shards, ton.OutMsgQueueSize{ID: p.ID(), Size: int32(n)}) //nolint:gosec // far below 2^31
	}
	return out, nil
}

func (s *Server) queueSize(q ton.GetBlockOutMsgQueueSize) (tl.Serializable, error) {
	p, err := s.find(q.ID, true)
	if err != nil {
		return nil, err
	}
	if q.Mode&1 != 0 {
		return nil, refuse(codeBad, "the local network stores no queue size to prove")
	}
	n, err := queued(p.State)
	return ton.BlockOutMsgQueueSize{ID: p.ID(), Size: int64(n)}, err
}

func queued(state *cell.Cell) (int, error) {
	st, err := blocks.ParseState(state)
	if err != nil {
		return 0, err
	}
	s, err := st.Queue.BeginParse()
	if err != nil {
		return 0, err
	}
	var info tlb.OutMsgQueueInfo
	if err := info.LoadFromCell(s); err != nil {
		return 0, err
	}
	if info.OutQueue.IsEmpty() {
		return 0, nil
	}
	return info.OutQueue.Count()
}

// validatorGroups and pendingBlocks answer queries about blocks that are not final: here every block is.
func (s *Server) validatorGroups(ton.NonfinalGetValidatorGroups) (tl.Serializable, error) {
	return ton.NonfinalValidatorGroups{}, nil
}

func (s *Server) pendingBlocks(ton.NonfinalGetPendingShardBlocks) (tl.Serializable, error) {
	return ton.NonfinalPendingShardBlocks{}, nil
}
