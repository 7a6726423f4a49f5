package sources

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/tdx"
	"cocoon/tests/pcstest"
)

func TestSourcesAreAskedInOrder(t *testing.T) {
	p := pcstest.Platform(t)
	service := measuretest.NewService(p)
	var asked []string
	counted := func(name string, h http.Handler) string {
		return pcstest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/tcb") {
				asked = append(asked, name)
			}
			h.ServeHTTP(w, r)
		}))
	}
	first, second := counted("first", http.NotFoundHandler()), counted("second", service)
	dir := t.TempDir()
	now := pcstest.NewClock(pcstest.Start())
	name := pcstest.NameOf(t, pcstest.Issued(t, p, 0), p.Roots())
	cache, _ := host(t, Config{Roots: p.Roots(), Now: now.Read, StoreDir: dir}, first, second)
	for range 3 { // memory answers the second and third
		if _, err := cache.Collateral(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(asked, " "); got != "first second" {
		t.Errorf("asked %s", got)
	}
	again, _ := host(t, Config{Roots: p.Roots(), Now: now.Read, StoreDir: dir}, first, second)
	if _, err := again.Collateral(t.Context(), name); err != nil || len(asked) != 2 {
		t.Errorf("the store did not answer: %v, asked %s", err, asked)
	}
}

func TestUnreachableServicesServeTheStoreUntilItsExpiry(t *testing.T) {
	p := pcstest.Platform(t)
	b := pcstest.Issued(t, p, 0)
	name := pcstest.NameOf(t, b, p.Roots())
	dir := t.TempDir()
	if err := openStore(t, dir, p.Roots()).Save(name, b, pcstest.Start()); err != nil {
		t.Fatal(err)
	}
	gone := pcstest.Serve(t, http.NotFoundHandler())
	now := pcstest.NewClock(pcstest.Start().Add(20 * pcstest.Day))
	cache, _ := host(t, Config{Roots: p.Roots(), Now: now.Read, StoreDir: dir}, gone)
	held, err := cache.Collateral(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	now.Set(held.Expires())
	if _, err := cache.Collateral(t.Context(), name); err != nil {
		t.Errorf("in the last second: %v", err)
	}
	now.Set(pcstest.Start().Add(31 * pcstest.Day))
	fresh, _ := host(t, Config{Roots: p.Roots(), Now: now.Read, StoreDir: dir}, gone)
	for what, c := range map[string]*pcs.Cache{"the same process": cache, "a new process": fresh} {
		_, err := c.Collateral(t.Context(), name)
		if dcap.ClassOf(err) != dcap.ClassCollateralExpired {
			t.Errorf("%s: got %v of class %q", what, err, dcap.ClassOf(err))
		}
		pcstest.Contains(t, err, "tcb_info expired at 2026-03-31T11:00:00Z", gone, "give a newer bundle")
	}
}

func TestRealBundlesServeOffline(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"cos113_collateral", "tdx_quote_collateral", "sgx_quote_collateral"} {
		if err := WriteFile(filepath.Join(dir, name+".json"), pcstest.Vector(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	now := pcstest.NewClock(pcstest.Real())
	cache, _ := host(t, Config{Roots: dcap.IntelRoots(), Now: now.Read, Bundle: dir})
	for _, name := range []string{"cos113_collateral", "tdx_quote_collateral", "sgx_quote_collateral"} {
		if _, err := cache.Collateral(t.Context(), pcstest.NameOf(t, pcstest.Vector(t, name), dcap.IntelRoots())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// silence is a network on which nobody knows anything; it notes who was asked.
type silence struct {
	mu    sync.Mutex
	asked []string
}

func (s *silence) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.Host+"?"+r.URL.RawQuery)
	return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: r}, nil
}

// Intel's own service comes after the caching services, unless it is left out; both are asked for the same evaluation.
func TestIntelIsAskedUnlessLeftOut(t *testing.T) {
	now := pcstest.NewClock(pcstest.Start())
	p := dcap.Platform{FMSPC: dcap.FMSPC{1}, CA: dcap.PlatformCA, TEE: tdx.TDX}
	for name, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"both":     {Config{PCCS: []string{"http://pccs:8081"}}, "pccs:8081?fmspc=010000000000 api.trustedservices.intel.com?fmspc=010000000000"},
		"left out": {Config{PCCS: []string{"http://pccs:8081"}, NoIntel: true}, "pccs:8081?fmspc=010000000000"},
		"alone":    {Config{}, "api.trustedservices.intel.com?fmspc=010000000000"},
		"early": {
			Config{PCCS: []string{"http://pccs:8081"}, Early: true},
			"pccs:8081?fmspc=010000000000&update=early api.trustedservices.intel.com?fmspc=010000000000&update=early",
		},
		"nobody": {Config{NoIntel: true}, ""},
	} {
		network := new(silence)
		tc.cfg.Roots, tc.cfg.Now, tc.cfg.HTTP = dcap.IntelRoots(), now.Read, &http.Client{Transport: network}
		cache, _, err := Open(tc.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cache.Collateral(t.Context(), p); dcap.ClassOf(err) != pcs.ClassUnavailable {
			t.Errorf("%s: %v", name, err)
		}
		cache.Close()
		if got := strings.Join(network.asked, " "); got != tc.want {
			t.Errorf("%s: asked %q, want %q", name, got, tc.want)
		}
	}
}

func TestConfigurationThatCannotWorkIsRefused(t *testing.T) {
	now := pcstest.NewClock(pcstest.Start())
	empty := t.TempDir()
	broken := filepath.Join(t.TempDir(), "broken.json")
	if err := os.WriteFile(broken, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	simulated := filepath.Join(t.TempDir(), "simulated.json")
	if err := WriteFile(simulated, pcstest.Issued(t, pcstest.Platform(t), 0)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		cfg  Config
		want string
	}{
		"no roots":        {Config{Now: now.Read}, "no trusted roots"},
		"no clock":        {Config{Roots: dcap.IntelRoots()}, "no clock"},
		"bad address":     {Config{Roots: dcap.IntelRoots(), Now: now.Read, PCCS: []string{"pccs:8081"}}, "http://"},
		"missing bundle":  {Config{Roots: dcap.IntelRoots(), Now: now.Read, Bundle: "/nonexistent"}, "/nonexistent"},
		"empty folder":    {Config{Roots: dcap.IntelRoots(), Now: now.Read, Bundle: empty}, "no .json file in " + empty},
		"broken bundle":   {Config{Roots: dcap.IntelRoots(), Now: now.Read, Bundle: broken}, "pck_crl_issuer_chain is missing"},
		"other root":      {Config{Roots: dcap.IntelRoots(), Now: now.Read, Bundle: simulated}, simulated},
		"store in a file": {Config{Roots: dcap.IntelRoots(), Now: now.Read, StoreDir: broken}, "opening collateral store"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Open(tc.cfg)
			pcstest.Contains(t, err, tc.want)
		})
	}
}
