package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"path/filepath"
	"testing"

	"cocoon/measure/measuretest"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// platform is a software platform and the files that an auditor of its quotes has.
type platform struct {
	*measuretest.Platform
	root, bundle string
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{7}, Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := &platform{p, filepath.Join(dir, "root.pem"), filepath.Join(dir, "bundle.json")}
	write(t, out.root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.RootCertificate().Raw}))
	write(t, out.bundle, b.Encode())
	return out
}

// with makes a quote and writes it to a file.
func (p *platform) with(t *testing.T, s measuretest.Spec) string {
	t.Helper()
	q, err := p.QuoteWith(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "quote.bin")
	write(t, path, q)
	return path
}

// quote makes a quote of a TD with these measurements.
func (p *platform) quote(t *testing.T, m *tdx.Measurements) string {
	t.Helper()
	return p.with(t, measuretest.Spec{TD: func(b *tdx.Body) { b.Measurements = *m }})
}

// certificate makes a certificate that carries a quote for its key, and writes it to a file.
func (p *platform) certificate(t *testing.T) string {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	q, err := p.Quote(t.Context(), cert.ReportData(cert.KeyOf(key)))
	if err != nil {
		t.Fatal(err)
	}
	return certificateFile(t, cert.Spec{Key: key, NotBefore: testNow, Lifetime: cert.DefaultLifetime, Quote: q, Random: rand.Reader})
}

func certificateFile(t *testing.T, s cert.Spec) string {
	t.Helper()
	der, err := cert.Create(s)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "peer.pem")
	write(t, path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return path
}
