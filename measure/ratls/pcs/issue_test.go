package pcs

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/tests/golden"
)

// vector is one of the real bundles, which all have expired.
func vector(tb testing.TB, name string) *dcap.Bundle {
	tb.Helper()
	b, err := dcap.ParseBundle(golden.Vector(tb, "attestation/"+name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestRealBundlesOpenAtTheirIssue(t *testing.T) {
	for name, want := range map[string]struct {
		platform string
		number   int
	}{
		"cos113_collateral":             {"tdx-00806F050000-platform", 17},
		"tdx_quote_collateral":          {"tdx-B0C06F000000-platform", 17},
		"sgx_quote_collateral":          {"sgx-00A067110000-processor", 17},
		"tdx_quote_outdated_collateral": {"tdx-90C06F000000-platform", 18},
	} {
		t.Run(name, func(t *testing.T) {
			col, err := OpenAtIssue(vector(t, name), dcap.IntelRoots())
			if err != nil {
				t.Fatal(err)
			}
			if col.Platform().String() != want.platform || col.EvaluationNumber() != want.number {
				t.Errorf("%s, evaluation %d", col.Platform(), col.EvaluationNumber())
			}
			if dcap.ClassOf(col.CheckTime(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))) != dcap.ClassCollateralExpired {
				t.Error("it has not expired")
			}
		})
	}
}

func TestOpenAtIssueRefusesWhatHasNoDatesOrIsForged(t *testing.T) {
	for name, tc := range map[string]struct {
		edit  func(*dcap.Bundle)
		class dcap.Class
	}{
		"no JSON":   {func(b *dcap.Bundle) { b.TCBInfo = "{" }, dcap.ClassCollateralMalformed},
		"no date":   {func(b *dcap.Bundle) { b.QEIdentity = `{"issueDate":"yesterday"}` }, dcap.ClassCollateralMalformed},
		"no hex":    {func(b *dcap.Bundle) { b.PCKCRL = "xyz" }, dcap.ClassCollateralMalformed},
		"no list":   {func(b *dcap.Bundle) { b.RootCACRL = hex.EncodeToString([]byte("list")) }, dcap.ClassCollateralMalformed},
		"far dates": {func(b *dcap.Bundle) { b.TCBInfo = strings.Replace(b.TCBInfo, "2025-", "9025-", 1) }, ""},
		"forged":    {func(b *dcap.Bundle) { b.TCBInfo = strings.Replace(b.TCBInfo, "2025-", "2024-", 1) }, dcap.ClassCollateralSignature},
	} {
		t.Run(name, func(t *testing.T) {
			b := vector(t, "tdx_quote_collateral")
			tc.edit(b)
			_, err := OpenAtIssue(b, dcap.IntelRoots())
			if err == nil || dcap.ClassOf(err) == "" || (tc.class != "" && dcap.ClassOf(err) != tc.class) {
				t.Errorf("got %v of class %q, want %q", err, dcap.ClassOf(err), tc.class)
			}
		})
	}
}

func TestFixedKeepsTheNewerOfTwo(t *testing.T) {
	w := newWorld(t)
	f := NewFixed("bundle.json")
	older, newer := w.issued(0), w.issued(day)
	for _, b := range []*dcap.Bundle{older, newer, older, newer} {
		if err := f.Add(b, w.platform.Roots()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.Bundle(t.Context(), w.name())
	if err != nil || got != newer {
		t.Errorf("the older one stayed, %v", err)
	}
	if _, err := f.Bundle(t.Context(), unknown(1)); err == nil || f.String() != "bundle.json" {
		t.Errorf("an unknown platform has collateral")
	}
	if err := f.Add(older, dcap.IntelRoots()); err == nil || !strings.Contains(err.Error(), "bundle.json") {
		t.Errorf("a bundle under another root was taken: %v", err)
	}
}

func TestOfflineBundleComesLastAndCarriesOn(t *testing.T) {
	w := newWorld(t)
	f := NewFixed("offline")
	if err := f.Add(w.issued(0), w.platform.Roots()); err != nil {
		t.Fatal(err)
	}
	down := &answers{name: "pccs", err: ErrNotFound}
	c := w.cache(Config{Sources: []Source{down, f}})
	if _, err := c.Collateral(t.Context(), w.name()); err != nil || down.asked.Load() != 1 {
		t.Errorf("asked %d times, %v", down.asked.Load(), err)
	}
	w.at(31 * day)
	_, err := c.Collateral(t.Context(), w.name())
	if !isRefusal(err) || !strings.Contains(err.Error(), "offline: ") {
		t.Errorf("got %v, want a refusal that names the bundle", err)
	}
}

func FuzzOpenAtIssue(f *testing.F) {
	b := vector(f, "tdx_quote_collateral")
	for _, text := range []string{b.TCBInfo, b.QEIdentity, "{}", `{"issueDate":"0000-01-01T00:00:00Z"}`, `{"issueDate":null}`, "[]"} {
		f.Add(text, b.PCKCRL)
	}
	f.Fuzz(func(t *testing.T, text, list string) {
		forged := *b
		forged.TCBInfo, forged.PCKCRL = text, list
		if _, err := OpenAtIssue(&forged, dcap.IntelRoots()); err == nil && (text != b.TCBInfo || !strings.EqualFold(list, b.PCKCRL)) {
			t.Errorf("a changed bundle opened: %q", text)
		}
	})
}
