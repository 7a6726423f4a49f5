package bench

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/tests/ports"
)

// Environment of the test binary when it plays the minimal pipe.
const (
	pipeListen = "COCOON_BENCH_PIPE_LISTEN"
	pipeTarget = "COCOON_BENCH_PIPE_TARGET"
	pipeFolder = "COCOON_BENCH_PIPE_FOLDER"

	haproxyName = "HAProxy"
)

// TestMain lets the test binary be the minimal pipe, or one of the HTTP proxies in Go.
func TestMain(m *testing.M) {
	if kind := os.Getenv(peerKind); kind != "" {
		fmt.Fprintln(os.Stderr, playPeer(kind, os.Getenv(peerListen), os.Getenv(peerTarget)))
		os.Exit(1)
	}
	if addr := os.Getenv(pipeListen); addr != "" {
		fmt.Fprintln(os.Stderr, minimalPipe(addr, os.Getenv(pipeTarget), os.Getenv(pipeFolder)))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// minimalPipe is what a TLS proxy costs in Go at least: accept, handshake with client certificate, dial, two copies.
func minimalPipe(addr, target, dir string) error {
	c, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", addr, &tls.Config{
		Certificates: []tls.Certificate{c}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
	})
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer func() { _ = c.Close() }()
			in, ok := c.(*tls.Conn)
			if !ok || in.Handshake() != nil {
				return
			}
			d, err := net.Dial("tcp", target)
			if err != nil {
				return
			}
			defer func() { _ = d.Close() }()
			out, ok := d.(*net.TCPConn)
			if !ok {
				return
			}
			ended := make(chan struct{})
			go func() {
				_, _ = io.CopyBuffer(writer{out}, in, make([]byte, 64<<10))
				_ = out.CloseWrite()
				close(ended)
			}()
			_, _ = io.CopyBuffer(in, reader{out}, make([]byte, 64<<10))
			_ = in.CloseWrite()
			<-ended
		}()
	}
}

// reader and writer keep io.CopyBuffer to the buffer it is given.
type (
	reader struct{ io.Reader }
	writer struct{ io.Writer }
)

// authority is a certificate authority of the other proxies, with files of it and of two certificates below it.
type authority struct {
	dir    string
	client tls.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{dir: t.TempDir()}
	ca, caKey := certify(t, a.dir, "ca", nil, nil)
	certify(t, a.dir, "server", ca, caKey)
	certify(t, a.dir, "client", ca, caKey)
	var err error
	if a.client, err = tls.LoadX509KeyPair(filepath.Join(a.dir, "client.crt"), filepath.Join(a.dir, "client.key")); err != nil {
		t.Fatal(err)
	}
	return a
}

// certify writes name.crt, name.key and name.pem; without a parent it makes an authority.
func certify(t *testing.T, dir, name string, parent *x509.Certificate, parentKey ed25519.PrivateKey) (*x509.Certificate, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if parent == nil {
		template.IsCA, template.KeyUsage, template.ExtKeyUsage = true, template.KeyUsage|x509.KeyUsageCertSign, nil
		parent, parentKey = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	put(t, filepath.Join(dir, name+".crt"), crt)
	put(t, filepath.Join(dir, name+".key"), keyPEM)
	put(t, filepath.Join(dir, name+".pem"), append(crt, keyPEM...))
	return c, private
}

func (a authority) config() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{a.client}}
}

func startPipe(t *testing.T, target string) *proxy {
	t.Helper()
	a, port := newAuthority(t), ports.Free(t, 1)[0]
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{fmt.Sprintf("%s=127.0.0.1:%d", pipeListen, port), pipeTarget + "=" + target, pipeFolder + "=" + a.dir}
	p := startProxy(t, "minimal Go pipe", port, cmd)
	p.config = a.config()
	return p
}

func startHAProxy(t *testing.T, target string) (p *proxy, why string) {
	t.Helper()
	binary := findProxy(haproxyName, "haproxy")
	if binary == "" {
		return nil, "HAProxy is not installed (package haproxy)"
	}
	a, port := newAuthority(t), ports.Free(t, 1)[0]
	file := filepath.Join(a.dir, "haproxy.cfg")
	put(t, file, fmt.Appendf(nil, `global
    nbthread 1
    maxconn 4096
    tune.bufsize 65536
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:%d ssl crt %s ca-file %s verify required ssl-min-ver TLSv1.3 no-tls-tickets ciphersuites TLS_AES_128_GCM_SHA256
    default_backend out
backend out
    server sink %s
`, port, filepath.Join(a.dir, "server.pem"), filepath.Join(a.dir, "ca.crt"), target))
	p = startProxy(t, haproxyName, port, exec.Command(binary, "-db", "-f", file))
	p.config = a.config()
	return p, ""
}

func startGhostunnel(t *testing.T, target string) (p *proxy, why string) {
	t.Helper()
	binary := findProxy("ghostunnel", "ghostunnel")
	if binary == "" {
		return nil, "ghostunnel is not on PATH: no Debian package has it, build github.com/ghostunnel/ghostunnel"
	}
	a, port := newAuthority(t), ports.Free(t, 1)[0]
	p = startProxy(t, "ghostunnel", port, exec.Command(binary, "server", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--target", target,
		"--cert", filepath.Join(a.dir, "server.crt"), "--key", filepath.Join(a.dir, "server.key"), "--cacert", filepath.Join(a.dir, "ca.crt"), "--allow-all",
		"--quiet", "all")) // the others log no connections either
	p.config = a.config()
	return p, ""
}

func findProxy(names ...string) string {
	for _, name := range names {
		for _, candidate := range []string{strings.ToLower(name), "/usr/sbin/" + strings.ToLower(name)} {
			if full, err := exec.LookPath(candidate); err == nil {
				return full
			}
		}
	}
	return ""
}

// simulatedJudge trusts a simulated platform and admits every image of it.
func simulatedJudge(platform *measuretest.Platform) (*ratls.Judge, func() ratls.Terms, error) {
	rules := policy.Defaults(policy.TDX)
	rules.ImageSource, rules.AllowSimulated, rules.CollateralRoots = policy.Deferred, true, []dcap.RootID{platform.RootID()}
	p, err := policy.New(rules)
	judge, jerr := ratls.NewJudge(ratls.JudgeConfig{Verifier: dcap.NewVerifier(platform.Roots(), 4), Collateral: platform, Now: time.Now})
	return judge, ratls.Fixed(ratls.Terms{Policy: p}), errors.Join(err, jerr)
}
