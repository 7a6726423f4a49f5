package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/host/collateral"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pow"
	"cocoon/measure/tdx"
)

// router serves RA-TLS until the test ends, and returns its address. attested shows the simulated platform's quote.
func router(t *testing.T, sim simulated, attested bool, terms ratls.Terms) string {
	t.Helper()
	judge, err := ratls.NewJudge(ratls.JudgeConfig{
		Verifier: dcap.NewVerifier(sim.platform.Roots(), 1), Collateral: sim.platform, Now: simTime,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := ratls.IdentityConfig{Now: simTime}
	if attested {
		cfg.Quoter, cfg.Judge, cfg.Terms = sim.platform, judge, ratls.Fixed(ratls.Terms{Policy: simPolicy(t, sim)})
	}
	id, err := ratls.NewIdentity(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &ratls.Server{
		Endpoint: ratls.Endpoint{Credentials: id, Judge: judge, Terms: ratls.Fixed(terms)},
		PoW:      pow.Schedule{Base: 3},
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, func(context.Context, *ratls.Conn) {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func anyPeer() ratls.Terms { return ratls.Terms{Policy: policy.Builtin(policy.Any)} }

func simPolicy(t *testing.T, sim simulated) *policy.Policy {
	t.Helper()
	r := policy.Defaults(policy.TDX)
	r.AllowSimulated, r.CollateralRoots, r.ImageSource = true, []dcap.RootID{sim.platform.RootID()}, policy.Deferred
	p, err := policy.New(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func simImage(sim simulated) string {
	m := sim.platform.Measurements()
	return tdx.ImageHash(&m).String()
}

func TestInspectAdmitsAGenuinePeer(t *testing.T) {
	sim := simulate(t)
	addr := router(t, sim, true, anyPeer())
	save := filepath.Join(t.TempDir(), "saved")
	got := command(simTime(), append([]string{"peer", "inspect", addr, "--image", simImage(sim), "--save", save}, sim.sources()...)...)
	got.check(t, 0, "difficulty 3", "TLS 1.3", "X25519MLKEM768", "evidence     tdx", "claims image  "+simImage(sim),
		"UpToDate (platform UpToDate, module UpToDate, quoting enclave UpToDate)", "\nadmitted\n")
	doc := command(simTime(), append([]string{"peer", "inspect", addr, "-o", "json"}, sim.sources()...)...)
	doc.check(t, 0, `"ok": true`, `"difficulty": 3`)
	doc.schema(t, "cocoon.peer.inspect/1")
	for _, name := range []string{"certificate.pem", "quote.dat"} {
		if info, err := os.Stat(filepath.Join(save, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s was not saved: %v", name, err)
		}
	}
	quote, err := os.ReadFile(filepath.Join(save, "quote.dat"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dcap.NewVerifier(sim.platform.Roots(), 1).VerifySignatures(quote, simTime()); err != nil {
		t.Errorf("the saved quote: %v", err)
	}
}

func TestInspectRefusesAndNamesTheRule(t *testing.T) {
	sim := simulate(t)
	attested, plain := router(t, sim, true, anyPeer()), router(t, sim, false, anyPeer())
	expiredStore := t.TempDir()
	onlyPolicy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(onlyPolicy, []byte(`{"type":"tdx"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"other image":      {append(sim.sources(), attested, "--image", strings.Repeat("ab", 32)), []string{"REFUSED (image)", strings.Repeat("ab", 32)}},
		"no quote":         {append(sim.sources(), plain), []string{"REFUSED (no_quote)", "evidence     none", "cannot be told"}},
		"strict policy":    {append(sim.sources(), attested, "--policy", onlyPolicy), []string{"REFUSED (root)", sim.platform.RootID().String()}},
		"Intel's root":     {[]string{attested, "--pccs", sim.url, "--no-intel"}, []string{"REFUSED (root)", "--trust-root FILE"}},
		"no collateral":    {[]string{attested, "--no-intel", "--trust-root", sim.root, "--store", expiredStore}, []string{"REFUSED (collateral_unavailable)", "no source is configured", "claims image"}},
		"debug collateral": {[]string{attested, "--no-intel", "--trust-root", sim.root, "--collateral", sim.bundleFile(t)}, []string{"REFUSED (tcb_status)", "OutOfDate"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := command(simTime(), append([]string{"peer", "inspect"}, tc.args...)...)
			got.check(t, cli.ExitDifference, tc.want...)
			doc := command(simTime(), append([]string{"peer", "inspect", "-o", "json"}, tc.args...)...)
			doc.check(t, cli.ExitDifference, `"ok": false`)
			doc.schema(t, "cocoon.peer.inspect/1")
		})
	}
}

func TestInspectSaysWhyThereIsNoConnection(t *testing.T) {
	sim := simulate(t)
	gone, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := gone.Addr().String()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	attested := router(t, sim, true, anyPeer())
	for name, tc := range map[string]struct {
		args []string
		now  time.Time
		code int
		want string
	}{
		"nobody there":        {[]string{address}, simTime(), cli.ExitError, "11002 for clients"},
		"not a router":        {[]string{strings.TrimPrefix(sim.url, "http://")}, simTime(), cli.ExitTimeout, "is this the port of a router?"},
		"too hard":            {[]string{attested, "--max-difficulty", "2"}, simTime(), cli.ExitError, "--max-difficulty"},
		"expired certificate": {[]string{attested}, simTime().Add(26 * time.Hour), cli.ExitDifference, "cert_expired"},
		"bundle of another":   {[]string{attested, "--collateral", sim.bundleFile(t)}, simTime(), cli.ExitError, "--trust-root FILE"},
		"no port":             {[]string{"localhost"}, simTime(), cli.ExitUsage, "HOST:PORT"},
		"bad image":           {[]string{attested, "--image", "xyz"}, simTime(), cli.ExitUsage, "--image"},
		"image and policy":    {[]string{attested, "--image", "xyz", "--policy", "x"}, simTime(), cli.ExitUsage, "choose one"},
		"missing policy":      {[]string{attested, "--policy", "/nonexistent"}, simTime(), cli.ExitUsage, "/nonexistent"},
		"wrong policy":        {[]string{attested, "--policy", sim.root}, simTime(), cli.ExitUsage, sim.root},
		"missing root":        {[]string{attested, "--trust-root", "/nonexistent"}, simTime(), cli.ExitUsage, "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"peer", "inspect", "-o", "json", "--no-intel"}, tc.args...)
			if name == "not a router" {
				args = append(args, "--timeout", "300ms")
			}
			got := command(tc.now, args...)
			got.check(t, tc.code, tc.want)
			got.schema(t, "cocoon.error/1")
		})
	}
}

func TestInspectJudgesByThePolicyGiven(t *testing.T) {
	sim := simulate(t)
	plain := router(t, sim, false, anyPeer())
	file := filepath.Join(t.TempDir(), "any.json")
	if err := os.WriteFile(file, []byte(`{"type":"any"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	command(simTime(), "peer", "inspect", plain, "--no-intel", "--policy", file).check(t, 0, "evidence     none", "\nadmitted\n")
	got := command(simTime(), "peer", "inspect", plain, "--no-intel", "--policy", file, "-o", "json")
	got.check(t, 0, `"type": "any"`)
	got.schema(t, "cocoon.peer.inspect/1")
}

// A server judges its client last, so that even one that wants attested peers has shown itself by then.
func TestInspectSeesARouterThatWantsAttestedPeers(t *testing.T) {
	sim := simulate(t)
	demanding := router(t, sim, true, ratls.Terms{Policy: simPolicy(t, sim)})
	command(simTime(), append([]string{"peer", "inspect", demanding}, sim.sources()...)...).check(t, 0, simImage(sim), "\nadmitted\n")
}

func TestInspectReportsThatEvidenceCannotBeSaved(t *testing.T) {
	sim := simulate(t)
	addr := router(t, sim, true, anyPeer())
	args := append([]string{"peer", "inspect", addr, "--save", filepath.Join(sim.root, "below-a-file")}, sim.sources()...)
	command(simTime(), args...).check(t, cli.ExitUsage, "saving the peer's evidence")
}

func TestWhatAQuoteClaimsIsReadWithoutTrust(t *testing.T) {
	sim := simulate(t)
	quote, err := sim.platform.Quote(t.Context(), [64]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	padded := append(append([]byte{}, quote...), make([]byte, 100)...)
	whole := newQuoteResult(padded)
	if whole.SizeBytes != len(padded) || whole.Version != 4 || whole.ImageHash != simImage(sim) || whole.FMSPC != strings.ToUpper(fmspc) || whole.Error != "" {
		t.Errorf("%+v", whole)
	}
	cut := newQuoteResult(quote[:100])
	if cut.SizeBytes != 100 || cut.Error == "" || cut.ImageHash != "" {
		t.Errorf("%+v", cut)
	}
}

func TestTextsOfCollateralAndPeersReportAClosedOutput(t *testing.T) {
	for name, doc := range map[string]cli.Document{
		"fetch": collateralFetchResult{File: "f"}, "dry run": collateralFetchResult{}, "serve": collateralServeResult{},
		"show": collateralShowResult{Bundles: []describedBundle{{"f", &collateral.Description{}}}}, "inspect": &peerInspectResult{},
	} {
		if err := doc.Text(closed{}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: got %v, want the output's error", name, err)
		}
	}
}

func TestRefusedPeersGetAHintWhereOneHelps(t *testing.T) {
	for code, want := range map[policy.Code]string{
		ratls.CodeCollateral: "--pccs URL", policy.CollateralExpired: "--collateral FILE", policy.Root: "--trust-root FILE",
		policy.NoQuote: "no quote", policy.Image: "",
	} {
		if got := strings.Join(peerHints(code), " "); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", code, got, want)
		}
	}
}
