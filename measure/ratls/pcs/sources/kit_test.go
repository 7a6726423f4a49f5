package sources

import (
	"testing"

	"go.uber.org/goleak"

	"cocoon/measure/ratls/pcs"
	"cocoon/tests/pcstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host opens a host's collateral with one PCCS and without Intel's service.
func host(t *testing.T, cfg Config, urls ...string) (*pcs.Cache, *Store) {
	t.Helper()
	cfg.NoIntel, cfg.PCCS, cfg.HTTP = true, urls, pcstest.HTTPClient(t)
	cache, store, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return cache, store
}
