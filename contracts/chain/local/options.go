package local

import (
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"time"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Defaults of Options.
const (
	defaultGlobalVersion   = 14
	defaultPeriod          = time.Second
	defaultMaxTransactions = 10_000
	defaultMessageTTL      = 10 * time.Minute
	defaultMaxPerAccount   = 64
	defaultSnapshotEvery   = 256
	defaultWindow          = 512
)

// Supply is what the faucet holds in the zero state: 5 billion TON, in nanoTON. It is all the money there is.
func Supply() *big.Int { return new(big.Int).Mul(big.NewInt(5_000_000_000), big.NewInt(1_000_000_000)) }

// Options of a chain. The zero value is a chain in memory on the wall clock.
type Options struct {
	// Deterministic: block time starts at GenesisTime (1 784 000 000 when zero) and advances by Period with every step;
	// no clock is read, so equal inputs give equal hashes.
	Deterministic bool
	GenesisTime   time.Time
	Period        time.Duration
	// Now is the clock that block times come from unless Deterministic; nil is the wall clock.
	Now func() time.Time
	// Seed derives every key of the network. The zero seed is a network that everybody can sign for.
	Seed [32]byte
	// GlobalVersion is configuration parameter 8; 14 when zero. A restored chain keeps its own.
	GlobalVersion uint32
	// Validators is how many keys sign each block, 1 when zero.
	Validators int
	// Config replaces the built-in configuration when set; validators and global id are put in.
	Config *cell.Cell
	// Genesis are accounts that exist from the zero state on, besides the faucet.
	Genesis []GenesisAccount
	// Special are masterchain accounts that get tick and tock transactions when their state asks for it.
	Special []chain.Hash

	// Dir keeps the chain on disk, in the file chain.db; empty keeps it in memory.
	Dir string
	// Volatile skips the fsync of every block (benchmarks).
	Volatile bool
	// SnapshotEvery is after how many blocks the whole state is written; the states between are made of it.
	SnapshotEvery uint32
	// Window is how many blocks and states stay in memory.
	Window int

	// MaxTransactions bounds a block; messages beyond it wait in the queue.
	MaxTransactions int
	// MessageTTL is how long an external message waits for a block, MaxPerAccount how many do for one account.
	MessageTTL    time.Duration
	MaxPerAccount int

	// forked gives the chain another future than one with the same past.
	forked bool

	// Log receives what happens; nil discards it.
	Log *slog.Logger
}

// GenesisAccount is an active account of the zero state.
type GenesisAccount struct {
	Workchain  int32
	Code, Data *cell.Cell
	Balance    *big.Int
	// Tick and Tock ask for transactions at the beginning and end of every masterchain block.
	Tick, Tock bool
	// Address overrides the hash of code and data, for masterchain contracts with well-known addresses.
	Address *chain.Hash
}

func (o *Options) defaults() {
	if o.GlobalVersion == 0 {
		o.GlobalVersion = defaultGlobalVersion
	}
	if o.Period == 0 {
		o.Period = defaultPeriod
	}
	if o.Validators == 0 {
		o.Validators = 1
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.GenesisTime.IsZero() {
		o.GenesisTime = o.Now()
		if o.Deterministic {
			o.GenesisTime = time.Unix(1_784_000_000, 0)
		}
	}
	if o.MaxTransactions == 0 {
		o.MaxTransactions = defaultMaxTransactions
	}
	if o.MessageTTL == 0 {
		o.MessageTTL = defaultMessageTTL
	}
	if o.MaxPerAccount == 0 {
		o.MaxPerAccount = defaultMaxPerAccount
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = defaultSnapshotEvery
	}
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// validate tells everything that is wrong.
func (o *Options) validate() error {
	rules := []struct {
		bad  bool
		text string
	}{
		{o.Period < time.Second || o.Period%time.Second != 0, fmt.Sprintf("period: %s is not whole seconds (block times are)", o.Period)},
		{o.Validators < 1 || o.Validators > 100, fmt.Sprintf("validators: %d is not 1 to 100", o.Validators)},
		{o.GlobalVersion > 15, fmt.Sprintf("global version: %d is above 15, which the executor knows", o.GlobalVersion)},
		{o.MaxTransactions < 1, fmt.Sprintf("max transactions: %d is below 1", o.MaxTransactions)},
		{o.MaxPerAccount < 1, fmt.Sprintf("max per account: %d is below 1", o.MaxPerAccount)},
		{o.MessageTTL < time.Second, fmt.Sprintf("message ttl: %s is below a second", o.MessageTTL)},
		{o.Window < 2, fmt.Sprintf("window: %d is below 2", o.Window)},
		{o.GenesisTime.Unix() <= 0 || o.GenesisTime.Unix() > int64(^uint32(0)), fmt.Sprintf("genesis time: %s does not fit 32 bits of seconds", o.GenesisTime)},
	}
	var errs []error
	for _, r := range rules {
		if r.bad {
			errs = append(errs, errors.New(r.text))
		}
	}
	return errors.Join(errs...)
}
