package ratls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"cocoon/measure/ratls/record"
)

// Protocols of wire profile V2 in ALPN (attestation.md section 15). V1 negotiates none.
const (
	ProtocolV2      = "cocoon-ratls/2"
	ProtocolV2Fresh = "cocoon-ratls/2+fresh"
)

// v2Name is the DER of the name CN=cocoon-ratls/2. A server of V2 lists it as acceptable CA, because a client is asked
// for its certificate without being told what ALPN has negotiated.
const v2Name = "\x30\x19\x31\x17\x30\x15\x06\x03\x55\x04\x03\x0c\x0e" + ProtocolV2

// TLSOptions say how one side does TLS. Dialer and Server make theirs from an Endpoint; other programs that serve TLS
// may use them directly.
type TLSOptions struct {
	Credentials Credentials
	Mode        Mode
	// Fresh offers, or accepts, the exchange of fresh quotes; FreshRequired refuses to do without.
	Fresh, FreshRequired bool
	// Verify judges the peer. It runs before the peer has proved possession of its key: what it finds out must not be
	// acted upon before the handshake has returned. Without it every peer is refused.
	Verify func(tls.ConnectionState) error

	// keys gets the traffic secrets of a connection that is to be detached; otherwise it is nil.
	keys *record.KeyLog
}

// base is what both sides have in common (attestation.md section 4). Go picks the cipher suite by itself.
func (o *TLSOptions) base() *tls.Config {
	verify := o.Verify
	if verify == nil {
		verify = func(tls.ConnectionState) error { return errors.New("checking peer: nothing can judge it") }
	}
	c := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		MaxVersion:             tls.VersionTLS13,
		CurvePreferences:       []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		SessionTicketsDisabled: true,
		VerifyConnection:       verify,
	}
	if o.keys != nil {
		c.KeyLogWriter = o.keys // which writes nowhere: Conn.Detach takes the secrets from it
	}
	return c
}

// ServerConfig is a server's side: it demands a certificate and lets Verify judge it.
func ServerConfig(o TLSOptions) *tls.Config {
	outer := o.base()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return o.serve(hello.SupportedProtos) }
	return outer
}

// serve picks profile and certificate for a client that offers protocols.
func (o *TLSOptions) serve(offered []string) (*tls.Config, error) {
	protocol, err := o.choose(offered)
	if err != nil {
		return nil, err
	}
	profile := V1
	c := o.base()
	c.ClientAuth = tls.RequireAnyClientCert
	if protocol != "" {
		profile = V2
		c.NextProtos = []string{protocol}
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AddCert(&x509.Certificate{Raw: []byte(v2Name), RawSubject: []byte(v2Name)}) // only the name is sent
	}
	own, err := o.Credentials.Certificate(profile)
	if err != nil {
		return nil, ownFault(err)
	}
	c.Certificates = []tls.Certificate{*own}
	return c, nil
}

func ownFault(err error) error {
	return coded(CodeCredentials, fmt.Errorf("choosing own certificate: %w", err))
}

// choose picks the protocol; "" is V1.
func (o *TLSOptions) choose(offered []string) (string, error) {
	ours, err := o.protocols()
	if err != nil {
		return "", err
	}
	for _, p := range ours {
		if slices.Contains(offered, p) {
			return p, nil
		}
	}
	if o.Mode == OnlyV2 || o.FreshRequired {
		return "", coded(CodeProfile, fmt.Errorf("peer offers %q, want one of %q", offered, ours))
	}
	return "", nil
}

// protocols lists what this side speaks besides V1, preferred first.
func (o *TLSOptions) protocols() ([]string, error) {
	if o.Mode == OnlyV1 {
		return nil, nil
	}
	if _, err := o.Credentials.Certificate(V2); err != nil {
		if o.Mode == Auto && !o.FreshRequired && errors.Is(err, ErrProfile) {
			return nil, nil
		}
		return nil, ownFault(err)
	}
	switch {
	case o.FreshRequired:
		return []string{ProtocolV2Fresh}, nil
	case o.Fresh:
		return []string{ProtocolV2Fresh, ProtocolV2}, nil
	}
	return []string{ProtocolV2}, nil
}

// ClientConfig is a client's side. Host names are not checked: identity is the quote, not the name.
func ClientConfig(o TLSOptions) (*tls.Config, error) {
	protocols, err := o.protocols()
	if err != nil {
		return nil, err
	}
	c := o.base()
	c.InsecureSkipVerify = true // Verify takes its place
	c.NextProtos = protocols
	c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		profile := V1
		if slices.ContainsFunc(r.AcceptableCAs, func(name []byte) bool { return bytes.Equal(name, []byte(v2Name)) }) {
			profile = V2
		}
		own, err := o.Credentials.Certificate(profile)
		if err != nil {
			return nil, ownFault(err)
		}
		return own, nil
	}
	return c, nil
}

// agreed reads from the connection what was negotiated and holds it against what this side demands.
func (o *TLSOptions) agreed(protocol string) (profile Profile, fresh bool, err error) {
	switch protocol {
	case "":
		profile = V1
	case ProtocolV2:
		profile = V2
	case ProtocolV2Fresh:
		profile, fresh = V2, true
	default:
		return 0, false, coded(CodeProfile, fmt.Errorf("negotiated protocol is %q", protocol))
	}
	switch {
	case o.FreshRequired && !fresh:
		return 0, false, coded(CodeProfile, fmt.Errorf("negotiated protocol is %q, want %q", protocol, ProtocolV2Fresh))
	case o.Mode == OnlyV2 && profile == V1:
		return 0, false, coded(CodeProfile, fmt.Errorf("negotiated protocol is %q, want %q", protocol, ProtocolV2))
	}
	return profile, fresh, nil
}
