package policy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// TestVerdictsAreGolden: the document of a verdict is read by programs, its words by people; a change of either must
// show in a diff. One peer is accepted under a policy with every kind of list, one is refused for several reasons.
func TestVerdictsAreGolden(t *testing.T) {
	role, network := policy.RoleWorker, int32(-239)
	listed := newPeer(policy.TDX)
	r, q := &listed.rules, listed.ev.Quote
	r.AllowedImages = append(r.AllowedImages, tdx.Hash{1})
	r.AllowedMRTD = []tdx.Digest{digest(1)}
	r.AllowedRTMR = [][4]tdx.Digest{td().RTMR}
	r.MRSEAM = []tdx.Digest{digest(9), digest(8), digest(7), digest(6), digest(5)}
	r.FMSPC = policy.Filter[[6]byte]{Allow: [][6]byte{q.FMSPC}, Deny: [][6]byte{{}}}
	r.PPID.Deny = [][16]byte{{}}
	r.TCB.GraceDays, r.TCB.Advisories = 30, []string{"INTEL-SA-00960"}
	r.TCB.MinEvaluationNumber = 17
	r.Claims = policy.ClaimRules{Require: true, Role: &role, NetworkID: &network, MaxQuoteAge: r.Claims.MaxQuoteAge}
	listed.env.Blocks = blocks{1000, [32]byte{1}, now.Add(-listed.rules.Claims.MaxQuoteAge / 2)}

	refused := newPeer(policy.TDX)
	refused.rules.AllowedImages = nil
	refused.ev.ReportDataOK = false
	outdated(0, "INTEL-SA-00960", "INTEL-SA-00982")(refused)
	b := refused.ev.Quote.Quote.TD
	b.TDAttributes[0], b.TDAttributes[3] = 1, 0x20
	b.Service.MRServiceTD = digest(0xee)

	for name, p := range map[string]*peer{"accepted": listed, "refused": refused, "enclave": newPeer(policy.SGX), "fake": newPeer(policy.FakeTDX)} {
		got, err := json.MarshalIndent(p.check(t).Document(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, '\n')
		path := filepath.Join("testdata", "verdict."+name+".json")
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
}

// TestWordsOfLists: short lists are spelt out, long ones counted.
func TestWordsOfLists(t *testing.T) {
	for n, want := range map[int]string{
		0: "any",
		1: digest(1).String(),
		2: "one of " + digest(1).String() + ", " + digest(2).String(),
		5: "one of 5 listed",
	} {
		p := newPeer(policy.TDX)
		for i := range n {
			p.rules.AllowedMRTD = append(p.rules.AllowedMRTD, digest(byte(i+1)))
		}
		for _, f := range p.check(t).Findings {
			if f.Rule == "allowed_mrtd" && f.Want != want {
				t.Errorf("%d entries: want %q, not %q", n, f.Want, want)
			}
		}
	}
}

// TestNamesAreReadAndWritten: every name of an enumeration reads back, and others are refused.
func TestNamesAreReadAndWritten(t *testing.T) {
	for role := policy.RoleClient; role <= policy.RoleTool; role++ {
		if got, err := policy.ParseRole(role.String()); err != nil || got != role {
			t.Errorf("%s reads back as %s (%v)", role, got, err)
		}
	}
	for _, role := range []policy.Role{-1, policy.RoleTool + 1} {
		if _, err := policy.ParseRole(role.String()); err == nil {
			t.Errorf("%s is a role", role)
		}
	}
	for name, want := range map[string]policy.Type{
		"any": policy.Any, "tdx": policy.TDX, "tee": policy.TDX, "fake_tdx": policy.FakeTDX, "fake_tee": policy.FakeTDX, "sgx": policy.SGX,
		"": "", "TDX": "", "sev": "",
	} {
		if got, err := policy.ParseType(name); got != want || (err == nil) != (want != "") {
			t.Errorf("type %q is %q (%v), want %q", name, got, err, want)
		}
	}
	for _, name := range []policy.ImageSource{policy.FromList, policy.FromChain, policy.Deferred} {
		if got, err := policy.ParseImageSource(string(name)); got != name || err != nil {
			t.Errorf("image source %s is %s (%v)", name, got, err)
		}
	}
	if _, err := policy.ParseImageSource(""); err == nil {
		t.Error("the empty image source was accepted")
	}
}

// TestRulesAreCheckedWithoutJSON: New refuses what Parse cannot even express.
func TestRulesAreCheckedWithoutJSON(t *testing.T) {
	for name, change := range map[string]func(*policy.Rules){
		"no type":                  func(r *policy.Rules) { r.Type = "" },
		"no image source":          func(r *policy.Rules) { r.ImageSource = "" },
		"no root":                  func(r *policy.Rules) { r.CollateralRoots = nil },
		"no status":                func(r *policy.Rules) { r.TCB.Accepted = nil },
		"the absence of a status":  func(r *policy.Rules) { r.TCB.Accepted[0] = 0 },
		"a status beyond the last": func(r *policy.Rules) { r.TCB.Accepted[0] = 99 },
		"no service TD":            func(r *policy.Rules) { r.MRServiceTD = nil },
		"negative grace":           func(r *policy.Rules) { r.TCB.GraceDays = -1 },
		"negative evaluation":      func(r *policy.Rules) { r.TCB.MinEvaluationNumber = -1 },
		"no lifetime":              func(r *policy.Rules) { r.MaxCertLifetime = 0 },
		"no age":                   func(r *policy.Rules) { r.Claims.MaxQuoteAge = 0 },
		"an enclave":               func(r *policy.Rules) { r.AllowedEnclaves = [][32]byte{{1}} },
		"images of any type":       func(r *policy.Rules) { r.Type = policy.Any },
		"images of fake type":      func(r *policy.Rules) { r.Type = policy.FakeTDX },
		"MRTD of enclaves":         func(r *policy.Rules) { r.Type, r.AllowedImages, r.AllowedMRTD = policy.SGX, nil, []tdx.Digest{{1}} },
		"RTMR of nothing":          func(r *policy.Rules) { r.AllowedRTMR = [][4]tdx.Digest{{}} },
		"deferred for any":         func(r *policy.Rules) { r.Type, r.AllowedImages, r.ImageSource = policy.Any, nil, policy.Deferred },
		"DEBUG as must":            func(r *policy.Rules) { r.TDAttributes.MustOne |= 1 },
		"an advisory without id":   func(r *policy.Rules) { r.TCB.Advisories = []string{""} },
	} {
		r := newPeer(policy.TDX).rules
		if _, err := policy.New(r); err != nil {
			t.Fatal(err)
		}
		change(&r)
		if p, err := policy.New(r); err == nil || p != nil {
			t.Errorf("%s was accepted", name)
		}
	}
	var zero policy.Rules
	if _, err := policy.New(zero); err == nil {
		t.Error("the zero rules make a policy")
	}
}
