package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
)

// Limits of a replay.
const (
	maxHistory = 100_000
	pageSize   = 100
)

// Event is one operation that reached a root.
type Event struct {
	At   time.Time
	LT   uint64
	Hash chain.Hash // of the transaction
	From *address.Address
	// Op is the operation's code, Message what it says; Message is nil for a body that is no operation of a root.
	Op      bind.Op
	Message bind.Message
	// Exit is the contract's exit code. Applied tells that the operation took effect.
	Exit    int32
	Applied bool
}

// Replay is a root's history, played from its deployment, beside what the root says now.
type Replay struct {
	Now    *Snapshot
	Events []Event // oldest first
	// Complete tells that the history begins with the deployment, so that the lists below follow from it alone.
	Complete bool
	// First is what the root was deployed with; nil unless Complete.
	First *bind.RootStorage
	// Missing are hashes that the history leads to and the root does not have; Surplus the other way round.
	Missing, Surplus []Listed
}

// Listed is a hash on a list.
type Listed struct {
	List List
	Hash bind.Hash
}

// Agrees tells whether the history explains the root's lists.
func (r *Replay) Agrees() bool { return r.Complete && len(r.Missing) == 0 && len(r.Surplus) == 0 }

// Audit reads all transactions of a root and replays what they did to its lists.
func Audit(ctx context.Context, h chain.History, root *address.Address) (*Replay, error) {
	now, err := Read(ctx, h, root)
	if err != nil {
		return nil, err
	}
	txs, err := past(ctx, h, now)
	if err != nil {
		return nil, fmt.Errorf("reading the history of root %s: %w", root, err)
	}
	out := &Replay{Now: now}
	lists := &lists{}
	for i := range txs {
		if i == 0 {
			out.First = lists.deploy(txs[i])
			out.Complete = out.First != nil
		}
		event, ok := eventOf(txs[i])
		if !ok {
			continue
		}
		if event.Applied {
			lists.apply(event.Message)
		}
		out.Events = append(out.Events, event)
	}
	out.compare(lists)
	return out, nil
}

// past reads transactions back to the first, and returns them oldest first.
func past(ctx context.Context, h chain.History, now *Snapshot) ([]chain.Transaction, error) {
	var all []chain.Transaction
	for at := now.Account.Last; at.LT != 0; {
		page, err := h.Past(ctx, now.Root, at, pageSize)
		if errors.Is(err, chain.ErrMissing) && len(all) > 0 {
			break // the replay says that it is not complete
		}
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			break
		}
		if all = append(all, page...); len(all) > maxHistory {
			return nil, fmt.Errorf("more than %d transactions", maxHistory)
		}
		at = page[len(page)-1].Previous
	}
	slices.Reverse(all)
	return all, nil
}

// eventOf reads a transaction's operation. Bounces, notes without a body and external messages are none.
func eventOf(tx chain.Transaction) (Event, bool) {
	in := tx.In()
	if in == nil || in.MsgType != tlb.MsgTypeInternal {
		return Event{}, false
	}
	m := in.AsInternal()
	if m.Bounced || m.Body == nil || m.Body.BitsSize() < 32 {
		return Event{}, false
	}
	e := Event{At: tx.Time, LT: tx.LT, Hash: tx.Hash, From: m.SrcAddr}
	body, err := m.Body.BeginParse()
	if err != nil {
		return Event{}, false
	}
	op, err := body.LoadUInt(32)
	if err != nil {
		return Event{}, false
	}
	e.Op = bind.Op(op) //nolint:gosec // 32 bits were read
	exit, ran := tx.Exit()
	e.Exit = exit
	msg, err := bind.Decode(bind.ContractRoot, m.Body)
	if err == nil {
		e.Message = msg
	}
	e.Applied = err == nil && ran && !tx.Aborted()
	return e, true
}

// lists are the root's lists as the history makes them.
type lists struct{ of [4]map[bind.Hash]bool }

// deploy takes the lists that the first transaction's state holds, and returns that state; nil if there is none.
func (l *lists) deploy(tx chain.Transaction) *bind.RootStorage {
	for _, list := range Lists() {
		l.of[list] = map[bind.Hash]bool{}
	}
	if tx.Previous.LT != 0 || tx.In() == nil || tx.In().MsgType != tlb.MsgTypeInternal {
		return nil
	}
	init := tx.In().AsInternal().StateInit
	if init == nil {
		return nil
	}
	first, err := bind.ParseRoot(init.Data)
	if err != nil {
		return nil
	}
	l.replace(first)
	return &first
}

func (l *lists) replace(s bind.RootStorage) {
	snap := Snapshot{RootStorage: s}
	for _, list := range Lists() {
		l.of[list] = map[bind.Hash]bool{}
		for _, h := range snap.Hashes(list) {
			l.of[list][h] = true
		}
	}
}

func (l *lists) apply(m bind.Message) {
	switch m := m.(type) {
	case *bind.RootHash:
		for _, list := range Lists() {
			switch m.Change {
			case list.Op(true):
				l.of[list][m.Hash] = true
			case list.Op(false):
				delete(l.of[list], m.Hash)
			default:
			}
		}
	case *bind.RootReset:
		l.replace(bind.RootStorage{})
	case *bind.RootUpgradeFull:
		if s, err := bind.ParseRoot(m.Data); err == nil {
			l.replace(s)
		}
	}
}

// compare fills in where history and state part.
func (r *Replay) compare(l *lists) {
	for _, list := range Lists() {
		for h := range l.of[list] {
			if !r.Now.Has(list, h) {
				r.Missing = append(r.Missing, Listed{list, h})
			}
		}
		for _, h := range r.Now.Hashes(list) {
			if !l.of[list][h] {
				r.Surplus = append(r.Surplus, Listed{list, h})
			}
		}
	}
	for _, part := range [][]Listed{r.Missing, r.Surplus} {
		slices.SortFunc(part, func(a, b Listed) int {
			if a.List != b.List {
				return int(a.List) - int(b.List)
			}
			return bytes.Compare(a.Hash[:], b.Hash[:])
		})
	}
}
