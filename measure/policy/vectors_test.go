package policy_test

import (
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/tests/golden"
)

// TestVectorsUnderPolicies: genuine quotes, at the clock of their collateral, under the defaults with their own image
// listed and under policies that differ from those in one setting.
func TestVectorsUnderPolicies(t *testing.T) {
	const june, february = "2025-06-20T00:00:00Z", "2026-02-19T00:00:00Z"
	const (
		cos      = `"allowed_image_hashes":"650008ebb5eca49031b6b76e07ba4a88b8602371e46edcc7d8a6175a0e1e9101"`
		older    = `"allowed_image_hashes":"e64e2e763a99b9bf0aa6006a46c312d6cd15eff8ae2f82c7bc69a84d51a5057d"`
		outdated = `"allowed_image_hashes":"571b21ee55a24c3adab8b2ff2973b1fce7de566dedbacc3b31e7bb82fe168913"`
		plain    = `"allowed_image_hashes":"b260fa9168ca9f28e7f15f128a45ac31c419705b31a60feac30b322ee06bc752"`
		network  = `"allowed_image_hashes":"04b3afd931d28680af91a15b09d672c40ad6b141f7f9089a8d67d595220f7436"`
		enclaves = `"allowed_mrenclave":["33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb"]`
		healthy  = `"tcb":{"advisories":["INTEL-SA-00289","INTEL-SA-00615"]}`
		graced   = `"advisories":["INTEL-SA-00960","INTEL-SA-00982","INTEL-SA-00986"]`
	)
	for name, tc := range map[string]struct {
		quote, bundle, clock, typ, rules string
		want                             policy.Code
	}{
		"cos-113":                    {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, "tdx", cos, policy.OK},
		"cos-113, another image":     {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, "tdx", older, policy.Image},
		"cos-113, nothing listed":    {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, "tdx", `"require_v2":false`, policy.PolicyEmpty},
		"cos-113, platform denied":   {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, "tdx", cos + `,"fmspc":{"deny":["00806F050000"]}`, policy.Platform},
		"cos-113, newer collateral":  {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, "tdx", cos + `,"tcb":{"min_evaluation_number":18}`, policy.CollateralRollback},
		"cos-113, collateral ahead":  {"cos-113-tdx-quote.dat", "cos113_collateral_future_crl.json", june, "tdx", cos, "collateral_not_yet_valid"},
		"cos-113, collateral over":   {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-07-04T09:51:39Z", "tdx", cos, policy.CollateralExpired},
		"cos-113 for an enclave":     {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, "sgx", enclaves, policy.QuoteType},
		"quotev4":                    {"quotev4.hex", "cos113_collateral.json", june, "tdx", older, policy.TCBStatus},
		"quotev4, accepted":          {"quotev4.hex", "cos113_collateral.json", june, "tdx", older + `,"tcb":{"accepted":["OutOfDate"],` + graced + `}`, policy.OK},
		"quotev4, no advisories":     {"quotev4.hex", "cos113_collateral.json", june, "tdx", older + `,"tcb":{"accepted":["OutOfDate"]}`, policy.TCBStatus},
		"quotev4, long grace":        {"quotev4.hex", "cos113_collateral.json", june, "tdx", older + `,"tcb":{"grace_days":3650,` + graced + `}`, policy.OK},
		"quotev4, short grace":       {"quotev4.hex", "cos113_collateral.json", june, "tdx", older + `,"tcb":{"grace_days":7,` + graced + `}`, policy.TCBStatus},
		"tdx_quote":                  {"tdx_quote", "tdx_quote_collateral.json", june, "tdx", plain, policy.OK},
		"tdx_quote, others' bundle":  {"tdx_quote", "cos113_collateral.json", june, "tdx", plain, "collateral_mismatch"},
		"cocoon_quote":               {"cocoon_quote.dat", "tdx_quote_outdated_collateral.json", february, "tee", network, policy.OK},
		"tdx_quote_outdated":         {"tdx_quote_outdated", "tdx_quote_outdated_collateral.json", february, "tdx", outdated, policy.TCBStatus},
		"sgx_quote":                  {"sgx_quote", "sgx_quote_collateral.json", june, "sgx", enclaves + "," + healthy, policy.OK},
		"sgx_quote, no advisories":   {"sgx_quote", "sgx_quote_collateral.json", june, "sgx", enclaves, policy.TCBStatus},
		"sgx_quote, strict":          {"sgx_quote", "sgx_quote_collateral.json", june, "sgx", enclaves + `,"tcb":{"accepted":["UpToDate"]}`, policy.TCBStatus},
		"sgx_quote for a TD":         {"sgx_quote", "sgx_quote_collateral.json", june, "tdx", network, policy.QuoteType},
		"crafted, signed size 10":    {"crafted_signed_size_10.bin", "tdx_quote_collateral.json", june, "tdx", plain, policy.QuoteParse},
		"crafted, signed size 0x82":  {"crafted_signed_size_0x82.bin", "tdx_quote_collateral.json", june, "tdx", plain, policy.QuoteParse},
		"crafted, QE auth of 0xffff": {"crafted_qe_auth_0xffff.bin", "tdx_quote_collateral.json", june, "tdx", plain, policy.QuoteParse},
	} {
		t.Run(name, func(t *testing.T) {
			quote := golden.Vector(t, "attestation/"+tc.quote)
			if strings.HasSuffix(tc.quote, ".hex") {
				quote = golden.Hex(t, strings.TrimSpace(string(quote)))
			}
			clock, err := time.Parse(time.RFC3339, tc.clock)
			if err != nil {
				t.Fatal(err)
			}
			p, err := policy.Parse([]byte(`{"type":"` + tc.typ + `",` + tc.rules + `}`))
			if err != nil {
				t.Fatal(err)
			}
			ev := policy.Evidence{ReportDataOK: true, CertLifetime: 24 * time.Hour}
			ev.Quote, ev.Err = verify(t, quote, golden.Vector(t, "attestation/"+tc.bundle), clock)
			if v := p.Check(ev, policy.Env{Now: clock}); v.Code != tc.want || v.OK != (tc.want == policy.OK) {
				t.Errorf("code %s, want %s: %v", v.Code, tc.want, v.Err())
			}
		})
	}
}

func verify(t *testing.T, quote, bundle []byte, now time.Time) (*dcap.Result, error) {
	t.Helper()
	b, err := dcap.ParseBundle(bundle)
	if err != nil {
		return nil, err
	}
	c, err := dcap.Open(b, dcap.IntelRoots(), now)
	if err != nil {
		return nil, err
	}
	return dcap.NewVerifier(dcap.IntelRoots(), 4).Verify(quote, c, now)
}
