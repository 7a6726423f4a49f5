package collateral

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
	"cocoon/tests/golden"
	"cocoon/tests/pcstest"
)

func relay(t *testing.T, cfg RelayConfig) string {
	t.Helper()
	r, err := NewRelay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return pcstest.Serve(t, r)
}

// offline is a cache of real bundles at the time when they are valid.
func offline(t *testing.T, names ...string) (*pcs.Cache, *pcstest.Clock) {
	t.Helper()
	now := pcstest.NewClock(pcstest.Real())
	fixed := pcs.NewFixed("vectors")
	for _, n := range names {
		if err := fixed.Add(pcstest.Vector(t, n), dcap.IntelRoots()); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := pcs.NewCache(pcs.Config{Roots: dcap.IntelRoots(), Sources: []pcs.Source{fixed}, Now: now.Read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return cache, now
}

// get returns status, headers and body.
func get(t *testing.T, url string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := pcstest.HTTPClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func TestAGuestGetsSignedOriginalsThroughARelay(t *testing.T) {
	for name, vectorName := range map[string]string{
		"TDX": "tdx_quote_collateral", "TDX with another FMSPC": "cos113_collateral", "SGX": "sgx_quote_collateral",
	} {
		t.Run(name, func(t *testing.T) {
			want := pcstest.Vector(t, vectorName)
			p := pcstest.NameOf(t, want, dcap.IntelRoots())
			cache, now := offline(t, vectorName)
			client, err := pcs.NewClient(pcs.ClientConfig{
				URL: relay(t, RelayConfig{Cache: cache, Now: now.Read}), HTTP: pcstest.HTTPClient(t),
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.Bundle(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if got.TCBInfo != want.TCBInfo || got.TCBInfoSignature != want.TCBInfoSignature || got.QEIdentity != want.QEIdentity ||
				got.QEIdentitySignature != want.QEIdentitySignature || got.PCKCRL != want.PCKCRL || got.RootCACRL != want.RootCACRL {
				t.Error("other bytes arrived than were signed")
			}
			if _, err := dcap.Open(got, dcap.IntelRoots(), pcstest.Real()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheRelaysAnswersAreIntelsByteForByte(t *testing.T) {
	cache, now := offline(t, "tdx_quote_collateral")
	url := relay(t, RelayConfig{Cache: cache, Now: now.Read})
	code, header, body := get(t, url+"/tdx/certification/v4/tcb?fmspc=b0c06f000000&update=standard")
	if code != http.StatusOK || header.Get("Content-Type") != jsonType {
		t.Fatalf("status %d, %s", code, body)
	}
	if want := string(golden.Vector(t, "attestation/malleable_tcb_plain.json")); body != strings.TrimSpace(want) {
		t.Errorf("the body differs from the one of the vectors")
	}
	chain := header.Get(tcbChainHeader)
	if !strings.HasPrefix(chain, "-----BEGIN%20CERTIFICATE-----%0A") || strings.ContainsAny(chain, "+ \n") {
		t.Errorf("the chain is not encoded as Intel's: %.60s", chain)
	}
}

func TestChainHeadersKeepIntelsSpelling(t *testing.T) {
	cache, now := offline(t, "tdx_quote_collateral")
	r, err := NewRelay(RelayConfig{Cache: cache, Now: now.Read})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.Bundle(t.Context(), pcstest.TDXQuotePlatform()); err != nil {
		t.Fatal(err)
	}
	for path, header := range map[string]string{
		"/tdx/certification/v4/tcb?fmspc=B0C06F000000": "TCB-Info-Issuer-Chain",
		"/tdx/certification/v4/qe/identity":            "SGX-Enclave-Identity-Issuer-Chain",
		"/sgx/certification/v4/pckcrl?ca=platform":     "SGX-PCK-CRL-Issuer-Chain",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		var w recorder
		r.ServeHTTP(&w, req)
		if len(w.Header()[header]) != 1 {
			t.Errorf("%s: headers %v, want %s in this spelling", path, w.Header(), header)
		}
	}
}

func TestARevocationListComesInTheEncodingAskedFor(t *testing.T) {
	b := pcstest.Vector(t, "tdx_quote_collateral")
	cache, now := offline(t, "tdx_quote_collateral")
	if _, err := cache.Bundle(t.Context(), pcstest.TDXQuotePlatform()); err != nil {
		t.Fatal(err)
	}
	url := relay(t, RelayConfig{Cache: cache, Now: now.Read}) + "/sgx/certification/v4/pckcrl?ca=platform"
	for encoding, decode := range map[string]func(string) string{
		"":              func(s string) string { return s },
		"&encoding=der": func(s string) string { return hex.EncodeToString([]byte(s)) },
		"&encoding=DER": func(s string) string { return hex.EncodeToString([]byte(s)) },
		"&encoding=pem": func(s string) string {
			block, _ := pem.Decode([]byte(s))
			if block == nil || block.Type != "X509 CRL" {
				t.Fatalf("not a list in PEM: %.40s", s)
			}
			return hex.EncodeToString(block.Bytes)
		},
	} {
		code, header, body := get(t, url+encoding)
		if code != http.StatusOK || decode(body) != b.PCKCRL || header.Get(pckCRLChainHeader) == "" {
			t.Errorf("%q: status %d, %.40q", encoding, code, body)
		}
	}
}

func TestTheRelayRefusesPlainly(t *testing.T) {
	cache, now := offline(t, "tdx_quote_collateral")
	url := relay(t, RelayConfig{Cache: cache, Now: now.Read})
	if code, _, body := get(t, url+"/tdx/certification/v4/tcb?fmspc=B0C06F000000"); code != http.StatusOK {
		t.Fatalf("status %d: %s", code, body)
	}
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/tdx/certification/v4/tcb":                                               {400, "parameter fmspc"},
		"/tdx/certification/v4/tcb?fmspc=xx":                                      {400, "parameter fmspc"},
		"/tdx/certification/v4/tcb?fmspc=" + strings.Repeat("00", 300):            {400, "512 bytes"},
		"/tdx/certification/v4/tcb?fmspc=000000000000":                            {404, "tdx-000000000000"},
		"/sgx/certification/v4/tcb?fmspc=B0C06F000000":                            {404, "sgx-B0C06F000000"},
		"/tdx/certification/v4/tcb?fmspc=B0C06F000000&tcbEvaluationDataNumber=99": {404, "99"},
		"/tdx/certification/v4/tcb?fmspc=B0C06F000000&tcbEvaluationDataNumber=17": {200, "tcbInfo"},
		"/tdx/certification/v4/qe/identity?update=early":                          {200, "enclaveIdentity"},
		"/sgx/certification/v4/pckcrl":                                            {400, "parameter ca"},
		"/sgx/certification/v4/pckcrl?ca=root":                                    {400, "platform or processor"},
		"/sgx/certification/v4/pckcrl?ca=platform&encoding=xml":                   {400, "encoding"},
		"/sgx/certification/v4/pckcrl?ca=processor":                               {404, "processor"},
		"/sgx/certification/v4/rootcacrl":                                         {200, "30"},
		"/rootcacrl":                                                              {200, "30"},
		"/sgx/certification/v4/pckcert?encrypted_ppid=00":                         {404, "not found"},
		"/": {404, "not found"},
	} {
		code, _, body := get(t, url+path)
		if code != want.code || !strings.Contains(body, want.text) {
			t.Errorf("%s: status %d, %.80q; want %d with %q", path, code, body, want.code, want.text)
		}
	}
}

func TestARelayThatKnowsNothingYetAnswersInAnyOrder(t *testing.T) {
	p := pcstest.Platform(t)
	name := pcstest.NameOf(t, pcstest.Issued(t, p, 0), p.Roots())
	upstream := pcstest.Serve(t, measuretest.NewService(p))
	for _, path := range []string{
		"/sgx/certification/v4/pckcrl?ca=platform&encoding=der", "/tdx/certification/v4/qe/identity",
		"/sgx/certification/v4/rootcacrl", "/tdx/certification/v4/tcb?fmspc=" + name.FMSPC.String(),
	} {
		now := pcstest.NewClock(pcstest.Start())
		cache, _ := host(t, sources.Config{Roots: p.Roots(), Now: now.Read}, upstream)
		if code, _, body := get(t, relay(t, RelayConfig{Cache: cache, Now: now.Read, Seed: name.FMSPC})+path); code != http.StatusOK {
			t.Errorf("%s: status %d, %s", path, code, body)
		}
	}
}

func TestTheRelayNeverPassesOnWhatDoesNotVerify(t *testing.T) {
	good := pcstest.Vector(t, "tdx_quote_collateral")
	evil := replay(t, good, golden.Vector(t, "attestation/malleable_tcb_case_nextupdate.json"))
	now := pcstest.NewClock(pcstest.Real())
	cache, _ := host(t, sources.Config{Roots: dcap.IntelRoots(), Now: now.Read}, evil)
	url := relay(t, RelayConfig{Cache: cache, Now: now.Read, Seed: pcstest.TDXQuotePlatform().FMSPC})
	for _, path := range []string{"/tdx/certification/v4/tcb?fmspc=B0C06F000000", "/sgx/certification/v4/rootcacrl"} {
		if code, _, body := get(t, url+path); code != http.StatusBadGateway || strings.Contains(body, "2099") {
			t.Errorf("%s: status %d, %.100q", path, code, body)
		}
	}
}

func TestAnExpiredRelayRefusesAndSaysSoInItsStatus(t *testing.T) {
	cache, now := offline(t, "tdx_quote_collateral")
	url := relay(t, RelayConfig{Cache: cache, Now: now.Read})
	tcb := url + "/tdx/certification/v4/tcb?fmspc=B0C06F000000"
	if code, _, body := get(t, tcb); code != http.StatusOK {
		t.Fatalf("status %d: %s", code, body)
	}
	now.Set(pcstest.Real().AddDate(0, 2, 0))
	if code, _, body := get(t, tcb); code != http.StatusBadGateway || !strings.Contains(body, "pck_crl expired at 2025-07-19T10:00:35Z") {
		t.Errorf("status %d: %s", code, body)
	}
	_, _, text := get(t, url+"/status")
	var status Status
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Platforms) != 1 || status.Schema != StatusSchema {
		t.Fatalf("status %s", text)
	}
	got := status.Platforms[0]
	if got.Platform != "tdx-B0C06F000000-platform" || got.Valid || got.Expires != "2025-07-19T10:00:35Z" || got.Error == "" || got.EvaluationNumber != 17 {
		t.Errorf("status %+v", got)
	}
}

func TestManyGuestsCostOneFetch(t *testing.T) {
	p := pcstest.Platform(t)
	name := pcstest.NameOf(t, pcstest.Issued(t, p, 0), p.Roots())
	var asked atomic.Int64
	service := measuretest.NewService(p)
	upstream := pcstest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		service.ServeHTTP(w, r)
	}))
	now := pcstest.NewClock(pcstest.Start())
	cache, _ := host(t, sources.Config{Roots: p.Roots(), Now: now.Read}, upstream)
	url := relay(t, RelayConfig{Cache: cache, Now: now.Read})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			guest, err := pcs.NewClient(pcs.ClientConfig{URL: url, HTTP: pcstest.HTTPClient(t)})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := guest.Bundle(t.Context(), name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 4 {
		t.Errorf("%d requests went upstream, want the 4 parts once", n)
	}
}

func TestARelayNeedsItsParts(t *testing.T) {
	if _, err := NewRelay(RelayConfig{}); err == nil {
		t.Error("a relay without a cache was made")
	}
}

func TestPartsThatPlatformsShareAreTheYoungest(t *testing.T) {
	now := pcstest.NewClock(pcstest.Start().Add(pcstest.Day))
	fixed := pcs.NewFixed("two models")
	var names []dcap.Platform
	var youngest *dcap.Bundle
	for i, after := range []int{0, 3, 1} {
		p, err := measuretest.NewPlatform(measuretest.Options{
			Seed: [measuretest.SeedSize]byte{4, 5, 6}, Now: pcstest.Start(), FMSPC: [6]byte{0x50, byte(i)},
		})
		if err != nil {
			t.Fatal(err)
		}
		b := pcstest.Bundle(t, p, measuretest.CollateralSpec{Now: pcstest.Start().Add(time.Duration(after) * time.Hour)})
		if err := fixed.Add(b, p.Roots()); err != nil {
			t.Fatal(err)
		}
		names = append(names, pcstest.NameOf(t, b, p.Roots()))
		if after == 3 {
			youngest = b
		}
	}
	cache, err := pcs.NewCache(pcs.Config{Roots: pcstest.Platform(t).Roots(), Sources: []pcs.Source{fixed}, Now: now.Read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	for _, p := range names {
		if _, err := cache.Collateral(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	url := relay(t, RelayConfig{Cache: cache, Now: now.Read})
	for path, want := range map[string]string{
		"/sgx/certification/v4/pckcrl?ca=platform": youngest.PCKCRL, "/rootcacrl": youngest.RootCACRL,
		"/tdx/certification/v4/qe/identity": string(identityPart(youngest).body),
	} {
		if code, _, body := get(t, url+path); code != http.StatusOK || body != want {
			t.Errorf("%s: status %d, and not the youngest", path, code)
		}
	}
}

func TestStrangersAreToldToComeBack(t *testing.T) {
	cache, now := offline(t, "tdx_quote_collateral")
	url := relay(t, RelayConfig{Cache: cache, Now: now.Read}) + "/tdx/certification/v4/tcb?fmspc="
	if code, _, body := get(t, url+"b0c06f000000"); code != http.StatusOK {
		t.Fatalf("status %d: %s", code, body)
	}
	busy := 0
	for n := range 64 {
		code, header, _ := get(t, url+hex.EncodeToString([]byte{0xff, 0, 0, 0, 0, byte(n)}))
		if code == http.StatusServiceUnavailable && header.Get("Retry-After") != "" {
			busy++
		}
	}
	if busy < 16 {
		t.Errorf("%d of 64 requests for unknown platforms were turned away, want most", busy)
	}
	if code, _, _ := get(t, url+"b0c06f000000"); code != http.StatusOK {
		t.Errorf("the known platform suffers: status %d", code)
	}
}

func TestStatusOfAnEmptyRelay(t *testing.T) {
	cache, now := offline(t)
	code, header, body := get(t, relay(t, RelayConfig{Cache: cache, Now: now.Read})+"/status")
	want := "{\n  \"schema\": \"cocoon.collateral.status/1\",\n  \"time\": \"2025-06-20T00:00:00Z\",\n  \"platforms\": []\n}\n"
	if code != http.StatusOK || header.Get("Content-Type") != jsonType || body != want {
		t.Errorf("status %d, %s", code, body)
	}
}
