package dcap_test

import (
	_ "embed"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/dcap"
	"cocoon/tests/golden"
)

//go:embed intel_sgx_root_ca.pem
var intelRoot string

// june is when the collateral of most vectors is valid.
const june = "2025-06-20T00:00:00Z"

// vectorQuote reads a quote of the attestation vectors.
func vectorQuote(tb testing.TB, name string) []byte {
	tb.Helper()
	raw := golden.Vector(tb, "attestation/"+name)
	if strings.HasSuffix(name, ".hex") {
		raw = golden.Hex(tb, strings.TrimSpace(string(raw)))
	}
	return raw
}

func vectorBundle(tb testing.TB, name string) *dcap.Bundle {
	tb.Helper()
	b, err := dcap.ParseBundle(golden.Vector(tb, "attestation/"+name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// verify opens a bundle and verifies a quote with it, at one time and with Intel's root.
func verify(tb testing.TB, quote []byte, b *dcap.Bundle, now time.Time) (*dcap.Result, error) {
	tb.Helper()
	c, err := dcap.Open(b, dcap.IntelRoots(), now)
	if err != nil {
		return nil, err
	}
	return dcap.NewVerifier(dcap.IntelRoots(), 16).Verify(quote, c, now)
}

type statuses struct {
	Combined, Platform, Module, QE dcap.Status
}

// The table of expected verdicts of the vectors' README, row by row.
func TestVectorsGiveTheirVerdicts(t *testing.T) {
	allUpToDate := statuses{dcap.UpToDate, dcap.UpToDate, dcap.UpToDate, dcap.UpToDate}
	for name, tc := range map[string]struct {
		quote, bundle, clock string
		want                 statuses
		advisories           []string
		class                dcap.Class
		reason               string
	}{
		"cos-113":              {"cos-113-tdx-quote.dat", "cos113_collateral.json", june, allUpToDate, nil, "", ""},
		"cos-113, CRL ahead":   {"cos-113-tdx-quote.dat", "cos113_collateral_future_crl.json", june, statuses{}, nil, dcap.ClassCollateralNotYetValid, "PCK CRL"},
		"cos-113, expired":     {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-07-04T09:51:39Z", statuses{}, nil, dcap.ClassCollateralExpired, "TCB info"},
		"cos-113, last second": {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-07-04T09:40:18Z", allUpToDate, nil, "", ""},
		"cos-113, 301 s early": {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-06-19T09:55:34Z", statuses{}, nil, dcap.ClassCollateralNotYetValid, "PCK CRL"},
		"cos-113, 300 s early": {"cos-113-tdx-quote.dat", "cos113_collateral.json", "2025-06-19T09:55:35Z", allUpToDate, nil, "", ""},
		"quotev4": {
			"quotev4.hex", "cos113_collateral.json", june,
			statuses{dcap.OutOfDate, dcap.OutOfDate, dcap.UpToDate, dcap.UpToDate},
			[]string{"INTEL-SA-00960", "INTEL-SA-00982", "INTEL-SA-00986"},
			"", "",
		},
		"tdx_quote":    {"tdx_quote", "tdx_quote_collateral.json", june, allUpToDate, nil, "", ""},
		"cocoon_quote": {"cocoon_quote.dat", "tdx_quote_outdated_collateral.json", "2026-02-19T00:00:00Z", allUpToDate, nil, "", ""},
		"tdx_quote_outdated": {
			"tdx_quote_outdated", "tdx_quote_outdated_collateral.json", "2026-02-19T00:00:00Z",
			statuses{dcap.Unrecognized, dcap.Unrecognized, dcap.UpToDate, dcap.UpToDate},
			nil, "", "",
		},
		"sgx_quote": {
			"sgx_quote", "sgx_quote_collateral.json", june,
			statuses{dcap.ConfigurationAndSWHardeningNeeded, dcap.ConfigurationAndSWHardeningNeeded, dcap.NoStatus, dcap.UpToDate},
			[]string{"INTEL-SA-00289", "INTEL-SA-00615"},
			"", "",
		},
		"tdx_quote, 2024": {"tdx_quote", "tdx_quote_collateral.json", "2024-01-01T00:00:00Z", statuses{}, nil, dcap.ClassCollateralNotYetValid, ""},
		"sgx_quote, 2024": {"sgx_quote", "sgx_quote_collateral.json", "2024-01-01T00:00:00Z", statuses{}, nil, dcap.ClassCollateralNotYetValid, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := verify(t, vectorQuote(t, tc.quote), vectorBundle(t, tc.bundle), at(t, tc.clock))
			if tc.class != "" {
				if dcap.ClassOf(err) != tc.class || !strings.Contains(err.Error(), tc.reason) {
					t.Fatalf("got %q: %v, want %s with %q", dcap.ClassOf(err), err, tc.class, tc.reason)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", dcap.ClassOf(err), err)
			}
			if diff := cmp.Diff(tc.want, statuses{r.Combined, r.PlatformStatus, r.ModuleStatus, r.QEStatus}); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.advisories, r.Advisories); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func hexBytes(tb testing.TB, text string) []byte {
	tb.Helper()
	return golden.Hex(tb, text)
}
