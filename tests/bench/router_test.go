package bench

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
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"cocoon/measure/measuretest"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
	"cocoon/tests/ports"
)

// Bars of attestation.md section 18. The absolute ones are of its machine; elsewhere the ratio to the minimal pipe counts.
const (
	barConnections = 2000.0 // attested, per second of processor time, verdict cached, proof of work off
	barBulk        = 1.4e9  // bytes per second of processor time
	barTolerance   = 0.8    // of the minimal pipe
	barIdleRSS     = 40e6   // bytes

	proxyRounds      = 3
	proxyConnections = 1500
	proxyBulk        = 1 << 30 // bytes in each direction
	idleSessions     = 1000
	proxyWait        = 60 * time.Second
)

// proxy is a TLS server in front of the sink, in a process of its own.
type proxy struct {
	name string
	addr string
	pid  int
	// prelude is what a client does before TLS; nil is nothing.
	prelude func(net.Conn) error
	config  *tls.Config
	// attest makes a certificate with a quote of its own, which our router admits.
	attest func() (*tls.Certificate, error)

	connections, in, out float64 // best per second of processor time: connections, bytes
}

// TestRouterBesideProxies: attested connections and bulk bytes through our router per second of its processor time,
// beside a minimal pipe in Go and the proxies that are installed, in turns.
func TestRouterBesideProxies(t *testing.T) {
	wanted(t)
	target := startSink(t)
	ours := startRouter(t, target, "sim")
	all := []*proxy{ours, startPipe(t, target)}
	for _, start := range []func(*testing.T, string) (*proxy, string){startHAProxy, startGhostunnel} {
		if p, why := start(t, target); p != nil {
			all = append(all, p)
		} else {
			t.Log(why)
		}
	}
	for _, p := range all {
		p.config.CurvePreferences = []tls.CurveID{tls.X25519} // which all of them have
		p.checkSettings(t)
	}
	for range proxyRounds {
		for _, p := range all {
			p.connections = max(p.connections, p.rate(t, proxyConnections, func() error { return p.connect(proxyConnections) }))
			p.in = max(p.in, p.rate(t, proxyBulk, func() error { return p.upload(proxyBulk) }))
			p.out = max(p.out, p.rate(t, proxyBulk, func() error { return p.download(proxyBulk) }))
		}
	}
	minimal := all[1]
	t.Logf("load average %s; TLS 1.3, X25519, AES-128-GCM, Ed25519 certificates on both sides; in brackets: of the minimal pipe", loadAverage(t))
	for _, p := range all {
		t.Logf("%-22s %6.0f (%.2f) connections/s/core  %.2f (%.2f) GB/s/core in  %.2f (%.2f) GB/s/core out", p.name,
			p.connections, p.connections/minimal.connections, p.in/1e9, p.in/minimal.in, p.out/1e9, p.out/minimal.out)
	}
	compareHybrid(t, ours, minimal)
	for _, row := range []struct {
		what              string
		got, bar, minimal float64
	}{
		{"connections", ours.connections, barConnections, minimal.connections},
		{"bulk in", ours.in, barBulk, minimal.in},
		{"bulk out", ours.out, barBulk, minimal.out},
	} {
		verdict := "MISSES"
		if row.got >= row.bar || row.got >= barTolerance*row.minimal {
			verdict = "meets"
		}
		t.Logf("%s: %.3g/s/core, %.2f of the minimal pipe: %s the bar of %.3g or %.2f", row.what, row.got, row.got/row.minimal, verdict, row.bar, barTolerance)
	}
}

// compareHybrid compares connections with the key exchange that peers of ours offer first.
func compareHybrid(t *testing.T, ours, minimal *proxy) {
	t.Helper()
	best := map[*proxy]float64{}
	for range proxyRounds {
		for _, p := range []*proxy{ours, minimal} {
			p.config.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
			best[p] = max(best[p], p.rate(t, proxyConnections, func() error { return p.connect(proxyConnections) }))
		}
	}
	for _, p := range []*proxy{ours, minimal} {
		t.Logf("%-22s %6.0f (%.2f) connections/s/core with X25519MLKEM768", p.name, best[p], best[p]/best[minimal])
	}
}

// checkSettings checks that a proxy does what the others do: rates of different work cannot be compared.
func (p *proxy) checkSettings(t *testing.T) {
	t.Helper()
	c, err := p.dial()
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	defer func() { _ = c.Close() }()
	if err := ask(c, sinkEcho); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	s := c.ConnectionState()
	if s.Version != tls.VersionTLS13 || s.CurveID != tls.X25519 || s.CipherSuite != tls.TLS_AES_128_GCM_SHA256 || s.DidResume {
		t.Fatalf("%s negotiates %s, %s, %s, resumed: %t", p.name, tls.VersionName(s.Version), s.CurveID, tls.CipherSuiteName(s.CipherSuite), s.DidResume)
	}
	stranger := *p
	stranger.config = p.config.Clone()
	stranger.config.Certificates = nil
	if c, err := stranger.dial(); err == nil {
		defer func() { _ = c.Close() }()
		if ask(c, sinkEcho) == nil {
			t.Fatalf("%s serves clients without a certificate", p.name)
		}
	}
}

// TestRouterIdleMemory: resident memory of a router with a thousand sessions that have moved bytes and are idle: of
// clients, who are not attested and are the many, of peers with quotes and one certificate, as connections of one machine
// have, and of as many machines, each with a certificate and quote of its own.
func TestRouterIdleMemory(t *testing.T) {
	wanted(t)
	for _, tc := range []struct {
		name, policy string
		own          bool
	}{
		{"not attested", "any", false},
		{"attested, one certificate", "sim", false},
		{"attested, a certificate each", "sim", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := startRouter(t, startSink(t), tc.policy)
			switch {
			case tc.policy == "any":
				p.config.Certificates = []tls.Certificate{unattested(t)}
			case tc.own:
				idle(t, p, p.attest)
				return
			}
			idle(t, p, func() (*tls.Certificate, error) { return &p.config.Certificates[0], nil })
		})
	}
}

// idle opens sessions, each with the certificate that shown gives, and measures when all is quiet.
func idle(t *testing.T, p *proxy, shown func() (*tls.Certificate, error)) {
	t.Helper()
	before := residentBytes(t, p.pid)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range idleSessions {
		own, err := shown()
		if err != nil {
			t.Fatal(err)
		}
		p.config.Certificates = []tls.Certificate{*own}
		c, err := p.dial()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		if err := ask(c, sinkEcho); err != nil {
			t.Fatal(err)
		}
	}
	quiet := time.NewTimer(6 * time.Second) // the process gives memory back when it has been quiet for two
	<-quiet.C
	after := residentBytes(t, p.pid)
	verdict := "meets"
	if after > barIdleRSS {
		verdict = "MISSES"
	}
	t.Logf("%d idle sessions: %.1f MB resident (%.1f MiB), %.1f MB before them, %.1f kB each: %s the bar of %.0f MB; load average %s", idleSessions,
		float64(after)/1e6, float64(after)/mib, float64(before)/1e6, float64(after-before)/1e3/idleSessions, verdict, barIdleRSS/1e6, loadAverage(t))
	for i, c := range open { // they are all alive
		if err := ask(c, sinkEcho); err != nil {
			t.Fatalf("session %d: %v", i, err)
		}
	}
}

// rate is amount per second of the proxy's processor time.
func (p *proxy) rate(t *testing.T, amount float64, work func() error) float64 {
	t.Helper()
	before := processorTime(t, p.pid)
	if err := work(); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	return amount / (processorTime(t, p.pid) - before).Seconds()
}

// processorTime is what a process has used: the clock of clock_getcpuclockid(3).
func processorTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	const schedulerClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// The words that a client of the sink begins with.
const (
	sinkEcho  = 'E' // answers every byte
	sinkTake  = 'T' // takes bytes until their end and answers with one
	sinkGive  = 'G' // sends bytes until it is closed
	sinkClose = 'C' // answers with one and closes
	clients   = 2
	chunk     = 256 << 10
)

// startSink is the service behind every proxy, in the test's process: its time is not counted.
func startSink(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer func() { _ = c.Close() }()
				sink(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Wait()
	})
	return l.Addr().String()
}

func sink(c net.Conn) {
	var word [1]byte
	for {
		if _, err := io.ReadFull(c, word[:]); err != nil {
			return
		}
		switch word[0] {
		case sinkEcho:
			_, _ = c.Write(word[:])
		case sinkClose:
			_, _ = c.Write(word[:])
			return
		case sinkTake:
			buf := make([]byte, chunk)
			for {
				if _, err := c.Read(buf); err != nil {
					_, _ = c.Write(word[:])
					return
				}
			}
		case sinkGive:
			buf := make([]byte, chunk)
			for {
				if _, err := c.Write(buf); err != nil {
					return
				}
			}
		}
	}
}

func ask(c net.Conn, word byte) error {
	b := [1]byte{word}
	if _, err := c.Write(b[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b[:])
	return err
}

// dial makes a connection through the proxy.
func (p *proxy) dial() (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), proxyWait)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(proxyWait))
	if p.prelude != nil {
		if err := p.prelude(raw); err != nil {
			_ = raw.Close()
			return nil, err
		}
	}
	c := tls.Client(raw, p.config)
	return c, c.HandshakeContext(ctx)
}

// each runs work on both clients.
func each(work func(share int) error) error {
	var group errgroup.Group
	for i := range clients {
		group.Go(func() error { return work(i) })
	}
	return group.Wait()
}

func (p *proxy) connect(n int) error {
	return each(func(int) error {
		for range n / clients {
			c, err := p.dial()
			if err != nil {
				return err
			}
			err = ask(c, sinkClose)
			if err = errors.Join(err, c.NetConn().Close()); err != nil {
				return err
			}
		}
		return nil
	})
}

func (p *proxy) upload(n int) error {
	return each(func(int) error {
		c, err := p.dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.NetConn().Close() }()
		buf := make([]byte, chunk)
		buf[0] = sinkTake
		for sent := 0; sent < n/clients; sent += len(buf) {
			if _, err := c.Write(buf); err != nil {
				return err
			}
		}
		if err := c.CloseWrite(); err != nil {
			return err
		}
		if p.name == haproxyName { // it takes close_notify for the end of both directions
			_, _ = c.Read(buf[:1])
			return nil
		}
		_, err = io.ReadFull(c, buf[:1])
		return err
	})
}

func (p *proxy) download(n int) error {
	return each(func(int) error {
		c, err := p.dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.NetConn().Close() }()
		if _, err := c.Write([]byte{sinkGive}); err != nil {
			return err
		}
		buf := make([]byte, chunk)
		for got := 0; got < n/clients; {
			m, err := c.Read(buf)
			if err != nil {
				return err
			}
			got += m
		}
		return nil
	})
}

// prove answers a challenge of difficulty 0.
func prove(c net.Conn) error {
	if _, err := io.ReadFull(c, make([]byte, 24)); err != nil {
		return err
	}
	_, err := c.Write([]byte{0x19, 0x73, 0x82, 0x01, 0, 0, 0, 0, 0, 0, 0, 0})
	return err
}

// startRouter runs `init router` of this tree with software TDX: attested itself, and judging its peers by the policy.
func startRouter(t *testing.T, target, policy string) *proxy {
	t.Helper()
	platform, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{5}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	td, err := platform.Launch(measuretest.TDOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), ports.Free(t, 1)[0]
	binary := filepath.Join(dir, "init")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/init")
	build.Dir, build.Env = golden.Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	put(t, filepath.Join(dir, "router.json"), routerFile(t, platform, td, dir))
	p := startProxy(t, "our router, attested", port, exec.Command(binary, "router", "-c", filepath.Join(dir, "router.json"), "-d", "0", "-R",
		fmt.Sprintf("%d:%s@%s", port, target, policy)))
	judge, terms, err := simulatedJudge(platform)
	if err != nil {
		t.Fatal(err)
	}
	p.attest = func() (*tls.Certificate, error) {
		id, err := ratls.NewIdentity(ratls.IdentityConfig{Quoter: td, Judge: judge, Terms: terms, Now: time.Now})
		if err == nil {
			err = id.Refresh(t.Context())
		}
		if err != nil {
			return nil, err
		}
		return id.Certificate(ratls.V1)
	}
	own, err := p.attest()
	if err != nil {
		t.Fatal(err)
	}
	p.prelude, p.config = prove, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*own}}
	return p
}

// routerFile is a local network's configuration for a platform whose services run in the test.
func routerFile(t *testing.T, platform *measuretest.Platform, td *measuretest.TD, dir string) []byte {
	t.Helper()
	pccs := httptest.NewServer(measuretest.NewService(platform))
	t.Cleanup(pccs.Close)
	device := filepath.Join(dir, "simtd")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", device)
	if err != nil {
		t.Fatal(err)
	}
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
	m, id := td.Measurements(), platform.RootID()
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: platform.RootCertificate().Raw})
	doc, err := json.Marshal(map[string]any{
		"network":    "local",
		"simulated":  map[string]string{"device": "unix:" + device, "root": string(root)},
		"collateral": map[string]any{"pccs_url": pccs.URL},
		"limits":     map[string]any{"exempt": []string{"127.0.0.0/8"}, "drain": "10ms"},
		"policies": []any{map[string]any{"name": "sim", "type": "tdx", "tdx_config": map[string]any{
			"allow_simulated": true, "allowed_collateral_root_hashes": []string{id.String()}, "allowed_image_hashes": []string{tdx.ImageHash(&m).String()},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// startProxy starts a command and waits until its port answers.
func startProxy(t *testing.T, name string, port int, cmd *exec.Cmd) *proxy {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(slices.Clone(os.Environ()), cmd.Env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, out.String())
		}
	})
	p := &proxy{name: name, addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), pid: cmd.Process.Pid}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(proxyWait); ; {
		if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.addr); err == nil {
			_ = c.Close()
			return p
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s does not listen:\n%s", name, out.String())
		}
	}
}

// unattested is a client's throw-away certificate.
func unattested(t *testing.T) tls.Certificate {
	t.Helper()
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
	return *c
}
