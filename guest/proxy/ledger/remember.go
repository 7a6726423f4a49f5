package ledger

import (
	"bytes"
	"sync"
)

// maxRemembered bounds the payments that are remembered; beyond it all are signed anew.
const maxRemembered = 1 << 14

// remembering signs a party's number once: it is what is committed on chain and changes far less often than it is told.
type remembering struct {
	Signer
	mu   sync.Mutex
	last map[Party]payment
}

// payment is a number with its signature.
type payment struct {
	tokens int64
	signed []byte
}

func remember(s Signer) Signer { return &remembering{Signer: s, last: make(map[Party]payment)} }

// Sign implements Signer.
func (r *remembering) Sign(p Party, tokens int64) ([]byte, error) {
	r.mu.Lock()
	known, ok := r.last[p]
	r.mu.Unlock()
	if ok && known.tokens == tokens {
		return bytes.Clone(known.signed), nil
	}
	signed, err := r.Signer.Sign(p, tokens)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last) >= maxRemembered {
		clear(r.last)
	}
	r.last[p] = payment{tokens, bytes.Clone(signed)}
	return signed, nil
}
