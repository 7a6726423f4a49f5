package chain

import (
	"fmt"
	"time"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Transaction of one account.
type Transaction struct {
	LT   uint64
	Hash Hash
	// Time of the block that contains it.
	Time time.Time
	// Previous is the account's transaction before this one; LT 0 for the first.
	Previous Cursor
	// Cell is the transaction as in the block, TLB the same parsed. Both are read-only.
	Cell *cell.Cell
	TLB  *tlb.Transaction
}

// ParseTransaction reads a transaction cell.
func ParseTransaction(c *cell.Cell) (Transaction, error) {
	var tx tlb.Transaction
	if err := parse(&tx, c); err != nil {
		return Transaction{}, fmt.Errorf("reading transaction: %w", err)
	}
	tx.Hash = c.Hash()
	if len(tx.PrevTxHash) != len(Hash{}) {
		return Transaction{}, fmt.Errorf("reading transaction: %w: previous hash of %d bytes", ErrMalformed, len(tx.PrevTxHash))
	}
	return Transaction{
		LT: tx.LT, Hash: Hash(tx.Hash), Time: time.Unix(int64(tx.Now), 0).UTC(), Cell: c, TLB: &tx,
		Previous: Cursor{LT: tx.PrevTxLT, Hash: Hash(tx.PrevTxHash)},
	}, nil
}

// Cursor names this transaction.
func (t Transaction) Cursor() Cursor { return Cursor{LT: t.LT, Hash: t.Hash} }

// Aborted tells whether the transaction left the contract's data unchanged because a phase failed. A note of 1 nanoTON
// arrives as an aborted transaction and still carries its message.
func (t Transaction) Aborted() bool {
	switch d := t.TLB.Description.(type) {
	case tlb.TransactionDescriptionOrdinary:
		return d.Aborted
	case tlb.TransactionDescriptionTickTock:
		return d.Aborted
	default:
		return false
	}
}

// Exit is the contract's exit code in the compute phase; false when the code did not run.
func (t Transaction) Exit() (int32, bool) {
	var phase any
	switch d := t.TLB.Description.(type) {
	case tlb.TransactionDescriptionOrdinary:
		phase = d.ComputePhase.Phase
	case tlb.TransactionDescriptionTickTock:
		phase = d.ComputePhase.Phase
	}
	if ran, ok := phase.(tlb.ComputePhaseVM); ok {
		return ran.Details.ExitCode, true
	}
	return 0, false
}

// ActionCode is the result code of the action phase; false when there was none.
func (t Transaction) ActionCode() (int32, bool) {
	if d, ok := t.TLB.Description.(tlb.TransactionDescriptionOrdinary); ok && d.ActionPhase != nil {
		return d.ActionPhase.ResultCode, true
	}
	return 0, false
}

// In is the message that caused the transaction, nil for tick and tock.
func (t Transaction) In() *tlb.Message { return t.TLB.IO.In }

// Out are the messages that the transaction sent, in the order of sending.
func (t Transaction) Out() ([]*tlb.Message, error) {
	if t.TLB.IO.Out == nil {
		return nil, nil
	}
	list, err := t.TLB.IO.Out.ToSlice()
	if err != nil {
		return nil, fmt.Errorf("reading messages of transaction %x: %w: %w", t.Hash, ErrMalformed, err)
	}
	out := make([]*tlb.Message, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out, nil
}
