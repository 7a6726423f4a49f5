package measuretest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
	vectors "cocoon/tests/golden"
)

// fieldCase changes one field of a TD's body in two ways, and names the one rule that must fail each time.
type fieldCase struct {
	field func(*tdx.Body) []byte
	edits [2]func(field []byte)
	// rules and codes are what fails, edit by edit; an empty rule says that nothing does.
	rules [2]string
	codes [2]policy.Code
}

// both is a case of two edits that the same rule answers: a bit at each end of the field.
func both(field func(*tdx.Body) []byte, rule string, code policy.Code) fieldCase {
	return fieldCase{
		field,
		[2]func([]byte){func(f []byte) { f[0] ^= 1 }, func(f []byte) { f[len(f)-1] ^= 0x80 }},
		[2]string{rule, rule},
		[2]policy.Code{code, code},
	}
}

// fieldCases has every field of attestation.md section 9.
func fieldCases() map[string]fieldCase {
	const image, verification = "allowed_image_hashes", "verification"
	register := func(i int) func(*tdx.Body) []byte { return func(b *tdx.Body) []byte { return b.RTMR[i][:] } }
	svn := func(b *tdx.Body) []byte { return b.TEETCBSVN[:] }
	attributes := func(b *tdx.Body) []byte { return b.TDAttributes[:] }
	return map[string]fieldCase{
		"TEE_TCB_SVN, module": {
			svn,
			[2]func([]byte){func(f []byte) { f[0]-- }, func(f []byte) { f[1] = 0x7f }},
			[2]string{"tcb.accepted", verification},
			[2]policy.Code{policy.TCBStatus, policy.TCBStatus},
		},
		"TEE_TCB_SVN, platform": {
			svn,
			[2]func([]byte){func(f []byte) { f[2]-- }, func(f []byte) { f[2] = 0 }},
			[2]string{"tcb.accepted", "tcb.accepted"},
			[2]policy.Code{policy.TCBStatus, policy.TCBStatus},
		},
		"MRSEAM":         both(func(b *tdx.Body) []byte { return b.MRSEAM[:] }, "mr_seam", policy.SEAM),
		"MRSIGNERSEAM":   both(func(b *tdx.Body) []byte { return b.MRSignerSEAM[:] }, verification, policy.SEAM),
		"SEAMATTRIBUTES": both(func(b *tdx.Body) []byte { return b.SEAMAttributes[:] }, verification, policy.SEAM),
		"TDATTRIBUTES": {
			attributes,
			[2]func([]byte){func(f []byte) { f[0] ^= 1 }, func(f []byte) { f[7] ^= 0x80 }},
			[2]string{"td_debug", "td_attributes"},
			[2]policy.Code{policy.TDDebug, policy.TDAttributes},
		},
		"XFAM":          both(func(b *tdx.Body) []byte { return b.XFAM[:] }, "xfam", policy.XFAM),
		"MRTD":          both(func(b *tdx.Body) []byte { return b.MRTD[:] }, image, policy.Image),
		"MRCONFIGID":    both(func(b *tdx.Body) []byte { return b.MRConfigID[:] }, image, policy.Image),
		"MROWNER":       both(func(b *tdx.Body) []byte { return b.MROwner[:] }, image, policy.Image),
		"MROWNERCONFIG": both(func(b *tdx.Body) []byte { return b.MROwnerConfig[:] }, image, policy.Image),
		"RTMR0":         both(register(0), image, policy.Image),
		"RTMR1":         both(register(1), image, policy.Image),
		"RTMR2":         both(register(2), image, policy.Image),
		"RTMR3":         both(register(3), image, policy.Image),
		"REPORTDATA":    both(func(b *tdx.Body) []byte { return b.ReportData[:] }, "report_data", policy.ReportData),
		"TEE_TCB_SVN_2": both(func(b *tdx.Body) []byte {
			if b.Service == nil {
				return nil
			}
			return b.Service.TEETCBSVN2[:]
		}, "", policy.OK),
		"MRSERVICETD": both(func(b *tdx.Body) []byte {
			if b.Service == nil {
				return nil
			}
			return b.Service.MRServiceTD[:]
		}, "mr_service_td", policy.ServiceTD),
	}
}

// Bodies of real quotes, signed anew by a simulated platform: a change of one field is answered by that field's rule, and
// by no other. Every byte of the body is in one of the fields.
func TestEveryFieldOfAQuoteHasItsRule(t *testing.T) {
	for vector, version := range map[string]int{"tdx_quote": 4, "cocoon_quote.dat": 4, "tdx_quote_outdated": 5} {
		t.Run(vector, func(t *testing.T) {
			parsed, err := tdx.ParseQuote(vectors.Vector(t, "attestation/"+vector))
			if err != nil {
				t.Fatal(err)
			}
			p, err := measuretest.NewPlatform(measuretest.Options{Seed: [32]byte{0xf1}, Now: testTime, TEETCBSVN: parsed.TD.TEETCBSVN})
			if err != nil {
				t.Fatal(err)
			}
			judge := fieldJudge(t, p, version, parsed.TD)
			if failed := judge(func(*tdx.Body) {}); len(failed) > 0 {
				t.Fatalf("the unchanged body fails %v", failed)
			}
			covered := 0
			for name, tc := range fieldCases() {
				if tc.field(parsed.TD) == nil {
					continue
				}
				if name != "TEE_TCB_SVN, platform" { // the same field again
					covered += len(tc.field(parsed.TD))
				}
				for i, edit := range tc.edits {
					want := map[string]policy.Code{}
					if tc.rules[i] != "" {
						want[tc.rules[i]] = tc.codes[i]
					}
					got := judge(func(b *tdx.Body) { edit(tc.field(b)) })
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s, edit %d: rules that fail: %s", name, i, diff)
					}
				}
			}
			if size := len(parsed.TD.Encode()); covered != size {
				t.Errorf("the fields have %d bytes, the body %d", covered, size)
			}
		})
	}
}

// fieldJudge gives a function that signs an edited body, judges it by what the unedited one has, and gives the rules that
// fail with their codes. The policy lists the advisory of the older levels, so that one rule speaks of the status.
func fieldJudge(t *testing.T, p *measuretest.Platform, version int, honest *tdx.Body) func(edit func(*tdx.Body)) map[string]policy.Code {
	t.Helper()
	rules := policy.Defaults(policy.TDX)
	rules.CollateralRoots, rules.AllowSimulated = []dcap.RootID{p.RootID()}, true
	rules.AllowedImages, rules.MRSEAM = []tdx.Hash{tdx.ImageHash(&honest.Measurements)}, []tdx.Digest{honest.MRSEAM}
	rules.TCB.Advisories = []string{"INTEL-SA-00001"}
	judged := must[*policy.Policy](t)(policy.New(rules))
	bundle := must[*dcap.Bundle](t)(p.Bundle())
	c := must[*dcap.Collateral](t)(dcap.Open(bundle, p.Roots(), testTime))
	v := dcap.NewVerifier(p.Roots(), 4)
	return func(edit func(*tdx.Body)) map[string]policy.Code {
		q := quote(t, p, measuretest.Spec{Version: version, TD: func(b *tdx.Body) {
			*b = *honest
			if honest.Service != nil {
				service := *honest.Service
				b.Service = &service
			}
			edit(b)
		}})
		ev := policy.Evidence{}
		if ev.Quote, ev.Err = v.Verify(q, c, testTime); ev.Err == nil {
			ev.ReportDataOK = ev.Quote.Quote.TD.ReportData == honest.ReportData
		}
		failed := map[string]policy.Code{}
		for _, f := range judged.Check(ev, policy.Env{Now: testTime}).Findings {
			if !f.OK && !f.Skipped {
				failed[f.Rule] = f.Code
			}
		}
		return failed
	}
}
