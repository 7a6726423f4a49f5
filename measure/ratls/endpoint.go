package ratls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/record"
)

// Endpoint is what both ends of a connection need. It must not change once in use.
type Endpoint struct {
	// Credentials are this node's certificates.
	Credentials Credentials
	// Judge judges the peer by Terms.
	Judge *Judge
	Terms func() Terms
	Mode  Mode
	// Fresh makes quotes for the exchange that follows the handshake where both sides want it; nil never does that. Share
	// one LimitQuoter between endpoints. FreshRequired refuses peers without.
	Fresh         Quoter
	FreshRequired bool
	// Sessions gets the connections that come about; nil does not track them. Label tells them apart there.
	Sessions *Sessions
	Label    string
	Timeouts Timeouts
	// Detachable lets connections be taken out of crypto/tls with Conn.Detach, which costs some system calls each.
	Detachable bool
	// Observe is told how each stage ended and how long it took; the error is nil or an *Error. Nil is fine.
	Observe func(s Stage, took time.Duration, err error)
}

// Validate returns what is missing.
func (e *Endpoint) Validate() error {
	switch {
	case e.Credentials == nil:
		return errors.New("checking endpoint: no credentials given; an Identity without a quoter serves where none are asked for")
	case e.Judge == nil:
		return errors.New("checking endpoint: no judge given")
	case e.Terms == nil:
		return errors.New("checking endpoint: no terms given")
	case e.FreshRequired && e.Fresh == nil:
		return errors.New("checking endpoint: fresh quotes are required, but there is no quoter")
	case e.Detachable && e.Fresh != nil:
		return errors.New("checking endpoint: connections with fresh quotes cannot be detached, their exchange is the stream's beginning")
	case e.FreshRequired && e.Mode == OnlyV1:
		return errors.New("checking endpoint: fresh quotes are required, but profile v1 has none")
	}
	return nil
}

// stage runs one stage within its limit.
func (e *Endpoint) stage(ctx context.Context, s Stage, limit time.Duration, work func(context.Context) error) error {
	start := e.Judge.now()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := work(ctx)
	if err != nil {
		err = failed(ctx, s, err)
	}
	e.observe(s, start, err)
	return err
}

func (e *Endpoint) observe(s Stage, start time.Time, err error) {
	if e.Observe != nil {
		e.Observe(s, e.Judge.now().Sub(start), err)
	}
}

// attempt is a connection on its way. It records what the TLS handshake finds out.
type attempt struct {
	end     *Endpoint
	side    cert.Purpose
	options TLSOptions
	terms   Terms
	epoch   uint64
	// own is the certificate shown, under ownProfile.
	own        *tls.Certificate
	ownProfile Profile
	// fence is where the handshake of a detachable connection ends; its keys are in options.
	fence *record.Fence
	// peer, with profile and fresh as negotiated, is set once the peer has been admitted.
	peer    *Peer
	profile Profile
	fresh   bool
}

// Certificate notes which certificate is going to be shown.
func (a *attempt) Certificate(p Profile) (*tls.Certificate, error) {
	c, err := a.end.Credentials.Certificate(p)
	if err == nil {
		a.own, a.ownProfile = c, p
	}
	return c, err
}

// secure does TLS on a connection whose proof of work is done. If it fails the connection is closed.
func (e *Endpoint) secure(ctx context.Context, raw net.Conn, side cert.Purpose) (*Conn, error) {
	// The epoch comes before the terms: what changes after that is caught by the registry.
	a := &attempt{end: e, side: side, epoch: e.Sessions.current()}
	a.terms = e.Terms()
	conn, err := a.connect(ctx, raw)
	if err == nil {
		err = e.Sessions.track(ctx, conn, a)
	}
	if err != nil {
		_ = raw.Close() // the error at hand says more
		return nil, err
	}
	return conn, nil
}

func (a *attempt) connect(ctx context.Context, raw net.Conn) (*Conn, error) {
	e := a.end
	limit := orDefault(e.Timeouts.TLS, [...]time.Duration{cert.Server: DefaultServerTLS, cert.Client: DefaultClientTLS}[a.side])
	var secured *tls.Conn
	err := e.stage(ctx, StageTLS, limit, func(ctx context.Context) (err error) {
		secured, err = a.handshake(ctx, raw)
		return err
	})
	if err != nil {
		return nil, err
	}
	conn := &Conn{Conn: secured, Peer: *a.peer, raw: raw, fence: a.fence, keys: a.options.keys, client: a.side == cert.Client}
	a.peer = nil // the TLS configuration keeps a for as long as the connection lives, and needs it no more
	if !a.fresh {
		return conn, nil
	}
	err = e.stage(ctx, StageFresh, orDefault(e.Timeouts.Fresh, DefaultFreshTimeout), func(ctx context.Context) error {
		return a.exchange(ctx, conn)
	})
	if err != nil {
		return nil, err
	}
	conn.Peer.Fresh = true
	return conn, nil
}

func (a *attempt) handshake(ctx context.Context, raw net.Conn) (*tls.Conn, error) {
	a.options = TLSOptions{
		Credentials: a, Mode: a.end.Mode, Fresh: a.end.Fresh != nil, FreshRequired: a.end.FreshRequired,
		Verify: func(s tls.ConnectionState) error { return a.verify(ctx, s) },
	}
	if a.end.Detachable && a.end.Fresh == nil {
		a.fence, a.options.keys = record.NewFence(raw), new(record.KeyLog)
		raw = a.fence
	}
	var secured *tls.Conn
	if a.side == cert.Server {
		secured = tls.Server(raw, ServerConfig(a.options))
	} else {
		config, err := ClientConfig(a.options)
		if err != nil {
			return nil, err
		}
		secured = tls.Client(raw, config)
	}
	a.own = nil // looking whether there is a certificate is not showing it
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	switch {
	case a.peer == nil:
		return nil, coded(CodeInternal, errors.New("the handshake ended without a verdict"))
	case a.own == nil:
		return nil, errors.New("the peer did not ask for our certificate: it admits anybody, or is no router")
	case a.ownProfile != a.profile:
		return nil, coded(CodeProfile, fmt.Errorf("profile v%d was negotiated, but the peer asked for our certificate of v%d",
			a.profile, a.ownProfile))
	}
	return secured, nil
}

// verify runs within the handshake, before the peer's proof that it has the key; see TLSOptions.Verify.
func (a *attempt) verify(ctx context.Context, s tls.ConnectionState) (err error) {
	start := a.end.Judge.now()
	defer func() {
		var seen error
		if err != nil {
			seen = failed(ctx, StageVerify, err)
		}
		a.end.observe(StageVerify, start, seen)
	}()
	if a.profile, a.fresh, err = a.options.agreed(s.NegotiatedProtocol); err != nil {
		return err
	}
	if n := len(s.PeerCertificates); n != 1 {
		return &cert.Error{Code: cert.CodeCount, Err: fmt.Errorf("peer sent %d certificates, want 1", n)}
	}
	c := s.PeerCertificates[0]
	v, err := a.end.Judge.judge(ctx, occasion{certificate: c, purpose: a.side.Other(), profile: a.profile}, a.terms)
	if err != nil {
		return err
	}
	peer := newPeer(c, a.profile, v)
	a.peer = &peer
	return nil
}
