package dcap_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// model is the rule of attestation.md section 10.4, written down once more as plainly as it can be, on what encoding/json
// makes of the same text.
type model struct {
	ID        string
	TCBLevels []struct {
		TCB struct {
			SGXTCBComponents, TDXTCBComponents []struct{ SVN int }
			PCESVN                             int
		}
		TCBStatus   string
		AdvisoryIDs []string
	}
}

func (m *model) evaluate(components [16]byte, pceSVN uint16, tee [16]byte) (string, []string) {
	for _, level := range m.TCBLevels {
		reached := int(pceSVN) >= level.TCB.PCESVN
		for i, c := range level.TCB.SGXTCBComponents {
			reached = reached && int(components[i]) >= c.SVN
		}
		for i, c := range level.TCB.TDXTCBComponents {
			if i >= 2 || tee[1] == 0 {
				reached = reached && int(tee[i]) >= c.SVN
			}
		}
		if reached {
			slices.Sort(level.AdvisoryIDs)
			return level.TCBStatus, level.AdvisoryIDs
		}
	}
	return "Unrecognized", nil
}

// Random platforms near the levels of Intel's collateral get the model's status.
func TestLevelsAgreeWithTheModel(t *testing.T) {
	for _, name := range []string{"cos113_collateral.json", "tdx_quote_collateral.json", "tdx_quote_outdated_collateral.json", "sgx_quote_collateral.json"} {
		text := vectorBundle(t, name).TCBInfo
		m := new(model)
		if err := json.Unmarshal([]byte(text), m); err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]int)
		rapid.Check(t, func(r *rapid.T) {
			level := m.TCBLevels[rapid.IntRange(0, len(m.TCBLevels)-1).Draw(r, "level")].TCB
			near := func(name string, svn, limit int) int {
				return min(max(svn+rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, -1}).Draw(r, name), 0), limit)
			}
			var components, tee [16]byte
			for i, c := range level.SGXTCBComponents {
				components[i] = byte(near("component", c.SVN, 255))
			}
			for i, c := range level.TDXTCBComponents {
				tee[i] = byte(near("TDX component", c.SVN, 255))
			}
			tee[1] = byte(rapid.IntRange(0, 1).Draw(r, "module version"))
			pceSVN := uint16(near("PCESVN", level.PCESVN, 65535))
			want, advisories := m.evaluate(components, pceSVN, tee)
			got, ids, err := dcap.EvaluateTCB(text, components, pceSVN, tee)
			if err != nil || got.String() != want || !cmp.Equal(ids, advisories, cmpopts.EquateEmpty()) {
				r.Fatalf("components %v, PCESVN %d, TEE_TCB_SVN %v: %s %v, the model says %s %v (%v)", components, pceSVN, tee, got, ids, want, advisories, err)
			}
			seen[want]++
		})
		if len(seen) < 2 {
			t.Errorf("%s: only %v were reached, so little was compared", name, seen)
		}
	}
}

// The table of parsed values of the vectors' README.
func TestVectorsHaveTheirValues(t *testing.T) {
	for name, tc := range map[string]struct {
		fmspc      string
		components string // the first 8
		pceSVN     uint16
		teeTCBSVN  string
		attributes string
		reportData string // its beginning
	}{
		"cocoon_quote.dat":      {"90C06F000000", "3 3 2 2 4 1 0 5", 13, "070103", "0000001000000000", "d21efaa8"},
		"cos-113-tdx-quote.dat": {"00806F050000", "7 7 2 2 3 1 0 3", 11, "040107", "0000001000000000", "00000000"},
		"tdx_quote":             {"B0C06F000000", "3 3 2 2 4 1 0 5", 11, "060103", "0000001000000000", "9a9d48e7"},
		"quotev4.hex":           {"00806F050000", "6 6 2 2 3 1 0 3", 11, "040107", "0000001000000000", "00000000"},
		"tdx_quote_outdated":    {"90C06F000000", "3 3 2 2 4 1 0 3", 13, "070103", "0000001000000000", "d2142b64"},
		"sgx_quote":             {"00A067110000", "11 11 2 2 255 1 0 0", 13, "", "", ""},
	} {
		raw := vectorQuote(t, name)
		p, err := dcap.PlatformOf(raw)
		if err != nil || p.FMSPC.String() != tc.fmspc || p.PCEID != [2]byte{} {
			t.Errorf("%s: platform %s, want %s (%v)", name, p, tc.fmspc, err)
		}
		components, pceSVN, err := dcap.SVNsOf(raw)
		if got := strings.Trim(fmt.Sprintf("%d", components[:8]), "[]"); err != nil || got != tc.components || pceSVN != tc.pceSVN {
			t.Errorf("%s: components %s and PCESVN %d, want %s and %d (%v)", name, got, pceSVN, tc.components, tc.pceSVN, err)
		}
		q, err := tdx.ParseQuote(raw)
		if err != nil {
			t.Fatal(err)
		}
		if len(q.Signature.QEAuth) != 32 {
			t.Errorf("%s: QE auth of %d bytes", name, len(q.Signature.QEAuth))
		}
		if q.TD == nil {
			continue
		}
		got := []string{hex.EncodeToString(q.TD.TEETCBSVN[:3]), hex.EncodeToString(q.TD.TDAttributes[:]), hex.EncodeToString(q.TD.ReportData[:4])}
		if diff := cmp.Diff([]string{tc.teeTCBSVN, tc.attributes, tc.reportData}, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// The table of validity windows of the vectors' README.
func TestBundlesHaveTheirWindows(t *testing.T) {
	for name, tc := range map[string]struct {
		clock   string
		begins  [4]string // TCB info, QE identity, PCK CRL, root CRL
		ends    [4]string
		revoked int
		number  int
		ca      dcap.CA
	}{
		"cos113_collateral.json": {
			june,
			[4]string{"2025-06-04T09:51:38Z", "2025-06-04T09:40:18Z", "2025-06-19T10:00:35Z", "2025-03-20T11:21:57Z"},
			[4]string{"2025-07-04", "2025-07-04", "2025-07-19", "2026-04-03"},
			44, 17, dcap.PlatformCA,
		},
		"tdx_quote_collateral.json": {
			june,
			[4]string{"2025-06-19T10:16:03Z", "2025-06-19T10:32:27Z", "2025-06-19T10:00:35Z", "2025-03-20T11:21:57Z"},
			[4]string{"2025-07-19", "2025-07-19", "2025-07-19", "2026-04-03"},
			44, 17, dcap.PlatformCA,
		},
		"sgx_quote_collateral.json": {
			june,
			[4]string{"2025-06-19T10:56:11Z", "2025-06-19T10:01:18Z", "2025-06-19T10:23:18Z", "2025-03-20T11:21:57Z"},
			[4]string{"2025-07-19", "2025-07-19", "2025-07-19", "2026-04-03"},
			0, 17, dcap.ProcessorCA,
		},
		"tdx_quote_outdated_collateral.json": {
			"2026-02-19T00:00:00Z",
			[4]string{"2026-02-18T10:58:51Z", "2026-02-18T10:42:15Z", "2026-02-18T10:41:15Z", "2025-03-20T11:21:57Z"},
			[4]string{"2026-03-20", "2026-03-20", "2026-03-20", "2026-04-03"},
			57, 18, dcap.PlatformCA,
		},
	} {
		_, c := opened(t, name, tc.clock)
		for i, part := range c.Parts() {
			if got := part.From.Format(time.RFC3339); got != tc.begins[i] {
				t.Errorf("%s: %s begins %s, want %s", name, part.Kind, got, tc.begins[i])
			}
			if got := part.To.Format(time.DateOnly); got != tc.ends[i] {
				t.Errorf("%s: %s ends %s, want %s", name, part.Kind, got, tc.ends[i])
			}
		}
		pck, root := c.Revoked()
		if pck != tc.revoked || root != 0 || c.EvaluationNumber() != tc.number || c.CA() != tc.ca || c.Root() != dcap.IntelRootID() {
			t.Errorf("%s: %d and %d revoked, number %d, %s CA, root %s", name, pck, root, c.EvaluationNumber(), c.CA(), c.Root())
		}
	}
}

// The answers of the vectors assemble with the issuer chains of another bundle; their CRL was made after their TCB info
// had ended, so that no clock opens them together.
func TestPiecesOfDifferentTimesNeverOpen(t *testing.T) {
	chains := vectorBundle(t, "tdx_quote_collateral.json")
	b, err := dcap.Assemble([]dcap.Response{
		{Kind: dcap.TCBInfo, Body: golden.Vector(t, "attestation/tcbinfov3_00806f050000.json"), IssuerChain: chains.TCBInfoIssuerChain},
		{Kind: dcap.QEIdentity, Body: golden.Vector(t, "attestation/qe_td.json"), IssuerChain: chains.QEIdentityIssuerChain},
		{Kind: dcap.PCKCRL, Body: golden.Vector(t, "attestation/pck_platform_crl.der"), IssuerChain: chains.PCKCRLIssuerChain},
		{Kind: dcap.RootCRL, Body: golden.Vector(t, "attestation/intel_root_ca_crl.der")},
	})
	if err != nil {
		t.Fatal(err)
	}
	classes := make(map[dcap.Class]int)
	for now := at(t, "2025-05-01T00:00:00Z"); now.Before(at(t, "2025-09-01T00:00:00Z")); now = now.Add(24 * time.Hour) {
		_, err := dcap.Open(b, dcap.IntelRoots(), now)
		classes[dcap.ClassOf(err)]++
	}
	if len(classes) != 2 || classes[dcap.ClassCollateralExpired] == 0 || classes[dcap.ClassCollateralNotYetValid] == 0 {
		t.Errorf("got %v, want only expired and not yet valid", classes)
	}
	b.PCKCRL = chains.PCKCRL
	r, err := verify(t, vectorQuote(t, "cos-113-tdx-quote.dat"), b, at(t, june))
	if err != nil || r.Combined != dcap.UpToDate {
		t.Errorf("with a list of their time: %+v (%v)", r, err)
	}
}

// Whatever bit of collateral changes, it is refused: everything in it is signed, or its form is fixed.
func TestEveryFlippedBitOfCollateralIsRefused(t *testing.T) {
	b := newScene(t, tdx.TDX).build(t)
	fields := map[string]struct {
		text *string
		hex  bool
	}{
		"PCK CRL issuer chain": {&b.bundle.PCKCRLIssuerChain, false}, "root CRL": {&b.bundle.RootCACRL, true}, "PCK CRL": {&b.bundle.PCKCRL, true},
		"TCB info issuer chain": {&b.bundle.TCBInfoIssuerChain, false}, "TCB info": {&b.bundle.TCBInfo, false}, "TCB info signature": {&b.bundle.TCBInfoSignature, true},
		"QE issuer chain": {&b.bundle.QEIdentityIssuerChain, false}, "QE identity": {&b.bundle.QEIdentity, false}, "QE signature": {&b.bundle.QEIdentitySignature, true},
	}
	for name, f := range fields {
		good := *f.text
		for i := range good {
			for bit := range 8 {
				if !group("vectors") && (3*i+bit)%41 != 0 {
					continue
				}
				bad := []byte(good)
				bad[i] ^= 1 << bit
				if f.hex && strings.EqualFold(string(bad), good) {
					continue // the same bytes
				}
				*f.text = string(bad)
				if _, err := dcap.Open(b.bundle, b.roots, b.now); dcap.ClassOf(err) == "" {
					t.Errorf("%s: bit %d of byte %d is not protected: %v", name, bit, i, err)
				}
			}
		}
		*f.text = good
	}
	if _, err := b.verify(); err != nil {
		t.Fatal(err)
	}
}
