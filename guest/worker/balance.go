package worker

import (
	"errors"
	"fmt"
	"sync"

	"cocoon/contracts/wire/tl"
)

// errRegress means that a proxy's numbers went back: it lost its memory, or it cheats.
var errRegress = errors.New("the proxy's counters went back")

// Proof is the best that a proxy has admitted to owe.
type Proof struct {
	// Signed is the signed payment as it came; nil when there was none.
	Signed []byte
	// DB and Max are the proxy's counters in tokens: what its database has and what may be claimed.
	DB, Max int64
}

// Proofs remembers what each proxy admitted, by its contract's address. It is safe for concurrent use.
type Proofs struct {
	mu  sync.Mutex
	all map[string]Proof
}

// NewProofs begins with nothing.
func NewProofs() *Proofs { return &Proofs{all: make(map[string]Proof)} }

// Get is what is known of a proxy.
func (p *Proofs) Get(proxy string) Proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[proxy]
}

// Raise notes newer numbers. Numbers that went back, or are no counts, are refused and change nothing.
func (p *Proofs) Raise(proxy string, signed tl.AnyProxySignedPayment, db, maxTokens int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.all[proxy]
	if db < 0 || maxTokens < 0 {
		return fmt.Errorf("%w: negative", errRegress)
	}
	if db < old.DB || maxTokens < old.Max {
		return fmt.Errorf("%w: from %d to %d, limit from %d to %d", errRegress, old.DB, db, old.Max, maxTokens)
	}
	p.all[proxy] = Proof{Signed: payment(signed, old.Signed), DB: db, Max: maxTokens}
	return nil
}

// note keeps the larger of what was known and what a proxy says now.
func (p *Proofs) note(proxy string, signed tl.AnyProxySignedPayment, db, maxTokens int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.all[proxy]
	if db >= old.DB && maxTokens >= old.Max {
		p.all[proxy] = Proof{Signed: payment(signed, old.Signed), DB: db, Max: maxTokens}
	}
}

// restart takes a proxy's numbers although they are lower: it has said that it lost its memory. What it signed stays
// ours for payout.
func (p *Proofs) restart(proxy string, signed tl.AnyProxySignedPayment, db, maxTokens int64) error {
	if db < 0 || maxTokens < 0 {
		return fmt.Errorf("%w: negative", errRegress)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.all[proxy]
	kept := old.Signed
	if kept == nil || db >= old.DB {
		kept = payment(signed, kept)
	}
	p.all[proxy] = Proof{Signed: kept, DB: db, Max: maxTokens}
	return nil
}

func payment(signed tl.AnyProxySignedPayment, otherwise []byte) []byte {
	if s, ok := signed.(*tl.ProxySignedPayment); ok {
		return s.Data
	}
	return otherwise
}
