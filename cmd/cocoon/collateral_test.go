package main

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/host/collateral"
	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
	"cocoon/tests/golden"
)

// vectorTime is when three of the real bundles are valid.
func vectorTime() time.Time { return time.Date(2025, 6, 20, 0, 0, 0, 0, time.UTC) }

// simTime is when simulated platforms' collateral begins.
func simTime() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// outcome is what a command line did.
type outcome struct {
	code        int
	out, errOut string
}

// command runs a command line at a time.
func command(now time.Time, args ...string) outcome {
	var out, errOut strings.Builder
	d := testDeps(&out, &errOut)
	d.now = func() time.Time { return now }
	return outcome{run(args, d), out.String(), errOut.String()}
}

func (o outcome) check(t *testing.T, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d: %s", o.code, code, o.errOut)
	}
	for _, w := range words {
		if !strings.Contains(o.out+o.errOut, w) {
			t.Errorf("no %q in:\n%s%s", w, o.out, o.errOut)
		}
	}
}

func (o outcome) schema(t *testing.T, id string) {
	t.Helper()
	if err := validate(id, o.out); err != nil {
		t.Errorf("%v in:\n%s", err, o.out)
	}
}

// vectorFile writes a real bundle into a folder.
func vectorFile(t *testing.T, dir, name string) string {
	t.Helper()
	file := filepath.Join(dir, name+".json")
	if err := os.WriteFile(file, golden.Vector(t, "attestation/"+name+".json"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// simulated is a platform with its service running and its root in a file.
type simulated struct {
	platform  *measuretest.Platform
	url, root string
}

func simulate(t *testing.T) simulated {
	t.Helper()
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{9}, Now: simTime()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(measuretest.NewService(p))
	t.Cleanup(server.Close)
	root := filepath.Join(t.TempDir(), "root.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.RootCertificate().Raw})
	if err := os.WriteFile(root, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return simulated{p, server.URL, root}
}

// sources are the flags that make a command ask the simulated service only.
func (s simulated) sources() []string {
	return []string{"--pccs", s.url, "--no-intel", "--trust-root", s.root}
}

// fmspc is the default one of simulated platforms.
const fmspc = "50806f000000"

func TestShowSaysWhatIsInABundle(t *testing.T) {
	dir := t.TempDir()
	file := vectorFile(t, dir, "tdx_quote_collateral")
	command(vectorTime(), "collateral", "show", file).check(
		t, 0, "genuine, valid, expires 2025-07-19T10:00:35Z (in 29 days)", "TDX, FMSPC B0C06F000000, PCEID 0000, CA platform",
		"Intel SGX Root CA", "evaluation  17", "pck_crl", "Intel SGX PCK Platform CA, 44 revoked", "UpToDate", "TDX_01", "and 11 more",
	)
	vectorFile(t, dir, "sgx_quote_collateral")
	got := command(vectorTime(), "collateral", "show", dir, "-o", "json")
	got.check(t, 0, `"platform": "sgx-00A067110000-processor"`, `"platform": "tdx-B0C06F000000-platform"`)
	got.schema(t, "cocoon.collateral.show/1")
}

func TestShowFailsForWhatIsExpiredOrForged(t *testing.T) {
	dir := t.TempDir()
	file := vectorFile(t, dir, "tdx_quote_collateral")
	late := command(vectorTime().AddDate(1, 0, 0), "collateral", "show", file)
	late.check(t, cli.ExitDifference, "genuine, NOT VALID NOW: ", "335 days ago", "cocoon collateral fetch")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(dir, "forged.json")
	if err := os.WriteFile(forged, []byte(strings.Replace(string(data), "OutOfDate", "UpToDate", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	command(vectorTime(), "collateral", "show", forged).check(t, cli.ExitDifference, "NOT GENUINE (collateral_signature)")
	both := command(vectorTime(), "collateral", "show", dir, "-o", "json")
	both.check(t, cli.ExitDifference, `"ok": false`)
	both.schema(t, "cocoon.collateral.show/1")
	command(vectorTime(), "collateral", "show", filepath.Join(dir, "missing")).check(t, cli.ExitUsage, "missing")
	command(vectorTime(), "collateral", "show", t.TempDir()).check(t, cli.ExitError, "no .json file")
}

func TestShowNamesARootThatIsNotIntels(t *testing.T) {
	sim := simulate(t)
	b, err := sim.platform.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "simulated.json")
	if err := sources.WriteFile(file, b); err != nil {
		t.Fatal(err)
	}
	command(simTime(), "collateral", "show", file).check(t, cli.ExitDifference, "NOT GENUINE (root)")
	command(simTime(), "collateral", "show", file, "--trust-root", sim.root).check(t, 0, "NOT INTEL'S: "+sim.platform.RootID().String())
}

func TestFetchWritesAVerifiedBundle(t *testing.T) {
	sim := simulate(t)
	dir := t.TempDir()
	to, store := filepath.Join(dir, "bundle.json"), filepath.Join(dir, "store")
	args := append([]string{"collateral", "fetch", "--fmspc", fmspc, "--to", to, "--store", store}, sim.sources()...)
	got := command(simTime(), append(args, "-o", "json")...)
	got.check(t, 0, `"platform": "tdx-50806F000000-platform"`)
	got.schema(t, "cocoon.collateral.fetch/1")
	b, err := sources.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dcap.Open(b, sim.platform.Roots(), simTime()); err != nil {
		t.Error(err)
	}
	command(simTime(), args...).check(t, 0, "expires 2026-03-31T11:00:00Z (in 29 days)", to)
	command(simTime(), "collateral", "show", store, "--trust-root", sim.root).check(t, 0, "genuine, valid")

	quote, err := sim.platform.Quote(t.Context(), [64]byte{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "quote.dat")
	if err := os.WriteFile(file, quote, 0o644); err != nil {
		t.Fatal(err)
	}
	byQuote := append([]string{"collateral", "fetch", "--quote", file, "--to", filepath.Join(dir, "second.json")}, sim.sources()...)
	command(simTime(), byQuote...).check(t, 0, "second.json", "tdx-50806F000000-platform")
}

func TestFetchDryRunNamesTheAddresses(t *testing.T) {
	got := command(simTime(), "collateral", "fetch", "--fmspc", fmspc, "--tee", "sgx", "--ca", "processor", "--dry-run", "-o", "json")
	got.check(t, 0, pcs.IntelURL+"/sgx/certification/v4/tcb?fmspc=50806F000000", "ca=processor", dcap.RootCRLURL)
	got.schema(t, "cocoon.collateral.fetch/1")
	command(simTime(), "collateral", "fetch", "--fmspc", fmspc, "--dry-run").check(t, 0, "would ask:")
}

func TestFetchFailuresSayWhatToDo(t *testing.T) {
	sim := simulate(t)
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk")
	if err := os.WriteFile(junk, []byte("no quote"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing named":     {nil, cli.ExitUsage, "--quote FILE or --fmspc HEX"},
		"both named":        {[]string{"--fmspc", fmspc, "--quote", junk}, cli.ExitUsage, "--quote FILE or --fmspc HEX"},
		"bad FMSPC":         {[]string{"--fmspc", "xyz"}, cli.ExitUsage, "xyz"},
		"bad TEE":           {[]string{"--fmspc", fmspc, "--tee", "sev"}, cli.ExitUsage, "tdx, sgx"},
		"bad CA":            {[]string{"--fmspc", fmspc, "--ca", "root"}, cli.ExitUsage, "platform, processor"},
		"CA without TDX":    {[]string{"--fmspc", fmspc, "--ca", "processor"}, cli.ExitUsage, "--tee sgx"},
		"no quote":          {[]string{"--quote", junk}, cli.ExitError, "junk"},
		"missing quote":     {[]string{"--quote", filepath.Join(dir, "missing")}, cli.ExitUsage, "missing"},
		"unknown platform":  {append([]string{"--fmspc", "000000000001"}, sim.sources()...), cli.ExitError, "--quote FILE"},
		"other root":        {[]string{"--fmspc", fmspc, "--pccs", sim.url, "--no-intel"}, cli.ExitError, "--pccs URL"},
		"no source":         {[]string{"--fmspc", fmspc, "--no-intel"}, cli.ExitError, "no source is configured"},
		"bad address":       {[]string{"--fmspc", fmspc, "--pccs", "pccs:8081"}, cli.ExitError, "http://"},
		"root is no PEM":    {[]string{"--fmspc", fmspc, "--trust-root", junk}, cli.ExitUsage, "exactly one certificate"},
		"target is missing": {append([]string{"--fmspc", fmspc, "--to", filepath.Join(dir, "a", "b")}, sim.sources()...), cli.ExitUsage, "writing collateral bundle"},
	} {
		t.Run(name, func(t *testing.T) {
			got := command(simTime(), append([]string{"collateral", "fetch", "-o", "json"}, tc.args...)...)
			got.check(t, tc.code, tc.want)
			got.schema(t, "cocoon.error/1")
		})
	}
}

// serveRelay runs `collateral serve` until the test ends and returns its address.
func serveRelay(t *testing.T, now time.Time, args ...string) string {
	t.Helper()
	r, w := io.Pipe()
	var errOut strings.Builder
	d := testDeps(nil, &errOut)
	d.stdout, d.now = w, func() time.Time { return now }
	ctx, cancel := context.WithCancel(t.Context())
	root, a := newRootCmd(d)
	root.SetArgs(append([]string{"collateral", "serve", "--listen", "127.0.0.1:0", "-o", "json", "-q"}, args...))
	done := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		a.close()
		_ = w.CloseWithError(errors.Join(err, io.EOF))
		done <- err
	}()
	var doc strings.Builder
	buf := make([]byte, 4096)
	for !strings.HasSuffix(doc.String(), "\n}\n") {
		n, err := r.Read(buf)
		doc.Write(buf[:n])
		if err != nil {
			t.Fatalf("serving: %v %s", err, errOut.String())
		}
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("an orderly end is an error: %v", err)
		}
	})
	if err := validate("cocoon.collateral.serve/1", doc.String()); err != nil {
		t.Error(err)
	}
	_, after, _ := strings.Cut(doc.String(), `"listen": "`)
	addr, _, _ := strings.Cut(after, `"`)
	return "http://" + addr
}

func TestServeRelaysToGuestsAndKeepsWhatItServes(t *testing.T) {
	sim := simulate(t)
	store := filepath.Join(t.TempDir(), "store")
	url := serveRelay(t, simTime(), append(sim.sources(), "--store", store, "--fmspc", fmspc)...)
	transport := pcs.NewHTTPClient()
	defer transport.CloseIdleConnections()
	guest, err := pcs.NewClient(pcs.ClientConfig{URL: url, HTTP: transport})
	if err != nil {
		t.Fatal(err)
	}
	f, err := dcap.ParseFMSPC(fmspc)
	if err != nil {
		t.Fatal(err)
	}
	p := dcap.Platform{TEE: 0x81, FMSPC: f, CA: dcap.PlatformCA}
	b, err := guest.Bundle(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dcap.Open(b, sim.platform.Roots(), simTime()); err != nil {
		t.Error(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/status", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	status, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate(collateral.StatusSchema, string(status)); err != nil || !strings.Contains(string(status), `"valid": true`) {
		t.Errorf("%v in %s", err, status)
	}
	// The service is gone, the store stays: another relay goes on with it.
	offline := serveRelay(t, simTime().AddDate(0, 0, 20), "--no-intel", "--trust-root", sim.root, "--store", store)
	second, err := pcs.NewClient(pcs.ClientConfig{URL: offline, HTTP: transport})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Bundle(t.Context(), p); err != nil {
		t.Errorf("the stored collateral is not served: %v", err)
	}
}

func TestServeRefusesAnAddressInUse(t *testing.T) {
	sim := simulate(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(sim.url, "http://"), ":")
	command(simTime(), append([]string{"collateral", "serve", "--listen", "127.0.0.1:" + port, "--store", t.TempDir()}, sim.sources()...)...).check(
		t, cli.ExitPrerequisite, "--listen HOST:PORT")
	command(simTime(), "collateral", "serve", "--fmspc", "zz", "--store", t.TempDir()).check(t, cli.ExitUsage, "--fmspc")
	command(simTime(), "collateral", "serve").check(t, cli.ExitUsage, "--store DIR")
}

func TestRemaining(t *testing.T) {
	for d, want := range map[time.Duration]string{
		29 * 24 * time.Hour: "in 29 days", 90 * time.Minute: "in 1 hour", 47 * time.Hour: "in 47 hours", time.Minute: "in 1 minute",
		-time.Second: "0 minutes ago", -26 * time.Hour: "26 hours ago", -72 * time.Hour: "3 days ago",
	} {
		if got := remaining(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// bundleFile is collateral that calls the platform out of date.
func (s simulated) bundleFile(t *testing.T) string {
	t.Helper()
	b, err := s.platform.BundleWith(measuretest.CollateralSpec{Platform: "OutOfDate", Advisories: []string{"INTEL-SA-00002"}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "outofdate.json")
	if err := sources.WriteFile(file, b); err != nil {
		t.Fatal(err)
	}
	return file
}
