package proxy

import (
	"context"
	"sync"
	"time"

	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

// payEvery is between two payment messages to the same peer of ours: its requests may end by the thousand in a second, and
// each time its numbers have grown. It knows them from its receipts, or gets them with its next request or its next
// question.
const payEvery = 50 * time.Millisecond

// told is when a peer was last told what it may claim.
type told struct {
	mu sync.Mutex
	at time.Time
}

// due says that a peer of some version is told now.
func (t *told) due(version int32, now time.Time) bool {
	if version < versionOurs {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if since := now.Sub(t.at); since >= 0 && since < payEvery {
		return false
	}
	t.at = now
	return true
}

// tellPayments pushes the new numbers. Clients of the first versions never read what they did not ask for (protocol.md
// section 4.4).
func (r *request) tellPayments(ctx context.Context, e ledger.Entry) {
	now := r.p.deps.Now()
	client := r.out.version >= versionTimes && r.c.told.due(r.out.version, now)
	worker := r.a != nil && r.a.w.told.due(r.a.w.version, now)
	if !client && !worker {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.p.cfg.Times.LastWord)
	defer cancel()
	if client {
		if pay, err := r.p.deps.Ledger.Pay(ctx, r.c.party); err == nil {
			_ = r.c.sess.Send(ctx, &tl.ProxyClientRequestPayment{
				RequestID: r.ask.id, SignedPayment: signed(pay), DBTokens: pay.DB, MaxTokens: pay.Max, RequestTokens: e.Paid(),
			})
		}
	}
	if !worker {
		return
	}
	if pay, err := r.p.deps.Ledger.Pay(ctx, r.a.w.party); err == nil {
		_ = r.a.w.sess.SendSoon(ctx, &tl.ProxyWorkerRequestPayment{ // a busy worker gets it with its next request
			RequestID: r.a.id, SignedPayment: signed(pay), DBTokens: pay.DB, MaxTokens: pay.Max, RequestTokens: e.Paid(),
			RequestClientOwner: r.c.owner.Friendly(r.p.cfg.Testnet),
		})
	}
}
