package ledger

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
)

// statementSize is what a Keyed signs: purpose, role, tokens and party, then the signature.
const (
	statementPurpose = "cocoon/test-payment/v1"
	statementHead    = len(statementPurpose) + 1 + 8
)

// Keyed signs payments without a contract behind them: for networks without a chain. A payment of it can be checked by
// the key, and is worth nothing on any chain.
type Keyed struct{ Key ed25519.PrivateKey }

var _ Signer = Keyed{}

func statement(p Party, tokens int64) []byte {
	out := append([]byte(statementPurpose), byte(p.Role))
	out = binary.LittleEndian.AppendUint64(out, uint64(tokens)) //nolint:gosec // the same 64 bits
	return append(out, p.Address...)
}

// Sign writes the party's number and signs it.
func (k Keyed) Sign(p Party, tokens int64) ([]byte, error) {
	if len(k.Key) != ed25519.PrivateKeySize || tokens < 0 {
		return nil, fmt.Errorf("signing %d tokens: no key, or no amount", tokens)
	}
	doc := statement(p, tokens)
	return append(doc, ed25519.Sign(k.Key, doc)...), nil
}

// Verify reads a payment of this key for that party.
func (k Keyed) Verify(p Party, payment []byte) (int64, error) {
	if len(payment) < statementHead+ed25519.SignatureSize || len(k.Key) != ed25519.PrivateKeySize {
		return 0, errors.New("reading payment: too short")
	}
	doc, signature := payment[:len(payment)-ed25519.SignatureSize], payment[len(payment)-ed25519.SignatureSize:]
	tokens := int64(binary.LittleEndian.Uint64(doc[statementHead-8:])) //nolint:gosec // checked next
	if tokens < 0 || string(doc) != string(statement(p, tokens)) {
		return 0, errors.New("reading payment: it is for somebody else")
	}
	public, ok := k.Key.Public().(ed25519.PublicKey)
	if !ok || !ed25519.Verify(public, doc, signature) {
		return 0, errors.New("reading payment: not signed by this proxy")
	}
	return tokens, nil
}
