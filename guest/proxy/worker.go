package proxy

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"

	"cocoon/contracts/registry"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/sched"
)

// maxDescription bounds what a worker says about its machine.
const maxDescription = 16 << 10

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
	session  string // id of its document
	stage    stage
	closed   bool
	attempts map[[32]byte]*attempt
	enabled  bool  // by its own word
	held     error // why it gets no requests all the same
	retired  bool  // the parameters have changed: the session ends when nothing runs
}

// description is what workers of ours say about themselves in machine_description_json.
type description struct {
	Key    string `json:"receipt_key"`
	KeyID  string `json:"receipt_key_id"`
	Engine string `json:"engine"`

	key ed25519.PublicKey
}

// describe reads a description; one that cannot be read says nothing.
func describe(text *string) (d description) {
	const longest = 128
	if text == nil || len(*text) > maxDescription || json.Unmarshal([]byte(*text), &d) != nil {
		return description{}
	}
	key, err := hex.DecodeString(d.Key)
	if err != nil || len(key) != ed25519.PublicKeySize || d.KeyID == "" || len(d.KeyID) > longest {
		d.Key, d.KeyID, key = "", "", nil
	}
	d.key, d.Engine = key, d.Engine[:min(len(d.Engine), longest)]
	return d
}

// ServeWorker converses with a worker until one of both leaves.
func (p *Proxy) ServeWorker(ctx context.Context, conn net.Conn, peer Peer) error {
	w := &worker{p: p, peer: peer, progress: newProgress(), attempts: make(map[[32]byte]*attempt)}
	w.sess = session.New(conn, session.Options{Log: p.log, Dead: p.cfg.Times.Dead}, w)
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

// connect is the first step: every number of the worker's is bounded here (protocol.md section 5.1).
func (w *worker) connect(q *tl.WorkerConnectToProxy) (tl.Object, error) {
	if err := w.p.disabled(); err != nil {
		return nil, err
	}
	root, err := w.p.deps.Chain.Root()
	if err != nil {
		return nil, notReady("proxy is disabled: %v", err)
	}
	params := &q.Params
	owner, err := w.checkParams(root, params)
	if err != nil {
		return nil, err
	}
	version, err := w.p.negotiate(params.MinProtoVersion, params.MaxProtoVersion)
	if err != nil {
		return nil, err
	}
	contract, err := w.p.deps.Chain.Worker(owner)
	if err != nil {
		return nil, notReady("worker contract cannot be derived")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage != fresh {
		return nil, refusal("duplicate connect message")
	}
	w.stage = comparing
	w.version, w.owner, w.contract, w.model, w.says = version, owner, contract, params.Model, describe(params.MachineDescriptionJSON)
	w.name, w.party = contract.String(), ledger.Party{Role: ledger.Worker, Address: owner.String()}
	w.spki, w.image = spki(w.peer.Key), hex.EncodeToString(w.peer.Image[:])
	slots := (int64(*params.MaxActiveRequests) + int64(*params.ProxyCnt) - 1) / int64(*params.ProxyCnt)
	w.params, w.held = root.ParamsVersion, w.p.offered(root, w.model)
	w.session = w.p.papers.meet(w, root)
	w.sched = w.p.sched.Add(sched.Spec{
		Model: w.model, Coefficient: int64(params.Coefficient), Slots: int(slots), Features: features(version), Session: w.session,
		Name: strings.Join([]string{w.party.Address, w.model, w.image}, " "), // protocol.md section 10.2
	})
	w.p.meet(w, w.held)
	w.step()
	return &tl.WorkerConnectedToProxy{Params: w.p.params(root, version), WorkerSCAddress: contract.Friendly(w.p.cfg.Testnet)}, nil
}

func (w *worker) checkParams(root Root, p *tl.WorkerParams) (Address, error) {
	if err := w.p.admitted(root, w.peer); err != nil {
		return Address{}, err
	}
	switch {
	case p.IsTest == nil || p.ProxyCnt == nil || p.MaxActiveRequests == nil:
		return Address{}, refusal("expected flags bit 0")
	case *p.IsTest != w.p.cfg.Test:
		return Address{}, refusal("is_test mismatch")
	case p.Model == "" || len(p.Model) > maxModelName:
		return Address{}, refusal("model name has %d bytes, not from 1 to %d", len(p.Model), maxModelName)
	case p.Coefficient < 0 || p.Coefficient >= coefficientLimit:
		return Address{}, refusal("coefficient %d is not from 0 to %d", p.Coefficient, coefficientLimit-1)
	case *p.MaxActiveRequests < 1 || *p.MaxActiveRequests > maxWorkerSlots:
		return Address{}, refusal("max_active_requests %d is not from 1 to %d", *p.MaxActiveRequests, maxWorkerSlots)
	case *p.ProxyCnt < 1 || *p.ProxyCnt > maxProxyCount:
		return Address{}, refusal("proxy_cnt %d is not from 1 to %d", *p.ProxyCnt, maxProxyCount)
	}
	owner, err := ParseAddress(p.WorkerOwnerAddress)
	if err != nil {
		return Address{}, refusal("invalid worker owner address")
	}
	return owner, nil
}

// admitted says whether the root contract allows the worker's image.
func (p *Proxy) admitted(root Root, peer Peer) error {
	switch {
	case !p.cfg.CheckWorkers:
		return nil
	case !peer.Attested && peer.Doubt != "":
		return refusal("worker is not attested: %s", peer.Doubt)
	case !peer.Attested:
		return refusal("worker is not attested")
	case !root.WorkerImages[peer.Image]:
		return refusal("worker not eligible: %v", root.missing(registry.Workers, hex.EncodeToString(peer.Image[:])))
	}
	return nil
}

// offered says why a model is not served here: the root contract does not list it. Its worker may wait for that to change.
func (p *Proxy) offered(root Root, model string) error {
	if !p.cfg.CheckWorkers || root.Models[registry.ModelHash(model)] {
		return nil
	}
	return root.missing(registry.Models, model)
}

// missing names what a root does not list.
func (r *Root) missing(l registry.List, what string) error {
	return &registry.NotListedError{List: l, What: what, Version: uint32(max(r.Version, 0))}
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
		w.session = w.p.papers.meet(w, root)
		session := w.session
		w.p.sched.Update(w.sched, func(s *sched.Spec) { s.Session = session })
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

// errorAhead is what a worker is told whose numbers are larger than ours (protocol.md section 5.1).
const errorAhead = 1

// compare never stops the proxy: a worker that claims more than we know is told so, and may show proof.
func (w *worker) compare(ctx context.Context, q *tl.WorkerCompareBalanceWithProxy) (tl.Object, error) {
	if q.TokensCommittedToBlockchain < 0 || q.TokensCommittedToDB < 0 || q.MaxTokens < 0 {
		return nil, violation("a negative number of tokens")
	}
	pay, err := w.p.deps.Ledger.Pay(ctx, w.party)
	if err != nil {
		return nil, notReady("payment cannot be signed")
	}
	s := w.p.deps.Ledger.State(w.party)
	out := &tl.WorkerCompareBalanceWithProxyResult{SignedPayment: signed(pay), TokensCommittedToDB: pay.DB, MaxTokens: pay.Max}
	if q.TokensCommittedToBlockchain > s.Chain || q.TokensCommittedToDB > s.DB || q.MaxTokens > s.Max {
		out.ErrorCode = errorAhead
		w.p.metrics.count("proxy_workers_ahead_total")
		w.p.log.Warn("Worker claims more tokens than this proxy knows", slog.String("contract", w.party.Address),
			slog.Int64("chain", q.TokensCommittedToBlockchain), slog.Int64("db", q.TokensCommittedToDB), slog.Int64("max", q.MaxTokens))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stage != comparing { // queries are answered side by side
		return nil, violation("%s is out of order", q.TLName())
	}
	w.stage = finishing
	w.step()
	return out, nil
}

// compareMore takes a proof that is signed with our own key. Whatever it shows, the worker may finish its handshake.
func (w *worker) compareMore(ctx context.Context, q *tl.WorkerExtendedCompareBalanceWithProxy) (tl.Object, error) {
	if q.TokensCommittedToDB < 0 {
		return nil, violation("a negative number of tokens")
	}
	if s := w.p.deps.Ledger.State(w.party); q.TokensCommittedToDB > s.DB {
		err := w.p.deps.Ledger.Adopt(ctx, w.party.Address, q.TokensCommittedToDB, q.Other)
		if err != nil && !errors.Is(err, ledger.ErrProof) {
			return nil, notReady("the ledger does not answer")
		}
		if err == nil {
			w.p.log.Warn("Adopted a number that this proxy had signed and forgotten", slog.String("contract", w.party.Address), slog.Int64("db", q.TokensCommittedToDB))
		}
	}
	return &tl.WorkerExtendedCompareBalanceWithProxyResult{}, nil
}

func (w *worker) complete(q *tl.WorkerProxyHandshakeComplete) (tl.Object, error) {
	w.mu.Lock()
	if w.stage != finishing {
		w.mu.Unlock()
		return nil, violation("%s is out of order", q.TLName())
	}
	w.stage = open
	w.mu.Unlock()
	close(w.opened)
	if root, err := w.p.deps.Chain.Root(); err == nil { // it may have changed before this worker was among those that are told
		if err := w.p.admitted(root, w.peer); err != nil {
			return nil, err
		}
		w.judge(root)
	}
	held := w.waits()
	w.enable(!q.IsDisabled)
	if held != nil {
		w.p.log.Warn("Worker connected, not eligible", slog.String("contract", w.name), slog.Any("err", held))
		return &tl.WorkerProxyHandshakeCompleted{}, nil
	}
	w.p.log.Info("Worker connected", slog.String("contract", w.name), slog.Int("version", int(w.version)))
	return &tl.WorkerProxyHandshakeCompleted{}, nil
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
		w.p.metrics.count(`proxy_unknown_packets_total{peer="worker"}`)
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
		w.p.metrics.count(`proxy_unknown_packets_total{peer="worker"}`)
	}
	return nil
}
