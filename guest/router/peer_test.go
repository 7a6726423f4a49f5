package router

import (
	"strings"
	"testing"

	"cocoon/contracts/wire"
	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// TestARoutersWordCountsBelowTrustedRoots: services behind a router do not take its word for simulated platforms.
func TestARoutersWordCountsBelowTrustedRoots(t *testing.T) {
	trusted := []dcap.RootID{{1}, dcap.IntelRootID()}
	report := func(root dcap.RootID) *wire.Preamble {
		return &wire.Preamble{TDX: &wire.TDXReport{MRTD: [48]byte{1}, RTMR: [4][48]byte{{2}, {3}, {4}, {5}}, CollateralRoot: root}}
	}
	image := tdx.ImageHash(&tdx.Measurements{MRTD: tdx.Digest{1}, RTMR: [4]tdx.Digest{{2}, {3}, {4}, {5}}})
	for name, tc := range map[string]struct {
		preamble *wire.Preamble
		want     string // of the error
	}{
		"Intel's root":   {report(dcap.IntelRootID()), ""},
		"another listed": {report(dcap.RootID{1}), ""},
		"one not listed": {report(dcap.RootID{2}), "not trusted here"},
		"no root":        {report(dcap.RootID{}), "not trusted here"},
		"no evidence":    {&wire.Preamble{}, "no evidence"},
		"SEV-SNP":        {&wire.Preamble{SEV: &wire.SEVReport{}}, "another kind"},
		"fake":           {&wire.Preamble{TDX: &wire.TDXReport{ReportData: [64]byte{1}, CollateralRoot: dcap.IntelRootID()}}, "mean nothing"},
	} {
		got, err := IntroducedImage(tc.preamble, trusted)
		switch {
		case tc.want == "" && (err != nil || got != image):
			t.Errorf("%s: %s, %v", name, got, err)
		case tc.want != "" && (err == nil || got != (tdx.Hash{}) || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %s, %v, want an error with %q", name, got, err, tc.want)
		}
	}
	if _, err := IntroducedImage(report(dcap.IntelRootID()), nil); err == nil {
		t.Error("a service that trusts no root believes a router")
	}
}
