package chain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// history is an account's made-up past: only cursors matter to following.
type history struct {
	txs   []Transaction // oldest first
	pages int           // transactions in one answer
	asked int
	lie   func([]Transaction) []Transaction
	err   error
}

// newHistory makes n transactions, salted so that two histories differ.
func newHistory(n int, salt byte) *history {
	h := &history{pages: pageSize}
	for i := range n {
		tx := Transaction{LT: uint64(10 * (i + 1)), Hash: sha256.Sum256([]byte{salt, byte(i), byte(i >> 8)})}
		if i > 0 {
			tx.Previous = h.txs[i-1].Cursor()
		}
		h.txs = append(h.txs, tx)
	}
	return h
}

func (h *history) Head(context.Context) (Block, error) { return Block{Seqno: 1}, h.err }

func (h *history) Account(context.Context, Block, *address.Address) (*Account, error) {
	a := AbsentAccount(Block{}, nil)
	if len(h.txs) > 0 {
		a.Last = h.txs[len(h.txs)-1].Cursor()
	}
	return a, nil
}

func (h *history) Past(_ context.Context, _ *address.Address, from Cursor, limit int) ([]Transaction, error) {
	h.asked++
	var out []Transaction
	for i := len(h.txs) - 1; i >= 0 && len(out) < min(limit, h.pages); i-- {
		if h.txs[i].LT <= from.LT {
			out = append(out, h.txs[i])
		}
	}
	if h.lie != nil {
		out = h.lie(out)
	}
	return out, nil
}

var errDone = errors.New("test: nothing more comes")

func (h *history) Wait(context.Context, uint32) error { return errDone }

// drain follows until the history has no more.
func drain(tb testing.TB, h *history, from Cursor) ([]Transaction, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out []Transaction
	for tx, err := range Follow(ctx, h, address.NewAddress(0, 0, make([]byte, 32)), from) {
		if errors.Is(err, errDone) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, tx)
	}
	return out, nil
}

func TestFollowYieldsWhatLiesAfterTheCursor(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 2000).Draw(rt, "transactions")
		h := newHistory(n, 0)
		h.pages = rapid.IntRange(1, pageSize).Draw(rt, "page")
		if n > 200 {
			h.pages = max(h.pages, 8)
		}
		at := 0
		if n > 0 {
			at = rapid.IntRange(0, n).Draw(rt, "seen")
		}
		var from Cursor
		if at > 0 {
			from = h.txs[at-1].Cursor()
			if rapid.Bool().Draw(rt, "hash unknown") {
				from.Hash = Hash{}
			}
		}
		got, err := drain(t, h, from)
		if err != nil || len(got) != n-at {
			rt.Fatalf("%d transactions after %d of %d, %v", len(got), at, n, err)
		}
		for i, tx := range got {
			if tx.LT != h.txs[at+i].LT {
				rt.Fatalf("place %d: %d, want %d", i, tx.LT, h.txs[at+i].LT)
			}
		}
	})
}

func TestFollowRefusesOtherHistories(t *testing.T) {
	long := newHistory(50, 0)
	other := newHistory(50, 1)
	for name, c := range map[string]struct {
		have *history
		from Cursor
		want error
	}{
		"newest differs":         {long, other.txs[49].Cursor(), ErrForked},
		"an older one differs":   {long, other.txs[20].Cursor(), ErrForked},
		"cursor between":         {long, Cursor{LT: 205, Hash: Hash{1}}, ErrForked},
		"rolled back":            {newHistory(10, 0), long.txs[20].Cursor(), ErrForked},
		"deleted":                {newHistory(0, 0), long.txs[20].Cursor(), ErrDeleted},
		"deleted and made again": {&history{txs: []Transaction{{LT: 9999, Hash: Hash{5}}}, pages: pageSize}, long.txs[20].Cursor(), ErrDeleted},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := drain(t, c.have, c.from); !errors.Is(err, c.want) || len(got) != 0 {
				t.Errorf("%d transactions, %v; want %v", len(got), err, c.want)
			}
		})
	}
}

func TestFollowRefusesLyingPages(t *testing.T) {
	for name, lie := range map[string]func([]Transaction) []Transaction{
		"nothing":        func([]Transaction) []Transaction { return nil },
		"one left out":   func(txs []Transaction) []Transaction { return append(txs[:3:3], txs[4:]...) },
		"first left out": func(txs []Transaction) []Transaction { return txs[1:] },
		"other hash": func(txs []Transaction) []Transaction {
			out := append([]Transaction(nil), txs...)
			out[2].Hash[0] ^= 1
			return out
		},
		"going up": func(txs []Transaction) []Transaction {
			out := append([]Transaction(nil), txs...)
			out[len(out)-1].Previous = Cursor{LT: out[0].LT + 5}
			return out
		},
		"too many": func(txs []Transaction) []Transaction { return append(txs, txs...) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(40, 0)
			h.lie = lie
			if got, err := drain(t, h, Cursor{}); err == nil || len(got) != 0 {
				t.Errorf("%d transactions, %v", len(got), err)
			}
		})
	}
}

// A long absence must not fill the memory: pages beyond the newest ones are fetched again.
func TestFollowHoldsFewPages(t *testing.T) {
	h := newHistory(heldPages*pageSize+10*pageSize, 0)
	got, err := drain(t, h, Cursor{})
	if err != nil || len(got) != len(h.txs) {
		t.Fatalf("%d transactions, %v", len(got), err)
	}
	if pages := heldPages + 10; h.asked != pages+10 {
		t.Errorf("%d pages were asked for, want %d and 10 again", h.asked, pages)
	}
}

func TestFollowStopsWhenTheConsumerDoes(t *testing.T) {
	h := newHistory(40, 0)
	n := 0
	for _, err := range Follow(t.Context(), h, address.NewAddress(0, 0, make([]byte, 32)), Cursor{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 7 {
			break
		}
	}
	if n != 7 {
		t.Errorf("%d", n)
	}
}

func TestHashIsHexadecimal(t *testing.T) {
	h := Hash(bytes.Repeat([]byte{0xab}, 32))
	text, err := h.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var again Hash
	if err := again.UnmarshalText(text); err != nil || again != h || fmt.Sprint(h) != string(text) {
		t.Errorf("%s, %v", again, err)
	}
	for _, bad := range []string{"", "ab", string(text) + "00", "zz" + string(text[2:])} {
		if err := again.UnmarshalText([]byte(bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
