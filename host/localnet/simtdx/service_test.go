package simtdx_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"cocoon/host/localnet/simtdx"
	"cocoon/measure/dcap"
	"cocoon/measure/eventlog"
	"cocoon/measure/launch/vars"
	"cocoon/measure/simtd"
	"cocoon/measure/tdx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func config(guests ...simtd.Address) simtdx.Config {
	return simtdx.Config{
		Seed: [32]byte{5}, Now: testTime, Guests: guests, PCS: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
	}
}

// start runs a service until the test ends.
func start(t *testing.T, c simtdx.Config) simtdx.Description {
	t.Helper()
	s, err := simtdx.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s.Description()
}

// ask dials a guest's channel and puts questions.
func ask(t *testing.T, network, address string) *simtd.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return simtd.NewConn(c, 1)
}

func quoteOver(t *testing.T, c *simtd.Conn) []byte {
	t.Helper()
	q, err := c.Call(simtd.Request{Method: simtd.GetQuote, ReportData: make([]byte, tdx.ReportDataSize)})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// fetch gets the collateral of a quote over HTTP.
func fetch(t *testing.T, base string, quote []byte) (*dcap.Bundle, error) {
	t.Helper()
	p, err := dcap.PlatformOf(quote)
	if err != nil {
		t.Fatal(err)
	}
	var responses []dcap.Response
	for _, r := range dcap.Requests(p) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+r.Path+"?"+r.Query, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			t.Fatal(err)
		}
		responses = append(responses, dcap.Response{Kind: r.Kind, Body: body, IssuerChain: answer.Header.Get(r.IssuerChain)})
	}
	return dcap.Assemble(responses)
}

func rootsOf(t *testing.T, d simtdx.Description) *dcap.Roots {
	t.Helper()
	block, _ := pem.Decode([]byte(d.Root))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := dcap.NewRoots(cert)
	if err != nil || !roots.Has(d.RootID) {
		t.Fatalf("the root is not the one of the root id: %v", err)
	}
	return roots
}

// What a machine of the local network does: quotes from its channel, collateral over HTTP, trust from the description.
func TestAQuoteFromTheChannelVerifiesWithCollateralFromTheService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "simtdx.sock")
	d := start(t, config(simtd.Address{Network: simtd.Unix, Path: path}, simtd.Address{Network: simtd.TCP, Host: "127.0.0.1:0"}))
	if len(d.Guests) != 2 || !d.Simulated || strings.HasSuffix(d.Guests[1], ":0") {
		t.Fatalf("described as %+v", d)
	}
	tcp, err := simtd.ParseAddress(d.Guests[1])
	if err != nil {
		t.Fatal(err)
	}
	roots := rootsOf(t, d)
	for _, c := range []*simtd.Conn{ask(t, "unix", path), ask(t, "tcp", tcp.Host)} {
		q := quoteOver(t, c)
		b, err := fetch(t, d.PCS, q)
		if err != nil {
			t.Fatal(err)
		}
		opened, err := dcap.Open(b, roots, testTime)
		if err != nil {
			t.Fatal(err)
		}
		r, err := dcap.NewVerifier(roots, 0).Verify(q, opened, testTime)
		if err != nil || r.Combined != dcap.UpToDate || r.Root != d.RootID || r.Quote.TD.MRTD != d.MRTD || r.FMSPC != d.FMSPC {
			t.Errorf("%+v, %v", r, err)
		}
		if !opened.Expires().Equal(d.CollateralExpires) {
			t.Errorf("the collateral expires at %s, described as %s", opened.Expires(), d.CollateralExpires)
		}
	}
}

// A serial port is a socket that QEMU listens at, and QEMU may end and start again.
func TestASerialPortIsServedAgainAfterItsMachineWasRestarted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "port")
	d := start(t, config(simtd.Address{Network: simtd.Port, Path: path}))
	if len(d.Guests) != 1 || d.Guests[0] != "port:"+path {
		t.Errorf("described as %q", d.Guests)
	}
	for range 2 {
		qemu, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		channel, err := qemu.Accept()
		if err != nil {
			t.Fatal(err)
		}
		quoteOver(t, simtd.NewConn(channel, 7))
		if err := errors.Join(channel.Close(), qemu.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFaultsReachTheServedPlatform(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	c := config(simtd.Address{Network: simtd.Unix, Path: path})
	c.Faults = []string{"pck-revoked", "debug-td"}
	d := start(t, c)
	q := quoteOver(t, ask(t, "unix", path))
	b, err := fetch(t, d.PCS, q)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := dcap.Open(b, rootsOf(t, d), testTime)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dcap.NewVerifier(rootsOf(t, d), 0).Verify(q, opened, testTime); dcap.ClassOf(err) != dcap.ClassRevoked {
		t.Errorf("got %v", err)
	}
	if td := must(t)(tdx.ParseQuote(q)).TD; td.TDAttributes[0]&1 == 0 {
		t.Error("the TD is not a debug TD")
	}
}

func bytesOf(t *testing.T) func([]byte, error) []byte {
	t.Helper()
	return func(b []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func must(t *testing.T) func(*tdx.Quote, error) *tdx.Quote {
	t.Helper()
	return func(q *tdx.Quote, err error) *tdx.Quote {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
}

func TestConfigurationsThatMakeNoSenseListTheirProblems(t *testing.T) {
	err := (&simtdx.Config{PCS: "nowhere", Faults: []string{"sunshine"}, Guests: make([]simtd.Address, 17)}).Validate()
	for _, want := range []string{"seed:", "now:", "log:", "pcs:", "faults:", "17 addresses"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	empty := config()
	empty.PCS = ""
	if _, err := simtdx.New(t.Context(), empty); err == nil || !strings.Contains(err.Error(), "nothing to serve") {
		t.Errorf("got %v", err)
	}
	for name, a := range map[string]simtd.Address{
		"no folder": {Network: simtd.Unix, Path: filepath.Join(t.TempDir(), "a", "b")},
		"no such":   {Network: "udp"},
		"not ours":  {Network: simtd.TCP, Host: "192.0.2.1:1"},
	} {
		if _, err := simtdx.New(t.Context(), config(simtd.Address{Network: simtd.TCP, Host: "127.0.0.1:0"}, a)); err == nil || !strings.Contains(err.Error(), "listening at") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServiceThatNeverRanLeavesNothingOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := simtdx.New(t.Context(), config(simtd.Address{Network: simtd.Unix, Path: path}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.Description().PCS, "http://")); err == nil {
		t.Error("the provisioning service still listens")
	}
}

func TestSeedsAreHexadecimalAndNotZero(t *testing.T) {
	want := [32]byte{0xab, 0xcd}
	if got, err := simtdx.ParseSeed(hex.EncodeToString(want[:])); err != nil || got != want {
		t.Errorf("%x, %v", got, err)
	}
	for _, text := range []string{"", "ab", strings.Repeat("0", 64), strings.Repeat("0", 63) + "g", strings.Repeat("ab", 33)} {
		if _, err := simtdx.ParseSeed(text); err == nil {
			t.Errorf("%q was read as a seed", text)
		}
	}
}

// The same seed gives the same description, whoever asks and whenever.
func TestDescriptionsFollowFromTheSeed(t *testing.T) {
	c := config(simtd.Address{Network: simtd.Unix, Path: "/never/opened"})
	a, err := simtdx.Describe(c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := simtdx.Describe(c)
	if err != nil || a.RootID != b.RootID || a.Root != b.Root || !bytes.Equal(a.Bundle.Encode(), b.Bundle.Encode()) {
		t.Errorf("%v", err)
	}
	if a.Guests[0] != "unix:/never/opened" || a.PCS != "http://127.0.0.1:0" || len(a.Faults) != 0 || a.Faults == nil {
		t.Errorf("described as %+v", a)
	}
	c.Seed[0]++
	if other, err := simtdx.Describe(c); err != nil || other.RootID == a.RootID {
		t.Errorf("another seed has the same root: %v", err)
	}
	var banner bytes.Buffer
	if err := a.Banner(&banner); err != nil || !strings.Contains(banner.String(), "SIMULATED") || !strings.Contains(banner.String(), a.RootID.String()[48:]) {
		t.Errorf("banner %q, %v", banner.String(), err)
	}
	if u, err := url.Parse(a.PCS); err != nil || u.Host != "127.0.0.1:0" {
		t.Errorf("%v, %v", u, err)
	}
	if len(simtdx.FaultNames()) < 20 {
		t.Errorf("%d faults", len(simtdx.FaultNames()))
	}
}

func TestTheLogOfAPredictedMachineReplays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	c := config(simtd.Address{Network: simtd.Unix, Path: path})
	c.Prediction = prediction(t)
	d := start(t, c)
	conn := ask(t, "unix", path)
	body := must(t)(tdx.ParseQuote(quoteOver(t, conn))).TD
	if d.Shape != "small" || body.MRTD != c.Prediction.MRTD || body.RTMR[2] != c.Prediction.RTMR2 || d.ImageHash == nil {
		t.Errorf("described as %+v, quoted %s", d, body.MRTD)
	}
	raw, err := conn.Call(simtd.Request{Method: simtd.EventLog})
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Parse(raw, eventlog.TD)
	if err != nil {
		t.Fatal(err)
	}
	results, err := log.Compare(body.RTMR)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.OK() {
			t.Error(r)
		}
	}
	if bad := log.Recompute(); len(bad) != 0 {
		t.Errorf("digests that do not follow from their data: %+v", bad)
	}
	var texts []string
	for i := range log.Events {
		texts = append(texts, log.Events[i].Describe())
	}
	want := []string{
		"TD HOB", "SecureBoot (global), 1 bytes", "dbx (image security), 0 bytes", "separator", "BootOrder (global), 4 bytes",
		fmt.Sprintf("Boot0001 (global), %d bytes", len(bytesOf(t)(vars.Disk(1, 3)))), "image of 0 bytes, UKI",
		"Calling EFI Application from Boot Option", "kernel", "Linux initrd",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Error(diff)
	}
}

// What cannot be told from a prediction is logged by its name, and then the log says so itself.
func TestAnUnknownVariableIsNotMadeUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	c := config(simtd.Address{Network: simtd.Unix, Path: path})
	c.Prediction = prediction(t)
	c.Prediction.Events[2].Digest = tdx.Sum([]byte("a store with keys"))
	var rtmr0 tdx.Digest
	for _, e := range c.Prediction.Events {
		if e.Register == tdx.RTMR0 {
			rtmr0 = rtmr0.Extend(e.Digest)
		}
	}
	c.Prediction.RTMR0 = rtmr0
	start(t, c)
	raw, err := ask(t, "unix", path).Call(simtd.Request{Method: simtd.EventLog})
	if err != nil {
		t.Fatal(err)
	}
	log, err := eventlog.Parse(raw, eventlog.TD)
	if err != nil {
		t.Fatal(err)
	}
	if bad := log.Recompute(); len(bad) != 1 || bad[0].Event != 1 {
		t.Errorf("got %+v", bad)
	}
}
