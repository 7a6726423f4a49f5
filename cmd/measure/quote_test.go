package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// TestQuotesOfTheVectors runs the vectors' table of expected verdicts through the command, each at its pinned clock.
func TestQuotesOfTheVectors(t *testing.T) {
	t.Parallel()
	const june, february = "2025-06-20T00:00:00Z", "2026-02-19T00:00:00Z"
	for name, tc := range map[string]struct {
		quote, bundle, at string
		code              policy.Code
		words             []string
	}{
		"cos-113":                 {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, "ok", []string{"accepted for any image", "UpToDate: platform UpToDate"}},
		"cos-113 on a date":       {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-06-20", "ok", []string{"2025-06-20T00:00:00Z\nverdict"}},
		"cos-113, CRL ahead":      {"cos-113-tdx-quote.dat", "cos113_collateral_future_crl.json", june, "collateral_not_yet_valid", []string{"PCK CRL", "--at TIME"}},
		"cos-113, expired":        {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-07-04T09:51:39Z", "collateral_expired", []string{"TCB info", "--at TIME"}},
		"cos-113, 301 s early":    {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-06-19T09:55:34Z", "collateral_not_yet_valid", nil},
		"quotev4":                 {"quotev4.hex", "cos113_collateral.json", june, "tcb_status", []string{"OutOfDate: platform OutOfDate, TDX module UpToDate", "INTEL-SA-00960 (not listed)", "want UpToDate", "no image hash"}},
		"tdx_quote":               {"tdx_quote", "tdx_quote_collateral.json", june, "ok", nil},
		"tdx_quote, other file":   {"tdx_quote", "cos113_collateral.json", june, "collateral_mismatch", []string{"names the collateral to ask for"}},
		"cocoon_quote":            {"cocoon_quote.dat", "tdx_quote_outdated_collateral.json", february, "ok", []string{"04b3afd931d28680"}},
		"tdx_quote_outdated":      {"tdx_quote_outdated", "tdx_quote_outdated_collateral.json", february, "tcb_status", []string{"Unrecognized", "running module TDX_01, SVN 13", "no service TD bound"}},
		"sgx_quote":               {"sgx_quote", "sgx_quote_collateral.json", june, "tcb_status", []string{"ConfigurationAndSWHardeningNeeded", "INTEL-SA-00615 (not listed)", "INIT MODE64BIT"}},
		"sgx_quote for a TD":      {"sgx_quote", "tdx_quote_collateral.json", june, "collateral_mismatch", nil},
		"tdx_quote in 2024":       {"tdx_quote", "tdx_quote_collateral.json", "2024-01-01", "collateral_not_yet_valid", nil},
		"crafted, size 10":        {"crafted_signed_size_10.bin", "tdx_quote_collateral.json", june, "quote_parse", []string{"had nothing to judge"}},
		"crafted, size 0x82":      {"crafted_signed_size_0x82.bin", "tdx_quote_collateral.json", june, "quote_parse", nil},
		"crafted, QE auth":        {"crafted_qe_auth_0xffff.bin", "tdx_quote_collateral.json", june, "quote_parse", nil},
		"collateral is no bundle": {"tdx_quote", "malleable_tcb_case_fmspc.json", june, "collateral_malformed", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"quote", vector(t, "attestation/"+tc.quote), "--collateral", vector(t, "attestation/"+tc.bundle), "--at", tc.at}
			code := cli.ExitDifference
			if tc.code == policy.OK {
				code = cli.ExitOK
			}
			r := measure(t, args...).want(t, code, tc.words...)
			if !strings.Contains(r.stdout, "verdict") || strings.Contains(r.stdout, "Signature") {
				t.Errorf("no verdict in\n%s", r.stdout)
			}
			var doc quoteDoc
			measure(t, append(args, "-o", "json")...).want(t, code).decode(t, &doc)
			if doc.Verdict == nil || doc.Verdict.Code != tc.code || doc.Verdict.OK != (tc.code == policy.OK) || doc.Signature != nil {
				t.Errorf("verdict %+v, want code %s", doc.Verdict, tc.code)
			}
		})
	}
}

// TestMalleableCollateralIsRefused: the altered PCS bodies in an otherwise sound bundle. Whoever makes a bundle of them
// has to decide which of two values is meant, and a bundle has room for one.
func TestMalleableCollateralIsRefused(t *testing.T) {
	t.Parallel()
	var bundle map[string]string
	raw, err := os.ReadFile(vector(t, "attestation/tdx_quote_collateral.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &bundle); err != nil {
		t.Fatal(err)
	}
	quote := vector(t, "attestation/tdx_quote")
	for name, tc := range map[string]struct {
		change func(b map[string]string)
		code   policy.Code
	}{
		"unchanged": {func(map[string]string) {}, "ok"},
		"member added": {func(b map[string]string) {
			b["tcb_info"] = strings.Replace(b["tcb_info"], "{", `{"FMSPC":"000000000000",`, 1)
		}, "collateral_signature"},
		"status changed":       {func(b map[string]string) { b["tcb_info"] = strings.ReplaceAll(b["tcb_info"], "OutOfDate", "UpToDate") }, "collateral_signature"},
		"other identity":       {func(b map[string]string) { b["qe_identity_signature"] = b["tcb_info_signature"] }, "collateral_signature"},
		"member of the bundle": {func(b map[string]string) { b["TCB_info"] = b["tcb_info"] }, "collateral_malformed"},
		"CRL not hex":          {func(b map[string]string) { b["pck_crl"] = "x" }, "collateral_malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := maps.Clone(bundle)
			tc.change(changed)
			text, err := json.Marshal(changed)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "bundle.json")
			write(t, path, text)
			var doc quoteDoc
			measure(t, "quote", quote, "--collateral", path, "--at", "2025-06-20", "-o", "json").decode(t, &doc)
			if doc.Verdict == nil || doc.Verdict.Code != tc.code {
				t.Errorf("verdict %+v, want code %s", doc.Verdict, tc.code)
			}
		})
	}
}

// TestWithoutCollateralOnlySignaturesAreJudged: the document says what is not known, and a forged quote is a difference.
func TestWithoutCollateralOnlySignaturesAreJudged(t *testing.T) {
	t.Parallel()
	path := vector(t, "attestation/tdx_quote")
	measure(t, "quote", path).want(t, cli.ExitOK, "signatures", "verify, up to the trusted root", "revocation, quoting enclave and TCB are unknown",
		"/tdx/certification/v4/tcb?fmspc=B0C06F000000", "SEPT_VE_DISABLE", "70 unsigned bytes")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(at int) string {
		forged := append([]byte{}, raw...)
		forged[at] ^= 1
		name := filepath.Join(t.TempDir(), "forged.bin")
		write(t, name, forged)
		return name
	}
	measure(t, "quote", forge(184+48)).want(t, cli.ExitDifference, "do not verify", "a claim of nobody")
	measure(t, "quote", forge(len(raw)-1)).want(t, cli.ExitOK)
	measure(t, "quote", path, "--at", "2024-01-01").want(t, cli.ExitDifference, "is not valid before")
	measure(t, "quote", vector(t, "attestation/crafted_signed_size_10.bin")).want(t, cli.ExitUsage, "signature part of 10 bytes")
	measure(t, "replay", "--ccel", vector(t, "attestation/ccel_data.dat.gz"), "--quote", vector(t, "attestation/sgx_quote")).
		want(t, cli.ExitUsage, "SGX enclave, not of a TD")
	upper := filepath.Join(t.TempDir(), "quote.hex")
	write(t, upper, []byte(strings.ToUpper(hex.EncodeToString(raw))+"\n"))
	measure(t, "quote", upper).want(t, cli.ExitOK, "b260fa9168ca9f28")
}

// TestPoliciesAndImagesDecide: a file's policy replaces the defaults, and images make the verdict one about an image.
func TestPoliciesAndImagesDecide(t *testing.T) {
	t.Parallel()
	const image = "650008ebb5eca49031b6b76e07ba4a88b8602371e46edcc7d8a6175a0e1e9101"
	const enclave = "33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb"
	base := []string{"quote", vector(t, "attestation/cos-113-tdx-quote.dat"), "--collateral", vector(t, "attestation/cos113_collateral.json"), "--at", "2025-06-20"}
	sgx := []string{"quote", vector(t, "attestation/sgx_quote"), "--collateral", vector(t, "attestation/sgx_quote_collateral.json"), "--at", "2025-06-20"}
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "policy.json")
		write(t, path, []byte(text))
		return path
	}
	zeros := strings.Repeat("0", 128)
	for name, tc := range map[string]struct {
		base  []string
		more  []string
		code  int
		words []string
	}{
		"image":               {base, []string{"--image", image}, 0, []string{"for the images that the policy lists"}},
		"one of two images":   {base, []string{"--image", enclave, "--image", image}, 0, nil},
		"another image":       {base, []string{"--image", enclave}, 3, []string{"refused: image", "want " + enclave}},
		"image too short":     {base, []string{"--image", "00"}, 2, []string{"reading --image"}},
		"zero image":          {base, []string{"--image", zeros[:64]}, 2, []string{"without measurements"}},
		"policy":              {base, []string{"--policy", file(`{"type":"tee","allowed_image_hash":"` + image + `"}`)}, 0, []string{"evaluation number 17"}},
		"policy, any image":   {base, []string{"--policy", file(`{"type":"tee","image_source":"defer"}`)}, 0, []string{"accepted for any image"}},
		"policy, floor":       {base, []string{"--policy", file(`{"type":"tee","image_source":"defer","tcb":{"min_evaluation_number":18}}`)}, 3, []string{"collateral_rollback"}},
		"policy, nothing":     {base, []string{"--policy", file(`{"type":"tdx"}`)}, 3, []string{"policy_empty", "list the image"}},
		"policy, chain":       {base, []string{"--policy", file(`{"type":"tdx","image_source":"chain"}`)}, 3, []string{"no access to the chain"}},
		"policy, misspelt":    {base, []string{"--policy", file(`{"type":"tdx","allow_image_hash":"x"}`)}, 2, []string{"policy.json", "allow_image_hash: unknown key"}},
		"policy of any":       {base, []string{"--policy", file(`{"type":"any"}`)}, 2, []string{"judges no quote"}},
		"policy and image":    {base, []string{"--policy", file(`{"type":"tdx"}`), "--image", image}, 2, []string{"choose one"}},
		"report data":         {base, []string{"--report-data", zeros}, 0, nil},
		"other report data":   {base, []string{"--report-data", zeros[:127] + "1"}, 3, []string{"report_data"}},
		"short report data":   {base, []string{"--report-data", zeros[:126]}, 2, []string{"128 hex digits"}},
		"unknown time":        {base, []string{"--at", "yesterday"}, 2, []string{"neither a time"}},
		"no such policy":      {base, []string{"--policy", "none.json"}, 2, []string{"none.json"}},
		"image alone":         {base[:2], []string{"--image", image}, 2, []string{"a verdict needs --collateral", "names the collateral to ask for"}},
		"enclave":             {sgx, []string{"--policy", file(`{"type":"sgx","allowed_mrenclave":["` + enclave + `"],"tcb":{"advisories":["INTEL-SA-00289","INTEL-SA-00615"]}}`)}, 0, nil},
		"enclave by image":    {sgx, []string{"--image", enclave}, 3, []string{"tcb_status"}},
		"enclave, no module":  {sgx, nil, 3, []string{"platform ConfigurationAndSWHardeningNeeded, quoting enclave UpToDate"}},
		"root is not a root":  {base, []string{"--root", base[1]}, 2, []string{"reading root"}},
		"Intel's root, named": {base, []string{"--root", vector(t, "attestation/intel_sgx_root_ca.pem")}, 0, []string{"Intel's root"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			measure(t, append(append([]string{}, tc.base...), tc.more...)...).want(t, tc.code, tc.words...)
		})
	}
}

// TestSimulatedPlatformsNeedTheirRoot: without --root a simulated quote is refused, with it the output says what it is.
func TestSimulatedPlatformsNeedTheirRoot(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	m := p.Measurements()
	path := p.quote(t, &m)
	measure(t, "quote", path).want(t, cli.ExitDifference, "--root FILE")
	measure(t, "quote", path, "--collateral", p.bundle).want(t, cli.ExitDifference, "refused: root", "--root FILE")
	measure(t, "quote", path, "--root", p.root).want(t, cli.ExitOK)
	measure(t, "quote", path, "--root", p.root, "--collateral", p.bundle).want(t, cli.ExitOK, "a simulated platform", "a SIMULATED platform, which proves nothing")
	debug := p.with(t, measuretest.Spec{TD: func(b *tdx.Body) { b.TDAttributes[0] = 1 }})
	measure(t, "quote", debug, "--root", p.root, "--collateral", p.bundle).want(t, cli.ExitDifference, "refused: td_debug", "DEBUG SEPT_VE_DISABLE")
	strict := filepath.Join(t.TempDir(), "strict.json")
	write(t, strict, []byte(`{"type":"tdx","image_source":"defer"}`))
	measure(t, "quote", path, "--root", p.root, "--collateral", p.bundle, "--policy", strict).want(t, cli.ExitDifference, "refused: root")
}

// TestCertificatesCarryQuotes: the report data is compared with the certificate's key, and the lifetime is judged.
func TestCertificatesCarryQuotes(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	quoteFor := func(data [tdx.ReportDataSize]byte) []byte {
		q, err := p.Quote(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	honest := cert.Spec{
		Key: key, NotBefore: testNow, Lifetime: cert.DefaultLifetime, Random: rand.Reader, Quote: quoteFor(cert.ReportData(cert.KeyOf(key))),
	}
	stolen, long, later, plain, fake := honest, honest, honest, honest, honest
	stolen.Key = ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize)))
	long.Lifetime = 48 * time.Hour
	later.NotBefore = testNow.Add(time.Hour)
	plain.Quote = nil
	fake.Quote = make([]byte, tdx.ReportDataSize)
	v2 := honest
	claims := cert.Claims{Role: cert.RoleWorker, NetworkID: -3, NotBefore: testNow.Unix(), NotAfter: testNow.Add(v2.Lifetime).Unix()}
	v2.Claims, v2.Quote = &claims, quoteFor(cert.ReportDataV2(cert.KeyOf(key), claims))
	network := filepath.Join(t.TempDir(), "network.json")
	write(t, network, fmt.Appendf(nil, `{"type":"tdx","image_source":"defer","allow_simulated":true,"allowed_collateral_root_hashes":[%q],"network_id":-239}`, p.RootID()))
	for name, tc := range map[string]struct {
		spec  cert.Spec
		more  []string
		code  int
		words []string
	}{
		"honest":        {honest, nil, 0, []string{"profile v1", "24h0m0s", "verdict"}},
		"another key":   {stolen, nil, 3, []string{"refused: report_data"}},
		"long-lived":    {long, nil, 3, []string{"refused: cert_lifetime", "want at most 25h0m0s"}},
		"of the future": {later, nil, 3, []string{"cert_not_yet_valid", "a peer who shows it is refused"}},
		"of the past": {
			honest,
			[]string{"--at", testNow.Add(48 * time.Hour).Format(time.RFC3339)},
			3,
			[]string{"cert_expired", "a peer who shows it is refused"},
		},
		"without a quote":   {plain, nil, 2, []string{"carries no quote"}},
		"fake":              {fake, nil, 2, []string{"carries no quote; its kind of evidence is fake"}},
		"v2":                {v2, nil, 0, []string{"profile v2", "worker"}},
		"v2, wrong network": {v2, []string{"--policy", network}, 3, []string{"refused: cert_network", "want -239"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"quote", certificateFile(t, tc.spec), "--root", p.root, "--collateral", p.bundle}, tc.more...)
			measure(t, args...).want(t, tc.code, tc.words...)
		})
	}
	path := certificateFile(t, honest)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, append(text, text...))
	measure(t, "quote", path).want(t, cli.ExitUsage, "more than one certificate")
}
