package proxy

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"math/rand/v2"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/ledger"
)

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
	c.salt = cacheSalt(c.contract, "")
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
