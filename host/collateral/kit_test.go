package collateral

import (
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
	"cocoon/tests/pcstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// replay serves a real bundle as a PCCS would; tcbBody replaces the answer for TCB info when it is set.
func replay(t *testing.T, b *dcap.Bundle, tcbBody []byte) string {
	t.Helper()
	list, err := pckCRLPart(b, "der")
	if err != nil {
		t.Fatal(err)
	}
	info := tcbPart(b)
	if tcbBody != nil {
		info.body = tcbBody
	}
	answers := map[string]*part{
		"/tdx/certification/v4/tcb": info, "/tdx/certification/v4/qe/identity": identityPart(b),
		"/sgx/certification/v4/tcb": info, "/sgx/certification/v4/qe/identity": identityPart(b),
		"/sgx/certification/v4/pckcrl": list, "/sgx/certification/v4/rootcacrl": {body: []byte(b.RootCACRL)},
	}
	return pcstest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := answers[r.URL.Path]
		if p == nil {
			http.NotFound(w, r)
			return
		}
		if p.header != "" {
			w.Header().Set(p.header, p.chain)
		}
		_, _ = w.Write(p.body)
	}))
}

// host opens a host's collateral with one PCCS and without Intel's service.
func host(t *testing.T, cfg sources.Config, urls ...string) (*pcs.Cache, *sources.Store) {
	t.Helper()
	cfg.NoIntel, cfg.PCCS, cfg.HTTP = true, urls, pcstest.HTTPClient(t)
	cache, store, err := sources.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return cache, store
}
