package proxy

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"

	"cocoon/contracts/registry"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
	"cocoon/guest/proxy/sched"
)

// maxDescription bounds what a worker says about its machine.
const maxDescription = 16 << 10

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
	w.sched = w.p.sched.Add(sched.Spec{
		Model: w.model, Coefficient: int64(params.Coefficient), Slots: int(slots), Features: features(version),
		Name: strings.Join([]string{w.party.Address, w.model, w.image}, " "), // protocol.md section 10.2
	})
	w.document(root)
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
