package collateral

import (
	"errors"
	"os"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
	"cocoon/tests/golden"
	"cocoon/tests/pcstest"
)

func TestAMaliciousServiceNeverReachesTheStore(t *testing.T) {
	good := pcstest.Vector(t, "tdx_quote_collateral")
	for _, name := range []string{"malleable_tcb_case_fmspc", "malleable_tcb_case_nextupdate", "malleable_tcb_dup_exact"} {
		t.Run(name, func(t *testing.T) {
			evil := replay(t, good, golden.Vector(t, "attestation/"+name+".json"))
			now := pcstest.NewClock(pcstest.Real())
			dir := t.TempDir()
			cache, store := host(t, sources.Config{Roots: dcap.IntelRoots(), Now: now.Read, StoreDir: dir}, evil)
			_, err := cache.Collateral(t.Context(), pcstest.TDXQuotePlatform())
			pcstest.Contains(t, err, evil)
			var refusal *pcs.RefusalError
			if !errors.As(err, &refusal) || dcap.ClassOf(refusal.Causes[0]) != dcap.ClassCollateralMalformed {
				t.Errorf("got %v, want a refusal because of collateral_malformed", err)
			}
			if _, err := os.Stat(store.Path(pcstest.TDXQuotePlatform())); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it was stored: %v", err)
			}
		})
	}
	t.Run("plain", func(t *testing.T) {
		honest := replay(t, good, golden.Vector(t, "attestation/malleable_tcb_plain.json"))
		now := pcstest.NewClock(pcstest.Real())
		cache, store := host(t, sources.Config{Roots: dcap.IntelRoots(), Now: now.Read, StoreDir: t.TempDir()}, honest)
		if _, err := cache.Collateral(t.Context(), pcstest.TDXQuotePlatform()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(store.Path(pcstest.TDXQuotePlatform())); err != nil {
			t.Errorf("it was not stored: %v", err)
		}
	})
}
