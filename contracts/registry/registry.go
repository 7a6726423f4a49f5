// Package registry reads the root contract: which proxy, worker and model hashes a network allows, which proxies it has,
// and at what price, all as of one proven block.
//
// It owns the snapshot of a root, the rules that bind a root to its network, the Watcher that keeps a snapshot fresh, and
// the replay of a root's history. It trusts what chain.Reader returns: proofs are that package's duty. A Snapshot never
// changes and may be shared; a Watcher may be used concurrently. It refuses accounts that are no root, structure versions
// that it does not know, heads that are too old, and to answer from a snapshot that has become too old.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
)

// MaxAge is how old the block of a snapshot may be before nothing is decided by it any more (contracts.md section 8).
const MaxAge = 7200 * time.Second

// ErrNotRoot is wrapped when an account is not a root contract.
var ErrNotRoot = errors.New("not a root contract")

// List is one of the root's three lists of hashes.
type List uint8

// The lists.
const (
	Proxies List = iota + 1
	Workers
	Models
)

// Lists are all lists, in the order of the root's operations.
func Lists() []List { return []List{Proxies, Workers, Models} }

// listRow is what a list is called and how the root changes and answers for it (contracts.md sections 1.8 and 4).
type listRow struct {
	name     string
	add, del bind.Op
	method   string
}

func (l List) row() listRow {
	switch l {
	case Proxies:
		return listRow{"proxy", bind.OpRootAddProxyType, bind.OpRootDelProxyType, "proxy_hash_is_valid"}
	case Workers:
		return listRow{"worker", bind.OpRootAddWorkerType, bind.OpRootDelWorkerType, "worker_hash_is_valid"}
	case Models:
		return listRow{"model", bind.OpRootAddModelType, bind.OpRootDelModelType, "model_hash_is_valid"}
	default:
		return listRow{name: fmt.Sprintf("list %d", uint8(l))}
	}
}

// String is the list's name: proxy, worker or model.
func (l List) String() string { return l.row().name }

// Op is the operation that adds a hash to the list, or deletes one from it.
func (l List) Op(add bool) bind.Op {
	if add {
		return l.row().add
	}
	return l.row().del
}

// Method is the get method that tells whether a hash is on the list.
func (l List) Method() string { return l.row().method }

// ParseList reads a list's name.
func ParseList(name string) (List, error) {
	for _, l := range Lists() {
		if l.String() == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("list %q is none of proxy, worker, model", name)
}

// Reader is what reading a root needs of a chain; chain.Access has it.
type Reader interface {
	Head(ctx context.Context) (chain.Block, error)
	Account(ctx context.Context, at chain.Block, addr *address.Address) (*chain.Account, error)
}

// Snapshot is a root as of one block. It is read-only.
type Snapshot struct {
	Root *address.Address
	// Block that the state was proven in. Its time is when all of this was true.
	Block chain.Block
	// Account is the root's whole state.
	Account *chain.Account
	// Code tells whose code the root runs; nil when nobody's that we know.
	Code *code.Identity
	bind.RootStorage
}

// Read takes a snapshot of a root at the newest block.
func Read(ctx context.Context, r Reader, root *address.Address) (*Snapshot, error) {
	head, err := r.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading root %s: %w", root, err)
	}
	return ReadAt(ctx, r, head, root)
}

// ReadAt takes a snapshot of a root at a block.
func ReadAt(ctx context.Context, r Reader, at chain.Block, root *address.Address) (*Snapshot, error) {
	a, err := r.Account(ctx, at, root)
	if err != nil {
		return nil, fmt.Errorf("reading root %s: %w", root, err)
	}
	return Parse(a)
}

// Parse reads a root from its proven account.
func Parse(a *chain.Account) (*Snapshot, error) {
	if a.Status != chain.Active || a.Code == nil || a.Data == nil {
		return nil, fmt.Errorf("reading root %s: %w: the account is %s at block %d", a.Address, ErrNotRoot, a.Status, a.Block.Seqno)
	}
	storage, err := bind.ParseRoot(a.Data)
	if err != nil {
		return nil, fmt.Errorf("reading root %s: %w: %w", a.Address, ErrNotRoot, err)
	}
	out := &Snapshot{Root: a.Address, Block: a.Block, Account: a, RootStorage: storage}
	if id, ok := code.Recognise(code.Hash(a.Code.Hash())); ok {
		out.Code = &id
	}
	return out, nil
}

// Hashes of a list, in ascending order. The caller does not change them.
func (s *Snapshot) Hashes(l List) []bind.Hash {
	switch l {
	case Proxies:
		return s.ProxyHashes
	case Workers:
		return s.WorkerHashes
	case Models:
		return s.ModelHashes
	default:
		return nil
	}
}

// Has tells whether a list holds a hash.
func (s *Snapshot) Has(l List, h bind.Hash) bool {
	_, found := slices.BinarySearchFunc(s.Hashes(l), h, func(a, b bind.Hash) int { return bytes.Compare(a[:], b[:]) })
	return found
}

// CheckAge refuses a snapshot that is too old to decide by; the error wraps chain.ErrStaleHead.
func (s *Snapshot) CheckAge(now time.Time, limit time.Duration) error {
	if age := now.Sub(s.Block.Time); age > limit {
		return fmt.Errorf("%w: block %d is from %s, %s ago, at most %s", chain.ErrStaleHead, s.Block.Seqno,
			s.Block.Time.UTC().Format(time.RFC3339), age.Truncate(time.Second), limit)
	}
	return nil
}

// Equal tells whether two snapshots say the same about the network, whatever blocks they are of.
func (s *Snapshot) Equal(o *Snapshot) bool {
	return s != nil && o != nil && bytes.Equal(s.Account.Data.Hash(), o.Account.Data.Hash()) &&
		bytes.Equal(s.Account.Code.Hash(), o.Account.Code.Hash())
}
