package measuretest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
)

// fetch asks a service for the collateral of a quote, as a client does.
func fetch(tb testing.TB, s *measuretest.Service, quote []byte) (*dcap.Bundle, error) {
	tb.Helper()
	p, err := dcap.PlatformOf(quote)
	if err != nil {
		tb.Fatal(err)
	}
	var responses []dcap.Response
	for _, r := range dcap.Requests(p) {
		query, err := url.ParseQuery(r.Query)
		if err != nil {
			tb.Fatal(err)
		}
		a := s.Get(context.Background(), r.Path, query)
		if a.Status != http.StatusOK || a.Header != r.IssuerChain {
			tb.Fatalf("%s: status %d, header %q, want %q: %s", r.Path, a.Status, a.Header, r.IssuerChain, a.Body)
		}
		responses = append(responses, dcap.Response{Kind: r.Kind, Body: a.Body, IssuerChain: a.Chain})
	}
	return dcap.Assemble(responses)
}

func TestTheServiceAnswersWhatAVerifierNeeds(t *testing.T) {
	for name, spec := range map[string]measuretest.Spec{"v3": {Version: 3}, "v4": {}, "v5": {Version: 5}} {
		for _, processor := range []bool{false, true} {
			p := platform(t, func(o *measuretest.Options) { o.ProcessorCA = processor })
			q := quote(t, p, spec)
			b, err := fetch(t, measuretest.NewService(p), q)
			if err != nil {
				t.Fatal(err)
			}
			c, err := dcap.Open(b, p.Roots(), testTime)
			if err != nil {
				t.Fatal(err)
			}
			r, err := dcap.NewVerifier(p.Roots(), 0).Verify(q, c, testTime)
			if err != nil || r.Combined != dcap.UpToDate || r.Root != p.RootID() || r.HasPIID == processor {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
		}
	}
}

func TestNoMutationOfAnAnswerIsAccepted(t *testing.T) {
	p := platform(t)
	for _, tc := range []struct {
		path string
		spec measuretest.Spec
	}{
		{"/tdx/certification/v4/tcb", measuretest.Spec{}},
		{"/tdx/certification/v4/qe/identity", measuretest.Spec{}},
		{"/sgx/certification/v4/tcb", measuretest.Spec{Version: 3}},
		{"/sgx/certification/v4/qe/identity", measuretest.Spec{Version: 3}},
	} {
		q := quote(t, p, tc.spec)
		for _, m := range measuretest.Mutations() {
			t.Run(tc.path+"/"+m.Name, func(t *testing.T) {
				s := measuretest.NewService(p)
				changed := false
				s.Edit = func(path string, a *measuretest.Answer) {
					if path == tc.path {
						was := a.Body
						a.Body = m.Apply(bytes.Clone(was))
						changed = !bytes.Equal(was, a.Body)
					}
				}
				b, err := fetch(t, s, q)
				if err == nil {
					_, err = dcap.Open(b, p.Roots(), testTime)
				}
				if !changed {
					t.Skip("this answer has nothing that the mutation changes")
				}
				if class := dcap.ClassOf(err); class != dcap.ClassCollateralMalformed && class != dcap.ClassCollateralSignature {
					t.Errorf("class %q: %v", class, err)
				}
			})
		}
	}
}

func TestTheServiceSpeaksHTTP(t *testing.T) {
	p := platform(t)
	other := platform(t, func(o *measuretest.Options) { o.FMSPC = dcap.FMSPC{9}; o.ProcessorCA = true })
	service := measuretest.NewService(p, other)
	server := httptest.NewServer(service)
	defer server.Close()
	tests := map[string]struct {
		status int
		want   string
	}{
		"/tdx/certification/v4/tcb?fmspc=50806F000000":           {200, `"fmspc":"50806f000000"`},
		"/tdx/certification/v4/tcb?fmspc=090000000000":           {200, `"fmspc":"090000000000"`},
		"/tdx/certification/v4/tcb?fmspc=000000000000":           {404, "no simulated platform"},
		"/sgx/certification/v4/tcb?fmspc=50806f000000":           {200, `"id":"SGX"`},
		"/tdx/certification/v4/qe/identity":                      {200, `"id":"TD_QE"`},
		"/sgx/certification/v4/qe/identity":                      {200, `"id":"QE"`},
		"/sgx/certification/v4/pckcrl?ca=platform&encoding=der":  {200, "Intel SGX PCK Platform CA"},
		"/sgx/certification/v4/pckcrl?ca=processor&encoding=der": {200, "Intel SGX PCK Processor CA"},
		"/sgx/certification/v4/rootcacrl":                        {200, "30"},
		"/IntelSGXRootCA.der":                                    {200, "SIMULATED"},
		"/sgx/certification/v4/pckcert?qeid=0&pceid=0&cpusvn=0":  {404, "no /sgx"},
	}
	for path, tc := range tests {
		status, body := get(t, server.URL+path)
		if status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s: status %d, %.80q, want %d with %q", path, status, body, tc.status, tc.want)
		}
	}
	service.Before = func(context.Context, string) error { return errors.New("maintenance") }
	if status, body := get(t, server.URL+"/IntelSGXRootCA.der"); status != 503 || !strings.Contains(body, "maintenance") {
		t.Errorf("status %d, %q", status, body)
	}
}

func get(t *testing.T, address string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}
