package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"math/bits"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
)

// inlineReceipt is how long a whole answer waits for its receipt where nothing else says what it cost.
const inlineReceipt = 2 * time.Second

// verdict is what became of a receipt.
type verdict struct {
	receipt *receipt.Receipt // nil when it could not be read
	class   string
	why     string
}

func (v *verdict) ok() bool { return v.class == receipts.ClassOK }

// classMissing is the class of a receipt that never came.
const classMissing = "missing"

// hearing is everything that the verdict on one call needs.
type hearing struct {
	call             *upstream.Call
	sent             []byte
	key, model, path string
	name             name
	dear             int64     // the dearest worker's coefficient that the app accepted
	hold             keys.Hold // what the key's budgets keep for it
}

func (x *exchange) hearing(call *upstream.Call) hearing {
	return hearing{
		call: call, sent: x.sent, key: x.key, model: x.req.Model, path: x.path, name: x.name, dear: x.req.MaxCoefficient,
		hold: x.hold,
	}
}

// holding sets aside what the request can cost at most, as far as the price is known here.
func (x *exchange) holding(a upstream.Ask) (err error) {
	if x.key == "" { // nobody has a budget
		return nil
	}
	limit := pricing.Ask{QueryBytes: int64(len(a.Body)), MaxTokens: int64(a.MaxTokens), N: x.req.N, MaxCoefficient: x.req.MaxCoefficient}
	const bytesPerToken = 4
	tokens := limit.QueryBytes/bytesPerToken + limit.N*limit.MaxTokens
	x.hold, err = x.s.cfg.Keys.Hold(x.key, x.s.cfg.Now(), tokens, x.s.price(limit))
	return err
}

// price is the most that a request can cost in nanoTON, or 0 where no root contract says what a token does.
func (s *Server) price(limit pricing.Ask) uint64 {
	if s.cfg.Chain == nil {
		return 0
	}
	root := s.cfg.Chain.Newest()
	if root == nil {
		return 0
	}
	p := root.Params
	billed := pricing.Reserve(limit, pricing.Multipliers{
		Prompt: int64(p.PromptMultiplier), Cached: int64(p.CachedMultiplier), Completion: int64(p.CompletionMultiplier), Reasoning: int64(p.ReasoningMultiplier),
	})
	high, low := bits.Mul64(uint64(max(billed, 0)), uint64(p.PricePerToken))
	if high > 0 {
		return math.MaxUint64
	}
	return low
}

// settled is closed when the receipt of a call is there, or is not to be expected any more.
func settled(call *upstream.Call, limit time.Duration) <-chan struct{} {
	out := make(chan struct{})
	call.Await(limit, func() { close(out) })
	return out
}

// await waits for the receipt, no longer than the app does.
func (x *exchange) await(call *upstream.Call, limit time.Duration) {
	patience := x.deadline.Add(grace).Sub(x.s.cfg.Now())
	select {
	case <-settled(call, min(limit, patience)):
	case <-x.ctx.Done():
	}
}

// inquire reaches the verdict before the answer, if the receipt comes soon: its proxy has not said what the answer costs.
func (x *exchange) inquire(call *upstream.Call) {
	if call.Version() < upstream.ExtensionVersion {
		return
	}
	x.await(call, min(inlineReceipt, x.s.cfg.Receipt))
	if paper, _, _ := call.Paper(); paper != nil && x.outcome.verdict == nil {
		x.outcome.verdict = x.s.judge(x.ctx, x.hearing(call))
	}
}

// required refuses an answer whose receipt is not good.
func (x *exchange) required() error {
	if x.call.Version() >= upstream.ExtensionVersion && x.outcome.verdict == nil {
		x.await(x.call, x.s.cfg.Receipt)
		x.outcome.verdict = x.s.judge(x.ctx, x.hearing(x.call))
		x.call.Forget()
	}
	if v := x.outcome.verdict; v != nil && v.ok() {
		return nil
	}
	class := classMissing
	if v := x.outcome.verdict; v != nil {
		class = v.class
	}
	return &api.Error{Code: api.ReceiptInvalid, Message: "the answer's receipt is not good (" + class + ") and this gateway requires one; see the page at /stats"}
}

// settle brings about what follows the answer, off its path: the verdict on its receipt, once that has come or will not, and
// the count of what was used.
func (x *exchange) settle(call *upstream.Call) {
	h := x.hearing(call)
	if x.outcome.verdict != nil {
		x.s.tally(h, x.outcome.verdict)
		call.Forget()
		return
	}
	decide := func() {
		defer call.Forget()
		if call.Version() < upstream.ExtensionVersion {
			x.s.tally(h, nil)
			return
		}
		x.s.tally(h, x.s.judge(x.s.stopping, h))
	}
	if !x.s.running.begin() { // the gateway has ended: who brings the answer waits himself
		<-settled(call, x.s.cfg.Receipt)
		decide()
		return
	}
	call.Owe(len(h.sent))
	call.Await(x.s.cfg.Receipt, func() { x.s.running.bring(decide) })
}

// judge checks a receipt and keeps it.
func (s *Server) judge(ctx context.Context, h hearing) *verdict {
	paper, transcript, _ := h.call.Paper()
	v := &verdict{class: classMissing}
	defer func() {
		if s.cfg.Checker != nil && !v.ok() {
			s.cfg.Checker.Unsettled(h.call.Offer.ClientSC, h.call.Offer.ProxySC)
		}
	}()
	if paper == nil {
		return v
	}
	v.class = "unchecked"
	if s.cfg.Checker != nil {
		var err error
		v.receipt, err = s.cfg.Checker.Check(ctx, h.call.Link, receipts.Claim{
			Receipt: paper, Request: h.sent, Response: transcript, Model: h.model, Whole: h.call.Whole(), MaxCoefficient: h.dear,
			SPKI: h.call.Offer.Peer.SPKI, ClientSC: h.call.Offer.ClientSC, ProxySC: h.call.Offer.ProxySC,
		})
		v.class = receipts.ClassOK
		if err != nil {
			v.class, v.why = string(receipt.ClassOf(err)), err.Error()
			s.cfg.Log.Warn("Receipt is not good", slog.String("req", h.name.receipt()), slog.String("peer", h.call.Link.Address()), slog.String("class", v.class))
		}
		if v.ok() && v.receipt.ID != h.name.receipt() {
			v.class, v.why = string(receipt.Malformed), "the receipt is for another request"
		}
	}
	s.keep(h, v, paper)
	return v
}

// keep puts a receipt into the store.
func (s *Server) keep(h hearing, v *verdict, paper []byte) {
	if s.cfg.Store == nil {
		return
	}
	const longest = 500
	r := receipts.Record{
		Time: s.cfg.Now().UTC().Truncate(time.Millisecond), ID: h.name.receipt(), Model: h.model, Key: h.key, Proxy: h.call.Link.Address(),
		Class: v.class, Why: v.why[:min(len(v.why), longest)],
	}
	if isJSON := v.receipt != nil || json.Valid(paper); len(paper) <= receipt.MaxDocument && isJSON && oneLine(paper) {
		r.Receipt = paper
	}
	if v.receipt != nil {
		u := v.receipt.Usage
		r.ChatID, r.Status = v.receipt.ChatID, string(v.receipt.Outcome.Status)
		r.Tokens, r.Cost = u.Tokens.Prompt+u.Tokens.Completion, u.Cost
	}
	if err := s.cfg.Store.Append(r); err != nil {
		s.cfg.Log.Error("Receipt cannot be kept", slog.String("req", h.name.receipt()), slog.Any("err", err))
	}
}

func oneLine(doc []byte) bool {
	return bytes.IndexByte(doc, '\n') < 0 && bytes.IndexByte(doc, '\r') < 0
}

// tally counts what a request used, once it is known: by its receipt, or by the proxy's word alone.
func (s *Server) tally(h hearing, v *verdict) {
	use := usage{verdict: v}
	if v != nil && v.receipt != nil {
		u := v.receipt.Usage
		use.prompt, use.cached = u.Tokens.Prompt, u.Tokens.Cached
		use.completion, use.reasoning, use.cost = u.Tokens.Completion, u.Tokens.Reasoning, u.Cost
	} else if _, _, final := h.call.Paper(); final != nil {
		use.prompt, use.cached = final.Prompt, final.Cached
		use.completion, use.reasoning = final.Completion, final.Reasoning
	}
	now := s.cfg.Now()
	s.cfg.Keys.Spend(h.key, now, use.prompt+use.completion, use.cost)
	h.hold.Release()
	s.record.used(now, h.name.request(), use)
}
