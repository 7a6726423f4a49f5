package ratls

import (
	"crypto/tls"
	"crypto/x509"
	"net"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// Peer is what is known about the other end.
type Peer struct {
	// Key is the peer's Ed25519 key; it has proved that it holds the private half.
	Key         cert.Key
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
}

// Close ends the connection and takes it off the registry of live sessions.
func (c *Conn) Close() error {
	c.session.forget()
	return c.Conn.Close()
}

// abort ends the connection without a word, so that a peer who does not read cannot delay it.
func (c *Conn) abort() {
	_ = c.raw.Close() // whatever is pending fails, which is the purpose
}
