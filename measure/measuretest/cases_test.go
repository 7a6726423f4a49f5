package measuretest_test

import (
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// strict is the default policy with the cases' baseline as the only thing allowed.
func strict(t *testing.T, b measuretest.Baseline, kind policy.Type) *policy.Policy {
	t.Helper()
	r := policy.Defaults(kind)
	r.CollateralRoots, r.AllowSimulated = []dcap.RootID{b.Root}, true
	if kind == policy.SGX {
		r.AllowedEnclaves = [][32]byte{b.Enclave}
	} else {
		r.TCB.MinEvaluationNumber = b.EvaluationNumber
		r.AllowedImages = []tdx.Hash{tdx.ImageHash(&b.Measurements)}
	}
	p, err := policy.New(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// judge is what a verifier does with a case: the code, and the result if the quote verified.
func judge(c *measuretest.Case, p *policy.Policy) (policy.Verdict, *dcap.Result) {
	ev := policy.Evidence{}
	collateral, err := dcap.Open(c.Bundle, c.Roots, c.Now)
	if err == nil {
		ev.Quote, err = dcap.NewVerifier(c.Roots, 0).Verify(c.Quote, collateral, c.Now)
	}
	if ev.Err = err; err == nil {
		body := ev.Quote.Quote.TD
		if body != nil {
			ev.ReportDataOK = body.ReportData == c.ReportData
		} else {
			ev.ReportDataOK = ev.Quote.Quote.SGX.ReportData == c.ReportData
		}
	} else {
		ev.ReportDataOK = true // as for a certificate whose quote says so
	}
	return p.Check(ev, policy.Env{Now: c.Now}), ev.Quote
}

func TestEveryCaseGivesItsCode(t *testing.T) {
	cases, baseline, err := measuretest.Cases([32]byte{0xca}, testTime)
	if err != nil {
		t.Fatal(err)
	}
	policies := map[bool]*policy.Policy{false: strict(t, baseline, policy.TDX), true: strict(t, baseline, policy.SGX)}
	codes := map[string]int{}
	for i := range cases {
		c := &cases[i]
		t.Run(c.Name, func(t *testing.T) {
			verdict, result := judge(c, policies[c.SGX])
			if string(verdict.Code) != c.Want {
				t.Errorf("code %q, want %q: %v", verdict.Code, c.Want, verdict.Err())
			}
			if verifies := c.ByPolicy || c.Want == "ok"; (result != nil) != verifies {
				t.Fatalf("verified: %t, want %t", result != nil, verifies)
			}
			if result != nil && result.Combined != c.Combined {
				t.Errorf("combined status %s, want %s", result.Combined, c.Combined)
			}
		})
		codes[c.Want]++
	}
	if len(cases) < 100 || len(codes) < 18 {
		t.Errorf("%d cases with %d codes are fewer than the table promises", len(cases), len(codes))
	}
	t.Logf("%d cases: %v", len(cases), codes)
}
