package dcap_test

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

func TestEveryKindOfQuoteVerifies(t *testing.T) {
	td15 := func(s *scene) {
		s.version, s.td.Service = 5, &tdx.ServiceTD{TEETCBSVN2: [16]byte{9}, MRServiceTD: tdx.Digest{9}}
	}
	for name, tc := range map[string]struct {
		tee  tdx.TEEType
		edit func(s *scene)
	}{
		"v4 TD":     {tdx.TDX, func(*scene) {}},
		"v5 TD 1.0": {tdx.TDX, func(s *scene) { s.version = 5 }},
		"v5 TD 1.5": {tdx.TDX, td15},
		"v3 SGX":    {tdx.SGX, func(*scene) {}},
		"v4 SGX":    {tdx.SGX, func(s *scene) { s.version = 4 }},
		"v5 SGX":    {tdx.SGX, func(s *scene) { s.version = 5 }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, tc.tee)
			tc.edit(s)
			b := s.build(t)
			r, err := b.verify()
			if err != nil {
				t.Fatalf("%s: %v", dcap.ClassOf(err), err)
			}
			want := &dcap.Result{
				Combined: dcap.UpToDate, PlatformStatus: dcap.UpToDate, ModuleStatus: dcap.UpToDate, QEStatus: dcap.UpToDate,
				TCBDate: at(t, "2024-03-13T00:00:00Z"), NewestTCBDate: at(t, "2024-03-13T00:00:00Z"),
				FMSPC: dcap.FMSPC(s.ext.fmspc), PCEID: [2]byte{0, 1}, CA: dcap.PlatformCA,
				PPID: [16]byte(s.ext.ppid), PIID: [16]byte(s.ext.piid), HasPIID: true,
				EvaluationNumber: 17, CollateralExpires: at(t, "2025-07-10T00:00:00Z"),
				ChainExpires: s.pck.NotAfter,
			}
			if tc.tee == tdx.SGX {
				want.ModuleStatus = dcap.NoStatus
			}
			if diff := cmp.Diff(want, r, cmpopts.IgnoreFields(dcap.Result{}, "Quote", "Root", "Generation")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(s.td, r.Quote.TD); diff != "" || int(r.Quote.Version) != s.version || !b.roots.Has(r.Root) {
				t.Errorf("version %d, root %s, body %s", r.Quote.Version, r.Root, diff)
			}
			if p, err := dcap.PlatformOf(b.quote); err != nil || p != r.Platform() {
				t.Errorf("platform %v before, %v after verification (%v)", p, r.Platform(), err)
			}
		})
	}
}

// A result ends with the first of the quote's certificates to end, whichever that is.
func TestResultsEndWithTheirCertificates(t *testing.T) {
	for name, certificate := range map[string]func(*scene) *x509.Certificate{
		"PCK":  func(s *scene) *x509.Certificate { return &s.pck },
		"CA":   func(s *scene) *x509.Certificate { return &s.ca },
		"root": func(s *scene) *x509.Certificate { return &s.root },
	} {
		s := newScene(t, tdx.TDX)
		end := s.now.AddDate(0, 0, 3)
		certificate(s).NotAfter = end
		b := s.build(t)
		r, err := b.verify()
		if err != nil || !r.ChainExpires.Equal(end) {
			t.Fatalf("%s: ends at %v, want %s (%v)", name, r, end, err)
		}
		for after, want := range map[time.Duration]dcap.Class{0: "", time.Second: dcap.ClassChain} {
			if _, err := dcap.NewVerifier(b.roots, 0).VerifySignatures(b.quote, end.Add(after)); dcap.ClassOf(err) != want {
				t.Errorf("%s: %s after the end: %v", name, after, err)
			}
		}
	}
}

// Each edit must change the statuses to exactly these and leave every other check passing.
func TestLevelsGiveTheirStatus(t *testing.T) {
	const (
		up, old, sw, conf, both = dcap.UpToDate, dcap.OutOfDate, dcap.SWHardeningNeeded, dcap.ConfigurationNeeded, dcap.ConfigurationAndSWHardeningNeeded
		oldConf, unknown, gone  = dcap.OutOfDateConfigurationNeeded, dcap.Unrecognized, dcap.Revoked
	)
	component := func(i, svn int) func(s *scene) { return func(s *scene) { s.ext.components[i] = svn } }
	teeSVN := func(i int, svn byte) func(s *scene) { return func(s *scene) { s.td.TEETCBSVN[i] = svn } }
	platform := func(name string) func(s *scene) {
		return func(s *scene) {
			at := strings.LastIndex(s.tcbInfo, `"tcbStatus":"UpToDate"`)
			s.tcbInfo = s.tcbInfo[:at] + mustReplace(s.tcbInfo[at:], "UpToDate", name)
		}
	}
	module := func(name string) func(s *scene) { return replaceTCB("UpToDate", name) }
	qe := func(name string) func(s *scene) { return replaceQE("UpToDate", name) }
	platformOld := []string{"INTEL-SA-00001", "INTEL-SA-00002"}
	type row struct {
		edits      edits
		want       statuses
		advisories []string
	}
	rows := map[string]row{
		"newer":          {edits{component(3, 9), teeSVN(2, 9), teeSVN(0, 9), func(s *scene) { s.qe.ISVSVN, s.ext.pceSVN = 9, 12 }}, statuses{up, up, up, up}, nil},
		"PCESVN":         {edits{func(s *scene) { s.ext.pceSVN = 10 }}, statuses{old, old, up, up}, platformOld},
		"PCESVN, lowest": {edits{func(s *scene) { s.ext.pceSVN = 5 }}, statuses{old, old, up, up}, platformOld},
		"PCESVN, below":  {edits{func(s *scene) { s.ext.pceSVN = 4 }}, statuses{unknown, unknown, up, up}, nil},
		"module":         {edits{teeSVN(0, 3)}, statuses{old, up, old, up}, []string{"INTEL-SA-00003"}},
		"module, lowest": {edits{teeSVN(0, 2)}, statuses{old, up, old, up}, []string{"INTEL-SA-00003"}},
		"module, below":  {edits{teeSVN(0, 1)}, statuses{unknown, up, unknown, up}, nil},
		"QE":             {edits{func(s *scene) { s.qe.ISVSVN = 3 }}, statuses{old, up, up, old}, []string{"INTEL-SA-00001", "INTEL-SA-00004"}},
		"QE, below":      {edits{func(s *scene) { s.qe.ISVSVN = 1 }}, statuses{unknown, up, up, unknown}, nil},
		"all three": {
			edits{teeSVN(0, 3), component(0, 2), func(s *scene) { s.qe.ISVSVN = 3 }},
			statuses{old, old, old, old},
			[]string{"INTEL-SA-00001", "INTEL-SA-00002", "INTEL-SA-00003", "INTEL-SA-00004"},
		},
		"hardening":                {edits{platform("SWHardeningNeeded")}, statuses{sw, sw, up, up}, nil},
		"configuration":            {edits{platform("ConfigurationNeeded")}, statuses{conf, conf, up, up}, nil},
		"both":                     {edits{platform("ConfigurationAndSWHardeningNeeded")}, statuses{both, both, up, up}, nil},
		"configuration, old QE":    {edits{platform("ConfigurationNeeded"), qe("OutOfDate")}, statuses{oldConf, conf, up, old}, nil},
		"both, old module":         {edits{platform("ConfigurationAndSWHardeningNeeded"), module("OutOfDate")}, statuses{oldConf, both, old, up}, nil},
		"hardening, old module":    {edits{platform("SWHardeningNeeded"), module("OutOfDate")}, statuses{old, sw, old, up}, nil},
		"old with configuration":   {edits{platform("OutOfDateConfigurationNeeded")}, statuses{oldConf, oldConf, up, up}, nil},
		"revoked":                  {edits{platform("Revoked")}, statuses{gone, gone, up, up}, nil},
		"revoked module":           {edits{module("Revoked")}, statuses{gone, up, gone, up}, nil},
		"revoked QE":               {edits{qe("Revoked")}, statuses{gone, up, up, gone}, nil},
		"revoked QE, unrecognized": {edits{qe("Revoked"), component(0, 0)}, statuses{gone, unknown, up, gone}, nil},
		// A module of major version 0 has no levels of its own, and all its SVNs count for the platform's level.
		"module version 0":      {edits{teeSVN(1, 0), teeSVN(0, 5)}, statuses{up, up, dcap.NoStatus, up}, nil},
		"module version 0, old": {edits{teeSVN(1, 0), teeSVN(0, 4)}, statuses{unknown, unknown, dcap.NoStatus, up}, nil},
	}
	for i := range 16 {
		rows[fmt.Sprintf("component %d", i+1)] = row{edits{component(i, 2)}, statuses{old, old, up, up}, platformOld}
		rows[fmt.Sprintf("component %d, below", i+1)] = row{edits{component(i, 1)}, statuses{unknown, unknown, up, up}, nil}
		if i >= 3 {
			rows[fmt.Sprintf("TDX component %d", i)] = row{edits{teeSVN(i, 0)}, statuses{old, old, up, up}, platformOld}
		}
	}
	for name, tc := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, tdx.TDX)
			for _, edit := range tc.edits {
				edit(s)
			}
			r, err := s.build(t).verify()
			if err != nil {
				t.Fatalf("%s: %v", dcap.ClassOf(err), err)
			}
			if diff := cmp.Diff(tc.want, statuses{r.Combined, r.PlatformStatus, r.ModuleStatus, r.QEStatus}); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.advisories, r.Advisories, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestModulesAreIdentified(t *testing.T) {
	refused(t, tdx.TDX, map[string]change{
		"version unknown": {dcap.ClassTCBStatus, "TDX_0", edits{
			func(s *scene) { s.td.TEETCBSVN[1] = 2 },
			replaceTCB(`"TDX_01"`, `"TDX_03"`),
			replaceTCB(`"tdxModuleIdentities"`, `"modules"`),
		}},
		"signer": {dcap.ClassSEAM, "MRSIGNERSEAM", edits{
			func(s *scene) { s.td.MRSignerSEAM[0]++ },
			func(s *scene) { s.td.MRSignerSEAM = tdx.Digest{} },
			func(s *scene) { s.td.MRSignerSEAM[47]++; s.td.TEETCBSVN[0], s.td.TEETCBSVN[1] = 5, 0 },
		}},
		"attributes": {dcap.ClassSEAM, "SEAMATTRIBUTES", edits{
			func(s *scene) { s.td.SEAMAttributes[0] = 1 },
			func(s *scene) { s.td.SEAMAttributes[7] = 0x80 },
			func(s *scene) { s.td.SEAMAttributes[3] = 1; s.td.TEETCBSVN[0], s.td.TEETCBSVN[1] = 5, 0 },
		}},
		"described twice": {dcap.ClassCollateralMalformed, "appears twice", edits{func(s *scene) {
			at := strings.Index(s.tcbInfo, `{"id":"TDX_01"`)
			end := strings.Index(s.tcbInfo, `],"tcbLevels":[{"tcb":{"sgx`)
			s.tcbInfo = s.tcbInfo[:end] + "," + s.tcbInfo[at:end] + s.tcbInfo[end:]
		}}},
	})
	hex := newScene(t, tdx.TDX)
	hex.td.TEETCBSVN[1] = 0x1f
	replaceTCB("TDX_01", "TDX_1F")(hex)
	if r, err := hex.build(t).verify(); err != nil || r.ModuleStatus != dcap.UpToDate {
		t.Errorf("module version 0x1f: %+v (%v)", r, err)
	}
	s := newScene(t, tdx.TDX)
	s.td.SEAMAttributes[5] = 4
	s.tcbInfo = strings.ReplaceAll(s.tcbInfo, "FFFFFFFFFFFFFFFF", "FFFFFFFFFF00FFFF")
	if _, err := s.build(t).verify(); err != nil {
		t.Errorf("an attribute outside the mask: %v", err)
	}
}

func TestDatesOfLevels(t *testing.T) {
	day := func(text string) time.Time { return at(t, text+"T00:00:00Z") }
	for name, tc := range map[string]struct {
		edit         func(s *scene)
		date, newest time.Time
	}{
		"up to date":   {func(*scene) {}, day("2024-03-13"), day("2024-03-13")},
		"old platform": {func(s *scene) { s.ext.pceSVN = 5 }, day("2023-08-09"), day("2024-03-13")},
		"old module":   {func(s *scene) { s.td.TEETCBSVN[0] = 2 }, day("2023-01-01"), day("2024-03-13")},
		"old QE, newer level later": {func(s *scene) {
			s.qe.ISVSVN = 2
			replaceQE("2024-03-13", "2025-01-01")(s)
		}, day("2023-02-02"), day("2025-01-01")},
		"old QE and platform: the first to lack an update counts": {func(s *scene) {
			s.qe.ISVSVN, s.ext.pceSVN = 2, 5
			replaceQE("2024-03-13", "2025-01-01")(s)
		}, day("2023-02-02"), day("2024-03-13")},
		"old platform, QE that is old for longer": {func(s *scene) {
			s.qe.ISVSVN, s.ext.pceSVN = 2, 5
			replaceQE("2024-03-13", "2024-01-01")(s)
		}, day("2023-02-02"), day("2024-01-01")},
		"unrecognized": {func(s *scene) { s.ext.pceSVN = 0 }, day("2024-03-13"), day("2024-03-13")},
		"old platform, module without levels": {func(s *scene) {
			s.ext.pceSVN = 5
			s.td.TEETCBSVN[0], s.td.TEETCBSVN[1] = 5, 0
		}, day("2023-08-09"), day("2024-03-13")},
	} {
		s := newScene(t, tdx.TDX)
		tc.edit(s)
		r, err := s.build(t).verify()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !r.TCBDate.Equal(tc.date) || !r.NewestTCBDate.Equal(tc.newest) {
			t.Errorf("%s: dates %s and %s, want %s and %s", name, r.TCBDate, r.NewestTCBDate, tc.date, tc.newest)
		}
	}
}

func TestStatusesHaveNames(t *testing.T) {
	for s := dcap.UpToDate; s <= dcap.Revoked; s++ {
		back, err := dcap.ParseStatus(s.String())
		text, textErr := s.MarshalText()
		if err != nil || textErr != nil || back != s || string(text) != s.String() {
			t.Errorf("%s reads back as %s (%v, %v)", s, back, err, textErr)
		}
		if want := s == dcap.OutOfDate || s == dcap.OutOfDateConfigurationNeeded; s.OutOfDate() != want {
			t.Errorf("%s is out of date: %t", s, !want)
		}
	}
	for _, bad := range []string{"", "uptodate", "UpToDate ", "status 9"} {
		if s, err := dcap.ParseStatus(bad); err == nil {
			t.Errorf("%q is %s", bad, s)
		}
	}
	if got := dcap.Status(200).String(); got != "status 200" {
		t.Errorf("an unknown status is %q", got)
	}
}

func TestNamesOfPlatforms(t *testing.T) {
	for _, text := range []string{"00806F05AB00", "00806f05ab00"} {
		f, err := dcap.ParseFMSPC(text)
		out, _ := f.MarshalText()
		if err != nil || f != (dcap.FMSPC{0, 0x80, 0x6f, 5, 0xab}) || string(out) != "00806F05AB00" {
			t.Errorf("%s is %s (%v)", text, out, err)
		}
	}
	for _, bad := range []string{"", "00806F05AB", "00806F05AB0G", "00806F05AB0000"} {
		if _, err := dcap.ParseFMSPC(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	for ca, want := range map[dcap.CA]string{dcap.NoCA: "none", dcap.PlatformCA: "platform", dcap.ProcessorCA: "processor"} {
		if ca.String() != want {
			t.Errorf("CA %d is %q", ca, ca)
		}
	}
}
