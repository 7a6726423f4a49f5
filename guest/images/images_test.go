package images

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
	"cocoon/measure/tdx"
)

// reader is a chain with one root.
type reader struct {
	head chain.Block
	root bind.RootStorage
}

func (r *reader) Head(context.Context) (chain.Block, error) { return r.head, nil }

func (r *reader) Account(_ context.Context, at chain.Block, addr *address.Address) (*chain.Account, error) {
	data, err := r.root.Cell()
	return &chain.Account{Address: addr, Block: at, Status: chain.Active, Code: cell.BeginCell().EndCell(), Data: data}, err
}

func TestAllowedAreTheListsAsOfTheirBlock(t *testing.T) {
	at, now := address.NewAddress(0, 0, make([]byte, 32)), time.Unix(1_800_000_000, 0)
	r := &reader{head: chain.Block{Seqno: 1, Time: now}, root: bind.RootStorage{
		Owner: at, ProxyHashes: []bind.Hash{{1}}, WorkerHashes: []bind.Hash{{2}, {3}}, ModelHashes: []bind.Hash{{4}},
		Params: bind.Params{StructVersion: 3},
	}}
	w, err := registry.NewWatcher(registry.Config{Chain: r, Root: at, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(w, registry.Workers, registry.Proxies)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Allowed(); !errors.Is(err, registry.ErrNoSnapshot) {
		t.Errorf("before the first refresh: %v", err)
	}
	want := []tdx.Hash{{2}, {3}, {1}}
	for range 2 {
		if err := w.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, when, err := c.Allowed()
		if diff := cmp.Diff(want, got); diff != "" || err != nil || !when.Equal(r.head.Time) {
			t.Errorf("%s, %v, %s", when, err, diff)
		}
		r.head.Seqno++
		r.head.Time = r.head.Time.Add(time.Second)
		r.root.WorkerHashes = []bind.Hash{{3}}
		want = []tdx.Hash{{3}, {1}}
	}
	now = now.Add(registry.MaxAge + time.Minute)
	if got, _, err := c.Allowed(); !errors.Is(err, chain.ErrStaleHead) || got != nil {
		t.Errorf("with a stale head: %v, %v", got, err)
	}
}

func TestAllowedAnswersFromMemory(t *testing.T) {
	at := address.NewAddress(0, 0, make([]byte, 32))
	r := &reader{head: chain.Block{Seqno: 1, Time: time.Unix(0, 0)}, root: bind.RootStorage{Owner: at, ProxyHashes: []bind.Hash{{1}}, Params: bind.Params{StructVersion: 3}}}
	w, err := registry.NewWatcher(registry.Config{Chain: r, Root: at, Now: func() time.Time { return time.Unix(1, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(w, registry.Proxies)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := c.Allowed(); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a check", n)
	}
}
