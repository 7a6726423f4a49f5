package worker

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/meter"
)

// sendLimit bounds the sending of one message: a proxy that takes nothing for that long is gone.
const sendLimit = 30 * time.Second

const (
	// maxDebug is the room that the account of a query needs.
	maxDebug = 192
	// maxHead is the room that an answer needs beside its body.
	maxHead = 512
)

// send sends a message of the answer.
func (q *query) send(ctx context.Context, p tl.Object) error {
	err := q.c.sess.SendWithin(ctx, p, sendLimit)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, session.ErrFull):
		return errSlowReader
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	}
	return err
}

// head sends the head of an answer whose body follows.
func (q *query) head(ctx context.Context, r *tl.HTTPResponse) error {
	q.headSent.Store(true)
	return q.send(ctx, q.headMessage(r, nil))
}

// emit sends bytes of the body as they fit into parts and credit.
func (q *query) emit(ctx context.Context, data []byte) error {
	for len(data) > 0 {
		n, err := q.credit.take(ctx, min(len(data), session.MaxPart), q.c.w.cfg.Times.Slow)
		if err != nil {
			return err
		}
		if q.firstByte.IsZero() {
			q.firstByte = q.c.w.deps.Now()
		}
		q.hash.Write(data[:n])
		q.sent += int64(n)
		if err := q.send(ctx, q.partMessage(data[:n], nil)); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// finish sends the last message of a query, exactly one, and the statement behind it. ctx is the session's: the query's
// own may be over. It returns how the query ended: what cannot be said any more changes that.
func (q *query) finish(ctx context.Context, out outcome) outcome {
	var last tl.Object
	switch {
	case out.whole != nil:
		q.hash.Write(out.whole.Payload)
		q.sent += int64(len(out.whole.Payload))
		last = q.headMessage(out.whole, q.final(out))
	case out.code == 0:
		if err := q.emitTail(ctx, out); err != nil {
			q.blame(err)
			out = q.broken(out.used, false, whySent)
			last = q.errorMessage(out)
			break
		}
		last = q.partMessage(nil, q.final(out))
	default:
		last = q.errorMessage(out)
	}
	q.release()
	if err := q.send(ctx, last); err != nil {
		q.c.w.log.Debug("Answer not delivered", slog.String("req", q.name), slog.Any("err", err))
		return out
	}
	if q.version >= versionOurs && q.request != "" {
		if err := q.send(ctx, q.statement(out)); err != nil {
			q.c.w.log.Debug("Statement not delivered", slog.String("req", q.name), slog.Any("err", err))
		}
	}
	return out
}

// emitTail sends the end of a body. What ends an answer that was not over in time has a moment of its own for that.
func (q *query) emitTail(ctx context.Context, out outcome) error {
	if out.status == receipt.Complete {
		return q.emit(q.ctx, out.tail) //nolint:contextcheck // while all is well the request can still be cancelled
	}
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	return q.emit(ctx, out.tail)
}

// tokens are the counts in the form that the peer's version has: raw for ours, adjusted by class for the reference's.
func (q *query) tokens(u meter.Usage) tl.TokensUsed {
	if q.version >= versionOurs {
		return tl.TokensUsed{
			PromptTokensUsed: u.Prompt, CachedTokensUsed: u.Cached, CompletionTokensUsed: u.Completion, ReasoningTokensUsed: u.Reasoning,
			TotalTokensUsed: u.Prompt + u.Completion,
		}
	}
	b := pricing.Bill(pricing.Tokens(u), q.coefficient, q.prices.Multipliers)
	return tl.TokensUsed{
		PromptTokensUsed: b.Prompt, CachedTokensUsed: b.Cached, CompletionTokensUsed: b.Completion, ReasoningTokensUsed: b.Reasoning,
		TotalTokensUsed: b.Total(),
	}
}

// final is what stands at the end of every answer, valid until the next one is made.
func (q *query) final(out outcome) *tl.ProxyQueryFinalInfo {
	d := &q.desk
	info := &d.final
	*info = tl.ProxyQueryFinalInfo{TokensUsed: q.tokens(out.used.Usage)}
	if q.version >= versionTimes {
		if q.ended.IsZero() {
			q.ended = q.c.w.deps.Now()
		}
		d.start, d.end = seconds(q.began), seconds(q.ended)
		info.WorkerStartTime, info.WorkerEndTime = &d.start, &d.end
	}
	if q.ask.EnableDebug != nil && *q.ask.EnableDebug {
		info.WorkerDebug = new(q.debug(out))
	}
	return info
}

// debug says how the numbers came about. It holds counts and times only.
func (q *query) debug(out outcome) string {
	first := int64(-1)
	if !q.firstByte.IsZero() {
		first = q.firstByte.Sub(q.began).Milliseconds()
	}
	u := &out.used
	text := make([]byte, 0, maxDebug)
	text = strconv.AppendQuote(append(text, `{"source":`...), string(u.Source))
	text = strconv.AppendBool(append(text, `,"estimated":`...), u.Estimated)
	text = strconv.AppendInt(append(text, `,"usage_rejected":`...), int64(u.Rejected), 10)
	text = strconv.AppendInt(append(text, `,"events":`...), int64(u.Events), 10)
	text = strconv.AppendInt(append(text, `,"ttft_ms":`...), first, 10)
	text = strconv.AppendQuote(append(text, `,"status":`...), string(out.status))
	return string(append(text, '}'))
}

// headMessage is valid until the next one is made.
func (q *query) headMessage(r *tl.HTTPResponse, final *tl.ProxyQueryFinalInfo) tl.Object {
	d := &q.desk
	id, raw := q.ask.RequestID, r.Append(make([]byte, 0, len(r.Payload)+maxHead))
	if q.version >= versionEx {
		d.answer = tl.ProxyQueryAnswerEx{RequestID: id, Answer: raw, FinalInfo: final}
		return &d.answer
	}
	return &tl.ProxyQueryAnswer{Answer: raw, IsCompleted: final != nil, RequestID: id, TokensUsed: tokensOf(final)}
}

// partMessage is valid until the next one is made: who sends parts does so one after another.
func (q *query) partMessage(data []byte, final *tl.ProxyQueryFinalInfo) tl.Object {
	id := q.ask.RequestID
	if q.version >= versionEx {
		q.desk.part = tl.ProxyQueryAnswerPartEx{RequestID: id, Answer: data, FinalInfo: final}
		return &q.desk.part
	}
	return &tl.ProxyQueryAnswerPart{Answer: data, IsCompleted: final != nil, RequestID: id, TokensUsed: tokensOf(final)}
}

func (q *query) errorMessage(out outcome) tl.Object {
	id, final, code := q.ask.RequestID, q.final(out), int32(out.code)
	switch {
	case q.version >= versionEx:
		return &tl.ProxyQueryAnswerErrorEx{RequestID: id, ErrorCode: code, Error: out.text, FinalInfo: final}
	case q.headSent.Load():
		return &tl.ProxyQueryAnswerPartError{ErrorCode: code, Error: out.text, RequestID: id, TokensUsed: final.TokensUsed}
	}
	return &tl.ProxyQueryAnswerError{ErrorCode: code, Error: out.text, RequestID: id, TokensUsed: final.TokensUsed}
}

func tokensOf(final *tl.ProxyQueryFinalInfo) tl.TokensUsed {
	if final == nil {
		return tl.TokensUsed{}
	}
	return final.TokensUsed
}

// statement signs what was used, bound to the bytes that came and went (inference.md section 10.4).
func (q *query) statement(out outcome) *tl.ProxyQueryStatement {
	q.c.mu.Lock()
	contract := q.c.worker
	q.c.mu.Unlock()
	served := q.c.w.deps.Now().Unix()
	sum := [32]byte(q.hash.Sum(nil))
	signed := receipt.WorkerStatement{
		RequestID: q.name, RequestHash: q.request, ResponseHash: "sha256:" + hex.EncodeToString(sum[:]), Status: out.status, ServedAt: served,
		WorkerSC: contract, Tokens: pricing.Tokens(out.used.Usage),
	}.Bytes()
	return &tl.ProxyQueryStatement{
		RequestID: q.ask.RequestID, ResponseHash: sum, Status: wireStatus(out.status), ServedAt: served, KeyID: q.c.w.deps.KeyID,
		Signature: ed25519.Sign(q.c.w.deps.ReceiptKey, signed),
	}
}

// wireStatus is the number of a status (inference.md section 9).
func wireStatus(s receipt.Status) int32 {
	switch s {
	case receipt.Complete:
		return 0
	case receipt.Cancelled:
		return 1
	case receipt.Deadline:
		return 2
	case receipt.WorkerLost:
		return 3
	case receipt.EngineError:
		return 4
	default:
		return 5
	}
}
