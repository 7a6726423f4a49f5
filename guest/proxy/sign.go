package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

// requestName is x-request-id of a request (inference.md section 3).
func requestName(id [32]byte) string { return "req_" + hex.EncodeToString(id[:16]) }

// giveReceipt signs what happened and hands it to the client, right after the request's last message.
func (r *request) giveReceipt(ctx context.Context, e ledger.Entry) {
	doc, err := r.receipt(e)
	if err != nil {
		r.p.metrics.count("proxy_receipts_missing_total")
		return
	}
	if r.c.sess.SendWithin(ctx, &tl.ClientQueryReceipt{RequestID: r.ask.id, Receipt: doc}, r.p.cfg.Times.LastWord) == nil {
		r.p.metrics.count("proxy_receipts_total")
	}
}

func (r *request) receipt(e ledger.Entry) ([]byte, error) {
	contract := r.p.contractBy(&r.root)
	_, keyset, err := r.p.papers.of(contract.Address)
	if err != nil {
		return nil, err
	}
	out, now := r.out.sent(), r.p.deps.Now()
	if r.bodies.received == "" {
		r.bodies = hashBodies(r.body(), nil, 0)
	}
	doc := receipt.Receipt{
		ID: hexed(r.ask.id[:]), ChatID: out.look.chatID(), Model: r.ask.model, KeysetDigest: keyset, Endpoint: r.path(),
		ServedAt: now.Unix(), RequestHash: r.bodies.received, ResponseHash: r.out.digest(),
		Verified: receipt.Verified{Required: true, Model: r.ask.model},
		Usage:    r.metered(e),
		Channel: receipt.Channel{
			ProxySC: contract.text, ClientSC: r.c.contract, ProxyKey: r.p.deps.PaymentKey, Test: r.p.cfg.Test,
			LedgerSeq: e.Seq, Total: uint64(max(e.Total, 0)), Committed: uint64(max(e.Committed, 0)),
		},
		Outcome: r.outcome(out, now.Sub(r.began).Milliseconds()),
	}
	if r.a == nil || r.bodies.forwarded == "" {
		doc.Verified.Reason = doc.Outcome.ErrorCode
		return doc.Sign(r.p.papers.keyID, r.p.deps.ReceiptKey), nil
	}
	w := r.a.w
	doc.ForwardedHash = r.bodies.forwarded
	doc.Verified.OK, doc.Verified.Model, doc.Verified.SessionID = true, w.model, w.paper()
	doc.Worker = &receipt.Worker{SC: w.name, SPKI: w.spki, Image: w.image, Engine: w.says.Engine}
	if s := r.said(doc.ResponseHash); s != nil {
		doc.Statement = &receipt.Statement{
			KeyID: s.KeyID, ResponseHash: digest(s.ResponseHash[:]), ProxyPings: out.pings, Served: s.ServedAt,
			Status: statusWord(s.Status), Signature: s.Signature,
		}
	}
	return doc.Sign(r.p.papers.keyID, r.p.deps.ReceiptKey), nil
}

// digest is a hash as documents have it.
func digest(sum []byte) string {
	const name = "sha256:"
	return string(hex.AppendEncode(append(make([]byte, 0, len(name)+2*sha256.Size), name...), sum))
}

// hexed is the same without the name, as ids have it.
func hexed(sum []byte) string { return string(hex.AppendEncode(make([]byte, 0, 2*sha256.Size), sum)) }

// bodies are the hashes of a request as it came and as it went on; the latter is empty where it did not.
type bodies struct{ received, forwarded string }

// hashBodies hashes both, of which the first n bytes are the same: often all but a few, and they are hashed once.
func hashBodies(received, forwarded []byte, n int) (b bodies) {
	h := sha256.New()
	_, _ = h.Write(received[:n]) // a hash never fails
	sum := make([]byte, 0, sha256.Size)
	if forwarded != nil {
		own := cloned(h, received[:n])
		_, _ = own.Write(forwarded[n:])
		b.forwarded = digest(own.Sum(sum))
	}
	_, _ = h.Write(received[n:])
	b.received = digest(h.Sum(sum))
	return b
}

// cloned is a second hash of what is in h.
func cloned(h hash.Hash, written []byte) hash.Hash {
	if c, ok := h.(hash.Cloner); ok {
		if own, err := c.Clone(); err == nil {
			return own
		}
	}
	own := sha256.New() // unreachable: the standard library's hashes can be cloned
	_, _ = own.Write(written)
	return own
}

// path and body are what the client asked; both are empty where that could not be read.
func (r *request) path() string {
	if r.job == nil {
		return ""
	}
	return r.job.path
}

func (r *request) body() []byte {
	if r.job == nil {
		return nil
	}
	return r.job.body
}

func (r *request) metered(e ledger.Entry) receipt.Usage {
	u := receipt.Usage{
		Source: e.Source, Estimated: e.Estimated, Tokens: e.Tokens, Coefficient: e.Coefficient, Multipliers: r.root.Multipliers,
		Reserved: e.Reserved, Price: r.root.Price, ConfigVersion: int64(r.root.Version), ParamsVersion: int64(r.root.ParamsVersion),
	}
	u.Meter()
	return u
}

func (r *request) outcome(out sent, took int64) receipt.Outcome {
	o := receipt.Outcome{
		Status: r.status(), HTTPStatus: int64(out.status), FinishReason: out.look.finish(), Bytes: out.bytes, Events: out.look.events,
		Retries: int64(max(len(r.tried)-1, 0)), TTFT: -1, Duration: took,
	}
	if !out.first.IsZero() {
		o.TTFT = out.first.Sub(r.began).Milliseconds()
	}
	if err := r.result.err; err != nil {
		o.ErrorCode = string(endingOf(err).inside)
	}
	return o
}
