package ratls

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/cert"
)

// The benchmarks count the processor time of the server alone: its clients are another process, this program with the
// task in the environment.
const loadTask = "COCOON_RATLS_LOAD" // minimal|attested,handshakes|bulk,addr,base,count

func TestMain(m *testing.M) {
	if task := os.Getenv(loadTask); task != "" {
		if err := load(strings.Split(task, ",")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const (
	bulkChunk = 64 << 10
	minimal   = "minimal"
	attested  = "attested"
)

// load is the clients' side.
func load(task []string) error {
	kind, what, addr, base := task[0], task[1], task[2], task[3]
	count, err := strconv.Atoi(task[4])
	if err != nil {
		return err
	}
	dial, err := dialerOf(kind, base)
	if err != nil {
		return err
	}
	connect := func() (net.Conn, error) {
		c, err := dial(addr)
		if err != nil {
			return nil, err
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		return c, err
	}
	if what == "bulk" {
		c, err := connect()
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // the end of the data
		for chunk := make([]byte, bulkChunk); count > 0; count-- {
			if _, err := c.Write(chunk); err != nil {
				return err
			}
		}
		return nil
	}
	for range count {
		c, err := connect()
		if err != nil {
			return err
		}
		_ = c.Close()
	}
	return nil
}

func dialerOf(kind, base string) (func(addr string) (net.Conn, error), error) {
	if kind == minimal {
		own, err := tls.LoadX509KeyPair(base+suffixCert, base+suffixKey)
		config := &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
		return func(addr string) (net.Conn, error) { return tls.Dial("tcp", addr, config) }, err
	}
	files, err := OpenFiles(base, time.Now)
	if err != nil {
		return nil, err
	}
	judge, err := NewJudge(JudgeConfig{Now: time.Now})
	if err != nil {
		return nil, err
	}
	d := &Dialer{Endpoint: Endpoint{Credentials: files, Judge: judge, Terms: Fixed(anybody())}}
	return func(addr string) (net.Conn, error) { return d.Dial(context.Background(), addr) }, nil
}

// processorTime is what this process has used.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// stand is a server under load.
type stand struct {
	tb   testing.TB
	kind string
	base string
	l    net.Listener
	stop func()
}

// newStand starts a server that greets and then reads to the end.
func newStand(tb testing.TB, kind string) *stand {
	tb.Helper()
	w := newWorld(tb, func(o *measuretest.Options) { o.Now = time.Now() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	base := filepath.Join(tb.TempDir(), "client")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var serve func()
	if kind == minimal {
		own, ca := issued(tb)
		writePair(tb, base, own)
		serve = func() { serveMinimal(ctx, l, own, ca) }
	} else {
		client, err := w.identity().Certificate(V1)
		if err != nil {
			tb.Fatal(err)
		}
		writePair(tb, base, *client)
		s := &Server{Endpoint: w.endpoint(w.identity(), w.terms())} // PoW of difficulty 0
		serve = func() { _ = s.Serve(ctx, l, func(_ context.Context, c *Conn) { sink(c) }) }
	}
	go func() {
		defer close(done)
		serve()
	}()
	return &stand{tb, kind, base, l, func() {
		cancel()
		_ = l.Close()
		<-done
	}}
}

// writePair writes what dialerOf reads.
func writePair(tb testing.TB, base string, c tls.Certificate) {
	tb.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{
		suffixCert: {Type: pemCert, Bytes: c.Certificate[0]}, suffixKey: {Type: pemKey, Bytes: key},
	} {
		if err := os.WriteFile(base+suffix, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

func sink(c net.Conn) {
	_, _ = c.Write([]byte{1})
	buf := make([]byte, bulkChunk)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// serveMinimal is what a Go programmer writes without attestation, with a CA in place of quotes: the bar.
func serveMinimal(ctx context.Context, l net.Listener, own tls.Certificate, ca *x509.Certificate) {
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	config := &tls.Config{
		Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
	}
	for {
		raw, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			c := tls.Server(raw, config)
			defer c.Close() //nolint:errcheck // test
			if c.HandshakeContext(ctx) == nil {
				sink(c)
			}
		}()
	}
}

// issued makes a CA and a certificate of it for both sides.
func issued(tb testing.TB) (own tls.Certificate, ca *x509.Certificate) {
	tb.Helper()
	sign := func(key ed25519.PrivateKey, template, parent *x509.Certificate, signer ed25519.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		if err != nil {
			tb.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			tb.Fatal(err)
		}
		return c
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), BasicConstraintsValid: true,
		IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := ed25519.NewKeyFromSeed(randomBytes(tb, ed25519.SeedSize))
	ca = sign(caKey, &template, &template, caKey)
	template.IsCA, template.KeyUsage = false, x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = []string{"localhost"}
	key := ed25519.NewKeyFromSeed(randomBytes(tb, ed25519.SeedSize))
	leaf := sign(key, &template, ca, caKey)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, ca
}

// run lets clients loose and returns the server's processor time.
func (s *stand) run(what string, count int) time.Duration {
	s.tb.Helper()
	cmd := exec.CommandContext(s.tb.Context(), os.Args[0], "-test.run", "^$")
	cmd.Env = append(os.Environ(), loadTask+"="+strings.Join([]string{s.kind, what, s.l.Addr().String(), s.base, strconv.Itoa(count)}, ","))
	cmd.Stderr = os.Stderr
	start := processorTime(s.tb)
	if err := cmd.Run(); err != nil {
		s.tb.Fatal(errors.Join(errors.New("load program"), err))
	}
	return processorTime(s.tb) - start
}

func BenchmarkServerHandshake(b *testing.B) {
	for _, kind := range []string{minimal, attested} {
		b.Run(kind, func(b *testing.B) {
			s := newStand(b, kind)
			defer s.stop()
			s.run("handshakes", 20) // the quote is known from here on
			b.ResetTimer()
			used := s.run("handshakes", b.N)
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/conn")
			b.ReportMetric(float64(b.N)/used.Seconds(), "conn/s/core")
		})
	}
}

func BenchmarkServerBulk(b *testing.B) {
	for _, kind := range []string{minimal, attested} {
		b.Run(kind, func(b *testing.B) {
			s := newStand(b, kind)
			defer s.stop()
			b.SetBytes(bulkChunk)
			used := s.run("bulk", b.N)
			b.ReportMetric(float64(b.N)*bulkChunk/1e9/used.Seconds(), "GB/s/core")
		})
	}
}

func BenchmarkJudge(b *testing.B) {
	w := newWorld(b)
	own, err := w.identity().Certificate(V1)
	if err != nil {
		b.Fatal(err)
	}
	terms := w.terms()
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.judge.Judge(b.Context(), own.Leaf, cert.Client, terms); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known quote, new certificate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.judge.known.put(holder{}, nil, 0, noon)
			w.judge.known = newLRU[holder, *exhibit](10, 1<<20)
			if _, err := w.judge.Judge(b.Context(), own.Leaf, cert.Client, terms); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			j := w.newJudge(Limits{})
			if _, err := j.Judge(b.Context(), own.Leaf, cert.Client, terms); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestAttestationCosts prints what attestation adds beside its bars: 10 µs for a known quote, and connections at 80 % of
// the rate that TLS without attestation reaches in the same run. A busy machine misses them; only the work is asserted.
func TestAttestationCosts(t *testing.T) {
	if !named("bench") {
		t.Skip("takes 10 s; COCOON_TEST=bench runs it")
	}
	w := newWorld(t)
	own, err := w.identity().Certificate(V1)
	if err != nil {
		t.Fatal(err)
	}
	terms := w.terms()
	hit := testing.Benchmark(func(b *testing.B) {
		b.Helper()
		for b.Loop() {
			if _, err := w.judge.Judge(b.Context(), own.Leaf, cert.Client, terms); err != nil {
				b.Fatal(err)
			}
		}
	})
	const count = 2000
	used := map[string]time.Duration{}
	for _, kind := range []string{minimal, attested} {
		s := newStand(t, kind)
		s.run("handshakes", 20)
		used[kind] = s.run("handshakes", count)
		s.stop()
	}
	t.Logf("known quote %d ns (bar 10000); minimal %.0f conn/s/core, attested %.0f conn/s/core: %.2f of it (bar 0.80)",
		hit.NsPerOp(), count/used[minimal].Seconds(), count/used[attested].Seconds(), used[minimal].Seconds()/used[attested].Seconds())
}
