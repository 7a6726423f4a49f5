package chain

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/xssnick/tonutils-go/address"
)

// Bounds of following an account.
const (
	// pageSize is how many transactions are asked for at once; liteservers give at most 16.
	pageSize = 16
	// maxPages bounds the gap between cursor and newest transaction: 16 million transactions, 40 bytes of memory a page.
	maxPages = 1 << 20
	// heldPages is how many pages keep their transactions in memory; older ones are fetched again.
	heldPages = 64
)

// Follow implements Watcher on an implementation's History.
func Follow(ctx context.Context, h History, addr *address.Address, from Cursor) iter.Seq2[Transaction, error] {
	return func(yield func(Transaction, error) bool) {
		f := follower{history: h, addr: addr, at: from}
		if err := f.run(ctx, yield); err != nil {
			yield(Transaction{}, fmt.Errorf("following %s: %w", addr, err))
		}
	}
}

// follower walks from each head's newest transaction back to where it stands, and yields what lies between. The walk
// goes along the hashes from the proven account state, so a server can leave nothing out and put nothing in.
type follower struct {
	history History
	addr    *address.Address
	at      Cursor
}

func (f *follower) run(ctx context.Context, yield func(Transaction, error) bool) error {
	for {
		head, err := f.history.Head(ctx)
		if err != nil {
			return err
		}
		more, err := f.catchUp(ctx, head, yield)
		if err != nil || !more {
			return err
		}
		if err := f.history.Wait(ctx, head.Seqno); err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
}

// catchUp yields everything up to a head. It returns false when the consumer wants no more.
func (f *follower) catchUp(ctx context.Context, head Block, yield func(Transaction, error) bool) (bool, error) {
	account, err := f.history.Account(ctx, head, f.addr)
	if err != nil {
		return false, err
	}
	pages, err := f.walkBack(ctx, account.Last)
	if err != nil {
		return false, err
	}
	for _, p := range slices.Backward(pages) {
		txs := p.held
		if txs == nil {
			if txs, err = f.page(ctx, p.first); err != nil {
				return false, err
			}
		}
		for _, tx := range slices.Backward(txs) {
			if tx.LT <= f.at.LT {
				continue
			}
			if !yield(tx, nil) {
				return false, nil
			}
			f.at = tx.Cursor()
		}
	}
	return true, nil
}

// page is one answer's place in the history, newest first. It holds its transactions while that is cheap.
type page struct {
	first Cursor
	held  []Transaction
}

func (f *follower) walkBack(ctx context.Context, newest Cursor) ([]page, error) {
	switch {
	case newest.LT == 0 && f.at.LT != 0:
		return nil, fmt.Errorf("%w: transaction %d was seen", ErrDeleted, f.at.LT)
	case newest.LT < f.at.LT:
		return nil, fmt.Errorf("%w: the newest transaction is %d, %d was seen", ErrForked, newest.LT, f.at.LT)
	case newest.LT == f.at.LT:
		return nil, f.sameHash(newest)
	}
	var pages []page
	for next := newest; next.LT > f.at.LT; {
		if len(pages) == maxPages {
			return nil, fmt.Errorf("more than %d transactions since %d", maxPages*pageSize, f.at.LT)
		}
		txs, err := f.page(ctx, next)
		if err != nil {
			return nil, err
		}
		pages = append(pages, page{first: next, held: txs})
		if n := len(pages) - heldPages; n > 0 {
			pages[n-1].held = nil
		}
		if next, err = f.passed(txs); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// passed is where the history goes on before a page. A page that reaches the cursor must contain it.
func (f *follower) passed(txs []Transaction) (Cursor, error) {
	for _, tx := range txs {
		if tx.LT == f.at.LT {
			return tx.Cursor(), f.sameHash(tx.Cursor())
		}
	}
	next := txs[len(txs)-1].Previous
	switch {
	case next.LT == f.at.LT:
		return next, f.sameHash(next)
	case next.LT == 0:
		return next, fmt.Errorf("%w: transaction %d is its first, %d was seen", ErrDeleted, txs[len(txs)-1].LT, f.at.LT)
	case next.LT < f.at.LT && f.at.Hash != Hash{}:
		return next, fmt.Errorf("%w: transaction %d, which was seen, is not in the history", ErrForked, f.at.LT)
	}
	return next, nil
}

func (f *follower) sameHash(c Cursor) error {
	if f.at.LT != 0 && f.at.Hash != (Hash{}) && f.at.Hash != c.Hash {
		return fmt.Errorf("%w: transaction %d is %x, %x was seen", ErrForked, c.LT, c.Hash, f.at.Hash)
	}
	return nil
}

// page fetches transactions and checks that they hang together.
func (f *follower) page(ctx context.Context, from Cursor) ([]Transaction, error) {
	txs, err := f.history.Past(ctx, f.addr, from, pageSize)
	if err != nil {
		return nil, err
	}
	if len(txs) == 0 || len(txs) > pageSize {
		return nil, fmt.Errorf("reading transactions from %d: %w: %d of them", from.LT, ErrMalformed, len(txs))
	}
	for _, tx := range txs {
		if tx.LT != from.LT || tx.Hash != from.Hash || tx.Previous.LT >= tx.LT {
			return nil, fmt.Errorf("reading transactions from %d: %w: transaction %d does not continue it", from.LT, ErrProof, tx.LT)
		}
		from = tx.Previous
	}
	return txs, nil
}
