package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/ratls/pow"
	"cocoon/measure/tdx"
)

const (
	// inspectDifficulty is the proof of work that the reference implementation's inspector accepts (attestation.md
	// section 5): more than a client would, because somebody waits for one answer.
	inspectDifficulty = 30
	inspectCPU        = 5 * time.Minute
	// inspectQuotes bounds the cache of a judge that judges one peer.
	inspectQuotes = 1
)

// peerFlags say how a peer is judged.
type peerFlags struct {
	sources    sourceFlags
	policy     string
	images     []string
	difficulty int
	save       string
}

func newPeerInspectCmd(a *app) *cobra.Command {
	var p peerFlags
	cmd := &cobra.Command{
		Use:   "inspect HOST:PORT",
		Short: "Connect to a router, show its certificate and quote, and judge them; exit 3 if refused",
		Long: "Solves the proof of work, shakes hands with a certificate that carries no quote, and\n" +
			"closes. Whatever the peer shows is printed. Without --policy or --image any image\n" +
			"passes, and everything else about the quote must be right.",
		Example: "  cocoon peer inspect proxy.example:11001\n" +
			"  cocoon peer inspect 10.0.0.7:11001 --image 650008eb... --collateral bundle.json -o json",
		Args: args(1, 1, "HOST:PORT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, _, err := net.SplitHostPort(args[0]); err != nil {
				return cli.Usagef("%q is not HOST:PORT: %w", args[0], err)
			}
			return a.inspectPeer(cmd.Context(), &p, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.policy, "policy", "", "policy (JSON) to judge by")
	f.StringSliceVar(&p.images, "image", nil, "image hash to accept; may be repeated; not with --policy")
	f.IntVar(&p.difficulty, "max-difficulty", inspectDifficulty, "hardest proof of work to solve, in bits")
	f.StringVar(&p.save, "save", "", "folder to write certificate.pem and quote.dat to")
	p.sources.add(f, "collateral")
	return cmd
}

// inspectPeer connects, judges and prints.
func (a *app) inspectPeer(ctx context.Context, p *peerFlags, addr string) error {
	roots, err := trustedRoots(p.sources.root)
	if err != nil {
		return err
	}
	rules, err := p.rules()
	if err != nil {
		return err
	}
	cfg, err := p.sources.config(a)
	if err != nil {
		return err
	}
	cache, _, err := openSources(cfg)
	if err != nil {
		return err
	}
	defer cache.Close()
	judge, err := ratls.NewJudge(ratls.JudgeConfig{Verifier: dcap.NewVerifier(roots, inspectQuotes), Collateral: cache, Now: a.now})
	if err != nil {
		return err
	}
	out, seen, err := a.meet(ctx, judge, p, addr)
	if err != nil {
		return unreachable(err)
	}
	v, err := judge.Judge(ctx, seen, cert.Server, ratls.Terms{Policy: rules})
	out.judged(v, err)
	if p.save != "" {
		if err := out.save(p.save, seen); err != nil {
			return err
		}
	}
	if printErr := a.printer.Result(out); printErr != nil || err == nil {
		return printErr
	}
	return cli.Shown(cli.KindDifference, fmt.Errorf("the peer at %s is refused: %w", addr, err), peerHints(out.Verdict.Code)...)
}

// rules is the policy of the flags.
func (p *peerFlags) rules() (*policy.Policy, error) {
	if p.policy != "" {
		if len(p.images) > 0 {
			return nil, cli.Usagef("--image and --policy both say what is accepted: choose one")
		}
		data, err := cli.ReadFile(p.policy, cli.MaxSmallFile)
		if err != nil {
			return nil, fmt.Errorf("reading policy: %w", err)
		}
		out, err := policy.Parse(data)
		if err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: %w", p.policy, err))
		}
		return out, nil
	}
	r := policy.Defaults(policy.TDX)
	if len(p.images) == 0 {
		r.ImageSource = policy.Deferred
	}
	for _, text := range p.images {
		var image tdx.Hash
		if err := image.UnmarshalText([]byte(text)); err != nil {
			return nil, cli.Usagef("--image: %w", err)
		}
		r.AllowedImages = append(r.AllowedImages, image)
	}
	if p.sources.root != "" {
		root, err := readRoot(p.sources.root)
		if err != nil {
			return nil, err
		}
		id, err := dcap.RootIDOf(root)
		if err != nil {
			return nil, cli.Tag(cli.KindUsage, err)
		}
		r.CollateralRoots, r.AllowSimulated = []dcap.RootID{id}, id != dcap.IntelRootID()
	}
	out, err := policy.New(r)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, err)
	}
	return out, nil
}

// challengeTap remembers the first bytes that a connection brings: the proof of work's challenge.
type challengeTap struct {
	net.Conn
	first []byte
}

// Read implements net.Conn.
func (c *challengeTap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.first = append(c.first, b[:min(n, pow.ChallengeSize-len(c.first))]...)
	return n, err
}

// meet connects under a bare policy and closes again. It returns the certificate whose key the peer has proved to hold.
func (a *app) meet(ctx context.Context, judge *ratls.Judge, p *peerFlags, addr string) (*peerInspectResult, *x509.Certificate, error) {
	identity, err := ratls.NewIdentity(ratls.IdentityConfig{Now: a.now})
	if err != nil {
		return nil, nil, err
	}
	if err := identity.Refresh(ctx); err != nil {
		return nil, nil, err
	}
	took := map[ratls.Stage]time.Duration{}
	tap := &challengeTap{}
	d := &ratls.Dialer{
		Endpoint: ratls.Endpoint{
			Credentials: identity, Judge: judge, Terms: ratls.Fixed(ratls.Terms{Policy: policy.Builtin(policy.Any)}),
			Observe: func(s ratls.Stage, d time.Duration, _ error) { took[s] = d },
		},
		Effort: pow.Effort{Accepted: p.difficulty, CPU: inspectCPU},
		DialContext: func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
			tap.Conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return tap, err
		},
	}
	conn, err := d.Dial(ctx, addr)
	if err != nil {
		return nil, nil, fmt.Errorf("inspecting %s: %w", addr, err)
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	return newPeerInspectResult(conn, addr, a.now(), difficulty(tap.first), took), conn.Peer.Certificate, nil
}

// difficulty reads the challenge that was solved.
func difficulty(challenge []byte) int {
	c, err := pow.ParseChallenge(challenge)
	if err != nil {
		return 0
	}
	return c.Difficulty
}

// unreachable gives an error before the verdict its exit code and a hint.
func unreachable(err error) error {
	code := ratls.CodeOf(err)
	hint, ok := map[policy.Code]string{
		ratls.CodeDial:        "check host, port and firewall: routers listen on 11001 for workers and 11002 for clients",
		ratls.CodePoW:         "raise --max-difficulty, or ask at a calmer time",
		ratls.CodePeerRefused: "the peer wants attested peers only; ask at its port for clients",
		ratls.CodePeerAborted: "the peer hung up; is this the port of a router?",
	}[code]
	switch {
	case code == ratls.CodeCanceled:
		return err
	case strings.HasPrefix(string(code), "cert_"):
		return cli.Tag(cli.KindDifference, err)
	case code == ratls.CodeTimeout:
		return cli.Tag(cli.KindTimeout, err, "the peer took the connection and then stayed silent; is this the port of a router?")
	case ok:
		return cli.Tag(cli.KindError, err, hint)
	}
	return err
}
