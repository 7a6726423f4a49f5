package dcap_test

import (
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

func BenchmarkVerifyFirst(b *testing.B) {
	quote, now := vectorQuote(b, "tdx_quote"), at(b, june)
	c, err := dcap.Open(vectorBundle(b, "tdx_quote_collateral.json"), dcap.IntelRoots(), now)
	if err != nil {
		b.Fatal(err)
	}
	v := dcap.NewVerifier(dcap.IntelRoots(), 0) // remembers nothing: every verification is the first
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(quote, c, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyKnownChain(b *testing.B) {
	quote, now := vectorQuote(b, "tdx_quote"), at(b, june)
	c, err := dcap.Open(vectorBundle(b, "tdx_quote_collateral.json"), dcap.IntelRoots(), now)
	if err != nil {
		b.Fatal(err)
	}
	v := dcap.NewVerifier(dcap.IntelRoots(), 16)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(quote, c, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	bundle, now, roots := vectorBundle(b, "tdx_quote_collateral.json"), at(b, june), dcap.IntelRoots()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dcap.Open(bundle, roots, now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	quote := vectorQuote(b, "tdx_quote")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tdx.Split(quote); err != nil {
			b.Fatal(err)
		}
	}
}
