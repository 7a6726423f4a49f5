// Package chain is how the product reaches the TON blockchain: what a block, an account and a transaction are, how to
// read them with proof, how to follow an account without gaps, and how to send a message and know what became of it.
//
// It owns the interfaces, the types, the errors that callers branch on, local execution of get methods, streaming and
// confirmed sending; chain/lite implements the interfaces over liteservers, chain/local in process. It trusts what an
// implementation returns: proofs are that package's duty. Values are immutable once returned, so everything may be used
// concurrently; a Sender serialises its own messages. It refuses get-method results and configurations that do not
// parse, histories that break their hash chain, and waits without an end.
package chain

import (
	"context"
	"iter"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Access reads proven state and sends messages.
type Access interface {
	// Head is the newest masterchain block. It is fresh, descends from the trusted block and from every head returned
	// before.
	Head(ctx context.Context) (Block, error)
	// Account is the state of an account as of a block. An account that does not exist is no error: its Status says so.
	Account(ctx context.Context, at Block, addr *address.Address) (*Account, error)
	// RunGet executes a get method on the account's state as of a block, see machine.Execute for arguments and results.
	RunGet(ctx context.Context, at Block, addr *address.Address, method string, args ...any) ([]any, error)
	// Send hands an external message to the network. No error means "taken", not "executed": see Sender.
	Send(ctx context.Context, message *cell.Cell) error
	// Config is the blockchain configuration as of a block; without ids all of it, else at least the named parameters.
	Config(ctx context.Context, at Block, ids ...int32) (*Config, error)
}

// Watcher follows accounts.
type Watcher interface {
	// Transactions yields every transaction of an account after a cursor, oldest first, aborted ones included, and then
	// waits for more until the context ends or the consumer stops. No transaction is left out or comes twice; blocks
	// are final, so none is taken back. An error ends the sequence; a new one continues from the last transaction's
	// Cursor.
	Transactions(ctx context.Context, addr *address.Address, from Cursor) iter.Seq2[Transaction, error]
}

// History is what following an account needs from an implementation.
type History interface {
	Head(ctx context.Context) (Block, error)
	Account(ctx context.Context, at Block, addr *address.Address) (*Account, error)
	// Past returns up to limit transactions of an account, newest first, beginning with the one at a cursor. They are
	// linked: each one's hash is in the one before.
	Past(ctx context.Context, addr *address.Address, from Cursor, limit int) ([]Transaction, error)
	// Wait returns when a block newer than seqno exists, or after a while; either way the caller looks again.
	Wait(ctx context.Context, seqno uint32) error
}

// Hash is a cell's representation hash or the SHA-256 of a file.
type Hash [32]byte

// Block names a masterchain block and tells what of its proven header callers need.
type Block struct {
	Seqno    uint32
	RootHash Hash
	FileHash Hash
	// Time is the block's generation time, in UTC and whole seconds. It may equal its predecessor's.
	Time time.Time
	// EndLT is the logical time after the block.
	EndLT uint64
	// KeySeqno is the newest key block at or before this one: the configuration is that block's.
	KeySeqno uint32
}

// Cursor is a place in an account's history: a transaction, or the beginning when LT is 0.
type Cursor struct {
	LT uint64
	// Hash of the transaction; zero when only the logical time is known, which cannot tell two histories apart.
	Hash Hash
}
