package deb_test

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cocoon/image/deb"
	"cocoon/image/fetch"
	"cocoon/image/lock"
)

// TestLiveArchive resolves, fetches and unpacks real packages from Debian's mirror. COCOON_TEST_STORE keeps the store
// between runs, which makes the second one a measurement of the warm path.
func TestLiveArchive(t *testing.T) {
	if !slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "net") {
		t.Skip("needs Debian's mirror: set COCOON_TEST=net")
	}
	keyring, err := os.ReadFile("/usr/share/keyrings/debian-archive-keyring.gpg")
	if err != nil {
		t.Skipf("needs Debian's archive keyring: %v", err)
	}
	dir := os.Getenv("COCOON_TEST_STORE")
	if dir == "" {
		dir = t.TempDir()
	}
	store, err := fetch.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	suite := func(name string) deb.Suite {
		return deb.Suite{
			Name: name, Mirror: "http://deb.debian.org/debian", Components: []string{"main"}, Keyring: keyring,
			AcceptExpired: true, Snapshot: "https://snapshot.debian.org",
		}
	}
	req := deb.Request{
		Arch: "amd64", Now: time.Now(),
		Suites: []deb.Suite{suite("trixie"), suite("trixie-backports"), suite("forky")},
		Groups: []deb.Group{
			{Name: "base", Suites: []string{"trixie"}, Packages: []string{"ca-certificates", "cryptsetup-bin", "e2fsprogs"}, Exclude: []string{"debconf"}},
			{Name: "engine-cpu", Suites: []string{"forky"}, Packages: []string{"llama.cpp-tools"}, Exclude: []string{"debconf", "wget"}},
			{Name: "kernel", Suites: []string{"trixie-backports"}, NoDepends: true, Packages: []string{"linux-image-6.18.15+deb13-cloud-amd64=6.18.15-1~bpo13+1"}},
		},
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	start := time.Now()
	res, err := deb.Resolve(ctx, req, fetch.Fetcher{Store: store, Options: fetch.Options{Client: &http.Client{Transport: transport}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("resolved %d artefacts in %v, unused exclusions %q", len(res.Artefacts), time.Since(start), res.UnusedExcludes)
	l := &lock.Lock{Epoch: 1735689600, Go: "1.26.8", RecipeSHA256: strings.Repeat("0", 64), Suites: res.Suites}
	if err := l.Merge(res.Artefacts...); err != nil {
		t.Fatal(err)
	}
	name := dir + "/image.lock"
	if err := l.Save(name); err != nil {
		t.Fatal(err)
	}
	l, err = lock.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Suites {
		t.Logf("suite %s of %s, signed by %q", s.Name, s.Date, s.Signers)
	}
	kernel, err := l.Find("kernel", lock.Deb, "linux-image-6.18.15+deb13-cloud-amd64")
	if err != nil {
		t.Fatal(err)
	}
	if want := "5a507681ea8c978d02265a7fec2f02c9588fb48b54b7f71edc1059e86007f3ec"; kernel.SHA256 != want {
		t.Errorf("the pinned kernel has SHA-256 %s, want %s", kernel.SHA256, want)
	}
	for _, group := range []string{"base", "engine-cpu", "kernel"} {
		var sources []deb.Source
		for _, a := range l.InGroup(group) {
			p, ok := store.Path(a.SHA256)
			if !ok {
				t.Fatalf("%s is not in the store", a.Label())
			}
			sources = append(sources, deb.Source{Path: p, SHA256: a.SHA256})
		}
		for _, run := range []string{"first", "second"} {
			start = time.Now()
			tree, err := deb.UnpackAll(ctx, sources, 0, dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %s unpack of %d packages, %d paths: %v", group, run, len(sources), tree.Len(), time.Since(start))
		}
	}
}
