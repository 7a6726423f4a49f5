package policy_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// fault breaks one rule of a peer that already breaks all rules behind it.
type fault struct {
	rule  string
	code  policy.Code
	spoil func(*peer)
}

// TestTheFirstRuleThatFailsGivesTheCode: faults are added from the last rule to the first, and the code is always that
// of the newest.
func TestTheFirstRuleThatFailsGivesTheCode(t *testing.T) {
	proxy, network := policy.RoleProxy, int32(-3)
	faults := []fault{
		{"max_cert_lifetime", policy.CertLifetime, func(p *peer) { p.ev.CertLifetime = 48 * time.Hour }},
		{"role", policy.CertRole, func(p *peer) { p.rules.Claims.Role = &proxy }},
		{"network_id", policy.CertNetwork, func(p *peer) { p.rules.Claims.NetworkID = &network }},
		{"max_quote_age", policy.CertAge, func(p *peer) { p.rules.Claims.MaxQuoteAge = time.Minute }},
		{"report_data", policy.ReportData, func(p *peer) { p.ev.ReportDataOK = false }},
		{"allowed_collateral_root_hashes", policy.Root, func(p *peer) { p.ev.Quote.Root = dcap.RootID{1} }},
		{"collateral_expiry", policy.CollateralExpired, func(p *peer) { p.ev.Quote.CollateralExpires = now.Add(-1) }},
		{"tcb.min_evaluation_number", policy.CollateralRollback, func(p *peer) { p.rules.TCB.MinEvaluationNumber = 99 }},
		{"tcb.accepted", policy.TCBStatus, func(p *peer) { p.ev.Quote.Combined = dcap.OutOfDate }},
		{"td_debug", policy.TDDebug, func(p *peer) { p.ev.Quote.Quote.TD.TDAttributes[0] = 1 }},
		{"td_attributes", policy.TDAttributes, func(p *peer) { p.ev.Quote.Quote.TD.TDAttributes[3] = 0x20 }},
		{"xfam", policy.XFAM, func(p *peer) { p.ev.Quote.Quote.TD.XFAM[7] = 1 }},
		{"mr_seam", policy.SEAM, func(p *peer) { p.rules.MRSEAM = []tdx.Digest{digest(77)} }},
		{"mr_service_td", policy.ServiceTD, func(p *peer) { p.ev.Quote.Quote.TD.Service.MRServiceTD = digest(1) }},
		{"fmspc", policy.Platform, func(p *peer) { p.rules.FMSPC.Allow = [][6]byte{{}} }},
		{"allowed_mrtd", policy.Image, func(p *peer) { p.rules.AllowedMRTD = []tdx.Digest{digest(77)} }},
		{"image_source", policy.PolicyEmpty, func(p *peer) {
			p.rules.AllowedImages, p.rules.ImageSource = nil, policy.FromChain
			p.env.Images = images{err: errors.New("no liteserver")}
		}},
	}
	p := newPeer(policy.TDX)
	for _, f := range slices.Backward(faults) {
		f.spoil(p)
		v := p.check(t)
		var denied *policy.Denied
		if v.OK || v.Code != f.code || !errors.As(v.Err(), &denied) || denied.Rule != f.rule {
			t.Errorf("after breaking %s: code %s, %v", f.rule, v.Code, v.Err())
		}
	}
}

// TestRulesOfEachType: which rules there are, and their order, is part of the contract (attestation.md section 8.2).
func TestRulesOfEachType(t *testing.T) {
	claims := []string{"require_v2", "role", "network_id", "max_quote_age"}
	evidence := []string{"quote", "quote_format", "report_data"}
	platform := []string{
		"verification", "allowed_collateral_root_hashes", "allow_simulated", "collateral_expiry", "tcb.min_evaluation_number",
		"tcb.accepted", "tcb.advisories",
	}
	td := []string{"td_debug", "td_attributes", "xfam", "mr_seam", "mr_signer_seam", "seam_attributes", "mr_service_td"}
	identity := []string{"fmspc", "ppid", "piid"}
	certificate := append([]string{"max_cert_lifetime"}, claims...)
	for typ, want := range map[policy.Type][]string{
		policy.Any:     claims,
		policy.FakeTDX: slices.Concat(certificate, evidence),
		policy.TDX: slices.Concat(certificate, evidence, platform, td, identity,
			[]string{"allowed_mrtd", "allowed_rtmr", "allowed_image_hashes", "image_source"}),
		policy.SGX: slices.Concat([]string{"max_cert_lifetime"}, evidence, platform, []string{"enclave_debug", "enclave_init"}, identity,
			[]string{"allowed_mrenclave", "image_source"}),
	} {
		var got []string
		for _, f := range newPeer(typ).check(t).Findings {
			got = append(got, f.Rule)
		}
		if !slices.Equal(got, want) {
			t.Errorf("type %s has rules %q, want %q", typ, got, want)
		}
	}
}

// TestNothingIsAdmittedByNothing: evidence without anything in it passes no policy that wants evidence, and a policy
// nobody configured admits nobody.
func TestNothingIsAdmittedByNothing(t *testing.T) {
	for typ, want := range map[policy.Type]policy.Code{
		policy.TDX: policy.NoQuote, policy.SGX: policy.NoQuote, policy.FakeTDX: policy.NoQuote, policy.Any: policy.OK,
	} {
		if v := policy.Builtin(typ).Check(policy.Evidence{}, policy.Env{}); v.Code != want || v.OK != (want == policy.OK) {
			t.Errorf("type %s: %s", typ, v.Code)
		}
	}
	good := newPeer(policy.TDX)
	for _, typ := range []policy.Type{policy.TDX, "", "tee", "no such type"} {
		v := policy.Builtin(typ).Check(good.ev, good.env)
		if v.OK || v.Code != policy.PolicyEmpty || v.Type != policy.TDX {
			t.Errorf("the builtin policy of type %q: %s of type %s", typ, v.Code, v.Type)
		}
	}
	empty := good.ev
	empty.Quote = &dcap.Result{}
	if v := policy.Builtin(policy.TDX).Check(empty, good.env); v.Code != policy.Chain || v.OK || v.Quote != nil {
		t.Errorf("a result without a quote: %s", v.Code)
	}
	if v := new(policy.Policy).Check(good.ev, good.env); v.OK || v.Code != policy.PolicyEmpty || v.Err() == nil {
		t.Errorf("the zero policy: %s, %v", v.Code, v.Err())
	}
	if (policy.Verdict{}).Err() == nil {
		t.Error("the zero verdict admits")
	}
}

// TestWhatCannotBeJudgedDoesNotPass: a rule whose object is missing, or whose list is empty, is skipped and not passed;
// people read findings one by one.
func TestWhatCannotBeJudgedDoesNotPass(t *testing.T) {
	empty, unlisted, exchanged := newPeer(policy.TDX), newPeer(policy.SGX), newPeer(policy.SGX)
	empty.rules.AllowedImages = nil
	unlisted.rules.AllowedEnclaves = nil
	exchanged.ev.Quote.Quote = result().Quote
	nothing := newPeer(policy.TDX)
	nothing.ev = policy.Evidence{}
	for name, tc := range map[string]struct {
		peer  *peer
		rules []string
	}{
		"empty list":          {empty, []string{"allowed_image_hashes"}},
		"empty enclave list":  {unlisted, []string{"allowed_mrenclave"}},
		"TD for an enclave":   {exchanged, []string{"enclave_debug", "enclave_init", "allowed_mrenclave"}},
		"no evidence":         {nothing, []string{"quote_format", "report_data", "verification", "tcb.accepted", "td_debug", "fmspc", "allowed_image_hashes"}},
		"no evidence at all ": {&peer{rules: nothing.rules}, []string{"allowed_collateral_root_hashes", "allow_simulated", "mr_service_td"}},
	} {
		v := tc.peer.check(t)
		for _, rule := range tc.rules {
			i := slices.IndexFunc(v.Findings, func(f policy.Finding) bool { return f.Rule == rule })
			if i < 0 || v.Findings[i].Result() != "skip" || v.Findings[i].OK {
				t.Errorf("%s: rule %s: %+v", name, rule, v.Findings[max(i, 0)])
			}
		}
	}
}
