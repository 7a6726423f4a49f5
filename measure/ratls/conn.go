package ratls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/record"
	"cocoon/measure/tdx"
)

// Peer is what is known about the other end.
type Peer struct {
	// Key is the peer's Ed25519 key; it has proved that it holds the private half.
	Key cert.Key
	// Certificate is the one that the peer has shown.
	Certificate *x509.Certificate
	// Verdict is the one that admitted the peer.
	Verdict policy.Verdict
	// Report is the verified quote; nil for a peer without attestation, whatever quote it may have shown.
	Report *tdx.Quote
	// Root is the root that the quote goes back to; zero without a Report.
	Root    dcap.RootID
	Profile Profile
	// Fresh says that the peer has shown a quote made for this connection.
	Fresh bool
}

func newPeer(c *x509.Certificate, profile Profile, v policy.Verdict) Peer {
	p := Peer{Certificate: c, Verdict: v, Profile: profile}
	p.Key, _ = publicKey(c) // the judge has checked it
	if v.Quote != nil {
		p.Report, p.Root = v.Quote.Quote, v.Quote.Root
	}
	return p
}

// Conn is a connection to a peer who has been admitted. A peer who closes without close_notify, as the reference
// implementation does, ends the stream with io.EOF unless it cuts a record.
type Conn struct {
	*tls.Conn
	Peer Peer

	raw     net.Conn
	session *session

	// What Detach needs; nil where the endpoint's connections are not detachable.
	fence  *record.Fence
	keys   *record.KeyLog
	client bool
}

// Detachable tells whether Detach can work: the endpoint allows it, it was not done yet, and the peer has not insisted on
// the cipher suite for machines without AES.
func (c *Conn) Detachable() bool {
	return c.fence != nil && c.Conn != nil && record.Supports(c.ConnectionState().CipherSuite)
}

// Detach takes the stream over from crypto/tls, for connections that are many and mostly idle: a tls.Conn keeps the
// buffers of its handshake and the peer's certificate, and all of that is let go. From here on the tls.Conn and
// Peer.Certificate are nil; Close closes without a word, so end the stream first. It must follow the handshake, before
// anything is read or written, and works once and for connections of a detachable endpoint.
func (c *Conn) Detach() (*record.Conn, error) {
	if !c.Detachable() {
		return nil, errors.New("detaching connection: its endpoint or its cipher suite does not allow that, or it was done before")
	}
	stream, err := record.New(c.fence, c.ConnectionState(), c.keys, c.client)
	if err != nil {
		return nil, fmt.Errorf("detaching connection: %w", err)
	}
	c.Conn, c.fence, c.keys, c.Peer.Certificate = nil, nil, nil, nil
	return stream, nil
}

// Close ends the connection and takes it off the registry of live sessions.
func (c *Conn) Close() error {
	c.session.forget()
	if c.Conn == nil {
		return c.raw.Close()
	}
	return c.Conn.Close()
}

// abort ends the connection without a word, so that a peer who does not read cannot delay it, and by a reset where it can be
// had: the peer must not take what it has read so far for all that there was to say.
func (c *Conn) abort() {
	if l, ok := c.raw.(interface{ SetLinger(seconds int) error }); ok {
		_ = l.SetLinger(0) // on a closed socket there is nothing left to reset
	}
	_ = c.raw.Close() // whatever is pending fails, which is the purpose
}
