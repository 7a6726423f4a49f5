// Package publish changes contracts on the chain in the name of a person: it puts hashes into a root contract, and sends
// any other order through the wallet that has the right to.
//
// It owns the comparison of what should be with what is proven to be, the choice of the wallet, the rehearsal of every
// message in the local executor, signing, sending, the wait for the outcome, and the record of all that. It trusts the
// proven state that chain gives it and the keys that its caller read; keys never leave a Signer, and nothing here logs. A
// Site is as of one block and used by one goroutine. It refuses hashes that are there already, roots on another network,
// heads that are old, senders without the right, and every order whose rehearsal fails.
package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
)

const (
	// MaxHeadAge is how old a block may be that something is signed by. Reading tolerates more (contracts.md section 8);
	// a message made for an old block would expire on its way.
	MaxHeadAge = 600 * time.Second
	// validity is how long a signed message may be executed (contracts.md section 3.6: 60 to 120 s).
	validity = 90 * time.Second
)

// Refusals that callers branch on.
var (
	// ErrPresent: a hash to be added is on its list already.
	ErrPresent = errors.New("already on the list")
	// ErrAbsent: a hash to be deleted is not on its list.
	ErrAbsent = errors.New("not on the list")
	// ErrNoRights: the key's wallets are not the owner.
	ErrNoRights = errors.New("no right to do this")
	// ErrTestImage: an image of the test variant must not reach the main network.
	ErrTestImage = errors.New("a test image on the main network")
	// ErrRehearsal: the message would fail, so it was not sent.
	ErrRehearsal = errors.New("the rehearsal failed")
	// ErrRefused: a contract refused the message that was sent.
	ErrRefused = errors.New("the contract refused the message")
)

// Network is the chain as publishing needs it: proven state, history and sending. lite.Client and local.Chain have it.
type Network interface {
	chain.Access
	chain.Reader
}

// Site is a network as of its newest block, fresh enough for what it was taken for.
type Site struct {
	net   Network
	now   func() time.Time
	limit time.Duration // of the block's age

	Head   chain.Block
	ID     registry.Network
	Config *chain.Config
}

// Look takes the newest block and its configuration, to sign by. It refuses a stale head and a network that our contracts
// cannot run on.
func Look(ctx context.Context, net Network, now func() time.Time) (*Site, error) {
	return look(ctx, &Site{net: net, now: now, limit: MaxHeadAge})
}

// View is Look for reading alone, which older heads are good enough for (registry.MaxAge).
func View(ctx context.Context, net Network, now func() time.Time) (*Site, error) {
	return look(ctx, &Site{net: net, now: now, limit: registry.MaxAge})
}

func look(ctx context.Context, s *Site) (*Site, error) {
	if err := s.refresh(ctx); err != nil {
		return nil, fmt.Errorf("looking at the network: %w", err)
	}
	return s, nil
}

func (s *Site) refresh(ctx context.Context) error {
	var err error
	if s.Head, err = s.net.Head(ctx); err != nil {
		return err
	}
	if age := s.now().Sub(s.Head.Time); age > s.limit {
		return fmt.Errorf("%w: block %d is %s old, at most %s", chain.ErrStaleHead, s.Head.Seqno, age.Truncate(time.Second), s.limit)
	}
	if s.Config, err = s.net.Config(ctx, s.Head); err != nil {
		return err
	}
	if err := s.Config.RequireGlobalVersion(); err != nil {
		return err
	}
	s.ID, err = registry.NetworkOf(s.Config)
	return err
}

// Expect refuses another network than the one that the caller named; zero expects any.
func (s *Site) Expect(want registry.Network) error {
	if want != 0 && want != s.ID {
		return fmt.Errorf("%w: the liteservers serve %s, and %s was asked for", registry.ErrNetwork, s.ID, want)
	}
	return nil
}

// Account is an account's proven state as of the site's block.
func (s *Site) Account(ctx context.Context, addr *address.Address) (*chain.Account, error) {
	return s.net.Account(ctx, s.Head, addr)
}

// Root reads a root and refuses one that does not belong on this network.
func (s *Site) Root(ctx context.Context, addr *address.Address) (*registry.Snapshot, error) {
	root, err := registry.ReadAt(ctx, s.net, s.Head, addr)
	if err != nil {
		return nil, err
	}
	return root, root.CheckNetwork(s.ID)
}

// Valid asks the root's get method whether a list holds a hash, on proven state.
func (s *Site) Valid(ctx context.Context, root *address.Address, l registry.List, h bind.Hash) (bool, error) {
	result, err := s.net.RunGet(ctx, s.Head, root, l.Method(), h.Big())
	if err != nil {
		return false, err
	}
	return bind.ParseTruth(l.Method(), result)
}

// deadline is when a message that is signed now expires: by the later of clock and block time, which local networks
// shift.
func (s *Site) deadline() time.Time {
	at := s.now()
	if s.Head.Time.After(at) {
		at = s.Head.Time
	}
	return at.Add(validity).Truncate(time.Second)
}
