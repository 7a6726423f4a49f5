package measuretest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"
	"go.uber.org/goleak"

	"cocoon/measure/dcap"
	"cocoon/measure/eventlog"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must[T any](tb testing.TB) func(v T, err error) T {
	tb.Helper()
	return func(v T, err error) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// The golden values change when anything that a seed decides changes: keys, certificates, nonces, collateral. Recorded
// seal data and images with a simulated root depend on them.
func TestASeedAlwaysGivesTheSameBytes(t *testing.T) {
	sum := func(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }
	p := platform(t)
	got := map[string]string{
		"root id":  p.RootID().String(),
		"root":     sum(p.RootCertificate().Raw),
		"quote v3": sum(quote(t, p, measuretest.Spec{Version: 3})),
		"quote v4": sum(quote(t, p, measuretest.Spec{})),
		"quote v5": sum(quote(t, p, measuretest.Spec{Version: 5})),
		"bundle":   sum(must[*dcap.Bundle](t)(p.Bundle()).Encode()),
		"log":      sum(must[[]byte](t)(p.EventLog())),
		"seal key": hex.EncodeToString(must[[]byte](t)(p.SealKey("disk_encryption"))),
	}
	for name, want := range golden() {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	again := platform(t)
	if !bytes.Equal(quote(t, again, measuretest.Spec{}), quote(t, p, measuretest.Spec{})) {
		t.Error("two platforms of one seed make different quotes")
	}
}

func golden() map[string]string {
	return map[string]string{
		"root id":  "9feb954b40f2e1d3197149f626ec4aac8640e0de4e658aaeedaea7c684a502c3aab15f52f6a91468fa8fdf680208a610",
		"root":     "0212ff036a4e86df4f580e0c080167a32911ba113f95d310e5fc08b603800af9",
		"quote v3": "15f50da2e94e714e0aaff691cbb690f8873df47e50ab3a85543e6c062ff76dd8",
		"quote v4": "162abc761727266dd11a5a1768b82ee70abf374b1d5b99be165d24465a50e6c6",
		"quote v5": "7f7f1d85bd17abe3a4b5ce8035030507cbf9809bfed3f2f45f47ab44bbb52838",
		"bundle":   "02464ce97fad5533b3a3ee309b25480ad0ea810c035f98392ff7d84c946a88f6",
		"log":      "66dd8dd1b46ea3c3300bcdf405c5355b3b99c48c45da3c3d09f89e477ef3663a",
		"seal key": "d85dcf8940c0087d5c5fc9821d4c258d4a4d23bffc72c1713fbb9347c2631ae4",
	}
}

func TestPlatformsOfOneSeedShareTheRootAndNothingElse(t *testing.T) {
	a := platform(t)
	b := platform(t, func(o *measuretest.Options) { o.Machine = 1; o.Now = testTime.AddDate(1, 0, 0) })
	c := platform(t, func(o *measuretest.Options) { o.Seed[0]++ })
	if !a.RootCertificate().Equal(b.RootCertificate()) || !a.Certificate(measuretest.PlatformCA).Equal(b.Certificate(measuretest.PlatformCA)) {
		t.Error("machines of one seed have different roots or authorities")
	}
	if a.Certificate(measuretest.PCK).Equal(b.Certificate(measuretest.PCK)) || a.RootID() == c.RootID() {
		t.Error("two machines have one PCK certificate, or two seeds one root")
	}
	report := b.Report([tdx.ReportDataSize]byte{})
	if err := a.CheckReport(report); !errors.Is(err, measuretest.ErrReportMAC) {
		t.Errorf("another machine's report: %v", err)
	}
	if bytes.Equal(must[[]byte](t)(a.SealKey("x")), must[[]byte](t)(b.SealKey("x"))) {
		t.Error("two machines have one seal key")
	}
	// One machine's collateral serves the other's quotes, as with Intel.
	q := quote(t, b, measuretest.Spec{})
	open := must[*dcap.Collateral](t)(dcap.Open(must[*dcap.Bundle](t)(a.Bundle()), a.Roots(), testTime))
	if r, err := dcap.NewVerifier(a.Roots(), 0).Verify(q, open, testTime); err != nil || r.PPID == [16]byte{} {
		t.Errorf("%v", err)
	}
}

func TestTheRootSaysThatItIsSimulated(t *testing.T) {
	p := platform(t)
	if got := p.RootCertificate().Subject.OrganizationalUnit; !slices.Equal(got, []string{"SIMULATED"}) {
		t.Errorf("the root's units are %q", got)
	}
	if p.RootID() == dcap.IntelRootID() || p.Roots().Has(dcap.IntelRootID()) {
		t.Error("the root is Intel's")
	}
	intel := dcap.IntelRoots()
	if _, err := dcap.Open(must[*dcap.Bundle](t)(p.Bundle()), intel, testTime); dcap.ClassOf(err) != dcap.ClassRoot {
		t.Errorf("Intel's root set: %v", err)
	}
}

// The shape that Intel's certificates have, which the oracle partly insists on.
func TestCertificatesAreShapedLikeIntels(t *testing.T) {
	p := platform(t)
	leaf := p.Certificate(measuretest.PCK)
	if len(leaf.Extensions) != 6 || leaf.IsCA || leaf.Issuer.CommonName != "Intel SGX PCK Platform CA" {
		t.Errorf("PCK certificate has %d extensions, CA %t, issuer %s", len(leaf.Extensions), leaf.IsCA, leaf.Issuer)
	}
	for _, role := range []measuretest.Role{measuretest.RootCA, measuretest.PlatformCA, measuretest.PCK, measuretest.TCBSigning} {
		c := p.Certificate(role)
		key, ok := c.PublicKey.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() || c.SignatureAlgorithm != x509.ECDSAWithSHA256 || c.Version != 3 || c.SerialNumber.BitLen() != 159 {
			t.Errorf("%s: %T, %s, version %d, serial of %d bits", c.Subject, c.PublicKey, c.SignatureAlgorithm, c.Version, c.SerialNumber.BitLen())
		}
		if !slices.Contains(c.Subject.Organization, "Intel Corporation") || len(c.CRLDistributionPoints) != 1 ||
			!strings.Contains(c.CRLDistributionPoints[0], ".invalid/") {
			t.Errorf("%s: distribution points %q", c.Subject, c.CRLDistributionPoints)
		}
	}
}

func TestReportsAreCheckedWhereTheyWereMade(t *testing.T) {
	p := platform(t, func(o *measuretest.Options) { o.TD.ServiceTD = tdx.Sum([]byte("service")) })
	data := [tdx.ReportDataSize]byte{1, 2, 3}
	report := p.Report(data)
	parsed := must[*tdx.Report](t)(tdx.ParseReport(report))
	if parsed.Body.ReportData != data || parsed.Body.Measurements != p.Measurements() || parsed.ServiceTDHash != tdx.Sum([]byte("service")) || report[2] != 1 {
		t.Errorf("report says %+v", parsed)
	}
	if err := p.CheckReport(report); err != nil {
		t.Error(err)
	}
	for at := range report {
		report[at] ^= 0x10
		if err := p.CheckReport(report); err == nil {
			t.Fatalf("a report with byte %d changed was accepted", at)
		}
		report[at] ^= 0x10
	}
	if err := p.CheckReport(report[:1023]); err == nil {
		t.Error("a short report was accepted")
	}
}

func TestRegistersFollowTheTDXRule(t *testing.T) {
	p := platform(t)
	before := p.Measurements()
	digest := tdx.Sum([]byte("event"))
	if err := p.Extend(tdx.RTMR3, digest); err != nil {
		t.Fatal(err)
	}
	after := p.Measurements()
	if after.RTMR[3] != (tdx.Digest{}).Extend(digest) || after.RTMR[0] != before.RTMR[0] || before.IsFake() {
		t.Errorf("registers are %s", after.RTMR)
	}
	body := must[*tdx.Quote](t)(tdx.ParseQuote(quote(t, p, measuretest.Spec{}))).TD
	if body.Measurements != after {
		t.Error("the quote does not have the TD's registers")
	}
	if v := must[tdx.Digest](t)(p.Read(tdx.RTMR3)); v != after.RTMR[3] {
		t.Errorf("RTMR3 reads as %s", v)
	}
	if v := must[tdx.Digest](t)(p.Read(tdx.MRTD)); v != after.MRTD {
		t.Errorf("MRTD reads as %s", v)
	}
	for _, r := range []tdx.Register{tdx.MRTD, tdx.RTMR3 + 1} {
		if err := p.Extend(r, digest); err == nil {
			t.Errorf("%s was extended", r)
		}
	}
	p.Reset()
	if p.Measurements() != before {
		t.Error("a reboot does not give the first registers")
	}
}

func TestTDsOfOnePlatformAreApart(t *testing.T) {
	p := platform(t)
	other := must[*measuretest.TD](t)(p.Launch(measuretest.TDOptions{Measurements: tdx.Measurements{MRTD: tdx.Sum([]byte("x")), RTMR: [4]tdx.Digest{{1}}}}))
	if err := other.Extend(tdx.RTMR3, tdx.Digest{}); err != nil {
		t.Fatal(err)
	}
	if m := p.Measurements(); !m.RTMR[3].IsZero() {
		t.Error("extending one TD changed the other")
	}
	q := must[[]byte](t)(other.Quote(t.Context(), [tdx.ReportDataSize]byte{}))
	if td := must[*tdx.Quote](t)(tdx.ParseQuote(q)).TD; td.MRTD != tdx.Sum([]byte("x")) || td.RTMR[0] != (tdx.Digest{1}) {
		t.Errorf("the quote is of MRTD %s", td.MRTD)
	}
}

// mr presents a register to the other implementation.
type mr struct {
	index int
	value tdx.Digest
}

func (m mr) Idx() int             { return m.index }
func (m mr) Dgst() []byte         { return m.value[:] }
func (m mr) DgstAlg() crypto.Hash { return crypto.SHA384 }

func TestTheEventLogReplaysToTheRegisters(t *testing.T) {
	p := platform(t)
	log := must[*eventlog.Log](t)(eventlog.Parse(must[[]byte](t)(p.EventLog()), eventlog.TD))
	results, err := log.Compare(p.Measurements().RTMR)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{3, 3, 3, 0} {
		if r := results[i]; !r.OK() || r.Events != want {
			t.Errorf("%s, want %d events", r, want)
		}
	}
	if bad := log.Recompute(); len(bad) != 0 {
		t.Errorf("digests that do not follow from their data: %+v", bad)
	}
	var mrs []register.MR
	for i, value := range p.Measurements().RTMR {
		mrs = append(mrs, mr{i + 1, value})
	}
	if events, err := tcg.ParseAndReplay(must[[]byte](t)(p.EventLog()), mrs, tcg.ParseOpts{AllowPadding: true}); err != nil || len(events) < 9 {
		t.Errorf("the other implementation replays %d events: %v", len(events), err)
	}
	table, err := eventlog.ParseTable(p.CCELTable())
	if err != nil || table.LogLength != 64<<10 {
		t.Errorf("table %+v, %v", table, err)
	}
}

func TestImpossiblePlatformsAreErrors(t *testing.T) {
	digest := tdx.Sum([]byte("x"))
	tests := map[string]struct {
		options measuretest.Options
		want    string
	}{
		"no time": {measuretest.Options{}, "Options.Now"},
		"log of another machine": {measuretest.Options{Now: testTime, TD: measuretest.TDOptions{
			Measurements: tdx.Measurements{MRTD: digest}, Events: measuretest.DefaultEvents(),
		}}, "replay"},
		"root that is none": {measuretest.Options{Now: testTime, EditCertificate: func(r measuretest.Role, c *x509.Certificate) {
			if r == measuretest.RootCA {
				c.IsCA, c.MaxPathLen = false, 0
			}
		}}, "CA"},
	}
	for name, tc := range tests {
		if _, err := measuretest.NewPlatform(tc.options); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tc.want)
		}
	}
	p := platform(t)
	for _, s := range []measuretest.Spec{{Version: 2}, {Version: 3, BodyType: 2}, {Version: 4, BodyType: 3}, {Version: 5, BodyType: 4}} {
		if _, err := p.QuoteWith(t.Context(), s); err == nil {
			t.Errorf("a quote of version %d with body %d was made", s.Version, s.BodyType)
		}
	}
	for _, label := range []string{"", strings.Repeat("x", 257)} {
		if _, err := p.SealKey(label); err == nil {
			t.Errorf("a seal key for %d characters was made", len(label))
		}
	}
	long := measuretest.Options{Now: testTime, TD: measuretest.TDOptions{Events: []measuretest.Event{{Register: tdx.RTMR0, Data: make([]byte, 64<<10)}}}}
	if _, err := must[*measuretest.Platform](t)(measuretest.NewPlatform(long)).EventLog(); err == nil {
		t.Error("a log longer than its buffer was written")
	}
}

func TestSealKeysBelongToWhatWasMeasured(t *testing.T) {
	p := platform(t)
	seen := map[string]string{}
	add := func(what string, key []byte) {
		t.Helper()
		for other, k := range seen {
			if k == string(key) {
				t.Errorf("%s and %s have one key", what, other)
			}
		}
		seen[what] = string(key)
	}
	add("disk", must[[]byte](t)(p.SealKey("disk_encryption")))
	add("app", must[[]byte](t)(p.SealKey("app")))
	debug := platform(t, func(o *measuretest.Options) { o.TD.Attributes = measuretest.AttributeDebug })
	add("debug TD's disk", must[[]byte](t)(debug.SealKey("disk_encryption")))
	if err := p.Extend(tdx.RTMR3, tdx.Digest{}); err != nil {
		t.Fatal(err)
	}
	add("disk after an extend", must[[]byte](t)(p.SealKey("disk_encryption")))
	p.Reset()
	if again := must[[]byte](t)(p.SealKey("disk_encryption")); string(again) != seen["disk"] {
		t.Error("the key after a reboot is another one")
	}
}

func BenchmarkQuote(b *testing.B) {
	p := platform(b)
	for b.Loop() {
		if _, err := p.Quote(b.Context(), [tdx.ReportDataSize]byte{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewPlatform(b *testing.B) {
	for b.Loop() {
		platform(b)
	}
}
