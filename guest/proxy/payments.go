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

// answerWay is how long an answer with numbers may take to get in line after they were read.
const answerWay = 20 * time.Millisecond

// told is when a peer was last told what it may claim. Numbers are read and go out one after the other: ones that seem to go
// back end a reference worker's connection (protocol.md section 5.1).
type told struct {
	mu       sync.Mutex
	at       time.Time
	answered time.Time
}

// answer reads numbers for the answer to a question.
func (t *told) answer(now time.Time, read func() (ledger.Payment, error)) (ledger.Payment, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered = now
	return read()
}

// push reads numbers and sends them, if a peer of that version is told now. It does not wait for the peer.
func (t *told) push(version int32, clock func() time.Time, send func()) {
	for {
		wait := t.try(version, clock(), send)
		if wait <= 0 {
			return
		}
		<-time.After(wait)
	}
}

// try is push, or how long that has to wait for an answer to be on its way.
func (t *told) try(version int32, now time.Time, send func()) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since := now.Sub(t.at); version >= versionOurs && since >= 0 && since < payEvery {
		return 0
	}
	if since := now.Sub(t.answered); version < versionOurs && since >= 0 && since < answerWay {
		return answerWay - since
	}
	t.at = now
	send()
	return 0
}

// tellPayments pushes the new numbers. Clients of the first versions never read what they did not ask for (protocol.md
// section 4.4), and who has no room for a message can ask.
func (r *request) tellPayments(ctx context.Context, e ledger.Entry) {
	if r.out.version >= versionTimes {
		r.c.told.push(r.out.version, r.p.deps.Now, func() {
			if pay, err := r.p.deps.Ledger.Pay(ctx, r.c.party); err == nil {
				_ = r.c.sess.Send(r.p.atOnce, &tl.ProxyClientRequestPayment{ //nolint:contextcheck // one that has ended: no waiting
					RequestID: r.ask.id, SignedPayment: signed(pay), DBTokens: pay.DB, MaxTokens: pay.Max, RequestTokens: e.Paid(),
				})
			}
		})
	}
	if r.a == nil {
		return
	}
	w := r.a.w
	w.told.push(w.version, r.p.deps.Now, func() {
		if pay, err := r.p.deps.Ledger.Pay(ctx, w.party); err == nil {
			// A busy worker gets it with its next request.
			_ = w.sess.SendSoon(r.p.atOnce, &tl.ProxyWorkerRequestPayment{ //nolint:contextcheck // as above
				RequestID: r.a.id, SignedPayment: signed(pay), DBTokens: pay.DB, MaxTokens: pay.Max, RequestTokens: e.Paid(),
				RequestClientOwner: r.c.owner.Friendly(r.p.cfg.Testnet),
			})
		}
	})
}
