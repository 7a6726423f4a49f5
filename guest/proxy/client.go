package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

// stage is how far a session's handshake is.
type stage uint8

const (
	fresh stage = iota
	authorising
	comparing
	finishing
	open
)

// client is the session of one client connection.
type client struct {
	p    *Proxy
	peer Peer
	sess *session.Session
	ctx  context.Context //nolint:containedctx // the life of the session, which its requests share
	progress
	work session.Crew
	told told

	mu       sync.Mutex
	stage    stage
	version  int32
	owner    Address
	party    ledger.Party // the client in the ledger
	account  Account
	contract string // of the account, in raw form
	params   int32  // version of the root's parameters that the contracts follow from
	retired  bool   // they have changed: the session ends when nothing runs
	short    bool
	nonce    int64
	waiting  bool // an authorisation is under way
	running  map[[32]byte]*request
	queries  int // bytes of their queries
}

// ServeClient converses with a client until one of both leaves. It returns when nothing of the session runs any more.
func (p *Proxy) ServeClient(ctx context.Context, conn net.Conn, peer Peer) error {
	c := &client{p: p, peer: peer, progress: newProgress(), running: make(map[[32]byte]*request)}
	c.ctx = ctx
	c.sess = session.New(conn, session.Options{Log: p.log, Dead: p.cfg.Times.Dead}, c)
	p.mu.Lock()
	p.clients[c] = struct{}{}
	p.mu.Unlock()
	err := p.serve(ctx, c.sess, c.progress)
	p.mu.Lock()
	delete(p.clients, c)
	p.mu.Unlock()
	c.cancelAll(errClientGone)
	c.work.Wait()
	return err
}

func (c *client) at() (stage, int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stage, c.version
}

// Query answers the client's queries. A handshake that is refused ends the session once the refusal is sent.
func (c *client) Query(ctx context.Context, fn tl.Function) (tl.Object, error) {
	out, err := c.query(ctx, fn)
	if at, _ := c.at(); err != nil && at != open {
		c.end(errHandshake)
	}
	return out, err
}

func (c *client) query(ctx context.Context, fn tl.Function) (tl.Object, error) {
	at, version := c.at()
	switch fn := fn.(type) {
	case *tl.ClientConnectToProxy:
		return c.connect(ctx, fn)
	case *tl.ClientAuthorizeWithProxyShort, *tl.ClientAuthorizeWithProxyLong:
		return c.authorise(ctx, fn)
	}
	if at != open {
		return nil, notReady("not ready: %s before the handshake", fn.TLName())
	}
	switch fn := fn.(type) {
	case *tl.ClientGetWorkerTypes:
		return c.p.workerTypes(), nil
	case *tl.ClientGetWorkerTypesV2:
		return c.p.workerTypesV2(), nil
	case *tl.ClientUpdatePaymentStatus:
		return c.paymentStatus(ctx)
	case *tl.ClientRequestRefund:
		return c.refund(ctx)
	case *tl.ClientGetSession:
		if version >= versionOurs {
			return &tl.ClientSession{Document: c.p.papers.session(fn.SessionID)}, nil
		}
	case *tl.ClientGetAttestation:
		if version >= versionOurs {
			return c.p.papers.attest(ctx, fn.Nonce)
		}
	}
	return nil, violation("unknown function %s", fn.TLName())
}

// connect is the first step. The order of the checks is the reference implementation's (protocol.md section 4.1).
func (c *client) connect(ctx context.Context, q *tl.ClientConnectToProxy) (tl.Object, error) {
	if err := c.p.disabled(); err != nil {
		return nil, err
	}
	root, err := c.p.deps.Chain.Root()
	if err != nil {
		return nil, notReady("proxy is disabled: %v", err)
	}
	if at, _ := c.at(); at != fresh {
		return nil, refusal("duplicate connect message")
	}
	params := q.Params
	switch {
	case params.IsTest == nil:
		return nil, refusal("expected flags bit 0")
	case *params.IsTest != c.p.cfg.Test:
		return nil, refusal("is_test mismatch")
	}
	owner, err := ParseAddress(params.ClientOwnerAddress)
	switch {
	case err != nil:
		return nil, refusal("invalid client owner address")
	case q.MinConfigVersion > root.Version:
		return nil, refusal("active config version is too low: %d, client has %d", root.Version, q.MinConfigVersion)
	}
	version, err := c.p.negotiate(params.MinProtoVersion, params.MaxProtoVersion)
	if err != nil {
		return nil, err
	}
	account, err := c.p.deps.Chain.Client(ctx, owner)
	switch {
	case err != nil:
		return nil, notReady("client contract cannot be read")
	case account.Closing || account.Closed:
		return nil, refusal("client is closing")
	}
	return c.offer(ctx, root, owner, account, version)
}

// offer keeps what was agreed on and says how the client may prove who it is.
func (c *client) offer(ctx context.Context, root Root, owner Address, account Account, version int32) (tl.Object, error) {
	nonce := account.Nonce
	if !account.Known {
		nonce = rand.Int64() //nolint:gosec // a name for a message, no secret
	}
	c.mu.Lock()
	if c.stage != fresh {
		c.mu.Unlock()
		return nil, refusal("duplicate connect message")
	}
	c.stage, c.version, c.owner, c.account, c.nonce, c.short = authorising, version, owner, account, nonce, account.Known
	c.params, c.party, c.contract = root.ParamsVersion, ledger.Party{Role: ledger.Client, Address: owner.String()}, account.Contract.String()
	c.mu.Unlock()
	c.step()
	var auth tl.AnyClientProxyConnectionAuth = &tl.ClientProxyConnectionAuthLong{Nonce: nonce}
	if account.Known {
		auth = &tl.ClientProxyConnectionAuthShort{SecretHash: account.SecretHash, Nonce: nonce}
	}
	pay, err := c.p.deps.Ledger.Pay(ctx, c.party)
	if err != nil {
		return nil, notReady("payment cannot be signed")
	}
	return &tl.ClientConnectedToProxy{
		Params: c.p.params(root, version), ClientSCAddress: account.Contract.Friendly(c.p.cfg.Testnet), Auth: auth, SignedPayment: signed(pay),
	}, nil
}

// params is what the proxy says about itself.
func (p *Proxy) params(root Root, version int32) tl.ProxyParams {
	out := tl.ProxyParams{
		ProxyOwnerAddress: p.cfg.Owner.Friendly(p.cfg.Testnet), ProxySCAddress: p.contractBy(&root).Friendly(p.cfg.Testnet),
		IsTest: new(p.cfg.Test), ProtoVersion: new(version),
	}
	copy(out.ProxyPublicKey[:], p.deps.PaymentKey)
	return out
}

func signed(pay ledger.Payment) tl.AnyProxySignedPayment {
	if pay.Signed == nil {
		return &tl.ProxySignedPaymentEmpty{}
	}
	return &tl.ProxySignedPayment{Data: pay.Signed}
}

// authorise is the second step. A client that has forgotten its secret takes the long way with the same nonce.
func (c *client) authorise(ctx context.Context, fn tl.Function) (tl.Object, error) {
	c.mu.Lock()
	at, waiting, short, nonce := c.stage, c.waiting, c.short, c.nonce
	if at == authorising {
		c.waiting = true
	}
	c.mu.Unlock()
	switch {
	case at == fresh:
		return nil, refusal("expected connect message")
	case at == open:
		return nil, refusal("already authorized")
	case waiting:
		return nil, refusal("duplicate auth message")
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting = false
	}()
	if q, ok := fn.(*tl.ClientAuthorizeWithProxyShort); ok {
		sum := sha256.Sum256(q.Data)
		switch {
		case !short:
			return nil, refusal("expected auth message of the long form")
		case subtle.ConstantTimeCompare(sum[:], c.account.SecretHash[:]) != 1:
			return nil, refusal("sha256 mismatch")
		}
		return c.authorised(ctx)
	}
	c.step()
	wait, cancel := context.WithTimeout(ctx, c.p.cfg.Times.Handshake)
	defer cancel()
	if err := c.p.deps.Chain.Registered(wait, c.owner, nonce); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, &session.QueryError{Code: session.CodeTimeout, Message: "timeout: no registration with this nonce on chain"}
		}
		return nil, notReady("registration cannot be seen on chain")
	}
	return c.authorised(ctx)
}

func (c *client) authorised(ctx context.Context) (tl.Object, error) {
	pay, err := c.p.deps.Ledger.Pay(ctx, c.party)
	if err != nil {
		return nil, notReady("payment cannot be signed")
	}
	c.mu.Lock()
	c.stage = open
	c.mu.Unlock()
	close(c.opened)
	c.p.log.Debug("Client connected", slog.Int("version", int(c.version)))
	return &tl.ClientAuthorizationWithProxySuccess{SignedPayment: signed(pay), TokensCommittedToDB: pay.DB, MaxTokens: pay.Max}, nil
}

func (c *client) paymentStatus(ctx context.Context) (tl.Object, error) {
	pay, err := c.told.answer(c.p.deps.Now(), func() (ledger.Payment, error) { return c.p.deps.Ledger.Pay(ctx, c.party) })
	if err != nil {
		return nil, notReady("payment cannot be signed")
	}
	return &tl.ClientPaymentStatus{SignedPayment: signed(pay), DBTokens: pay.DB, MaxTokens: pay.Max}, nil
}

func (c *client) refund(ctx context.Context) (tl.Object, error) {
	if n := c.p.deps.Ledger.State(c.party).Running; n > 0 {
		return &tl.ClientRefundRejected{ActiveQueries: n}, nil
	}
	grant, err := c.p.deps.Chain.Refund(ctx, c.owner)
	if err != nil {
		return nil, notReady("refund cannot be granted yet")
	}
	return &tl.ClientRefund{Data: grant}, nil
}

// Packet takes requests, cancellations and credit.
func (c *client) Packet(_ context.Context, packet tl.Object) error {
	at, version := c.at()
	switch m := packet.(type) {
	case *tl.ClientRunQuery, *tl.ClientRunQueryEx:
		return c.ask(askOf(m), at, version)
	case *tl.ClientCancelQuery:
		if version >= versionOurs {
			c.cancel(m.RequestID, errCancelled)
		}
	case *tl.ClientQueryCredit:
		if r := c.request(m.RequestID); r != nil && version >= versionOurs {
			return r.out.credit(int64(m.Bytes))
		}
	default:
		c.p.metrics.count(`proxy_unknown_packets_total{peer="client"}`)
	}
	return nil
}

func (c *client) request(id [32]byte) *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[id]
}

func (c *client) cancel(id [32]byte, cause error) {
	if r := c.request(id); r != nil {
		r.cancel(cause)
	}
}

func (c *client) cancelAll(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.running {
		r.cancel(cause)
	}
}

// ask begins a request. What is refused here costs nothing and reserves nothing.
func (c *client) ask(a ask, at stage, version int32) error {
	if at != open {
		c.refuse(a, version, notReady("not ready: a request before the handshake"))
		return nil
	}
	c.mu.Lock()
	_, twice := c.running[a.id]
	full := len(c.running) >= maxClientRequests || len(c.running) > 0 && c.queries+len(a.query) > c.p.cfg.ClientBytes
	running, queries := len(c.running), c.queries
	var r *request
	if !twice && !full {
		r = newRequest(c, a, version)
		c.running[a.id] = r
		c.queries += len(a.query)
	}
	c.mu.Unlock()
	switch {
	case twice:
		c.refuse(a, version, refusal("duplicate request id"))
	case full:
		c.refuse(a, version, notReady("no ready workers for model: %d requests of this connection, of %d bytes, are under way", running, queries))
	default:
		c.work.Go(func() {
			defer c.forget(r)
			r.run(c.ctx)
		})
	}
	return nil
}

func (c *client) forget(r *request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, r.ask.id)
	c.queries -= len(r.ask.query)
	if c.retired && len(c.running) == 0 {
		c.end(errParameters)
	}
}

// retire ends the session when nothing of it runs any more: its contracts are not those of the root's parameters.
func (c *client) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	if len(c.running) == 0 {
		c.end(errParameters)
	}
}

// since is the version of the parameters that the session began with.
func (c *client) since() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.params
}

// refuse answers a request that does not become one. The answer is small; a peer that reads nothing loses it.
func (c *client) refuse(a ask, version int32, err error) {
	c.p.metrics.refused(err)
	// What has no room is not waited for: packets are handled one after the other.
	_ = c.sess.Send(c.p.atOnce, errorMessage(version, a.id, false, err, final{}))
}
