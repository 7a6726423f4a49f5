package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

// errorCodeAhead is what a proxy answers when our numbers are larger than its own.
const errorCodeAhead = 1

// handshake makes the connection usable and returns what the proxy was told.
func (c *connection) handshake(ctx context.Context) (announced, error) {
	wait := time.NewTimer(readyLimit)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return announced{}, ctx.Err()
	case <-wait.C:
		return announced{}, fmt.Errorf("%w: no tcp.connected", errProtocol)
	case <-c.sess.Ready():
	}
	told, _ := c.w.announced()
	c.refused = true
	connected, err := ask[*tl.WorkerConnectedToProxy](ctx, c.sess, &tl.WorkerConnectToProxy{Params: c.params(told)})
	if err != nil {
		return told, err
	}
	c.refused = false
	if err := c.accept(connected); err != nil {
		return told, err
	}
	if err := c.compare(ctx); err != nil {
		return told, err
	}
	now, _ := c.w.announced()
	told.disabled = now.disabled // the coefficient was told before
	known := c.w.proofs.Get(c.contract())
	c.mu.Lock()
	c.floor, c.later = known, known
	c.ready, c.since = true, c.w.deps.Now() // queries may come before the answer is seen
	c.mu.Unlock()
	_, err = ask[*tl.WorkerProxyHandshakeCompleted](ctx, c.sess, &tl.WorkerProxyHandshakeComplete{IsDisabled: told.disabled})
	return told, err
}

// ask queries within the handshake.
func ask[T tl.Object](ctx context.Context, s *session.Session, fn tl.Function) (zero T, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	got, err := s.Query(ctx, fn)
	if err != nil {
		return zero, err
	}
	v, ok := got.(T)
	if !ok {
		return zero, fmt.Errorf("%w: %s for %s", errProtocol, got.TLName(), fn.TLName())
	}
	return v, nil
}

func (c *connection) params(a announced) tl.WorkerParams {
	cfg := c.w.cfg
	return tl.WorkerParams{
		WorkerOwnerAddress: cfg.Owner, Model: cfg.Model, Coefficient: a.coefficient, IsTest: new(cfg.Test),
		ProxyCnt: new(int32(cfg.ProxyCount)), MaxActiveRequests: new(int32(cfg.MaxActive)), //nolint:gosec // bounded by Validate
		MinProtoVersion: new(cfg.MinVersion), MaxProtoVersion: new(cfg.MaxVersion), MachineDescriptionJSON: c.description(),
	}
}

// accept checks what the proxy says about itself and about us.
func (c *connection) accept(p *tl.WorkerConnectedToProxy) error {
	version := int32(0)
	if p.Params.ProtoVersion != nil {
		version = *p.Params.ProtoVersion
	}
	switch {
	case version < c.w.cfg.MinVersion || version > c.w.cfg.MaxVersion:
		return fmt.Errorf("%w: version %d, offered were %d..%d", errProtocol, version, c.w.cfg.MinVersion, c.w.cfg.MaxVersion)
	case p.Params.IsTest != nil && *p.Params.IsTest != c.w.cfg.Test:
		return fmt.Errorf("%w: is_test differs", errProtocol)
	}
	if check := c.w.deps.CheckProxy; check != nil {
		if err := check(&p.Params, p.WorkerSCAddress); err != nil {
			return fmt.Errorf("checking contracts of proxy: %w", err)
		}
	}
	proxy, err := rawAddress(p.Params.ProxySCAddress)
	if err != nil {
		return fmt.Errorf("%w: proxy_sc_address: %w", errProtocol, err)
	}
	worker, err := rawAddress(p.WorkerSCAddress)
	if err != nil {
		return fmt.Errorf("%w: worker_sc_address: %w", errProtocol, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version, c.proxy, c.worker = version, proxy, worker
	return nil
}

// compare is the step of protocol.md section 5.1: neither side's memory may have gone back.
func (c *connection) compare(ctx context.Context) error {
	proxy := c.contract()
	known := c.w.proofs.Get(proxy)
	got, err := ask[*tl.WorkerCompareBalanceWithProxyResult](ctx, c.sess, &tl.WorkerCompareBalanceWithProxy{
		TokensCommittedToDB: known.DB, MaxTokens: known.Max,
	})
	if err != nil {
		return err
	}
	if _, unsigned := got.SignedPayment.(*tl.ProxySignedPaymentEmpty); unsigned && !c.w.cfg.Test {
		return fmt.Errorf("%w: no signed payment in the compare step", errProtocol)
	}
	switch got.ErrorCode {
	case 0:
		return c.w.proofs.Raise(proxy, got.SignedPayment, got.TokensCommittedToDB, got.MaxTokens)
	case errorCodeAhead:
	default:
		return fmt.Errorf("%w: compare answered %d", errProtocol, got.ErrorCode)
	}
	// The proxy has lost what it knew. We say so once, show what it signed, and go on with its numbers; our proofs stay.
	c.w.log.Warn("Proxy lost its memory of payments", slog.String("peer", c.address))
	_, err = ask[*tl.WorkerExtendedCompareBalanceWithProxyResult](ctx, c.sess, &tl.WorkerExtendedCompareBalanceWithProxy{
		TokensCommittedToDB: known.DB, Other: known.Signed,
	})
	if _, refused := errors.AsType[*session.QueryError](err); err != nil && !refused {
		return err
	}
	return c.w.proofs.restart(proxy, got.SignedPayment, got.TokensCommittedToDB, got.MaxTokens)
}
