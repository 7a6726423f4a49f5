package proxy

import (
	"context"
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
	last context.Context //nolint:containedctx // for what they say at their ends
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
	salt     string // of prompts that name no secret
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
	c.ctx, c.last = ctx, context.WithoutCancel(ctx)
	c.sess = session.New(conn, session.Options{Log: p.log, Dead: p.cfg.Times.Dead, Unknown: c.strange}, c)
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
		c.strange()
	}
	return nil
}

// strange counts a message that a client has no reason to send.
func (c *client) strange() { c.p.metrics.count(`proxy_unknown_packets_total{peer="client"}`) }

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
			r.run(c.last)
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
