package pcs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
)

func TestClientGetsWhatOpens(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.service)
	defer server.Close()
	for name, tc := range map[string]ClientConfig{
		"caching service":         {URL: server.URL},
		"as quote libraries name": {URL: server.URL + "/sgx/certification/v4/"},
		"separate root CRL":       {URL: server.URL, RootCRL: server.URL + "/IntelSGXRootCA.der"},
		"early":                   {URL: server.URL, Early: true},
	} {
		t.Run(name, func(t *testing.T) {
			defer http.DefaultClient.CloseIdleConnections()
			c := client(t, tc)
			defer c.http.CloseIdleConnections()
			p := w.name()
			b, err := c.Bundle(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			col, err := dcap.Open(b, w.platform.Roots(), start())
			if err != nil || col.Platform() != p {
				t.Errorf("collateral of %v, %v", col, err)
			}
			if *b != *w.issued(0) {
				t.Error("the bundle has other bytes than were signed")
			}
		})
	}
}

func TestIntelsServiceIsTheDefault(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	var asked []string
	wire := &wire{service: w.service, edit: func(r *http.Response) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Request.URL.String())
	}}
	c := client(t, ClientConfig{HTTP: &http.Client{Transport: wire}})
	if _, err := c.Bundle(t.Context(), w.name()); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 4 || !strings.HasPrefix(asked[0], IntelURL+"/tdx/certification/v4/tcb?fmspc=50806F000000") {
		t.Fatalf("asked %q", asked)
	}
	if diff := cmp.Diff(c.Addresses(w.name()), asked, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("the announced addresses are not those asked (-announced +asked):\n%s", diff)
	}
	all := strings.Join(asked, "\n")
	for _, want := range []string{
		IntelURL + "/tdx/certification/v4/qe/identity", IntelURL + "/sgx/certification/v4/pckcrl?ca=platform&encoding=der", dcap.RootCRLURL,
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%s was not asked for:\n%s", want, all)
		}
	}
}

func TestEarlyConcernsWhatIsEvaluated(t *testing.T) {
	c := client(t, ClientConfig{URL: "http://pccs", Early: true})
	for _, r := range dcap.Requests(dcap.Platform{CA: dcap.PlatformCA}) {
		want := r.Kind == dcap.TCBInfo || r.Kind == dcap.QEIdentity
		if got := strings.Contains(c.address(r), "update=early"); got != want {
			t.Errorf("%s: %s", r.Kind, c.address(r))
		}
	}
}

func TestTroubleOfASource(t *testing.T) {
	const tcb = "/tdx/certification/v4/tcb"
	status := func(code int) func(string, *measuretest.Answer) {
		return func(path string, a *measuretest.Answer) {
			if path == tcb {
				a.Status, a.Body = code, []byte("trouble\n\x1b[31m")
			}
		}
	}
	for name, tc := range map[string]struct {
		edit  func(path string, a *measuretest.Answer)
		tries int64 // requests that go out
		want  string
		is    error
		class dcap.Class
	}{
		"not found":       {status(404), 1, `answered 404: "trouble\n\x1b[31m"`, ErrNotFound, ""},
		"unknown to PCCS": {status(461), 1, "answered 461", ErrNotFound, ""},
		"bad request":     {status(400), 1, "answered 400", nil, ""},
		"redirect":        {status(302), 1, "answered 302", nil, ""},
		"server error":    {status(500), maxTries, "answered 500", nil, ""},
		"overloaded":      {status(503), maxTries, "answered 503", nil, ""},
		"too long": {func(path string, a *measuretest.Answer) {
			if path == tcb {
				a.Body = make([]byte, maxResponse+1)
			}
		}, 1, "more than 1048576 bytes", nil, ""},
		"no issuer chain": {func(path string, a *measuretest.Answer) {
			if path == tcb {
				a.Header = ""
			}
		}, 4, "tcb_info_issuer_chain", nil, dcap.ClassCollateralMalformed},
		"case variant added": {func(path string, a *measuretest.Answer) {
			if path == tcb {
				a.Body = []byte(strings.Replace(string(a.Body), `{"tcbInfo"`, `{"TcbInfo":{},"tcbInfo"`, 1))
			}
		}, 4, "", nil, dcap.ClassCollateralMalformed},
		"cut": {func(path string, a *measuretest.Answer) {
			if path == tcb {
				a.Body = a.Body[:len(a.Body)/2]
			}
		}, 4, "", nil, dcap.ClassCollateralMalformed},
		"a page instead of a list": {func(path string, a *measuretest.Answer) {
			if strings.HasSuffix(path, "/rootcacrl") {
				a.Body = []byte("<html>")
			}
		}, 4, "neither DER nor hex", nil, dcap.ClassCollateralMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.name()
			synctest.Test(t, func(t *testing.T) {
				w.service.Edit = tc.edit
				wire := &wire{service: w.service}
				c := client(t, ClientConfig{URL: "http://pccs:8081", HTTP: &http.Client{Transport: wire, CheckRedirect: NewHTTPClient().CheckRedirect}})
				_, err := c.Bundle(t.Context(), p)
				if err == nil || !strings.Contains(err.Error(), tc.want) || dcap.ClassOf(err) != tc.class {
					t.Fatalf("got %v of class %q", err, dcap.ClassOf(err))
				}
				if tc.is != nil && !errors.Is(err, tc.is) {
					t.Errorf("%v is not %v", err, tc.is)
				}
				if tc.class == "" && !strings.Contains(err.Error(), "http://pccs:8081"+tcb) {
					t.Errorf("the address is not named: %v", err)
				}
				if n := wire.asked.Load(); n != tc.tries {
					t.Errorf("%d requests, want %d", n, tc.tries)
				}
			})
		})
	}
}

// What a service says ends up on terminals and in logs, and stays as long as the platform is remembered.
func TestAServicesWordsAreHarmless(t *testing.T) {
	evil := "\x1b[2J" + strings.Repeat("a", 40<<10)
	for name, answer := range map[string]string{
		"reason":           "HTTP/1.1 400 " + evil + "\r\nContent-Length: 0\r\n\r\n",
		"body":             "HTTP/1.1 400 Bad\r\nContent-Length: 40000\r\n\r\n" + evil[:40000],
		"header":           "HTTP/1.1 200 OK\r\n" + evil + "\r\n\r\n",
		"no answer at all": evil + "\r\n\r\n",
		"length":           "HTTP/1.1 200 OK\r\nContent-Length: " + evil + "\r\n\r\n",
		"encoding":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + evil + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var served sync.WaitGroup
			served.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = http.ReadRequest(bufio.NewReader(c))
					_, _ = io.WriteString(c, answer)
					_ = c.Close()
				}
			})
			defer served.Wait()
			defer l.Close() //nolint:errcheck // ends the server
			c := client(t, ClientConfig{URL: "http://" + l.Addr().String()})
			defer c.http.CloseIdleConnections()
			_, err = c.Bundle(t.Context(), newWorld(t).name())
			if err == nil || len(err.Error()) > 2*maxWords+2*maxReason || strings.ContainsAny(err.Error(), "\x1b\r\n") {
				t.Errorf("%d bytes: %.300q", len(fmt.Sprint(err)), fmt.Sprint(err))
			}
		})
	}
}

func TestPassingTroubleIsPassedOver(t *testing.T) {
	w := newWorld(t)
	p := w.name()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		failures := 0
		wire := &wire{service: w.service, edit: func(r *http.Response) {
			mu.Lock()
			defer mu.Unlock()
			if failures++; failures < maxTries {
				r.StatusCode, r.Status = http.StatusServiceUnavailable, "503 busy"
				r.Header.Set("Retry-After", "3600")
			}
		}}
		began := time.Now()
		c := client(t, ClientConfig{URL: "http://pccs", HTTP: &http.Client{Transport: wire}})
		if _, err := c.Bundle(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 2*maxRetryAfter {
			t.Errorf("took %s: a server's wish to wait is granted up to %s each time", took, maxRetryAfter)
		}
	})
}

func TestASilentServiceIsGivenUpOn(t *testing.T) {
	w := newWorld(t)
	p := w.name()
	synctest.Test(t, func(t *testing.T) {
		w.service.Before = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		c := client(t, ClientConfig{URL: "http://pccs", HTTP: &http.Client{Transport: &wire{service: w.service}}})
		_, err := c.Bundle(t.Context(), p)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
		if took := time.Since(began); took < maxTries*requestTimeout || took > fetchTimeout {
			t.Errorf("gave up after %s", took)
		}
	})
}

func TestABodyThatNeverEndsIsGivenUpOn(t *testing.T) {
	w := newWorld(t)
	p := w.name()
	synctest.Test(t, func(t *testing.T) {
		wire := &wire{service: w.service, edit: func(r *http.Response) {
			r.Body = io.NopCloser(stalled{r.Request.Context()})
		}}
		c := client(t, ClientConfig{URL: "http://pccs", HTTP: &http.Client{Transport: wire}})
		if _, err := c.Bundle(t.Context(), p); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want a deadline", err)
		}
	})
}

// stalled is a body that says nothing until its request ends.
type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func TestAddresses(t *testing.T) {
	const suffixed = "http://[::1]:8081/mirror/sgx/certification/v4"
	for text, want := range map[string]string{
		"http://pccs:8081":                  "http://pccs:8081",
		"https://pccs/":                     "https://pccs",
		"https://pccs:81" + apiSuffix + "/": "https://pccs:81",
		suffixed:                            "http://[::1]:8081/mirror",
		"http://10.0.2.2:8081/a%2Fb":        "http://10.0.2.2:8081/a%2Fb",
		IntelURL:                            IntelURL,
		IntelURL + apiSuffix:                IntelURL,
		"":                                  "",
		"pccs:8081":                         "",
		"ftp://pccs":                        "",
		"http://":                           "",
		"http://user:secret@pccs":           "",
		"http://pccs/?x=1":                  "",
		"http://pccs/#top":                  "",
		"http://pccs\n":                     "",
	} {
		got, err := parseBase(text)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is shown: %v", err)
		}
	}
	if _, err := NewClient(ClientConfig{URL: "pccs"}); err == nil {
		t.Error("a client without a scheme was made")
	}
}

func TestHTTPClientFollowsNoRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer server.Close()
	c := client(t, ClientConfig{URL: server.URL})
	defer c.http.CloseIdleConnections()
	if _, err := c.Bundle(t.Context(), unknown(1)); err == nil || !strings.Contains(err.Error(), "302") {
		t.Errorf("got %v, want the status", err)
	}
}

func TestASelfSignedServiceNeedsAnyTLS(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewUnstartedServer(w.service)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	for anyTLS, want := range map[bool]string{false: "certificate", true: ""} {
		c := client(t, ClientConfig{URL: server.URL, AnyTLS: anyTLS})
		_, err := c.Bundle(t.Context(), w.name())
		c.http.CloseIdleConnections()
		if (err == nil) != anyTLS || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("any TLS certificate %v: %v", anyTLS, err)
		}
	}
}

func FuzzParseBase(f *testing.F) {
	for _, s := range []string{IntelURL, "http://[::1]:8081/x/sgx/certification/v4/", "http://a b", "http://%zz", "https://u:p@h?#", "//h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		base, err := parseBase(text)
		if err != nil {
			return
		}
		again, err := parseBase(base)
		if err != nil || (again != base && !strings.HasSuffix(base, apiSuffix)) {
			t.Errorf("%q became %q, which becomes %q, %v", text, base, again, err)
		}
		if _, err := http.NewRequest(http.MethodGet, base+"/x", nil); err != nil {
			t.Errorf("%q became %q, which cannot be asked: %v", text, base, err)
		}
	})
}
