package local

import (
	"fmt"
	"slices"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// Limits of an external message (ext_msg_limits of the size limits configuration).
const (
	maxExternalBytes = 65535
	maxExternalDepth = 512
	// maxPool bounds all waiting messages.
	maxPool = 16384
)

// mempool holds external messages until a block takes them. The chain's lock guards it.
type mempool struct {
	ttl        time.Duration
	perAccount int
	waiting    []external
}

// external is a waiting external message.
type external struct {
	hash  chain.Hash
	dst   *address.Address
	msg   *cell.Cell
	since uint32 // block time of arrival
	keep  bool   // the faucet's messages wait through time travel
}

func newMempool(o Options) mempool { return mempool{ttl: o.MessageTTL, perAccount: o.MaxPerAccount} }

// add queues a message that is not waiting already.
func (m *mempool) add(e external) error {
	same := 0
	for _, w := range m.waiting {
		if w.hash == e.hash {
			return nil
		}
		if w.dst.Equals(e.dst) {
			same++
		}
	}
	if same >= m.perAccount || len(m.waiting) >= maxPool {
		return fmt.Errorf("%w: %d of %d wait, %d of %d for %s", chain.ErrBusy, len(m.waiting), maxPool, same, m.perAccount, e.dst)
	}
	m.waiting = append(m.waiting, e)
	return nil
}

// take lists what a block can run, oldest first. Messages that waited too long are left out; settle removes them.
func (m *mempool) take(now uint32, workchain int32, most int) []external {
	var out []external
	for _, w := range m.waiting {
		if w.dst.Workchain() == workchain && !m.expired(w, now) && len(out) < most {
			out = append(out, w)
		}
	}
	return out
}

func (m *mempool) expired(e external, now uint32) bool {
	return !e.keep && time.Duration(int64(now)-int64(e.since))*time.Second > m.ttl
}

// settle removes messages that a block has seen.
func (m *mempool) settle(seen []chain.Hash) {
	gone := make(map[chain.Hash]bool, len(seen))
	for _, h := range seen {
		gone[h] = true
	}
	m.waiting = slices.DeleteFunc(m.waiting, func(e external) bool { return gone[e.hash] })
}

// expire removes messages that waited too long.
func (m *mempool) expire(now uint32) {
	m.waiting = slices.DeleteFunc(m.waiting, func(e external) bool { return m.expired(e, now) })
}

// parseExternal reads an external message within the network's limits.
func parseExternal(msg *cell.Cell) (_ external, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading external message: %w: %v", chain.ErrMalformed, p)
		}
	}()
	if msg == nil {
		return external{}, fmt.Errorf("reading external message: %w: no cell", chain.ErrMalformed)
	}
	if d := msg.Depth(); d > maxExternalDepth {
		return external{}, fmt.Errorf("reading external message: %w: %d cells deep, at most %d", chain.ErrMalformed, d, maxExternalDepth)
	}
	if n := len(msg.ToBOC()); n > maxExternalBytes {
		return external{}, fmt.Errorf("reading external message: %w: %d bytes, at most %d", chain.ErrMalformed, n, maxExternalBytes)
	}
	prepared, err := tvm.PrepareMessage(msg)
	if err != nil {
		return external{}, fmt.Errorf("reading external message: %w: %w", chain.ErrMalformed, err)
	}
	if prepared.Message().MsgType != tlb.MsgTypeExternalIn {
		return external{}, fmt.Errorf("reading external message: %w: it is %s", chain.ErrMalformed, prepared.Message().MsgType)
	}
	dst := prepared.Message().AsExternalIn().DstAddr
	if dst == nil || len(dst.Data()) != len(chain.Hash{}) || (dst.Workchain() != blocks.Masterchain && dst.Workchain() != blocks.Basechain) {
		return external{}, fmt.Errorf("reading external message: %w: destination %s is in no workchain", chain.ErrMalformed, dst)
	}
	return external{hash: chain.Hash(msg.Hash()), dst: dst, msg: msg}, nil
}

// accepts asks the contract, as of the newest state and the next block's time, whether it takes the message.
func (c *Chain) accepts(e external) (ok bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("trying external message: %w: %v", chain.ErrMalformed, p)
		}
	}()
	prev := c.head.Shard
	if e.dst.Workchain() == blocks.Masterchain {
		prev = c.head.Master
	}
	p := &production{chain: c, now: c.clock.peek(c.head.Master.Header.Time)}
	l, err := p.lane(prev, c.head.Master.Header.EndLT)
	if err != nil {
		return false, err
	}
	t, err := l.load(e.dst)
	if err != nil {
		return false, err
	}
	prepared, err := tvm.PrepareMessage(e.msg)
	if err != nil {
		return false, err
	}
	return l.vm.CheckExternalMessageAccepted(l.block, t.state, prepared, l.options(t))
}
