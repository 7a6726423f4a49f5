package policy_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// drawEvidence is evidence of any kind, also of kinds that no caller should make.
func drawEvidence(t *rapid.T) policy.Evidence {
	ev := policy.Evidence{
		Fake:         rapid.Bool().Draw(t, "fake"),
		ReportDataOK: rapid.Bool().Draw(t, "report data"),
		Detached:     rapid.Bool().Draw(t, "detached"),
		CertLifetime: time.Duration(rapid.Int64().Draw(t, "lifetime")),
	}
	if rapid.Bool().Draw(t, "has error") {
		class := rapid.SampledFrom([]dcap.Class{
			dcap.ClassQuoteParse, dcap.ClassQuoteType, dcap.ClassChain, dcap.ClassRevoked, dcap.ClassCollateralExpired, "",
		}).Draw(t, "class")
		ev.Err = errors.New(rapid.String().Draw(t, "reason"))
		if class != "" {
			ev.Err = &dcap.Error{Class: class, Err: ev.Err}
		}
	}
	if rapid.Bool().Draw(t, "has claims") {
		ev.Claims = claims()
		ev.Claims.Role = policy.Role(rapid.Int32().Draw(t, "role"))
		ev.Claims.NotBefore = time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "not before"), 0)
	}
	switch rapid.IntRange(0, 4).Draw(t, "quote") {
	case 0: // none
	case 1:
		ev.Quote = &dcap.Result{}
	case 2:
		ev.Quote = result()
		ev.Quote.Quote = &tdx.Quote{Version: uint16(rapid.IntRange(0, 9).Draw(t, "version")), TEE: tdx.TEEType(rapid.Uint32().Draw(t, "tee"))}
	case 3:
		ev.Quote = result()
	case 4:
		ev.Quote = result()
		ev.Quote.Quote = &tdx.Quote{Version: 3, TEE: tdx.SGX, SGX: enclave()}
	}
	return ev
}

// TestVerdictsAreConsistent: for all evidence, a verdict admits exactly when every rule passed, its code is that of the
// first rule that failed, its error names that rule, and every finding has printable words.
func TestVerdictsAreConsistent(t *testing.T) {
	const kinds, rounds = 6, 50 // a round of draws alone may miss a kind
	codes := map[policy.Code]int{}
	enough := func() bool { return codes[policy.OK] > 0 && len(codes) >= kinds }
	for i := 0; i < rounds && (i == 0 || !enough()); i++ {
		rapid.Check(t, verdictIsConsistent(codes))
	}
	if !enough() {
		t.Errorf("too few kinds of verdicts were tried: %v", codes)
	}
}

func verdictIsConsistent(codes map[policy.Code]int) func(t *rapid.T) {
	return func(t *rapid.T) {
		typ := rapid.SampledFrom([]policy.Type{policy.Any, policy.TDX, policy.FakeTDX, policy.SGX}).Draw(t, "type")
		rules := newPeer(typ).rules
		if rapid.Bool().Draw(t, "empty lists") {
			rules.AllowedImages, rules.AllowedEnclaves = nil, nil
		}
		made, err := policy.New(rules)
		if err != nil {
			t.Fatal(err)
		}
		ev := drawEvidence(t)
		v := made.Check(ev, policy.Env{Now: now})
		codes[v.Code]++
		first := slices.IndexFunc(v.Findings, func(f policy.Finding) bool { return f.Result() == "fail" })
		skipped := slices.ContainsFunc(v.Findings, func(f policy.Finding) bool { return f.Skipped })
		switch {
		case v.OK && (first >= 0 || skipped || v.Code != policy.OK || v.Err() != nil):
			t.Fatalf("an accepting verdict: %+v", v)
		case !v.OK && (first < 0 || v.Code != v.Findings[first].Code || v.Code == policy.OK):
			t.Fatalf("a refusing verdict: %+v", v)
		}
		var denied *policy.Denied
		if !v.OK && (!errors.As(v.Err(), &denied) || denied.Rule != v.Findings[first].Rule) {
			t.Fatalf("error %v of rule %s", v.Err(), v.Findings[first].Rule)
		}
		if v.Quote != nil && (ev.Err != nil || v.Quote.Quote == nil) {
			t.Fatal("a verdict holds a quote that did not verify")
		}
		for _, f := range v.Findings {
			if f.Got == "" || f.Want == "" || strings.ContainsFunc(f.Got, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("rule %s: want %q, got %q", f.Rule, f.Want, f.Got)
			}
		}
		if genuine := ev.Quote != nil && ev.Quote.Quote != nil && ev.Err == nil; v.OK && !genuine && (typ == policy.TDX || typ == policy.SGX) {
			t.Fatal("accepted without a verified quote")
		}
	}
}

// TestFindingsDoNotShareTheirWords: a verdict keeps its words while the policy judges others.
func TestFindingsDoNotShareTheirWords(t *testing.T) {
	p := newPeer(policy.TDX)
	made, err := policy.New(p.rules)
	if err != nil {
		t.Fatal(err)
	}
	first := made.Check(p.ev, p.env)
	before := make([]string, len(first.Findings))
	for i, f := range first.Findings {
		before[i] = strings.Clone(f.Got)
	}
	crowded := newPeer(policy.TDX)
	for range 4000 { // more words than a policy keeps memory for
		crowded.ev.Quote.Advisories = append(crowded.ev.Quote.Advisories, "INTEL-SA-00001")
	}
	if v := made.Check(crowded.ev, crowded.env); !v.OK {
		t.Error(v.Err())
	}
	if v := made.Check(policy.Evidence{Err: errors.New("x")}, policy.Env{}); v.OK || v.Quote != nil || v.Claims != nil || !v.ImageHash.IsZero() {
		t.Errorf("a verdict about another peer: %+v", v)
	}
	for i, f := range first.Findings {
		if f.Got != before[i] {
			t.Errorf("rule %s: %q became %q", f.Rule, before[i], f.Got)
		}
	}
}
