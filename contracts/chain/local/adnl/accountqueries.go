package adnl

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/blocks"
	"cocoon/contracts/chain/machine"
)

// proven is an account as of a block with its proofs.
type proven struct {
	master, shard *ton.BlockIDExt
	header        blocks.Header // of the block whose time and logical time get methods see
	shardProof    []*cell.Cell
	proof         []*cell.Cell
	account       *cell.Cell // nil when absent
}

// prove finds an account as of a masterchain block, or as of a block of its own workchain.
func (s *Server) prove(id *ton.BlockIDExt, a ton.AccountID) (*proven, error) {
	p, err := s.find(id, true)
	if err != nil {
		return nil, err
	}
	if len(a.ID) != len(chain.Hash{}) || (a.Workchain != blocks.Masterchain && a.Workchain != blocks.Basechain) {
		return nil, refuse(codeBad, "no such workchain")
	}
	out := &proven{master: p.ID(), shard: p.ID(), header: p.Header}
	if a.Workchain != p.Header.Workchain {
		if p.Header.Workchain != blocks.Masterchain {
			return nil, refuse(codeBad, "the block is of another workchain")
		}
		t, err := s.tick(id)
		if err != nil {
			return nil, err
		}
		if out.shardProof, err = shardsProof(t.Master); err != nil {
			return nil, err
		}
		if p = t.Shard; p.Ref.Seqno == 0 {
			return nil, refuse(codeNotReady, "the shard has no block yet")
		}
		out.shard = p.ID()
	}
	if s.hide.Load() {
		out.proof, err = masterProof(p, blocks.BlindProof)
		return out, err
	}
	return out, out.lookup(p, a.ID)
}

func (o *proven) lookup(p *local.Produced, account []byte) error {
	if p.BOC == nil {
		return refuse(codeNotReady, "the zero state has no block to prove it by")
	}
	state, err := p.StateProof()
	if err != nil {
		return err
	}
	inside, found, err := blocks.AccountProof(p.State, account)
	if err != nil {
		return err
	}
	o.proof, o.account = []*cell.Cell{state, inside}, found
	return nil
}

func (s *Server) accountState(q ton.GetAccountState) (tl.Serializable, error) {
	p, err := s.prove(q.ID, q.Account)
	if err != nil {
		return nil, err
	}
	return ton.AccountState{ID: p.master, Shard: p.shard, ShardProof: p.shardProof, Proof: p.proof, State: p.account}, nil
}

// accountPruned is accountState without code and data: a proof of the account's own cells.
func (s *Server) accountPruned(q ton.GetAccountStatePruned) (tl.Serializable, error) {
	p, err := s.prove(q.ID, q.Account)
	if err != nil {
		return nil, err
	}
	out := ton.AccountState{ID: p.master, Shard: p.shard, ShardProof: p.shardProof, Proof: p.proof}
	if p.account != nil {
		if out.State, err = blocks.PrunedAccount(p.account); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Parts of a get method's answer (runSmcMethod mode).
const (
	wantProof      = 1
	wantStateProof = 2
	wantResult     = 4
	knownParts     = wantProof | wantStateProof | wantResult
)

func (s *Server) runMethod(q ton.RunSmcMethod) (tl.Serializable, error) {
	p, err := s.prove(q.ID, q.Account)
	if err != nil {
		return nil, err
	}
	if p.account == nil {
		return nil, refuse(codeNoState, "contract is not initialized")
	}
	code, result, err := s.execute(q, p)
	if err != nil {
		return nil, err
	}
	out := ton.RunMethodResult{Mode: q.Mode & knownParts, ID: p.master, ShardBlock: p.shard, ExitCode: code}
	if q.Mode&wantProof != 0 {
		out.ShardProof, out.Proof = p.shardProof, p.proof
	}
	if q.Mode&wantStateProof != 0 {
		if out.StateProof, err = blocks.WholeProof(p.account); err != nil {
			return nil, err
		}
	}
	if q.Mode&wantResult != 0 {
		out.Result = result
	}
	return out, nil
}

// execute runs the method in the environment that a client recomputes: the masterchain block's time, logical time and
// configuration.
func (s *Server) execute(q ton.RunSmcMethod, p *proven) (int32, *cell.Cell, error) {
	addr := address.NewAddress(0, byte(q.Account.Workchain), q.Account.ID) //nolint:gosec // -1 or 0, two's complement
	at := chain.Block{Time: time.Unix(int64(p.header.Time), 0), EndLT: p.header.EndLT}
	account, err := chain.ParseAccount(at, addr, p.account, chain.Cursor{})
	if err != nil {
		return 0, nil, err
	}
	config, err := s.configAt(p)
	if err != nil {
		return 0, nil, err
	}
	args, err := arguments(q.Params)
	if err != nil {
		return 0, nil, err
	}
	results, err := machine.ExecuteID(account, config, "by number", int64(q.MethodID), args...) //nolint:gosec // two's complement on the wire
	code, err := exitCode(err)
	if err != nil {
		return 0, nil, err
	}
	var stack tlb.Stack
	for _, r := range slices.Backward(results) { // the library's top is the virtual machine's bottom
		stack.Push(r)
	}
	c, err := stack.ToCell()
	return code, c, err
}

// exitCode turns the errors that are results into results.
func exitCode(err error) (int32, error) {
	if exit, ok := errors.AsType[*chain.ExitError](err); ok {
		return int32(exit.Code), nil //nolint:gosec // exit codes are 32 bits
	}
	if errors.Is(err, chain.ErrNotActive) {
		return 0, refuse(codeNoState, "contract is not initialized")
	}
	return 0, err
}

func (s *Server) configAt(p *proven) (*chain.Config, error) {
	master := p.header.Seqno
	if p.header.Workchain != blocks.Masterchain {
		master = p.header.Master.Seqno
	}
	t, err := s.current().At(master)
	if err != nil {
		return nil, err
	}
	return s.current().Config(context.Background(), chain.Block{Seqno: master, RootHash: t.Master.Ref.RootHash})
}

func arguments(boc []byte) ([]any, error) {
	if len(boc) == 0 {
		return nil, nil
	}
	c, err := cell.FromBOC(boc)
	if err != nil {
		return nil, refuse(codeBad, "arguments: %v", err)
	}
	var stack tlb.Stack
	if err := tlb.Parse(&stack, c); err != nil {
		return nil, refuse(codeBad, "arguments: %v", err)
	}
	var args []any
	for stack.Depth() > 0 {
		v, err := stack.Pop()
		if err != nil {
			return nil, refuse(codeBad, "arguments: %v", err)
		}
		args = append(args, v)
	}
	return args, nil
}

// maxMessage bounds an external message (ext_msg_limits).
const maxMessage = 65535

func (s *Server) sendMessage(q ton.SendMessage) (tl.Serializable, error) {
	if len(q.Body) > maxMessage {
		return nil, refuse(codeRefused, "cannot apply external message: %d bytes, at most %d", len(q.Body), maxMessage)
	}
	msg, err := cell.FromBOC(q.Body)
	if err != nil {
		return nil, refuse(codeRefused, "cannot deserialize external message boc: %v", err)
	}
	err = s.current().Send(context.Background(), msg)
	switch {
	case errors.Is(err, chain.ErrBusy):
		return nil, refuse(codeBusy, "%v", err)
	case err != nil:
		return nil, refuse(codeRefused, "cannot apply external message to current state: %v", err)
	}
	return ton.SendMessageStatus{Status: 1}, nil
}
