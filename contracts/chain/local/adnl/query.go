package adnl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/blocks"
)

// Error codes as the main network's liteserver uses them.
const (
	codeRefused  = 0    // an external message that is not accepted
	codeUnknown  = 404  // a query that the server does not know
	codeInternal = 500  // something broke
	codeNotReady = 651  // a block that is not there
	codeBad      = 621  // a malformed query
	codeTimeout  = 652  // a block that did not come in time
	codeBusy     = 228  // too much to do
	codeNoData   = -400 // history that is not held
	codeNoState  = -256 // a get method of an account without code
)

// Protocol version 1.1 with the capability bits that the main network shows.
const (
	protocolVersion = 0x101
	capabilities    = 7
)

// Error is a refusal that the client gets to see.
type Error struct {
	Code int32
	Text string
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("lite error %d: %s", e.Code, e.Text) }

func refuse(code int32, format string, args ...any) error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// query dispatches a query, after the wait that may stand before it.
func (s *Server) query(q tl.Serializable) (tl.Serializable, error) {
	if list, ok := q.([]tl.Serializable); ok {
		if len(list) != 2 {
			return nil, refuse(codeBad, "%d queries at once", len(list))
		}
		wait, ok := list[0].(ton.WaitMasterchainSeqno)
		if !ok {
			return nil, refuse(codeBad, "query begins with %T", list[0])
		}
		if err := s.await(wait); err != nil {
			return nil, err
		}
		q = list[1]
	}
	for _, h := range handlers() {
		if resp, err, ok := h(s, q); ok {
			return resp, err
		}
	}
	return nil, refuse(codeUnknown, "unknown query %T", q)
}

// handler answers queries of one type and says whether this was one.
type handler func(*Server, tl.Serializable) (tl.Serializable, error, bool)

func on[Q any](answer func(*Server, Q) (tl.Serializable, error)) handler {
	return func(s *Server, q tl.Serializable) (tl.Serializable, error, bool) {
		v, ok := q.(Q)
		if !ok {
			return nil, nil, false
		}
		resp, err := answer(s, v)
		return resp, err, true
	}
}

// handlers is the protocol, one line a query.
func handlers() []handler {
	return []handler{
		on((*Server).masterchainInfo), on((*Server).masterchainInfoExt), on((*Server).version), on((*Server).time),
		on((*Server).blockData), on((*Server).blockHeader), on((*Server).lookupBlock), on((*Server).state),
		on((*Server).allShards), on((*Server).shardInfo), on((*Server).shardBlockProof), on((*Server).blockProof),
		on((*Server).accountState), on((*Server).accountPruned), on((*Server).runMethod),
		on((*Server).sendMessage),
		on((*Server).transactions), on((*Server).oneTransaction), on((*Server).blockTransactions), on((*Server).blockTransactionsExt),
		on((*Server).configAll), on((*Server).configParams), on((*Server).libraries), on((*Server).librariesWithProof),
		on((*Server).queueSizes), on((*Server).queueSize), on((*Server).validatorGroups), on((*Server).pendingBlocks),
	}
}

// newest is the newest block that clients may see.
func (s *Server) newest() uint32 {
	if f := s.frozen.Load(); f != 0 {
		return min(f, s.current().Newest())
	}
	return s.current().Newest()
}

// await waits for a masterchain block, as long as the client wants and the server allows.
func (s *Server) await(w ton.WaitMasterchainSeqno) error {
	limit := min(time.Duration(w.Timeout)*time.Millisecond, maxQueryWait)
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	for w.Seqno > 0 && int64(s.newest()) < int64(w.Seqno) {
		if s.frozen.Load() != 0 {
			<-ctx.Done()
		} else if err := s.current().Wait(ctx, s.current().Newest()); err == nil {
			continue
		}
		return refuse(codeTimeout, "timeout: block %d is not there yet", w.Seqno)
	}
	return nil
}

// find checks an id against the chain. Blocks of the shard are visible when a visible masterchain block knows them.
func (s *Server) find(id *ton.BlockIDExt, withState bool) (*local.Produced, error) {
	if id == nil || id.Shard != blocks.Shard || (id.Workchain != blocks.Masterchain && id.Workchain != blocks.Basechain) {
		return nil, refuse(codeBad, "no such shard")
	}
	if err := s.visible(id.Workchain, id.SeqNo); err != nil {
		return nil, err
	}
	p, err := s.current().BlockAt(id.Workchain, id.SeqNo, withState)
	if errors.Is(err, chain.ErrUnknownBlock) {
		return nil, refuse(codeNotReady, "block is not in db")
	}
	if err != nil {
		return nil, err
	}
	if !p.ID().Equals(id) {
		return nil, refuse(codeNotReady, "block is not in db: the one of that number is another")
	}
	return p, nil
}

func (s *Server) visible(workchain int32, seqno uint32) error {
	last := s.newest()
	if workchain == blocks.Basechain {
		var err error
		if last, err = s.current().ShardAt(last); err != nil {
			return err
		}
	}
	if seqno > last {
		return refuse(codeNotReady, "block is not in db: the newest is %d", last)
	}
	return nil
}

// tick is the chain as of a masterchain block that the client names.
func (s *Server) tick(id *ton.BlockIDExt) (local.Tick, error) {
	p, err := s.find(id, false)
	if err != nil {
		return local.Tick{}, err
	}
	if id.Workchain != blocks.Masterchain || p.Ref.Seqno == 0 {
		return local.Tick{}, refuse(codeBad, "want a masterchain block after the zero state")
	}
	return s.current().At(p.Ref.Seqno)
}
