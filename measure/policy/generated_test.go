package policy_test

import (
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// TestGeneratedCases judges the table of attestation.md section 16.3: quotes and collateral of a software platform, each
// with one fault, under the strict policy. The result code is the case's.
func TestGeneratedCases(t *testing.T) {
	cases, base, err := measuretest.Cases([measuretest.SeedSize]byte{1}, now)
	if err != nil {
		t.Fatal(err)
	}
	policies := map[bool]*policy.Policy{}
	for _, typ := range []policy.Type{policy.TDX, policy.SGX} {
		r := policy.Defaults(typ)
		r.CollateralRoots, r.AllowSimulated = []dcap.RootID{base.Root}, true
		r.TCB.MinEvaluationNumber = base.EvaluationNumber
		if typ == policy.SGX {
			r.AllowedEnclaves = [][32]byte{base.Enclave}
		} else {
			r.AllowedImages = []tdx.Hash{tdx.ImageHash(&base.Measurements)}
		}
		if policies[typ == policy.SGX], err = policy.New(r); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[policy.Code]int{}
	for _, c := range cases {
		ev := policy.Evidence{CertLifetime: 24 * time.Hour}
		ev.Quote, ev.Err = verifyCase(c)
		ev.ReportDataOK = ev.Quote != nil && commits(ev.Quote.Quote, c.ReportData)
		v := policies[c.SGX].Check(ev, policy.Env{Now: c.Now})
		seen[v.Code]++
		if string(v.Code) != c.Want || v.OK != (c.Want == string(policy.OK)) {
			t.Errorf("%s: code %s, want %s: %v", c.Name, v.Code, c.Want, v.Err())
		}
	}
	if len(cases) < 50 || seen[policy.OK] == 0 {
		t.Errorf("%d cases, %d of them accepted", len(cases), seen[policy.OK])
	}
	t.Logf("%d cases: %v", len(cases), seen)
}

func verifyCase(c measuretest.Case) (*dcap.Result, error) {
	if _, err := dcap.PlatformOf(c.Quote); err != nil {
		return nil, err
	}
	collateral, err := dcap.Open(c.Bundle, c.Roots, c.Now)
	if err != nil {
		return nil, err
	}
	return dcap.NewVerifier(c.Roots, 4).Verify(c.Quote, collateral, c.Now)
}

func commits(q *tdx.Quote, want [tdx.ReportDataSize]byte) bool {
	if q.TD != nil {
		return q.TD.ReportData == want
	}
	return q.SGX.ReportData == want
}
