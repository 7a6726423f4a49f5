// Package receipt is the signed receipt of one request: what was asked, what was answered, by whom, and what it cost
// (inference.md section 10).
//
// It owns the documents of the published draft aci/1 with our event types, their canonical form, and the checks that
// need no network. It trusts no document: parsing is strict and bounded, the first broken rule names its class. Judging
// quotes, prices on chain and identities is the caller's, who passes the answers in. All values are plain data, safe for
// concurrent reading.
package receipt

import (
	"crypto/ed25519"
	"encoding/hex"
	"slices"

	"cocoon/contracts/pricing"
)

// Types of events, in the order in which a receipt has them.
const (
	eventReceived  = "request.received"
	eventForwarded = "request.forwarded"
	eventVerified  = "upstream.verified"
	eventWorker    = "cocoon.worker"
	eventReturned  = "response.returned"
	eventUsage     = "usage.metered"
	eventStatement = "cocoon.worker.statement"
	eventChannel   = "cocoon.channel"
	eventOutcome   = "cocoon.outcome"
)

// Status is how a request ended.
type Status string

// The ways a request ends.
const (
	Complete    Status = "complete"
	Cancelled   Status = "cancelled"
	Deadline    Status = "deadline"
	WorkerLost  Status = "worker_lost"
	EngineError Status = "engine_error"
	Refused     Status = "refused"
)

// Receipt is everything a proxy knows of a request when it is over. Hashes are in the form of SHA256.
type Receipt struct {
	// ID is the request's id: 64 hex digits. ChatID is the id in the answer, or empty.
	ID, ChatID, Model string
	KeysetDigest      string
	Endpoint          string
	ServedAt          int64 // Unix seconds
	// RequestHash is over the body as the proxy received it, ForwardedHash over what the worker got; empty when no worker
	// did. ResponseHash is over every byte of the answer's body, pings included.
	RequestHash, ForwardedHash, ResponseHash string
	Verified                                 Verified
	Worker                                   *Worker
	Usage                                    Usage
	Statement                                *Statement
	Channel                                  Channel
	Outcome                                  Outcome
}

// Verified says how the worker was judged. Reason is set when it failed, SessionID when it did not.
type Verified struct {
	OK, Required             bool
	Model, SessionID, Reason string
}

// Worker is who served, as seen on the connection.
type Worker struct{ SC, SPKI, Image, Engine string }

// Usage is what was counted and what is billed.
type Usage struct {
	Source        string
	Estimated     bool
	Tokens        pricing.Tokens
	Coefficient   int64
	Multipliers   pricing.Multipliers
	Billed        pricing.Billed
	Reserved, Cut int64
	Price         uint64 // nanoTON for an adjusted token
	Cost          uint64 // nanoTON
	ConfigVersion int64
	ParamsVersion int64

	// claimedTokens and claimedTotal are the sums as a received document states them.
	claimedTokens, claimedTotal int64
}

// Total is what is paid for: the billed tokens that fit into the reservation.
func (u Usage) Total() int64 { return u.Billed.Total() - u.Cut }

// Meter fills what follows from the counts: the billed tokens, the cut to the reservation and the cost.
func (u *Usage) Meter() {
	u.Billed = pricing.Bill(u.Tokens, u.Coefficient, u.Multipliers)
	u.Cut = max(0, u.Billed.Total()-u.Reserved)
	u.Cost = uint64(u.Total()) * u.Price //nolint:gosec // never negative; both are bounded at the edge
}

// Statement is the worker's own signature over its counts.
type Statement struct {
	KeyID, ResponseHash string
	ProxyPings, Served  int64
	Status              Status
	Signature           []byte
}

// Channel names the two contracts and where their ledger stands after this request.
type Channel struct {
	ProxySC, ClientSC string
	ProxyKey          ed25519.PublicKey
	Test              bool
	LedgerSeq         int64
	Total, Committed  uint64
}

// Outcome is how it went. TTFT is in milliseconds, or negative when no byte of an answer came.
type Outcome struct {
	Status                  Status
	HTTPStatus              int64
	FinishReason, ErrorCode string
	Bytes, Events, Retries  int64
	TTFT, Duration          int64
}

// Sign writes the receipt in canonical form with its signature. The key signs nothing but receipts.
func (r *Receipt) Sign(keyID string, key ed25519.PrivateKey) []byte {
	p, f := page{Receipt: *r, keyID: keyID}, form{buf: make([]byte, 0, roomy)}
	p.fill(&f)
	p.signature = hex.EncodeToString(ed25519.Sign(key, f.buf))
	return slices.Insert(f.buf, p.from, []byte(signatureMark+`"`+p.signature+`"`)...)
}
