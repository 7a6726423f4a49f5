package proxy

import (
	"context"
	"crypto/sha256"
	"errors"

	"cocoon/contracts/pricing"
	"cocoon/guest/proxy/ledger"
)

const (
	// pseudoBalance is what every client has where there is no chain: 10^6 TON, at price 1 (protocol.md section 4.1).
	pseudoBalance = 1_000_000 * 1_000_000_000
	pseudoPrice   = 1
	unity         = 10_000
)

// Pseudo stands for the chain in a test network that has none: everybody is known, with an empty secret, and rich. Its
// contracts have addresses that nobody owns.
type Pseudo struct {
	// Owner is the proxy's; contracts' addresses are made from it.
	Owner Address
	// Lists are what the root contract would list; nil maps list nothing.
	WorkerImages, Models map[[32]byte]bool
	// Follow is the root contract of a network that has one, and no accounts yet; nil is the root that is made up here.
	Follow func() (Root, error)
	// Derive gives the contracts that owners have at this proxy by the root's parameters, for the roles "client" and
	// "worker"; nil makes addresses up.
	Derive func(role string, owner Address) (Address, error)
}

var _ Chain = (*Pseudo)(nil)

// Root is the one that is followed, or else a first version with all multipliers 1.0.
func (p *Pseudo) Root() (Root, error) {
	if p.Follow != nil {
		return p.Follow()
	}
	return Root{
		Version: 1, ParamsVersion: 1, Price: pseudoPrice, WorkerFee: pseudoPrice, WorkerImages: p.WorkerImages, Models: p.Models,
		Multipliers: pricing.Multipliers{Prompt: unity, Cached: unity, Completion: unity, Reasoning: unity},
	}, nil
}

// Contract is the address that stands for the contract of an owner at this proxy.
func (p *Pseudo) Contract(kind string, owner Address) Address {
	const usual = 192 // bytes of it all
	name := append(append(append(make([]byte, 0, usual), "cocoon/pseudo/"...), kind...), '/')
	name = owner.appendTo(append(p.Owner.appendTo(name), '/'))
	return Address{Hash: sha256.Sum256(name)}
}

// Client is always known and proves itself with the empty string.
func (p *Pseudo) Client(_ context.Context, owner Address) (Account, error) {
	at, err := p.derive("client", owner)
	return Account{Contract: at, Known: true, SecretHash: sha256.Sum256(nil)}, err
}

func (p *Pseudo) derive(role string, owner Address) (Address, error) {
	if p.Derive == nil {
		return p.Contract(role, owner), nil
	}
	return p.Derive(role, owner)
}

// Registered is true at once: nobody has to register.
func (p *Pseudo) Registered(context.Context, Address, int64) error { return nil }

// Worker is the address of, or that stands for, a worker's contract.
func (p *Pseudo) Worker(owner Address) (Address, error) { return p.derive("worker", owner) }

// Refund is refused: there is nothing to give back.
func (p *Pseudo) Refund(context.Context, Address) ([]byte, error) {
	return nil, errors.New("granting refund: there is no chain")
}

// Funds are the same for everybody, at the price of now.
func (p *Pseudo) Funds(string) ledger.Funds {
	price := uint64(pseudoPrice)
	if r, err := p.Root(); err == nil { // without one nothing new is reserved
		price = r.Price
	}
	return ledger.Funds{Balance: pseudoBalance, Stake: pseudoBalance, Price: price}
}
