// Package attest is how a gateway knows whom it talks to: it connects to proxies over RA-TLS, judges their evidence, and
// judges the quotes that receipts lead to (inference.md sections 10.2 and 10.3).
//
// It owns no rule of its own: quotes are verified by measure/dcap and judged by the caller's policy. It trusts no peer: a
// connection that is not verified says so, and the caller decides. A Network is safe for concurrent use. It never sends a
// byte of a request.
package attest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
)

// Config is what the network is judged by.
type Config struct {
	// Proxies judges proxies. Without it none is verified.
	Proxies *policy.Policy
	// Workers judges the quotes of sessions; nil accepts every genuine quote whose image is the one that the session names.
	Workers    *policy.Policy
	Judge      *ratls.Judge
	Verifier   *dcap.Verifier
	Collateral ratls.CollateralSource
	// Identity is what this side shows; a gateway has no attestation.
	Identity ratls.Credentials
	// PricePerToken is the root contract's price in nanoTON.
	PricePerToken uint64
	Now           func() time.Time
}

// Network is all of that, ready for use.
type Network struct {
	cfg    Config
	dialer *ratls.Dialer
}

// New makes a network.
func New(cfg Config) *Network {
	n := &Network{cfg: cfg}
	if cfg.Judge != nil {
		n.dialer = &ratls.Dialer{Endpoint: ratls.Endpoint{
			Credentials: cfg.Identity, Judge: cfg.Judge, Terms: ratls.Fixed(ratls.Terms{Policy: policy.Builtin(policy.Any)}),
		}}
	}
	return n
}

// Dial connects to a proxy and judges it. A proxy that is refused is connected all the same, and marked.
func (n *Network) Dial(ctx context.Context, address string) (net.Conn, upstream.Peer, error) {
	conn, err := n.dialer.Dial(ctx, address)
	if err != nil {
		return nil, upstream.Peer{}, err
	}
	spki := sha256.Sum256(conn.Peer.Certificate.RawSubjectPublicKeyInfo)
	peer := upstream.Peer{SPKI: hex.EncodeToString(spki[:]), Reason: "nothing says which images are good: name them with --image or --policy"}
	if n.cfg.Proxies == nil {
		return conn, peer, nil
	}
	v, err := n.cfg.Judge.Judge(ctx, conn.Peer.Certificate, cert.Server, ratls.Terms{Policy: n.cfg.Proxies})
	if v.Quote != nil {
		peer.Image = v.ImageHash.String()
	}
	if err != nil {
		peer.Reason = err.Error()
		return conn, peer, nil //nolint:nilerr // the verdict is the peer's mark
	}
	peer.Verified, peer.Reason = true, ""
	return conn, peer, nil
}

// verify verifies a quote with fresh collateral.
func (n *Network) verify(ctx context.Context, quote []byte) (*dcap.Result, error) {
	platform, err := dcap.PlatformOf(quote)
	if err != nil {
		return nil, err
	}
	collateral, err := n.cfg.Collateral.Collateral(ctx, platform)
	if err != nil {
		return nil, err
	}
	return n.cfg.Verifier.Verify(quote, collateral, n.cfg.Now())
}

// Keyset implements receipts.Evidence: the quote must be a proxy's, and carry the statement about the keyset in the first
// half of its report data and zeros in the second.
func (n *Network) Keyset(ctx context.Context, quote []byte, reportData [32]byte) error {
	result, err := n.verify(ctx, quote)
	if err != nil {
		return fmt.Errorf("verifying quote of keyset: %w", err)
	}
	var want [64]byte
	copy(want[:], reportData[:])
	if result.Quote.TD == nil || result.Quote.TD.ReportData != want {
		return errors.New("the quote's report data is not that of the keyset")
	}
	if n.cfg.Proxies == nil {
		return errors.New("nothing says which images are good: name them with --image or --policy")
	}
	return n.cfg.Proxies.Check(policy.Evidence{Quote: result, Detached: true}, policy.Env{Now: n.cfg.Now()}).Err()
}

// Worker implements receipts.Evidence.
func (n *Network) Worker(ctx context.Context, s *receipt.Session) error {
	text, ok := strings.CutPrefix(s.EvidenceData, "data:application/octet-stream;base64,")
	if !ok {
		return errors.New("the session carries no quote")
	}
	quote, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("reading quote of session: %w", err)
	}
	if receipt.SHA256(quote) != s.EvidenceDigest {
		return errors.New("the session's evidence is not the one that its digest names")
	}
	result, err := n.verify(ctx, quote)
	if err != nil {
		return fmt.Errorf("verifying quote of session: %w", err)
	}
	rules := n.cfg.Workers
	if rules == nil {
		deferred := policy.Defaults(policy.TDX)
		deferred.ImageSource = policy.Deferred
		deferred.AllowSimulated, deferred.CollateralRoots = true, []dcap.RootID{result.Root} // the verifier's roots decide
		if rules, err = policy.New(deferred); err != nil {
			return err
		}
	}
	verdict := rules.Check(policy.Evidence{Quote: result, Detached: true}, policy.Env{Now: n.cfg.Now()})
	if err := verdict.Err(); err != nil {
		return err
	}
	if got := verdict.ImageHash.String(); got != s.Image {
		return fmt.Errorf("the session names image %.64s, the quote has %s", s.Image, got)
	}
	return nil
}

// Price implements receipts.Evidence: one price, until something here reads the root contract.
func (n *Network) Price(int64, int64) (uint64, bool) { return n.cfg.PricePerToken, true }
