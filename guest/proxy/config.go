package proxy

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/pricing"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/sched"
)

// Versions of the protocol (protocol.md section 1.1).
const (
	// versionEx has the Ex messages, versionTimes their times, versionKeys prompt encryption, versionOurs our extensions.
	versionEx, versionTimes, versionKeys, versionOurs = 1, 2, 3, 5
	// MinVersion is the least that a proxy accepts.
	MinVersion = 0
	// MaxVersion is the most.
	MaxVersion = versionOurs
)

// Bounds of what peers may say.
const (
	// coefficientLimit is exclusive (protocol.md decision 5).
	coefficientLimit = 1_000_000_000
	maxModelName     = 512
	maxWorkerSlots   = 1 << 16
	maxProxyCount    = 1 << 10
	// maxClientRequests bounds the requests of one connection under way.
	maxClientRequests = 1024
	// clientBytes bounds their queries, which are in memory to their end, where the configuration does not.
	clientBytes = 256 << 20
)

// Times are the proxy's waits; zero means the default.
type Times struct {
	// Handshake is how long a peer may take from one step of it to the next (protocol.md section 4.4), Ping the silence before a
	// sign of life to the caller, Gap the silence of a worker that ends a request.
	Handshake, Ping, Gap time.Duration
	// LastWord is how long a cancelled worker may take for its numbers, Slow how long a caller may not read.
	LastWord, Slow time.Duration
	// Limit caps a request's deadline, Queue the part of it that is spent waiting for a worker.
	Limit, Queue time.Duration
	// Dead is how long a peer may say nothing at all, not even that it is there; 0 means the session's own.
	Dead time.Duration
	// Flush and Commit are how often counters become durable and committed where that is simulated.
	Flush, Commit time.Duration
	// Keyset is how long a keyset is valid; it is renewed an hour before its end.
	Keyset time.Duration
}

func (t *Times) fill() {
	for _, d := range []struct {
		at *time.Duration
		v  time.Duration
	}{
		{&t.Handshake, 300 * time.Second},
		{&t.Ping, 10 * time.Second}, // inference.md section 6.3
		{&t.Gap, 60 * time.Second},
		{&t.LastWord, 5 * time.Second}, // protocol.md section 3.5
		{&t.Slow, 30 * time.Second},
		{&t.Limit, api.MaxTimeout},
		{&t.Flush, time.Second}, // protocol.md section 6.6
		{&t.Commit, 30 * time.Second},
		{&t.Keyset, 24 * time.Hour},
	} {
		if *d.at == 0 {
			*d.at = d.v
		}
	}
}

// Config is what a proxy is.
type Config struct {
	// Owner is the operator, Contract the proxy's own contract where the root gives none.
	Owner, Contract Address
	// Test is the network's is_test, Testnet makes addresses look like a test network's.
	Test, Testnet bool
	// CheckWorkers says that workers must run a listed image and model; it can be turned off in a test network only.
	CheckWorkers bool
	// MaxTokens bounds the answer of one request; 0 means 2^31-1.
	MaxTokens int32
	// ClientBytes bounds the queries of one client connection that are under way; 0 means 256 MiB. One alone always passes.
	ClientBytes int
	// MinVersion and MaxVersion narrow the versions that are accepted; both zero means 0 to 5.
	MinVersion, MaxVersion int32
	// PriceWeight is the scheduler's.
	PriceWeight float64
	// Breaker says when a worker that fails is left alone; zeros mean the scheduler's numbers.
	Breaker sched.Breaker
	// Software names this program in documents, Repository and Commit its source.
	Software, Repository, Commit string
	// RootContract is named in attestation documents; empty where there is none.
	RootContract string
	Times        Times
}

func (c *Config) fill() {
	c.Times.fill()
	if c.MinVersion == 0 && c.MaxVersion == 0 {
		c.MinVersion, c.MaxVersion = MinVersion, MaxVersion
	}
	if c.MaxTokens == 0 {
		c.MaxTokens = 1<<31 - 1
	}
	if c.ClientBytes == 0 {
		c.ClientBytes = clientBytes
	}
	if c.Software == "" {
		c.Software = "cocoon-proxy/1"
	}
}

// Validate reports every broken rule.
func (c *Config) Validate() error {
	var found []error
	for _, r := range []struct {
		name string
		ok   bool
		rule string
	}{
		{"owner_address", c.Owner != Address{}, "is missing"},
		{"contract", c.Contract != Address{}, "is missing"},
		{"check_worker_hashes", c.CheckWorkers || c.Test, "can be false in a test network only"},
		{"max_tokens", c.MaxTokens > 0, "must be above 0"},
		{"client_bytes", c.ClientBytes > 0, "must be above 0"},
		{"versions", c.MinVersion >= 0 && c.MinVersion <= c.MaxVersion && c.MaxVersion <= MaxVersion, "must be a range within 0..5"},
	} {
		if !r.ok {
			found = append(found, fmt.Errorf("%s %s", r.name, r.rule))
		}
	}
	return errors.Join(found...)
}

// Root is what the root contract says, as of a block that is young enough to decide by.
type Root struct {
	Version, ParamsVersion int32
	// Price and WorkerFee are in nanoTON for an adjusted token.
	Price, WorkerFee uint64
	Multipliers      pricing.Multipliers
	// WorkerImages and Models are the lists of hashes.
	WorkerImages, Models map[[32]byte]bool
	// Contract is this proxy's own under these parameters; zero where it is the configured one whatever they are.
	Contract Address
}

// Account is a client's contract.
type Account struct {
	Contract Address
	// Known says that the contract has registered with this proxy; SecretHash is then what the client proves to know.
	Known           bool
	SecretHash      [32]byte
	Nonce           int64
	Closing, Closed bool
}

// Chain is what a proxy knows of the contracts.
type Chain interface {
	// Root is the newest configuration, or an error when there is none to decide by.
	Root() (Root, error)
	// Client reads the contract of a client, named by its owner.
	Client(ctx context.Context, owner Address) (Account, error)
	// Registered waits until the client's contract has registered with a nonce.
	Registered(ctx context.Context, owner Address, nonce int64) error
	// Worker is the address of a worker's contract.
	Worker(owner Address) (Address, error)
	// Refund is the signed refund grant of a client that has nothing running.
	Refund(ctx context.Context, owner Address) ([]byte, error)
}

// Evidence is a quote with what explains it.
type Evidence struct {
	Quote, EventLog []byte
	// ImageHash and ManifestDigest are lower-case hex.
	ImageHash, ManifestDigest string
}

// Attester makes quotes of this machine.
type Attester interface {
	Attest(ctx context.Context, reportData [64]byte) (Evidence, error)
}

// Deps are what a proxy needs from its process.
type Deps struct {
	Chain  Chain
	Ledger ledger.Ledger
	// PaymentKey is the public key that payments are signed with.
	PaymentKey ed25519.PublicKey
	// ReceiptKey signs receipts and nothing else.
	ReceiptKey ed25519.PrivateKey
	// TLSKeys lists the public keys of the RA-TLS certificates in use.
	TLSKeys func() [][32]byte
	// Eligible says why this proxy may not serve: its own image is not in the root contract. Nil is always.
	Eligible func() error
	// Sync tells how old the chain's newest known block is, for pages; nil where there is no chain.
	Sync func() follow.State
	// Attester answers client.getAttestation; nil refuses it.
	Attester Attester
	// PrivateKey finds the private half of a prompt encryption key, and may ask for it first; nil knows none.
	PrivateKey func(ctx context.Context, public [32]byte) (private [32]byte, ok bool)
	// Tick is told when counters become durable and committed; nil where that happens elsewhere.
	Tick Ticker
	Rand *rand.Rand
	// Draw is a number below n that no peer can foresee; nil means the runtime's source.
	Draw func(n int) int
	Log  *slog.Logger
	Now  func() time.Time
}

// Ticker is a ledger whose durability is simulated.
type Ticker interface {
	Flush()
	Commit()
}

func (d *Deps) check() error {
	for _, m := range []struct {
		absent bool
		what   string
	}{
		{d.Chain == nil, "chain"},
		{d.Ledger == nil, "ledger"},
		{len(d.PaymentKey) != ed25519.PublicKeySize, "payment key"},
		{len(d.ReceiptKey) != ed25519.PrivateKeySize, "receipt key"},
		{d.Now == nil, "clock"},
	} {
		if m.absent {
			return fmt.Errorf("making proxy: no %s given", m.what)
		}
	}
	return nil
}
