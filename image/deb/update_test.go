package deb_test

import (
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"cocoon/image/deb"
	"cocoon/image/deb/debtest"
	"cocoon/image/fetch"
	"cocoon/image/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// served is a mirror with two suites, and a request that uses both.
func served(t *testing.T) (*debtest.Archive, deb.Request) {
	t.Helper()
	a := debtest.NewArchive(t, now,
		debtest.Suite{Name: "stable", Date: now.AddDate(0, -1, 0), Packages: []debtest.Package{
			{Name: "app", Version: "1", Fields: []string{"Depends: lib, debconf"}, Files: []debtest.File{{Name: "./usr/bin/app", Body: "app"}}},
			{Name: "lib", Version: "1", Files: []debtest.File{{Name: "./usr/lib/lib.so", Body: "lib"}}},
		}},
		debtest.Suite{Name: "testing", ValidUntil: now.AddDate(0, 0, 7), Packages: []debtest.Package{{Name: "engine", Version: "2", Fields: []string{"Depends: lib"}}}},
	)
	old := debtest.Package{Name: "headers", Version: "6.18"}.Build(t)
	a.Files["pool/old/headers.deb"] = old
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	suite := func(name string) deb.Suite {
		return deb.Suite{Name: name, Mirror: srv.URL + "/debian", Components: []string{"main"}, Keyring: a.Key.Public(t), Snapshot: "https://snapshot.example.org"}
	}
	return a, deb.Request{
		Arch: "amd64", Now: now, Suites: []deb.Suite{suite("stable"), suite("testing")},
		Groups: []deb.Group{
			{Name: "base", Suites: []string{"stable"}, Packages: []string{"app"}, Exclude: []string{"debconf"}},
			{Name: "engine-cpu", Suites: []string{"testing", "stable"}, Packages: []string{"engine"}},
			{Name: "toolchain", Direct: []deb.Direct{{
				Name: "headers", Version: "6.18", Arch: "amd64", Suite: "stable",
				Path: "pool/old/headers.deb", SHA256: fmt.Sprintf("%x", sha256.Sum256(old)),
			}}},
		},
	}
}

func fetcher(t *testing.T) fetch.Fetcher {
	t.Helper()
	store, err := fetch.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return fetch.Fetcher{Store: store, Options: fetch.Options{Client: &http.Client{Transport: transport}, Timing: fetch.Timing{Backoff: time.Millisecond, Stall: 5 * time.Second, Tries: 2}}}
}

func TestResolveMakesALockThatBuildsFromTheStore(t *testing.T) {
	a, req := served(t)
	f := fetcher(t)
	res, err := deb.Resolve(t.Context(), req, f)
	if err != nil {
		t.Fatal(err)
	}
	l := &lock.Lock{Epoch: 1735689600, Go: "1.26.8", RecipeSHA256: strings.Repeat("0", 64), Suites: res.Suites}
	if err := l.Merge(res.Artefacts...); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Format(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range l.Artefacts {
		got = append(got, fmt.Sprintf("%s from %s for %s", x.Label(), x.Suite, strings.Join(x.Groups, "+")))
		body := a.Files[x.Path]
		if x.SHA1 != fmt.Sprintf("%x", sha1.Sum(body)) || x.Size != int64(len(body)) {
			t.Errorf("%s: SHA-1 %s, %d bytes", x.Label(), x.SHA1, x.Size)
		}
	}
	want := []string{
		"deb app 1 amd64 from stable for base", "deb engine 2 amd64 from testing for engine-cpu",
		"deb headers 6.18 amd64 from stable for toolchain", "deb lib 1 amd64 from stable for base+engine-cpu",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("artefacts (-want +got):\n%s", diff)
	}
	if s := l.Suites[0]; s.Snapshot != "https://snapshot.example.org/archive/debian/20261021T180000Z" || s.Signers[0] != a.Key.Fingerprint() || s.ValidUntil != "" {
		t.Errorf("suite %+v", s)
	}
	if err := f.Store.Ensure(t.Context(), l.Artefacts, fetch.Options{Offline: true}); err != nil {
		t.Errorf("the store lacks what the lock names: %v", err)
	}
}

func TestResolveRefuses(t *testing.T) {
	foreign := debtest.NewKey(t, now)
	tests := map[string]struct {
		change func(*debtest.Archive, *deb.Request)
		want   error
		text   string
	}{
		"unsigned": {func(a *debtest.Archive, _ *deb.Request) {
			a.Files["dists/stable/InRelease"] = []byte("Codename: stable\n")
		}, deb.ErrUnsigned, "suite stable at http"},
		"wrong key":  {func(_ *debtest.Archive, r *deb.Request) { r.Suites[1].Keyring = foreign.Public(t) }, deb.ErrSignature, "suite testing"},
		"no keyring": {func(_ *debtest.Archive, r *deb.Request) { r.Suites[0].Keyring = nil }, nil, "keyring"},
		"expired":    {func(_ *debtest.Archive, r *deb.Request) { r.Now = now.AddDate(0, 1, 0) }, deb.ErrExpired, "testing"},
		"replayed under another name": {func(a *debtest.Archive, _ *deb.Request) {
			a.Files["dists/testing/InRelease"] = a.Files["dists/stable/InRelease"]
		}, deb.ErrOtherName, "testing"},
		"index changed": {func(a *debtest.Archive, _ *deb.Request) {
			for _, name := range a.Names() {
				if strings.HasPrefix(name, "dists/stable/main") {
					a.Files[name] = append([]byte{}, a.Files[name][1:]...)
				}
			}
		}, fetch.ErrTruncated, "Packages"},
		"package changed": {func(a *debtest.Archive, _ *deb.Request) {
			b := []byte(string(a.Files["pool/main/lib/lib_1.deb"]))
			b[len(b)-1] ^= 1
			a.Files["pool/main/lib/lib_1.deb"] = b
		}, fetch.ErrWrongHash, "deb lib 1 amd64"},
		"package gone": {func(a *debtest.Archive, _ *deb.Request) { delete(a.Files, "pool/main/lib/lib_1.deb") }, nil, "404"},
		"pool path has another package": {func(_ *debtest.Archive, r *deb.Request) {
			r.Groups[2].Direct[0].Version = "6.19"
		}, nil, "the file is headers 6.18"},
		"unknown suite": {func(_ *debtest.Archive, r *deb.Request) { r.Groups[0].Suites = []string{"sid"} }, nil, "\"sid\""},
		"no clock":      {func(_ *debtest.Archive, r *deb.Request) { r.Now = time.Time{} }, nil, "want both set"},
		"unmet":         {func(_ *debtest.Archive, r *deb.Request) { r.Groups[0].Exclude = nil }, nil, "group \"base\""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a, req := served(t)
			tc.change(a, &req)
			f := fetcher(t)
			f.Options.Timing.Tries = 1
			// No test reaches the made-up snapshot host: the client knows the mirror only.
			for i := range req.Suites {
				req.Suites[i].Snapshot = ""
			}
			_, err := deb.Resolve(t.Context(), req, f)
			if err == nil || !strings.Contains(err.Error(), tc.text) {
				t.Fatalf("Resolve: %v, want an error with %q", err, tc.text)
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("Resolve: %v, want %v", err, tc.want)
			}
		})
	}
}

func TestAcceptedExpiryIsRecorded(t *testing.T) {
	_, req := served(t)
	req.Now = now.AddDate(0, 1, 0)
	req.Suites[0].AcceptExpired, req.Suites[1].AcceptExpired = true, true
	res, err := deb.Resolve(t.Context(), req, fetcher(t))
	if err != nil {
		t.Fatal(err)
	}
	if res.Suites[0].AcceptExpired || !res.Suites[1].AcceptExpired {
		t.Errorf("recorded exceptions: stable %v, testing %v; only testing has expired", res.Suites[0].AcceptExpired, res.Suites[1].AcceptExpired)
	}
}
