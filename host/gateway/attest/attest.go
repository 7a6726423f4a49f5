// Package attest is how a gateway knows whom it talks to: it connects to proxies over RA-TLS, judges their evidence, and
// judges the quotes that receipts lead to (inference.md sections 10.2 and 10.3).
//
// It owns no rule of its own: quotes are verified by measure/dcap and judged by the caller's policy. It trusts no peer: who
// is not verified is refused, or, where the caller wants to meet him all the same, marked. Behind a router of its own
// machine it trusts that router's word about a quote, and judges the image. Peers are judged anew when the lists change. A
// Network is safe for concurrent use; Run owns its goroutine. It never sends a byte of a request.
package attest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
)

// noRules says that nothing was configured to judge proxies by.
const noRules = "nothing says which images are good: name them with --image or --policy, or the root contract with --root-contract"

// Config is what the network is judged by.
type Config struct {
	// Proxies judges proxies. Without it none is verified.
	Proxies *policy.Policy
	// Workers judges the quotes of sessions; nil accepts every genuine quote whose image is the one that the session names.
	Workers *policy.Policy
	// ProxyImages and WorkerImages are the root contract's lists, for policies whose image source is the chain.
	ProxyImages, WorkerImages policy.Images
	Judge                     *ratls.Judge
	Verifier                  *dcap.Verifier
	Collateral                ratls.CollateralSource
	// Identity is what this side shows; a gateway has no attestation.
	Identity ratls.Credentials
	// Router is an external router to go through; nil is the one in this process.
	Router *Router
	// Unverified meets proxies that are refused all the same, and marks them. It is for tests.
	Unverified bool
	// Prices are the root contract's; without them every receipt must have PricePerToken, in nanoTON, and Multipliers,
	// which are 1.0 where none is given.
	Prices        Prices
	PricePerToken uint64
	Multipliers   pricing.Multipliers
	Now           func() time.Time
	// Log hears of sessions that are closed because their proxy is not admitted any more; nil is silent.
	Log *slog.Logger
}

// Prices are what tokens cost at versions of the root contract.
type Prices interface {
	Terms(config, params int64) (t receipt.Terms, ok bool)
	// Catch makes sure that Terms knows the versions, if they exist.
	Catch(ctx context.Context, config, params int64) error
}

// Network is all of that, ready for use.
type Network struct {
	cfg      Config
	loose    *ratls.Dialer // admits anybody; who it was is judged afterwards
	strict   *ratls.Dialer
	sessions *ratls.Sessions
	routed   routed
}

// New makes a network.
func New(cfg Config) *Network {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Multipliers == (pricing.Multipliers{}) {
		const one = 10_000
		cfg.Multipliers = pricing.Multipliers{Prompt: one, Cached: one, Completion: one, Reasoning: one}
	}
	n := &Network{cfg: cfg, routed: routed{live: make(map[*routedConn]struct{})}}
	if cfg.Judge == nil || cfg.Now == nil {
		return n
	}
	end := ratls.Endpoint{Credentials: cfg.Identity, Judge: cfg.Judge, Terms: ratls.Fixed(ratls.Terms{Policy: policy.Builtin(policy.Any)})}
	n.loose = &ratls.Dialer{Endpoint: end}
	if cfg.Proxies == nil || cfg.Unverified {
		return n
	}
	n.sessions, _ = ratls.NewSessions(cfg.Now, n.evicted) // its only error is a missing clock
	end.Terms, end.Sessions, end.Label = ratls.Fixed(n.terms()), n.sessions, "proxy"
	n.strict = &ratls.Dialer{Endpoint: end}
	return n
}

func (n *Network) terms() ratls.Terms {
	return ratls.Terms{Policy: n.cfg.Proxies, Images: n.cfg.ProxyImages}
}

func (n *Network) evicted(e ratls.Eviction) {
	n.cfg.Log.Warn("Proxy is not admitted any more, and its session was closed",
		slog.String("reason", e.Reason), slog.String("image", e.Peer.Verdict.ImageHash.String()), slog.Any("err", e.Err))
}

// Notify announces that what proxies are judged by has changed: those with a session are judged anew. The reason, such as
// "root" or "collateral", goes to the log.
func (n *Network) Notify(reason string) {
	if n.sessions != nil {
		n.sessions.Notify(reason)
	}
	n.routed.rejudge(n, reason)
}

// renewer is an identity that keeps itself fresh, as *ratls.Identity does.
type renewer interface {
	Run(ctx context.Context) error
}

// Run judges sessions anew after announcements, closes those whose certificate has ended, and renews this side's own
// certificate where it can be renewed, until ctx ends.
func (n *Network) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if own, ok := n.cfg.Identity.(renewer); ok {
		group.Go(func() error { return own.Run(ctx) })
	}
	if n.sessions != nil {
		group.Go(func() error { return n.sessions.Run(ctx) })
	}
	return group.Wait()
}

// Dial connects to a proxy and judges it. A proxy that is refused gives an error that wraps upstream.ErrRefused and says
// why; where Unverified is set, or nothing says what is good, it is connected all the same, and marked.
func (n *Network) Dial(ctx context.Context, address string) (net.Conn, upstream.Peer, error) {
	switch {
	case n.cfg.Router != nil:
		return n.dialRouter(ctx, address)
	case n.strict == nil:
		return n.dialLoose(ctx, address)
	}
	conn, err := n.strict.Dial(ctx, address)
	if err != nil {
		return nil, upstream.Peer{}, n.refusal(address, err)
	}
	return conn, upstream.Peer{Verified: true, Image: conn.Peer.Verdict.ImageHash.String(), SPKI: spkiOf(conn)}, nil
}

func spkiOf(conn *ratls.Conn) string {
	sum := sha256.Sum256(conn.Peer.Certificate.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// circumstances are codes that say nothing about the peer's evidence: another attempt may end otherwise.
func circumstances(code policy.Code) bool {
	return slices.Contains([]policy.Code{
		ratls.CodeDial, ratls.CodePoW, ratls.CodeTLS, ratls.CodePeerRefused, ratls.CodePeerAborted, ratls.CodeTimeout, ratls.CodeCanceled,
		ratls.CodeFresh, ratls.CodeBusy, ratls.CodeCollateral, ratls.CodeCredentials, ratls.CodeInternal,
	}, code)
}

// refusal is an error of dialling as the pool and people understand it: what is about the peer's evidence is a refusal,
// with the next step.
func (n *Network) refusal(address string, err error) error {
	code := ratls.CodeOf(err)
	if circumstances(code) {
		return err
	}
	next := "\"cocoon peer inspect " + address + "\" shows its evidence"
	denied, ok := errors.AsType[*policy.Denied](err)
	if !ok {
		return fmt.Errorf("%w: %w; %s", upstream.ErrRefused, err, next)
	}
	if denied.Code == policy.PolicyEmpty {
		next = "see why the root contract cannot be read: \"cocoon gateway check\", or /readyz"
	}
	return fmt.Errorf("%w: %s: it has %s, wanted is %s; %s", upstream.ErrRefused, denied.Code, denied.Got, denied.Want, next)
}

// dialLoose connects to whoever answers and judges him afterwards.
func (n *Network) dialLoose(ctx context.Context, address string) (net.Conn, upstream.Peer, error) {
	conn, err := n.loose.Dial(ctx, address)
	if err != nil {
		return nil, upstream.Peer{}, err
	}
	peer := upstream.Peer{SPKI: spkiOf(conn), Reason: noRules}
	if n.cfg.Proxies == nil {
		return conn, peer, nil
	}
	v, err := n.cfg.Judge.Judge(ctx, conn.Peer.Certificate, cert.Server, n.terms())
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
		return errors.New(noRules)
	}
	return n.cfg.Proxies.Check(policy.Evidence{Quote: result, Detached: true}, policy.Env{Now: n.cfg.Now(), Images: n.cfg.ProxyImages}).Err()
}

// Worker implements receipts.Evidence: the quote must be of the image that the session names, and commit to the key that
// receipts name as the worker's. That this key was at the other end, and that the receipt key is this worker's, is the word of
// the proxy, which its own quote stands for.
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
	want, err := commitment(s)
	if err != nil {
		return err
	}
	bound := result.Quote.TD != nil && result.Quote.TD.ReportData == want
	verdict := rules.Check(policy.Evidence{Quote: result, ReportDataOK: bound}, policy.Env{Now: n.cfg.Now(), Images: n.cfg.WorkerImages})
	if err := verdict.Err(); err != nil {
		return err
	}
	if got := verdict.ImageHash.String(); got != s.Image {
		return fmt.Errorf("the session names image %.64s, the quote has %s", s.Image, got)
	}
	return nil
}

// commitment is the report data of a quote that speaks for the key of a session's channel.
func commitment(s *receipt.Session) (data [64]byte, err error) {
	if len(s.Key) != len(cert.Key{}) {
		return data, errors.New("the session does not say which key its quote speaks for: its proxy is too old")
	}
	key := cert.Key(s.Key)
	if sum := sha256.Sum256(key.SPKI()); hex.EncodeToString(sum[:]) != s.SPKI {
		return data, errors.New("the session's key is not the one whose hash it names")
	}
	if s.Claims == nil {
		return cert.ReportData(key), nil
	}
	claims, err := cert.ParseClaims(s.Claims)
	if err != nil {
		return data, fmt.Errorf("reading claims of session: %w", err)
	}
	return cert.ReportDataV2(key, claims), nil
}

// Terms implements receipts.Evidence.
func (n *Network) Terms(config, params int64) (receipt.Terms, bool) {
	if n.cfg.Prices != nil {
		return n.cfg.Prices.Terms(config, params)
	}
	return receipt.Terms{Price: n.cfg.PricePerToken, Multipliers: n.cfg.Multipliers}, n.cfg.PricePerToken > 0
}

// Catch implements receipts.Late.
func (n *Network) Catch(ctx context.Context, config, params int64) error {
	if n.cfg.Prices == nil {
		return nil
	}
	return n.cfg.Prices.Catch(ctx, config, params)
}
