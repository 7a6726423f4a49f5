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
	"strconv"

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
	doc := r.document(keyID)
	doc["signature"] = hex.EncodeToString(ed25519.Sign(key, appendJCS(nil, doc)))
	return appendJCS(nil, doc)
}

func (r *Receipt) document(keyID string) object {
	return object{
		"api_version": apiVersion, "receipt_id": r.ID, "chat_id": nullable(r.ChatID), "model": r.Model,
		"workload_keyset_digest": r.KeysetDigest, "endpoint": r.Endpoint, "method": "POST", "served_at": r.ServedAt,
		"event_log": r.events(), "key_id": keyID,
	}
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (r *Receipt) events() []any {
	out := []any{object{"type": eventReceived, "body_hash": r.RequestHash}}
	if r.ForwardedHash != "" {
		out = append(out, object{"type": eventForwarded, "body_hash": r.ForwardedHash})
	}
	out = append(out, r.Verified.event())
	if w := r.Worker; w != nil {
		out = append(out, object{"type": eventWorker, "worker_sc": w.SC, "tls_spki_sha256": w.SPKI, "image_hash": w.Image, "engine": w.Engine})
	}
	out = append(out, object{"type": eventReturned, "body_hash": r.ResponseHash}, r.Usage.event())
	if s := r.Statement; s != nil {
		out = append(out, object{
			"type": eventStatement, "key_id": s.KeyID, "response_hash": s.ResponseHash, "proxy_pings": s.ProxyPings,
			"served_at": s.Served, "status": string(s.Status), "signature": hex.EncodeToString(s.Signature),
		})
	}
	return append(out, r.Channel.event(), r.Outcome.event())
}

func (v Verified) event() object {
	e := object{"type": eventVerified, "required": v.Required, "model_id": v.Model}
	if v.OK {
		e["result"], e["session_id"] = "verified", v.SessionID
	} else {
		e["result"], e["reason"] = "failed", v.Reason
	}
	return e
}

func (u Usage) event() object {
	e := object{
		"type": eventUsage, "source": u.Source, "estimated": u.Estimated,
		"prompt_tokens": u.Tokens.Prompt, "cached_tokens": u.Tokens.Cached, "completion_tokens": u.Tokens.Completion,
		"reasoning_tokens": u.Tokens.Reasoning, "total_tokens": u.Tokens.Prompt + u.Tokens.Completion,
		"billed_prompt": u.Billed.Prompt, "billed_cached": u.Billed.Cached, "billed_completion": u.Billed.Completion,
		"billed_reasoning": u.Billed.Reasoning, "billed_total": u.Total(), "reserved": u.Reserved,
		"coefficient": u.Coefficient, "mult_prompt": u.Multipliers.Prompt, "mult_cached": u.Multipliers.Cached,
		"mult_completion": u.Multipliers.Completion, "mult_reasoning": u.Multipliers.Reasoning,
		"price_per_token_nano": strconv.FormatUint(u.Price, 10), "cost_nano": strconv.FormatUint(u.Cost, 10),
		"config_version": u.ConfigVersion, "params_version": u.ParamsVersion,
	}
	if u.Cut > 0 {
		e["cut"] = u.Cut
	}
	return e
}

func (c Channel) event() object {
	return object{
		"type": eventChannel, "proxy_sc": c.ProxySC, "client_sc": c.ClientSC, "proxy_key": hex.EncodeToString(c.ProxyKey),
		"is_test": c.Test, "ledger_seq": c.LedgerSeq, "tokens_total": strconv.FormatUint(c.Total, 10),
		"tokens_committed": strconv.FormatUint(c.Committed, 10),
	}
}

func (o Outcome) event() object {
	e := object{
		"type": eventOutcome, "status": string(o.Status), "http_status": o.HTTPStatus, "finish_reason": nullable(o.FinishReason),
		"error_code": nullable(o.ErrorCode), "bytes": o.Bytes, "events": o.Events, "retries": o.Retries,
		"ttft_ms": nil, "duration_ms": o.Duration,
	}
	if o.TTFT >= 0 {
		e["ttft_ms"] = o.TTFT
	}
	return e
}

// WorkerStatement is what a worker signs: its counts for one request, bound to what it was sent and what it answered.
type WorkerStatement struct {
	RequestID, RequestHash, ResponseHash string
	Status                               Status
	ServedAt                             int64
	WorkerSC                             string
	Tokens                               pricing.Tokens
}

// Bytes is the canonical form that is signed.
func (s WorkerStatement) Bytes() []byte {
	return appendJCS(nil, object{
		"purpose": "cocoon.worker-usage.v1", "request_id": s.RequestID, "request_hash": s.RequestHash,
		"response_hash": s.ResponseHash, "status": string(s.Status), "served_at": s.ServedAt, "worker_sc": s.WorkerSC,
		"prompt_tokens": s.Tokens.Prompt, "cached_tokens": s.Tokens.Cached, "completion_tokens": s.Tokens.Completion,
		"reasoning_tokens": s.Tokens.Reasoning,
	})
}
