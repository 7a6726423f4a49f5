package ratls

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/pow"
)

// buildPeer compiles testdata/peer.c.
func buildPeer(t *testing.T) string {
	t.Helper()
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc on this machine: the C peer cannot be compiled")
	}
	if _, err := os.Stat("/usr/include/openssl/ssl.h"); err != nil {
		t.Skip("no OpenSSL headers on this machine (Debian: libssl-dev): the C peer cannot be compiled")
	}
	peer := filepath.Join(t.TempDir(), "peer")
	out, err := exec.CommandContext(t.Context(), compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o", peer,
		"testdata/peer.c", "-lssl", "-lcrypto").CombinedOutput()
	if err != nil {
		t.Fatalf("compiling: %v\n%s", err, out)
	}
	return peer
}

// today makes a world that other programs find valid.
func today(o *measuretest.Options) { o.Now = time.Now() }

// credentials writes the files that gen-cert would.
func credentials(t *testing.T, c Credentials) (certFile, keyFile string) {
	t.Helper()
	own, err := c.Certificate(V1)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(t.TempDir(), "tdx")
	if err := WriteFiles(base, own); err != nil {
		t.Fatal(err)
	}
	return base + suffixCert, base + suffixKey
}

func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return l, port
}

func start(t *testing.T, name string, args ...string) (out *bufio.Reader, wait func() error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(pipe), cmd.Wait
}

// accept admits one peer and sends back what it says.
func accept(t *testing.T, s *Server, l net.Listener) (*Conn, error) {
	t.Helper()
	raw, err := l.Accept()
	if err != nil {
		return nil, err
	}
	c, err := s.Handshake(t.Context(), raw)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, c.SetDeadline(time.Now().Add(time.Minute))
}

func keyOf(t *testing.T, c Credentials) string {
	t.Helper()
	own, err := c.Certificate(V1)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := publicKey(own.Leaf)
	return hex.EncodeToString(key[:])
}

func TestOpenSSLClientAsTheReferenceConfiguresIt(t *testing.T) {
	peer := buildPeer(t)
	w := newWorld(t, today)
	_, s := w.pair()
	s.PoW = pow.Schedule{Base: 8}
	for name, client := range map[string]*Identity{"attested": w.identity(), "fake": w.identity(plain, func(c *IdentityConfig) { c.Fake = true })} {
		s.Terms = Fixed(w.terms())
		if name == "fake" {
			s.Terms = Fixed(anybody())
		}
		l, port := listen(t)
		certFile, keyFile := credentials(t, client)
		out, wait := start(t, peer, "client", port, certFile, keyFile)
		c, err := accept(t, s, l)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		line := make([]byte, 12)
		if _, err := io.ReadFull(c, line); err != nil || string(line) != "hello from C" {
			t.Fatalf("%s: %q (%v)", name, line, err)
		}
		if _, err := c.Write([]byte("welcome")); err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(out)
		if err := wait(); err != nil || string(got) != fmt.Sprintf("ok \"welcome\" %s X25519\n", keyOf(t, s.Credentials)) {
			t.Errorf("%s: the peer says %q (%v)", name, got, err)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("%s: the peer's quiet end reads as %q (%v)", name, rest, err)
		}
		if c.Peer.Profile != V1 || (c.Peer.Report != nil) != (name == "attested") || hex.EncodeToString(c.Peer.Key[:]) != keyOf(t, client) {
			t.Errorf("%s: peer is %+v", name, c.Peer)
		}
	}
}

func TestOpenSSLServerAsTheReferenceConfiguresIt(t *testing.T) {
	peer := buildPeer(t)
	w := newWorld(t, today)
	d, _ := w.pair()
	server := w.identity()
	certFile, keyFile := credentials(t, server)
	out, wait := start(t, peer, "server", "0", certFile, keyFile)
	port, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Dial(t.Context(), net.JoinHostPort("127.0.0.1", strings.TrimSpace(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // test
	if _, err := c.Write([]byte("hello from Go")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello from Go" {
		t.Errorf("the server sends back %q (%v)", got, err)
	}
	got, _ := io.ReadAll(out)
	own, err := d.Credentials.Certificate(V1)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := publicKey(own.Leaf)
	if err := wait(); err != nil || string(got) != fmt.Sprintf("ok \"hello from Go\" %x X25519\n", key[:]) {
		t.Errorf("the peer says %q (%v)", got, err)
	}
	if c.Peer.Profile != V1 || c.Peer.Report == nil || c.ConnectionState().CurveID != tls.X25519 {
		t.Errorf("peer is %+v", c.Peer)
	}
}

// TestOpenSSLNeedsTheAddressAsDNSName: without it the reference client refuses the server with error 62.
func TestOpenSSLNeedsTheAddressAsDNSName(t *testing.T) {
	peer := buildPeer(t)
	w := newWorld(t, today)
	_, s := w.pair()
	good := w.identity().current.Load().v1
	for name, c := range map[string]struct {
		edit func(*x509.Certificate)
		want string
	}{
		"as it is":           {func(*x509.Certificate) {}, "ok"},
		"only localhost":     {func(c *x509.Certificate) { c.DNSNames = []string{"localhost"} }, "error 62 "},
		"only as an address": {func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, []net.IP{net.IPv4(127, 0, 0, 1)} }, "error 62 "},
		"no server usage":    {func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, "error 26 "},
		"issued by another":  {func(c *x509.Certificate) { c.Issuer.CommonName = "another" }, "error 20 "},
		"expired":            {func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }, "error 10 "},
	} {
		key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		now := time.Now()
		template := &x509.Certificate{
			SerialNumber: good.Leaf.SerialNumber, Subject: good.Leaf.Subject, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(time.Hour),
			DNSNames: []string{"localhost", "127.0.0.1"}, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, ExtraExtensions: good.Leaf.Extensions[:2],
		}
		issuer := *template
		c.edit(template)
		if template.Issuer.CommonName != "" { // CreateCertificate takes it from the parent
			issuer.Subject = template.Issuer
		}
		der, err := x509.CreateCertificate(bytes.NewReader(randomBytes(t, 64)), template, &issuer, key.Public(), key)
		if err != nil {
			t.Fatal(name, err)
		}
		s.Credentials = kept{&certificates{v1: &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}}
		s.Terms, s.Mode = Fixed(anybody()), OnlyV1
		l, port := listen(t)
		certFile, keyFile := credentials(t, w.identity(plain))
		out, wait := start(t, peer, "client", port, certFile, keyFile)
		go func() {
			if conn, err := accept(t, s, l); err == nil {
				_, _ = io.Copy(conn, io.LimitReader(conn, 12))
			}
		}()
		got, _ := io.ReadAll(out)
		_ = wait() // 1 for the refusals
		if !strings.HasPrefix(string(got), c.want) {
			t.Errorf("%s: the peer says %q, want %q", name, got, c.want)
		}
	}
}

// TestOpenSSLsRefusalIsSeenAsThePeersDecision: what OpenSSL does when it refuses reaches our log as the peer's decision.
func TestOpenSSLsRefusalIsSeenAsThePeersDecision(t *testing.T) {
	peer := buildPeer(t)
	w := newWorld(t, today)
	_, s := w.pair()
	past := func() time.Time { return time.Now().Add(-48 * time.Hour) }
	s.Credentials, s.Terms = keeps(w.identity(plain, func(c *IdentityConfig) { c.Now, c.Judge = past, nil })), Fixed(anybody())
	l, port := listen(t)
	certFile, keyFile := credentials(t, w.identity(plain))
	out, wait := start(t, peer, "client", port, certFile, keyFile)
	_, err := accept(t, s, l)
	got, _ := io.ReadAll(out)
	_ = wait() // 1
	if code := CodeOf(err); !strings.HasPrefix(string(got), "error 10 ") || code != CodePeerAborted && code != CodePeerRefused {
		t.Errorf("the peer says %q, the server %v", got, err)
	}
}

// TestOpenSSLTools uses the programs that come with OpenSSL, through a pipe that does the proof of work.
func TestOpenSSLTools(t *testing.T) {
	tool, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl program on this machine")
	}
	w := newWorld(t, today)
	id := w.identity(plain, func(c *IdentityConfig) { c.Fake = true })
	certFile, keyFile := credentials(t, id)
	e := w.endpoint(id, anybody())
	suites := "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"

	t.Run("s_client", func(t *testing.T) {
		l, port := listen(t)
		front, frontPort := listen(t)
		go proveFor(t, front, net.JoinHostPort("127.0.0.1", port))
		cmd := exec.CommandContext(t.Context(), tool, "s_client", "-connect", "127.0.0.1:"+frontPort, "-tls1_3", "-ciphersuites", suites,
			"-cert", certFile, "-key", keyFile, "-verify_hostname", "127.0.0.1", "-quiet", "-no_ign_eof")
		cmd.Stdin = strings.NewReader("hello from s_client\n")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := accept(t, &Server{Endpoint: e}, l)
		if err != nil {
			t.Fatalf("%v; s_client says %s", err, said.String())
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || line != "hello from s_client\n" {
			t.Errorf("line %q (%v)", line, err)
		}
		_ = c.Close()
		_ = cmd.Wait() // its status is about the self-signed certificate
	})

	t.Run("s_server", func(t *testing.T) {
		free, port := listen(t)
		_ = free.Close()
		cmd := exec.CommandContext(t.Context(), tool, "s_server", "-accept", "127.0.0.1:"+port, "-tls1_3", "-ciphersuites", suites,
			"-cert", certFile, "-key", keyFile, "-Verify", "1", "-naccept", "1", "-rev")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		scan := bufio.NewScanner(out)
		for scan.Scan() && scan.Text() != "ACCEPT" {
		}
		d := &Dialer{Endpoint: e, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			raw, err := new(net.Dialer).DialContext(ctx, network, addr)
			return &posed{Conn: raw, challenge: bytes.NewReader(pow.Challenge{Difficulty: 3}.Append(nil)), response: pow.ResponseSize}, err
		}}
		c, err := d.Dial(t.Context(), "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("drawer\n")); err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "reward\n" {
			t.Errorf("s_server sends back %q (%v)", line, err)
		}
		_ = c.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
}

// proveFor accepts one connection, connects to addr, does the proof of work there and passes bytes on.
func proveFor(t *testing.T, l net.Listener, addr string) {
	t.Helper()
	client, err := l.Accept()
	if err != nil {
		return
	}
	server, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	if err := answer(t.Context(), server, pow.DefaultEffort(), 10*time.Second); err != nil {
		t.Error(err)
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
	_ = client.Close()
}

// posed is a connection on which a challenge seems to arrive and the response goes nowhere.
type posed struct {
	net.Conn
	challenge io.Reader
	response  int
}

func (p *posed) Read(b []byte) (int, error) {
	if n, err := p.challenge.Read(b); err == nil {
		return n, nil
	}
	return p.Conn.Read(b)
}

func (p *posed) Write(b []byte) (int, error) {
	if p.response > 0 {
		p.response -= len(b)
		return len(b), nil
	}
	return p.Conn.Write(b)
}
