// Package ledger keeps what clients owe and workers earn: reservations, counters, and the numbers that may be signed
// (protocol.md sections 6.2 and 6.6).
//
// It owns the rules of money: what is available, that a reservation is held once and settled once, that nothing is ever
// billed above it, and the three watermarks of every counter. It trusts the chain's numbers as its caller hands them in
// and no others: what a peer claims is adopted only with a payment that our own key has signed. A Ledger may be used
// concurrently. It refuses to go negative and to take a request's id of one client twice. It never sees a prompt.
//
// Memory is the only implementation here. It is honest and not durable: it forgets with its process, so its counters
// begin at what the chain has of each client. A journal behind the same interface takes its place where that matters.
package ledger

import (
	"context"
	"errors"

	"cocoon/contracts/pricing"
)

// Errors that callers tell apart.
var (
	// ErrBalance means that the client cannot pay for the reservation.
	ErrBalance = errors.New("client balance is too low")
	// ErrDuplicate means that the client has used the request's id before.
	ErrDuplicate = errors.New("duplicate request id")
	// ErrUnknown means that nothing is reserved for the request.
	ErrUnknown = errors.New("nothing is reserved for this request")
	// ErrRange means that an amount is no amount.
	ErrRange = errors.New("amount out of range")
	// ErrProof means that a number comes without a payment of ours that proves it.
	ErrProof = errors.New("no payment signed by this proxy proves the number")
)

// Role is which of its two kinds of peers a proxy has a counter for.
type Role uint8

// The roles.
const (
	Client Role = iota
	Worker
)

// Party is a peer with a contract, named by its owner's address in raw form.
type Party struct {
	Role    Role
	Address string
}

// Reservation is what a request may cost at most, in adjusted tokens.
type Reservation struct {
	Client  string
	Request [32]byte
	Amount  int64
}

// Charge is how a request ended. A receipt can be recomputed from it.
type Charge struct {
	Client  string
	Request [32]byte
	// Worker is who earns; empty when nobody served.
	Worker      string
	Model       string
	Coefficient int64
	Multipliers pricing.Multipliers
	Tokens      pricing.Tokens
	// Source says where the counts are from, Estimated that they are not the engine's own, Status how the request ended.
	Source    string
	Estimated bool
	Status    string
}

// Entry is a settled charge.
type Entry struct {
	Charge
	// Seq numbers the entries of a ledger, from 1.
	Seq    int64
	Billed pricing.Billed
	// Reserved is what was held; Cut is what the counts exceed it by and nobody pays.
	Reserved, Cut int64
	// Total and Committed are the client's counter after this entry, and the part of it that is on chain.
	Total, Committed int64
}

// Paid is what both counters grew by, in adjusted tokens.
func (e Entry) Paid() int64 { return min(total(e.Billed), e.Reserved) }

// State is a party's counter in adjusted tokens: Max is in memory, DB durable, Chain committed on chain, in falling
// order. The rest is about clients.
type State struct {
	Max, DB, Chain      int64
	Reserved, Available int64
	Running             int64
}

// Payment is what a party is told: what may be claimed on chain now, signed, and what will be later.
type Payment struct {
	// Signed is a message for the party's contract, for the committed number only; nil where nothing can be signed.
	Signed  []byte
	DB, Max int64
}

// Ledger is the money of one proxy.
type Ledger interface {
	// Reserve holds an amount. Doing it again for the same client and request changes nothing and is ErrDuplicate, so that
	// a repeated id can neither be served twice for one price nor free of charge.
	Reserve(ctx context.Context, r Reservation) error
	// Settle bills a request, once: a second time gives the first entry and changes nothing.
	Settle(ctx context.Context, c Charge) (Entry, error)
	// State is a party's counter.
	State(p Party) State
	// Pay signs what is committed.
	Pay(ctx context.Context, p Party) (Payment, error)
	// Adopt raises a worker's counter to a number that a payment of ours proves.
	Adopt(ctx context.Context, worker string, tokens int64, proof []byte) error
}

// Signer signs payments with the proxy's key and recognises its own.
type Signer interface {
	Sign(p Party, tokens int64) ([]byte, error)
	Verify(p Party, payment []byte) (tokens int64, err error)
}

// Funds is what the chain says of a client's contract, in nanoTON, and the tokens that were charged there.
type Funds struct {
	Balance, Stake uint64
	Used           int64
	// Price is what an adjusted token costs.
	Price uint64
}

// freeTokens is what any balance buys where tokens are free (protocol.md section 6.2).
const freeTokens = 1_000_000_000_000

// limit is how far the client's counter may rise: what it has paid for, and what its stake covers.
func (f Funds) limit() int64 {
	return add(min(f.tokens(f.Balance), f.tokens(f.Stake)), max(f.Used, 0))
}

func (f Funds) tokens(nano uint64) int64 {
	const most = 1<<63 - 1
	if f.Price == 0 {
		return freeTokens
	}
	return int64(min(nano/f.Price, most))
}

// add is a sum of amounts that are not negative and does not wrap.
func add(a, b int64) int64 {
	const most = 1<<63 - 1
	if a > most-b {
		return most
	}
	return a + b
}
