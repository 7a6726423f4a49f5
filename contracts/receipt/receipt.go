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
	return canonical(append(doc, text("signature", hex.EncodeToString(ed25519.Sign(key, canonical(doc))))))
}

// The members stand in the canonical order, so that they need not be sorted.
func (r *Receipt) document(keyID string) object {
	return object{
		text("api_version", apiVersion), nullable("chat_id", r.ChatID), text("endpoint", r.Endpoint), list("event_log", r.events()),
		text("key_id", keyID), text("method", "POST"), text("model", r.Model), text("receipt_id", r.ID), number("served_at", r.ServedAt),
		text("workload_keyset_digest", r.KeysetDigest),
	}
}

func (r *Receipt) events() object {
	const most = 9
	body := func(kind, hash string) member { return object{text("body_hash", hash), text("type", kind)}.element() }
	out := append(make(object, 0, most), body(eventReceived, r.RequestHash))
	if r.ForwardedHash != "" {
		out = append(out, body(eventForwarded, r.ForwardedHash))
	}
	out = append(out, r.Verified.event())
	if w := r.Worker; w != nil {
		out = append(out, object{
			text("engine", w.Engine), text("image_hash", w.Image), text("tls_spki_sha256", w.SPKI), text("type", eventWorker), text("worker_sc", w.SC),
		}.element())
	}
	out = append(out, body(eventReturned, r.ResponseHash), r.Usage.event())
	if s := r.Statement; s != nil {
		out = append(out, object{
			text("key_id", s.KeyID), number("proxy_pings", s.ProxyPings), text("response_hash", s.ResponseHash), number("served_at", s.Served),
			text("signature", hex.EncodeToString(s.Signature)), text("status", string(s.Status)), text("type", eventStatement),
		}.element())
	}
	return append(out, r.Channel.event(), r.Outcome.event())
}

func (v Verified) event() member {
	if v.OK {
		return object{
			text("model_id", v.Model), flag("required", v.Required), text("result", "verified"), text("session_id", v.SessionID),
			text("type", eventVerified),
		}.element()
	}
	return object{
		text("model_id", v.Model), text("reason", v.Reason), flag("required", v.Required), text("result", "failed"), text("type", eventVerified),
	}.element()
}

func (u Usage) event() member {
	o := object{
		number("billed_cached", u.Billed.Cached), number("billed_completion", u.Billed.Completion), number("billed_prompt", u.Billed.Prompt),
		number("billed_reasoning", u.Billed.Reasoning), number("billed_total", u.Total()), number("cached_tokens", u.Tokens.Cached),
		number("coefficient", u.Coefficient), number("completion_tokens", u.Tokens.Completion), number("config_version", u.ConfigVersion),
		text("cost_nano", strconv.FormatUint(u.Cost, 10)), flag("estimated", u.Estimated),
		number("mult_cached", u.Multipliers.Cached), number("mult_completion", u.Multipliers.Completion), number("mult_prompt", u.Multipliers.Prompt),
		number("mult_reasoning", u.Multipliers.Reasoning), number("params_version", u.ParamsVersion),
		text("price_per_token_nano", strconv.FormatUint(u.Price, 10)), number("prompt_tokens", u.Tokens.Prompt),
		number("reasoning_tokens", u.Tokens.Reasoning), number("reserved", u.Reserved), text("source", u.Source),
		number("total_tokens", u.Tokens.Prompt+u.Tokens.Completion), text("type", eventUsage),
	}
	if u.Cut > 0 {
		o = append(o, number("cut", u.Cut))
	}
	return o.element()
}

func (c Channel) event() member {
	return object{
		text("client_sc", c.ClientSC), flag("is_test", c.Test), number("ledger_seq", c.LedgerSeq), text("proxy_key", hex.EncodeToString(c.ProxyKey)),
		text("proxy_sc", c.ProxySC), text("tokens_committed", strconv.FormatUint(c.Committed, 10)),
		text("tokens_total", strconv.FormatUint(c.Total, 10)), text("type", eventChannel),
	}.element()
}

func (o Outcome) event() member {
	first := null("ttft_ms")
	if o.TTFT >= 0 {
		first = number("ttft_ms", o.TTFT)
	}
	return object{
		number("bytes", o.Bytes), number("duration_ms", o.Duration), nullable("error_code", o.ErrorCode), number("events", o.Events),
		nullable("finish_reason", o.FinishReason), number("http_status", o.HTTPStatus), number("retries", o.Retries),
		text("status", string(o.Status)), first, text("type", eventOutcome),
	}.element()
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
	const usual = 1 << 10
	return appendObject(make([]byte, 0, usual), object{
		number("cached_tokens", s.Tokens.Cached), number("completion_tokens", s.Tokens.Completion), number("prompt_tokens", s.Tokens.Prompt),
		text("purpose", "cocoon.worker-usage.v1"), number("reasoning_tokens", s.Tokens.Reasoning), text("request_hash", s.RequestHash),
		text("request_id", s.RequestID), text("response_hash", s.ResponseHash), number("served_at", s.ServedAt), text("status", string(s.Status)),
		text("worker_sc", s.WorkerSC),
	})
}
