package proxy

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/sched"
)

// worker is the session of one worker connection. Its fields up to the mutex are set before others see it.
type worker struct {
	p    *Proxy
	peer Peer
	sess *session.Session
	progress

	version  int32
	owner    Address
	contract Address
	name     string       // the contract in raw form
	party    ledger.Party // the worker in the ledger
	spki     string       // of its key, and its image, in hex
	image    string
	model    string
	says     description
	sched    uint64
	params   int32 // version of the root's parameters that the contract follows from

	doubt doubt
	told  told

	mu       sync.Mutex
	session  string    // id of its document
	renew    time.Time // when the next one is written
	stage    stage
	closed   bool
	attempts map[[32]byte]*attempt
	enabled  bool  // by its own word
	held     error // why it gets no requests all the same
	retired  bool  // the parameters have changed: the session ends when nothing runs
}

// ServeWorker converses with a worker until one of both leaves.
func (p *Proxy) ServeWorker(ctx context.Context, conn net.Conn, peer Peer) error {
	w := &worker{p: p, peer: peer, progress: newProgress(), attempts: make(map[[32]byte]*attempt)}
	w.sess = session.New(conn, session.Options{Log: p.log, Dead: p.cfg.Times.Dead, Unknown: w.strange}, w)
	err := p.serve(ctx, w.sess, w.progress)
	w.close()
	return err
}

// close takes the worker out of the choice and ends what runs on it.
func (w *worker) close() {
	w.mu.Lock()
	w.closed = true
	lost := make([]*attempt, 0, len(w.attempts))
	for _, a := range w.attempts {
		lost = append(lost, a)
	}
	id := w.sched
	w.mu.Unlock()
	if id != 0 {
		w.p.sched.Remove(id)
		w.p.mu.Lock()
		delete(w.p.workers, id)
		w.p.mu.Unlock()
	}
	for _, a := range lost {
		a.fail(errWorkerLost)
	}
}

func (w *worker) gone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

func (w *worker) at() stage {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stage
}

// enter adds an attempt; it is refused once the worker is gone.
func (w *worker) enter(a *attempt) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.attempts[a.id] = a
	}
	return !w.closed
}

func (w *worker) leave(a *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.attempts, a.id)
	if w.retired && len(w.attempts) == 0 {
		w.end(errParameters)
	}
}

// Query answers the worker's queries. A handshake that is refused ends the session once the refusal is sent.
func (w *worker) Query(ctx context.Context, fn tl.Function) (tl.Object, error) {
	out, err := w.query(ctx, fn)
	if err != nil && w.at() != open {
		w.end(errHandshake)
	}
	return out, err
}

func (w *worker) query(ctx context.Context, fn tl.Function) (tl.Object, error) {
	at := w.at()
	switch fn := fn.(type) {
	case *tl.WorkerConnectToProxy:
		return w.connect(fn)
	case *tl.WorkerCompareBalanceWithProxy:
		if at == comparing {
			return w.compare(ctx, fn)
		}
	case *tl.WorkerExtendedCompareBalanceWithProxy:
		if at == finishing {
			return w.compareMore(ctx, fn)
		}
	case *tl.WorkerProxyHandshakeComplete:
		if at == finishing {
			return w.complete(fn)
		}
	case *tl.WorkerUpdatePaymentStatus:
		if at == open {
			pay, err := w.told.answer(w.p.deps.Now(), func() (ledger.Payment, error) { return w.p.deps.Ledger.Pay(ctx, w.party) })
			if err != nil {
				return nil, notReady("payment cannot be signed")
			}
			return &tl.WorkerPaymentStatus{SignedPayment: signed(pay), DBTokens: pay.DB, MaxTokens: pay.Max}, nil
		}
		return nil, notReady("not ready: %s before the handshake", fn.TLName())
	default:
		return nil, violation("unknown function %s", fn.TLName())
	}
	return nil, violation("%s is out of order", fn.TLName())
}

// enable notes the worker's own word and lets it be chosen if nothing else is in the way.
func (w *worker) enable(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enabled = on
	w.p.sched.Enable(w.sched, w.enabled && w.held == nil)
}

// judge takes the root's present word on the model. A worker that had requests loses its session with them; one that
// waited begins to get some, and its document says so.
func (w *worker) judge(root Root) {
	held := w.p.offered(root, w.model)
	w.mu.Lock()
	if root.ParamsVersion != w.params {
		w.retire()
		w.mu.Unlock()
		return
	}
	was := w.held
	w.held = held
	if held == nil && was != nil {
		w.document(root)
		w.p.sched.Enable(w.sched, w.enabled)
	}
	w.mu.Unlock()
	switch {
	case held != nil && was == nil:
		w.end(held)
	case held == nil && was != nil:
		w.p.meet(w, nil)
		w.p.log.Info("Worker eligible", slog.String("contract", w.name), slog.String("model", w.model))
	}
}

// document writes down what is known of the worker now, in a document that its receipts cite from here on. The caller holds the lock.
func (w *worker) document(root Root) {
	session := w.p.papers.meet(w, root)
	w.session, w.renew = session, w.p.deps.Now().Add(w.p.cfg.Times.Keyset-overlap)
	w.p.sched.Update(w.sched, func(s *sched.Spec) { s.Session = session })
}

// look renews the worker's document before its end: a connection may stand for longer than what was said at its beginning.
func (w *worker) look(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || now.Before(w.renew) {
		return
	}
	if root, err := w.p.deps.Chain.Root(); err == nil { // else nobody new is served, and soon it is tried again
		w.document(root)
	}
}

// retire gives the worker no more requests, and ends its session when none runs. The caller holds the lock.
func (w *worker) retire() {
	w.retired = true
	w.held = errParameters
	w.p.sched.Enable(w.sched, false)
	if len(w.attempts) == 0 {
		w.end(errParameters)
	}
}

// paper names the worker's document.
func (w *worker) paper() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session
}

// waits says why the worker gets no requests although it wants some.
func (w *worker) waits() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

// Packet takes answers and announcements.
func (w *worker) Packet(_ context.Context, m tl.Object) error {
	if id, e, ok := eventOf(m); ok {
		w.mu.Lock()
		a := w.attempts[id]
		w.mu.Unlock()
		if a != nil { // else it has ended; a last word that comes late has nobody
			a.deliver(e)
		}
		return nil
	}
	if w.at() != open {
		w.strange()
		return nil
	}
	switch m := m.(type) {
	case *tl.WorkerEnabledDisabled:
		w.enable(m.Disabled == 0)
	case *tl.WorkerNewCoefficient:
		if m.NewCoefficient < 0 || m.NewCoefficient >= coefficientLimit {
			return violation("coefficient %d is not from 0 to %d", m.NewCoefficient, coefficientLimit-1)
		}
		w.p.sched.Update(w.sched, func(s *sched.Spec) { s.Coefficient = int64(m.NewCoefficient) })
	default:
		w.strange()
	}
	return nil
}

// strange counts a message that a worker has no reason to send, or not yet.
func (w *worker) strange() { w.p.metrics.count(`proxy_unknown_packets_total{peer="worker"}`) }
