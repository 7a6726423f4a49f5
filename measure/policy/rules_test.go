package policy_test

import (
	"errors"
	"strings"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// ruleCase changes an accepted peer so that one rule alone decides.
type ruleCase struct {
	rule   string
	typ    policy.Type // tdx if empty
	change func(*peer)
	// code is what the rule answers; policy.OK when it still passes.
	code policy.Code
	// got is part of the finding's words.
	got string
}

func quoted(change func(*dcap.Result)) func(*peer) {
	return func(p *peer) { change(p.ev.Quote) }
}

func body(change func(*tdx.Body)) func(*peer) {
	return func(p *peer) { change(p.ev.Quote.Quote.TD) }
}

// TestEveryRuleDecidesAlone: each case changes an accepted peer in the way of one rule, and that rule's finding is the
// only one that fails.
func TestEveryRuleDecidesAlone(t *testing.T) {
	passed, failed := map[string]bool{}, map[string]bool{}
	for _, table := range []map[string]ruleCase{
		certificateCases(), ageCases(), quoteCases(), platformCases(), identityCases(), tdCases(), imageCases(),
	} {
		for name, tc := range table {
			if tc.typ == "" {
				tc.typ = policy.TDX
			}
			t.Run(name, func(t *testing.T) { tc.run(t) })
			passed[tc.rule] = passed[tc.rule] || tc.code == policy.OK
			failed[tc.rule] = failed[tc.rule] || tc.code != policy.OK
		}
	}
	// A policy that allows simulated platforms lists their roots, so that this rule fails only beside the root rule:
	// TestSimulatedRootsNeedBothSettings.
	failed["allow_simulated"] = true
	for _, typ := range []policy.Type{policy.Any, policy.TDX, policy.FakeTDX, policy.SGX} {
		for _, f := range newPeer(typ).check(t).Findings {
			if !passed[f.Rule] || !failed[f.Rule] {
				t.Errorf("rule %s has no case that passes, or none that fails", f.Rule)
			}
		}
	}
}

func (tc ruleCase) run(t *testing.T) {
	t.Helper()
	p := newPeer(tc.typ)
	if v := p.check(t); !v.OK || v.Code != policy.OK || v.Err() != nil {
		t.Fatalf("the unchanged peer is refused: %v", v.Err())
	}
	tc.change(p)
	v := p.check(t)
	if v.Code != tc.code || v.OK != (tc.code == policy.OK) {
		t.Errorf("code %s, want %s (%v)", v.Code, tc.code, v.Err())
	}
	judged := false
	for _, f := range v.Findings {
		ok := f.OK || f.Skipped && !v.OK
		if f.Rule == tc.rule {
			judged = true
			ok = f.OK == (tc.code == policy.OK) && !f.Skipped && (f.OK || f.Code == tc.code) && strings.Contains(f.Got, tc.got)
		}
		if !ok {
			t.Errorf("rule %s: want %q, got %q, passed %t", f.Rule, f.Want, f.Got, f.OK)
		}
		if f.Want == "" || f.Got == "" {
			t.Errorf("rule %s has no words: want %q, got %q", f.Rule, f.Want, f.Got)
		}
	}
	if !judged {
		t.Errorf("no finding of rule %s", tc.rule)
	}
	var denied *policy.Denied
	if err := v.Err(); !v.OK && (!errors.As(err, &denied) || denied.Rule != tc.rule || denied.Code != tc.code) {
		t.Errorf("error %v, want one of rule %s", err, tc.rule)
	}
}

func TestSimulatedRootsNeedBothSettings(t *testing.T) {
	p := newPeer(policy.TDX)
	p.ev.Quote.Root = dcap.RootID{1}
	for _, f := range p.check(t).Findings {
		if bad := f.Rule == "allow_simulated" || f.Rule == "allowed_collateral_root_hashes"; f.OK == bad {
			t.Errorf("rule %s: passed %t, got %q", f.Rule, f.OK, f.Got)
		}
	}
	p.rules.CollateralRoots = []dcap.RootID{{1}}
	if _, err := policy.New(p.rules); err == nil || !strings.Contains(err.Error(), "allow_simulated") {
		t.Errorf("a simulated root without allow_simulated: %v", err)
	}
	p.rules.AllowSimulated = true
	made, err := policy.New(p.rules)
	if err != nil || !made.Simulated() {
		t.Fatalf("policy %v (%v)", made, err)
	}
	if v := made.Check(p.ev, p.env); !v.OK {
		t.Error(v.Err())
	}
	p.ev.Quote.Root = dcap.IntelRootID()
	if v := made.Check(p.ev, p.env); v.Code != policy.Root {
		t.Errorf("a list of a simulated root alone admits Intel's: %s", v.Code)
	}
}
