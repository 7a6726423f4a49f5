package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/wire"
	"cocoon/guest/router"
	"cocoon/measure/bootfiles"
	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
	"cocoon/tests/logbook"
)

// routerWait bounds every wait of these tests.
const routerWait = time.Minute

func TestRouterArgumentsOfNoConfiguration(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"tdx without images": {[]string{"-S", "8116@tdx"}, exitUsage, "--image-source=defer"},
		"unknown flag":       {[]string{"-x"}, exitUsage, "-x"},
		"missing file":       {[]string{"-c", filepath.Join(t.TempDir(), "none")}, exitUsage, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			code := run(t.Context(), append([]string{"/init", "router"}, tc.args...), io.Discard, &stderr)
			if code != tc.code || !strings.Contains(stderr.String(), tc.want) || !strings.HasPrefix(stderr.String(), "error: init router: ") {
				t.Errorf("code %d, %s", code, stderr.String())
			}
		})
	}
}

// TestOnlyTheTestVariantIsLocal: within an image, its measured description decides.
func TestOnlyTheTestVariantIsLocal(t *testing.T) {
	for variant, want := range map[bootfiles.Variant]bool{bootfiles.Production: false, bootfiles.Debug: false, bootfiles.Test: true} {
		data, err := bootfiles.EncodeImage(bootfiles.Image{Name: "proxy", Profile: "proxy", Variant: variant, Version: 1})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "image.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := mayBeLocal(path); err != nil || got != want {
			t.Errorf("%s: %v, %v", variant, got, err)
		}
		if err := os.WriteFile(path, data[1:], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := mayBeLocal(path); err == nil {
			t.Errorf("%s: a description that cannot be read decides", variant)
		}
	}
	if got, err := mayBeLocal(filepath.Join(t.TempDir(), "none")); err != nil || !got {
		t.Errorf("outside of an image: %v, %v", got, err)
	}
}

// simulation is a platform with its services: software TDX on a socket, collateral over HTTP.
type simulation struct {
	platform *measuretest.Platform
	td       *measuretest.TD
	device   string
	pccs     string
}

func newSimulation(t *testing.T) *simulation {
	t.Helper()
	platform, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{9}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	td, err := platform.Launch(measuretest.TDOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &simulation{platform: platform, td: td}
	pccs := httptest.NewServer(measuretest.NewService(platform))
	t.Cleanup(pccs.Close)
	s.pccs = pccs.URL
	path := filepath.Join(t.TempDir(), "simtd")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s.device = "unix:" + path
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = td.Serve(ctx, l, slog.New(slog.DiscardHandler)) // ends with ctx
	}()
	t.Cleanup(func() {
		cancel()
		<-served
	})
	return s
}

// file is a local network's configuration with the policy "sim".
func (s *simulation) file(t *testing.T, image string) string {
	t.Helper()
	id := s.platform.RootID()
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.platform.RootCertificate().Raw})
	doc, err := json.Marshal(map[string]any{
		"network":    "local",
		"simulated":  map[string]string{"device": s.device, "root": string(root)},
		"collateral": map[string]any{"pccs_url": s.pccs, "store_dir": t.TempDir()},
		"limits":     map[string]string{"drain": "50ms"},
		"policies": []any{map[string]any{"name": "sim", "type": "tdx", "tdx_config": map[string]any{
			"allow_simulated": true, "allowed_collateral_root_hashes": []string{id.String()}, "allowed_image_hashes": []string{image},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// routing is a running `init router`.
type routing struct {
	p      *routerProcess
	addr   chan string
	reload chan os.Signal
	log    *logbook.Book
	done   chan error
	cancel func()
}

func startRouting(t *testing.T, allowLocal bool, file func() string, args ...string) *routing {
	t.Helper()
	parse := func() (*router.Config, error) {
		return router.Parse(append([]string{"-c", "router.json"}, args...), func(string) ([]byte, error) { return []byte(file()), nil })
	}
	cfg, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	r := &routing{addr: make(chan string, 4), reload: make(chan os.Signal, 1), log: new(logbook.Book), done: make(chan error, 1)}
	r.p = &routerProcess{
		cfg: cfg, log: slog.New(slog.NewTextHandler(r.log, nil)), now: time.Now, allowLocal: allowLocal, reload: r.reload, reparse: parse,
		openQuotes: func() (quotes, error) { return nil, nil },
		listen: func(ctx context.Context, _ router.Port) (net.Listener, error) {
			l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
			if err == nil {
				r.addr <- l.Addr().String()
			}
			return l, err
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.done <- r.p.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-r.done:
			r.done <- err
		case <-time.After(routerWait):
			t.Error("the router does not stop")
		}
	})
	return r
}

func (r *routing) listening(t *testing.T) string {
	t.Helper()
	select {
	case a := <-r.addr:
		return a
	case err := <-r.done:
		r.done <- err
		t.Fatalf("the router did not start: %v\n%s", err, r.log)
	case <-time.After(routerWait):
		t.Fatalf("the router does not start\n%s", r.log)
	}
	return ""
}

// TestRouterProcesses: two processes with software TDX and a caching service of collateral; the service inside is told
// the image; a reload that takes the image away ends the session.
func TestRouterProcesses(t *testing.T) {
	s := newSimulation(t)
	m := s.td.Measurements()
	image := tdx.ImageHash(&m).String()
	told := make(chan *wire.Preamble, 1)
	service := listenOnce(t, func(c net.Conn) {
		if p, _, err := wire.ReadPreamble(c); err == nil {
			told <- p
			_, _ = io.Copy(c, c)
		}
	})
	var mu sync.Mutex
	allowed := image
	file := func() string {
		mu.Lock()
		defer mu.Unlock()
		return s.file(t, allowed)
	}
	metricsAddr := freeAddress(t)
	far := startRouting(t, true, file, "-s", "-d", "0", "--metrics", metricsAddr, "-R", "11001:"+service+"@sim")
	near := startRouting(t, true, func() string { return s.file(t, image) }, "-F", "9000:"+far.listening(t)+"@sim")
	app, err := new(net.Dialer).DialContext(t.Context(), "tcp", near.listening(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = app.Close() }()
	_ = app.SetDeadline(time.Now().Add(routerWait))
	if _, err := app.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("question"))
	if _, err := io.ReadFull(app, answer); err != nil || string(answer) != "question" {
		t.Fatalf("%q, %v\nnear:\n%s\nfar:\n%s", answer, err, near.log, far.log)
	}
	p := <-told
	if p.TDX == nil {
		t.Fatal("the peer is not attested")
	}
	if hash, err := router.IntroducedImage(p, []dcap.RootID{p.TDX.CollateralRoot}); err != nil || hash.String() != image {
		t.Errorf("the service is told image %s, %v, want %s", hash, err, image)
	}
	page := get(t, "http://"+metricsAddr+"/metrics")
	for _, want := range []string{
		"router_simulated 1", `router_sessions{listener="11001",image="` + image + `"} 1`, "router_certificate_expiry_seconds 8", "router_certificate_alarm 0",
		`kind="tcb_info"} `, `kind="qe_identity"} `, `kind="pck_crl"} `, `kind="root_crl"} `, "router_collateral_expiry_seconds{", "router_collateral_age_seconds{",
		`router_handshakes_total{listener="11001",code="ok"} 1`, `router_verifications_total{result="miss"}`, `router_stage_seconds_count{listener="process",stage="certificate"} 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("metrics lack %s:\n%s", want, page)
		}
	}
	mu.Lock()
	allowed = strings.Repeat("ab", 32)
	mu.Unlock()
	far.reload <- os.Interrupt
	if _, err := app.Read(answer); err == nil {
		t.Error("the session goes on although its image is not allowed any more")
	}
	if !strings.Contains(far.log.String(), "Policies reloaded") {
		t.Errorf("log: %s", far.log)
	}
}

// TestRoutersShowEachOtherQuotesOfTheConnection where both offer it, and who requires it talks to nobody without.
func TestRoutersShowEachOtherQuotesOfTheConnection(t *testing.T) {
	s := newSimulation(t)
	m := s.td.Measurements()
	image := tdx.ImageHash(&m).String()
	file := func(fresh string) func() string {
		text := strings.Replace(s.file(t, image), `{`, `{"claims":{"role":"tool","network_id":-217},"profile":"auto","fresh":"`+fresh+`",`, 1)
		return func() string { return text }
	}
	for name, tc := range map[string]struct {
		near, far      string
		admitted, seen bool
	}{
		"both require":           {"require", "require", true, true},
		"required and offered":   {"offer", "require", true, true},
		"offered by one":         {"off", "offer", true, false},
		"required of who cannot": {"off", "require", false, false},
		"required by the near":   {"require", "off", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			service := listenOnce(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
			metricsAddr := freeAddress(t)
			far := startRouting(t, true, file(tc.far), "-d", "0", "--metrics", metricsAddr, "-R", "11001:"+service+"@sim")
			near := startRouting(t, true, file(tc.near), "-F", "9000:"+far.listening(t)+"@sim")
			app, err := new(net.Dialer).DialContext(t.Context(), "tcp", near.listening(t))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = app.Close() }()
			_ = app.SetDeadline(time.Now().Add(routerWait))
			_, err = app.Write([]byte("x"))
			if err == nil {
				_, err = io.ReadFull(app, make([]byte, 1))
			}
			if (err == nil) != tc.admitted {
				t.Fatalf("the stream: %v\nnear:\n%s\nfar:\n%s", err, near.log, far.log)
			}
			page := get(t, "http://"+metricsAddr+"/metrics")
			if seen := strings.Contains(page, `router_stage_seconds_count{listener="11001",stage="fresh"} 1`); seen != tc.seen {
				t.Errorf("fresh quotes were exchanged: %t, want %t\n%s", seen, tc.seen, page)
			}
			if ok := strings.Contains(page, `router_handshakes_total{listener="11001",code="ok"} 1`); ok != tc.admitted {
				t.Errorf("admitted: %t, want %t\n%s", ok, tc.admitted, page)
			}
		})
	}
}

// TestProductionRefusesLocalNetworks: an image that is not for tests does not even make the certificate.
func TestProductionRefusesLocalNetworks(t *testing.T) {
	s := newSimulation(t)
	r := startRouting(t, false, func() string { return s.file(t, strings.Repeat("ab", 32)) }, "-R", "11001:127.0.0.1:11101@sim")
	select {
	case err := <-r.done:
		r.done <- err
		if err == nil || !strings.Contains(err.Error(), "refuses simulated platforms") {
			t.Errorf("ended with %v", err)
		}
	case <-r.addr:
		t.Error("it listens")
	case <-time.After(routerWait):
		t.Error("no answer")
	}
}

// TestNewCollateralIsAskedAboutThoseWhoAreThere: a peer whose platform is found to be out of date does not stay because it
// came before that was known.
func TestNewCollateralIsAskedAboutThoseWhoAreThere(t *testing.T) {
	const day = 24 * time.Hour
	s := newSimulation(t)
	// The service's first answers are of an age at which they are renewed; the second ones, which come when the session stands,
	// say that the platform is old.
	first, second := measuretest.NewService(s.platform), measuretest.NewService(s.platform)
	first.Collateral.Now = time.Now().Add(-20 * day)
	second.Collateral.Now, second.Collateral.Platform = time.Now(), "OutOfDate"
	var mu sync.Mutex
	asked, standing := map[string]bool{}, make(chan struct{})
	pccs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		again := asked[r.URL.String()]
		asked[r.URL.String()] = true
		mu.Unlock()
		if !again {
			first.ServeHTTP(w, r)
			return
		}
		select {
		case <-standing:
			second.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(pccs.Close)
	m := s.td.Measurements()
	image := tdx.ImageHash(&m).String()
	service := listenOnce(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	metricsAddr := freeAddress(t)
	own := s.file(t, image)
	theirs := strings.Replace(own, s.pccs, pccs.URL, 1)
	far := startRouting(t, true, func() string { return theirs }, "-d", "0", "--metrics", metricsAddr, "-R", "11001:"+service+"@sim")
	near := startRouting(t, true, func() string { return own }, "-F", "9000:"+far.listening(t)+"@any")
	app, err := new(net.Dialer).DialContext(t.Context(), "tcp", near.listening(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = app.Close() }()
	_ = app.SetDeadline(time.Now().Add(routerWait))
	if _, err := app.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(app, make([]byte, 1)); err != nil {
		t.Fatalf("the session does not stand: %v\n%s", err, far.log)
	}
	close(standing)
	if n, err := app.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the session goes on: %v\n%s", err, far.log)
	}
	// The eviction is counted and logged when the connection is closed already.
	const want = `router_sessions_evicted_total{reason="collateral"} 1`
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(routerWait); ; {
		page := get(t, "http://"+metricsAddr+"/metrics")
		if strings.Contains(page, want) && strings.Contains(far.log.String(), "code=tcb_status") {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("no %s in\n%s\n%s", want, page, far.log)
		}
	}
}

// TestCertificateFiles: the reference's files serve as identity.
func TestCertificateFiles(t *testing.T) {
	id, err := ratls.NewIdentity(ratls.IdentityConfig{Now: time.Now})
	if err == nil {
		err = id.Refresh(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := id.Certificate(ratls.V1)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(t.TempDir(), "tdx")
	if err := ratls.WriteFiles(base, c); err != nil {
		t.Fatal(err)
	}
	r := startRouting(t, false, func() string { return `{"collateral": {"refresh": false}}` }, "-C", base, "-d0", "-R", "11001:127.0.0.1:11101@any")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", r.listening(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(routerWait))
	challenge := make([]byte, 24)
	if _, err := io.ReadFull(conn, challenge); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{0x19, 0x73, 0x82, 0x01, 0, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*c}}) // the certificate is what is looked at
	if err := client.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := client.ConnectionState().PeerCertificates[0]; !bytes.Equal(got.Raw, c.Certificate[0]) {
		t.Error("the router shows another certificate")
	}
	var page bytes.Buffer
	metrics := router.NewMetrics()
	if _, err := (&routerProcess{cfg: &router.Config{CertBase: base}, now: time.Now}).credentials(t.Context(), nil, metrics); err != nil {
		t.Fatal(err)
	}
	if metrics.Write(&page); !strings.Contains(page.String(), "router_certificate_expiry_seconds 8") || !strings.Contains(page.String(), "router_certificate_alarm 0") {
		t.Errorf("the end of the files' certificate is not watched:\n%s", page.String())
	}
	if _, err := (&routerProcess{cfg: &router.Config{Profile: router.V2}, now: time.Now}).credentials(t.Context(), nil, metrics); err == nil || !strings.Contains(err.Error(), "--profile=v2") {
		t.Errorf("a router that speaks v2 alone and can make no such certificate: %v", err)
	}
	if _, err := (&routerProcess{cfg: &router.Config{CertBase: base + "x"}, now: time.Now}).credentials(t.Context(), nil, router.NewMetrics()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files that are not there: %v", err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", res.Status, err)
	}
	http.DefaultClient.CloseIdleConnections()
	return string(data)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return fmt.Sprint(l.Addr())
}

// listenOnce is a service inside.
func listenOnce(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}
