package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cocoon/contracts/pricing"
)

// maxSettled is how many settled requests are remembered, so that settling is idempotent and ids are not used twice.
const maxSettled = 100_000

// Config is what a Memory needs.
type Config struct {
	// Funds is what the chain says of a client.
	Funds func(client string) Funds
	// Signer signs payments; nil signs nothing, which is for tests.
	Signer Signer
	// Remember is how many settled requests are kept; 0 means 100000.
	Remember int
}

// counter is a party's three watermarks.
type counter struct {
	number         uint32 // names the party among all
	max, db, chain int64
	reserved       int64
	running        int64
}

// Memory is a ledger that lives as long as its process.
type Memory struct {
	cfg Config

	mu       sync.Mutex
	seq      int64
	counters map[Party]*counter
	held     map[request]int64
	settled  settled
}

var _ Ledger = (*Memory)(nil)

// NewMemory makes an empty ledger.
func NewMemory(cfg Config) (*Memory, error) {
	if cfg.Funds == nil {
		return nil, errors.New("making ledger: no source of the clients' funds given")
	}
	if cfg.Remember <= 0 {
		cfg.Remember = maxSettled
	}
	if cfg.Signer != nil {
		cfg.Signer = remember(cfg.Signer)
	}
	return &Memory{
		cfg: cfg, counters: make(map[Party]*counter), held: make(map[request]int64), settled: newSettled(cfg.Remember),
	}, nil
}

// of is a party's counter. The caller holds the lock.
func (m *Memory) of(p Party) *counter {
	c := m.counters[p]
	if c == nil {
		c = &counter{number: uint32(len(m.counters))} //nolint:gosec // peers with contracts
		m.counters[p] = c
	}
	return c
}

// client is a client's counter, at least at what the chain has charged: our own key signed that.
func (m *Memory) client(address string, f Funds) *counter {
	c := m.of(Party{Client, address})
	c.raise(f.Used)
	return c
}

// raise lifts all three watermarks to a number that is on chain.
func (c *counter) raise(tokens int64) {
	c.chain = max(c.chain, tokens)
	c.db = max(c.db, c.chain)
	c.max = max(c.max, c.db)
}

func (c *counter) available(f Funds) int64 {
	return f.limit() - c.reserved - c.max // all are between 0 and MaxInt64, and reserved+max never above a former limit
}

// Reserve holds an amount.
func (m *Memory) Reserve(_ context.Context, r Reservation) error {
	if r.Amount < 0 || r.Client == "" {
		return fmt.Errorf("reserving %d tokens: %w", r.Amount, ErrRange)
	}
	f := m.cfg.Funds(r.Client)
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.client(r.Client, f)
	key := request{c.number, r.Request}
	if _, held := m.held[key]; held {
		return ErrDuplicate
	}
	if _, settled := m.settled.index[key]; settled {
		return ErrDuplicate
	}
	if r.Amount > c.available(f) {
		return ErrBalance
	}
	c.reserved += r.Amount
	c.running++
	m.held[key] = r.Amount
	return nil
}

// Settle bills a request, once.
func (m *Memory) Settle(_ context.Context, charge Charge) (Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counters[Party{Client, charge.Client}]
	if c == nil {
		return Entry{}, ErrUnknown
	}
	key := request{c.number, charge.Request}
	held, ok := m.held[key]
	if !ok {
		if e, done := m.settled.find(key); done {
			return e, nil
		}
		return Entry{}, ErrUnknown
	}
	m.seq++
	e := bill(charge, held)
	e.Seq = m.seq
	paid := min(total(e.Billed), held)
	c.reserved -= held
	c.running--
	c.max = add(c.max, paid)
	e.Total, e.Committed = c.max, c.chain
	if charge.Worker != "" {
		w := m.of(Party{Worker, charge.Worker})
		w.max = add(w.max, paid)
	}
	delete(m.held, key)
	m.settled.keep(key, &e)
	return e, nil
}

// bill is what a charge comes to under its reservation.
func bill(c Charge, reserved int64) Entry {
	e := Entry{Charge: c, Reserved: reserved, Billed: pricing.Bill(c.Tokens, c.Coefficient, c.Multipliers)}
	e.Cut = max(0, total(e.Billed)-reserved)
	return e
}

// total is a sum that does not wrap.
func total(b pricing.Billed) int64 {
	return add(add(b.Prompt, b.Cached), add(b.Completion, b.Reasoning))
}

// State is a party's counter.
func (m *Memory) State(p Party) State {
	var f Funds
	if p.Role == Client {
		f = m.cfg.Funds(p.Address)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counters[p]
	if c == nil {
		c = new(counter) // to be asked about takes no memory: whoever connects names an owner
	}
	c.raise(f.Used)
	s := State{Max: c.max, DB: c.db, Chain: c.chain, Reserved: c.reserved, Running: c.running}
	if p.Role == Client {
		s.Available = c.available(f)
	}
	return s
}

// Pay signs what is committed on chain: never more, so that a proxy set back to an old memory cannot sign a second,
// lower history.
func (m *Memory) Pay(_ context.Context, p Party) (Payment, error) {
	s := m.State(p)
	out := Payment{DB: s.DB, Max: s.Max}
	if m.cfg.Signer == nil {
		return out, nil
	}
	signed, err := m.cfg.Signer.Sign(p, s.Chain)
	if err != nil {
		return Payment{}, fmt.Errorf("signing payment: %w", err)
	}
	out.Signed = signed
	return out, nil
}

// Adopt raises a worker's counter to what a payment of ours proves.
func (m *Memory) Adopt(_ context.Context, worker string, tokens int64, proof []byte) error {
	p := Party{Worker, worker}
	if m.cfg.Signer == nil || len(proof) == 0 || tokens < 0 {
		return ErrProof
	}
	proved, err := m.cfg.Signer.Verify(p, proof)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if proved < tokens {
		return fmt.Errorf("%w: it is for %d tokens, %d are claimed", ErrProof, proved, tokens)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(p).raise(proved) // only committed numbers are ever signed
	return nil
}

// Flush says that everything counted so far is durable, Commit that what is durable is on chain. With no database and
// no chain behind it, a Memory is told so by its owner's clock, as the reference implementation does without a chain.
func (m *Memory) Flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.counters {
		c.db = c.max
	}
}

// Commit raises the third watermark to the second.
func (m *Memory) Commit() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.counters {
		c.chain = c.db
	}
}
