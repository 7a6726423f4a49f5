package collateral

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/dcap"
	"cocoon/tests/pcstest"
)

func TestDescriptionSaysWhatIsInABundle(t *testing.T) {
	d, err := Describe(pcstest.Vector(t, "tdx_quote_collateral"), dcap.IntelRoots(), pcstest.Real())
	if err != nil {
		t.Fatal(err)
	}
	if !d.Genuine || !d.Valid || !d.IntelRoot || d.Platform != "tdx-B0C06F000000-platform" || d.EvaluationNumber != 17 {
		t.Errorf("%+v", d)
	}
	want := []PartDescription{
		{Kind: "tcb_info", Issued: "2025-06-19T10:16:03Z", Expires: "2025-07-19T10:16:03Z", Signer: "Intel SGX TCB Signing"},
		{Kind: "qe_identity", Issued: "2025-06-19T10:32:27Z", Expires: "2025-07-19T10:32:27Z", Signer: "Intel SGX TCB Signing"},
		{Kind: "pck_crl", Issued: "2025-06-19T10:00:35Z", Expires: "2025-07-19T10:00:35Z", Signer: "Intel SGX PCK Platform CA"},
		{Kind: "root_crl", Issued: "2025-03-20T11:21:57Z", Expires: "2026-04-03T11:21:57Z", Signer: "Intel SGX Root CA"},
	}
	revoked := d.Parts[2].Revoked
	if revoked == nil || *revoked != 44 {
		t.Errorf("the PCK CRL has %v entries, want 44", revoked)
	}
	for i := range d.Parts {
		d.Parts[i].Revoked = nil
	}
	if diff := cmp.Diff(want, d.Parts); diff != "" {
		t.Errorf("parts differ (-want +got):\n%s", diff)
	}
	if d.Expires != "2025-07-19T10:00:35Z" || !d.ExpiresAt().Equal(pcstest.Real().AddDate(0, 0, 29).Add(10*60*60e9+35e9)) {
		t.Errorf("expires %s, %s", d.Expires, d.ExpiresAt())
	}
	if len(d.Levels) == 0 || len(d.Modules) == 0 || len(d.Enclave) == 0 {
		t.Fatalf("no levels: %+v", d)
	}
	first := d.Levels[0]
	if first.Status != "UpToDate" || !strings.HasPrefix(first.Needs(), "SGX ") || !strings.Contains(first.Needs(), ", TDX ") ||
		!strings.Contains(first.Needs(), ", PCE ") {
		t.Errorf("first level %+v: %s", first, first.Needs())
	}
	if last := d.Levels[len(d.Levels)-1]; len(last.Advisories) == 0 {
		t.Errorf("the lowest level has no advisories: %+v", last)
	}
	if m := d.Modules[0]; m.ID != "TDX_01" && m.ID != "TDX_03" || !strings.HasPrefix(m.Levels[0].Needs(), "SVN ") {
		t.Errorf("module %+v", m)
	}
}

func TestDescriptionTellsExpiredFromForged(t *testing.T) {
	expired, err := Describe(pcstest.Vector(t, "tdx_quote_collateral"), dcap.IntelRoots(), pcstest.Real().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if !expired.Genuine || expired.Valid || expired.Class != string(dcap.ClassCollateralExpired) || len(expired.Levels) == 0 {
		t.Errorf("%+v", expired)
	}
	b := pcstest.Vector(t, "tdx_quote_collateral")
	b.TCBInfo = strings.Replace(b.TCBInfo, "OutOfDate", "UpToDate", 1)
	forged, err := Describe(b, dcap.IntelRoots(), pcstest.Real())
	if err != nil {
		t.Fatal(err)
	}
	if forged.Genuine || forged.Valid || forged.Class != string(dcap.ClassCollateralSignature) || len(forged.Parts)+len(forged.Levels) > 0 || !forged.ExpiresAt().IsZero() {
		t.Errorf("%+v", forged)
	}
	simulated, err := Describe(pcstest.Issued(t, pcstest.Platform(t), 0), dcap.IntelRoots(), pcstest.Start())
	if err != nil || simulated.Genuine || simulated.Class != string(dcap.ClassRoot) {
		t.Errorf("%+v, %v", simulated, err)
	}
}

func TestAFileIsDescribedEvenIfItIsNoBundle(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		data  string
		class dcap.Class
	}{
		"empty":     {"", dcap.ClassCollateralMalformed},
		"cut":       {string(pcstest.Vector(t, "tdx_quote_collateral").Encode()[:500]), dcap.ClassCollateralMalformed},
		"no object": {"[]", dcap.ClassCollateralMalformed},
		"whole":     {string(pcstest.Vector(t, "tdx_quote_collateral").Encode()), ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name+".json")
			if err := os.WriteFile(file, []byte(tc.data), 0o644); err != nil {
				t.Fatal(err)
			}
			d, err := DescribeFile(file, dcap.IntelRoots(), pcstest.Real())
			if err != nil || d.Class != string(tc.class) || d.Genuine != (tc.class == "") {
				t.Errorf("%+v, %v", d, err)
			}
			if tc.class != "" && !strings.Contains(d.Error, file) {
				t.Errorf("the file is not named: %s", d.Error)
			}
		})
	}
	_, err := DescribeFile(filepath.Join(dir, "missing"), dcap.IntelRoots(), pcstest.Real())
	pcstest.Contains(t, err, "missing")
}

func TestNeedsAreShort(t *testing.T) {
	n := 7
	for want, l := range map[string]Level{
		"SGX 1 2, TDX 0, PCE 7": {SGX: []int{1, 2, 0, 0}, TDX: []int{0, 0}, PCESVN: &n},
		"SVN 7":                 {SVN: &n},
		"":                      {},
	} {
		if got := l.Needs(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
