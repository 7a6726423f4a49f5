package bind

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Signed is the body of an operation that the machine's key authorises. Excess is not covered by the signature: whoever
// submits chooses where the excess goes.
type Signed struct {
	QueryID   uint64 // repeats the payload's
	Excess    *address.Address
	Signature [ed25519.SignatureSize]byte
	Payload   *cell.Cell // the signature covers its representation hash
}

func (m *Signed) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.addr("send_excesses_to", &m.Excess)
	c.bytes("signature", m.Signature[:])
	c.raw("payload", &m.Payload)
}

// Verify says whether the key signed the payload.
func (m *Signed) Verify(key Hash) bool {
	return m.Payload != nil && ed25519.Verify(key[:], m.Payload.Hash(), m.Signature[:])
}

// TokensPayload is what charges, refunds and payouts sign: a counter that only grows.
type TokensPayload struct {
	Op       Op
	QueryID  uint64
	Tokens   uint64
	Contract *address.Address
}

func (p *TokensPayload) fields(c *codec) {
	number64(c, "op", 32, &p.Op)
	number64(c, "query_id", 64, &p.QueryID)
	c.counter("tokens", &p.Tokens)
	c.addr("my_address", &p.Contract)
}

// ClosePayload is what the closing steps of a proxy sign.
type ClosePayload struct {
	Op       Op
	QueryID  uint64
	Contract *address.Address
}

func (p *ClosePayload) fields(c *codec) {
	number64(c, "op", 32, &p.Op)
	number64(c, "query_id", 64, &p.QueryID)
	c.addr("my_address", &p.Contract)
}

// CommitPayload is what a commit signs: the step from the tip on chain to the next (contracts.md section 7).
type CommitPayload struct {
	QueryID                     uint64
	Contract                    *address.Address
	Seqno                       uint32 // the stored one + 1
	PrevHash, NewHash           Hash
	SessionHash, ReputationRoot Hash
}

func (p *CommitPayload) fields(c *codec) {
	c.constant("op", 32, uint64(OpProxyCommit))
	number64(c, "query_id", 64, &p.QueryID)
	c.addr("my_address", &p.Contract)
	number64(c, "seqno", 32, &p.Seqno)
	c.hash("prev_hash", &p.PrevHash)
	c.hash("new_hash", &p.NewHash)
	roots := commitRoots{SessionHash: p.SessionHash, ReputationRoot: p.ReputationRoot}
	c.sub("roots", &roots)
	p.SessionHash, p.ReputationRoot = roots.SessionHash, roots.ReputationRoot
}

// Sign writes a payload and signs it; the result goes into the message of the same operation.
func Sign(key ed25519.PrivateKey, queryID uint64, excess *address.Address, payload SignedPayload) (Signed, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Signed{}, errors.New("signing payload: not an ed25519 key")
	}
	inner, err := encode(payload)
	if err != nil {
		return Signed{}, fmt.Errorf("signing payload: %w", err)
	}
	s := Signed{QueryID: queryID, Excess: excess, Payload: inner}
	copy(s.Signature[:], ed25519.Sign(key, inner.Hash()))
	return s, nil
}

// SignedPayload is one of the payloads of this file, or a governor's or an agreement's.
type SignedPayload interface{ layout }

// ParseTokensPayload reads what a charge, a refund or a payout signs.
func ParseTokensPayload(from *cell.Cell) (TokensPayload, error) {
	return parsePayload[TokensPayload]("tokens payload", from)
}

// ParseClosePayload reads what a closing step signs.
func ParseClosePayload(from *cell.Cell) (ClosePayload, error) {
	return parsePayload[ClosePayload]("close payload", from)
}

// ParseCommitPayload reads what a commit signs.
func ParseCommitPayload(from *cell.Cell) (CommitPayload, error) {
	return parsePayload[CommitPayload]("commit payload", from)
}

func parsePayload[T any, P interface {
	*T
	layout
}](what string, from *cell.Cell) (T, error) {
	var p T
	if err := decode(from, P(&p)); err != nil {
		var none T
		return none, fmt.Errorf("reading %s: %w", what, err)
	}
	return p, nil
}
