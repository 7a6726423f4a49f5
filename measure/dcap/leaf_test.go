package dcap_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// leavesOfVectors are the PCK certificates of real platforms.
func leavesOfVectors(tb testing.TB) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	for _, name := range []string{"tdx_quote", "tdx_quote_outdated", "sgx_quote", "cos-113-tdx-quote.dat", "quotev4.hex", "cocoon_quote.dat"} {
		p, err := tdx.Split(vectorQuote(tb, name))
		if err != nil {
			tb.Fatal(err)
		}
		certs, err := dcap.PEMChain(p.Signature.PCKChain, 3)
		if err != nil {
			tb.Fatal(err)
		}
		out[name] = certs[0]
	}
	return out
}

// leafOf is a PCK certificate of the test's own, with changes.
func leafOf(tb testing.TB, edit func(s *scene)) []byte {
	tb.Helper()
	s := newScene(tb, tdx.TDX)
	edit(s)
	p, err := tdx.Split(s.build(tb).quote)
	if err != nil {
		tb.Fatal(err)
	}
	certs, err := dcap.PEMChain(p.Signature.PCKChain, 3)
	if err != nil {
		tb.Fatal(err)
	}
	return certs[0]
}

// sameAsX509 checks a certificate that was read against crypto/x509, which must read the same from it.
func sameAsX509(t *testing.T, raw []byte, got dcap.Leaf) {
	t.Helper()
	want, err := dcap.CheckAsX509(raw)
	if err != nil {
		t.Fatalf("crypto/x509 refuses what was read, %x: %v", raw, err)
	}
	switch {
	case !got.From.Equal(want.NotBefore) || !got.To.Equal(want.NotAfter):
		t.Errorf("valid from %s to %s, crypto/x509 reads %s to %s", got.From, got.To, want.NotBefore, want.NotAfter)
	case !got.Key.Equal(want.PublicKey):
		t.Errorf("another key than crypto/x509 reads")
	case !bytes.Equal(got.Serial, want.SerialNumber.Bytes()):
		t.Errorf("serial number %x, crypto/x509 reads %x", got.Serial, want.SerialNumber)
	case !bytes.Equal(got.Issuer, want.RawIssuer) || !bytes.Equal(got.Message, want.RawTBSCertificate) || !bytes.Equal(got.Signature, want.Signature):
		t.Errorf("other parts than crypto/x509 reads")
	}
	for name, cn := range map[string]string{string(want.RawIssuer): want.Issuer.CommonName, string(want.RawSubject): want.Subject.CommonName} {
		if read, err := dcap.CommonName([]byte(name)); err == nil && read != cn {
			t.Errorf("common name %q, crypto/x509 reads %q", read, cn)
		}
	}
}

func TestPCKCertificatesAreReadAsX509ReadsThem(t *testing.T) {
	leaves := leavesOfVectors(t)
	leaves["our own"] = leafOf(t, func(*scene) {})
	leaves["shaped like Intel's"] = leafOf(t, func(s *scene) {
		s.pck.CRLDistributionPoints = []string{"https://api.example/pckcrl?ca=platform", "https://api.example/other"}
		s.pck.SubjectKeyId = make([]byte, 20)
		s.pck.KeyUsage |= x509.KeyUsageContentCommitment
		s.pck.Subject.Country, s.pck.Subject.Locality, s.pck.Subject.Province = []string{"US"}, []string{"Santa Clara"}, []string{"CA"}
	})
	leaves["serial with its top bit set"] = leafOf(t, func(s *scene) { s.pck.SerialNumber = new(big.Int).Lsh(big.NewInt(0xff), 152) })
	leaves["dates of both forms"] = leafOf(t, func(s *scene) { s.pck.NotAfter = time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC) })
	leaves["a foreign extension"] = leafOf(t, func(s *scene) { s.pck.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}}} })
	for name, raw := range leaves {
		got, err := dcap.ReadLeaf(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sameAsX509(t, raw, got)
	}
}

// Whatever bit of a certificate is changed: what is read is what crypto/x509 reads, and what it refuses is refused.
func TestChangedPCKCertificatesAreNeverReadOtherwiseThanX509ReadsThem(t *testing.T) {
	for name, raw := range leavesOfVectors(t) {
		if name != "tdx_quote" && !group("vectors") {
			continue
		}
		for i := range raw {
			for bit := range 8 {
				raw[i] ^= 1 << bit
				if got, err := dcap.ReadLeaf(raw); err == nil {
					sameAsX509(t, raw, got)
				}
				raw[i] ^= 1 << bit
			}
		}
		for n := range raw {
			if _, err := dcap.ReadLeaf(raw[:n]); err == nil {
				t.Errorf("%s cut to %d bytes was read", name, n)
			}
		}
	}
}

func TestOtherShapesOfPCKCertificatesAreRefused(t *testing.T) {
	plain := leafOf(t, func(*scene) {})
	swap := func(old, with string) []byte {
		t.Helper()
		if bytes.Count(plain, []byte(old)) == 0 || len(old) != len(with) {
			t.Fatalf("%x is not in the certificate, or is not replaced by as many bytes", old)
		}
		return bytes.Replace(plain, []byte(old), []byte(with), 1)
	}
	extra := func(id asn1.ObjectIdentifier, critical bool, value string) []byte {
		return leafOf(t, func(s *scene) {
			s.pck.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: []byte(value)}}
		})
	}
	// twice renames an extension of a certificate to one that it has already, which no tool would issue.
	several := leafOf(t, func(s *scene) {
		for _, id := range []asn1.ObjectIdentifier{{1, 2, 3, 1}, {1, 2, 3, 2}, {1, 2, 840, 113741, 1, 13, 2}} {
			s.pck.ExtraExtensions = append(s.pck.ExtraExtensions, pkix.Extension{Id: id, Value: s.ext.encode()})
		}
	})
	twice := func(old, with string) []byte {
		t.Helper()
		if _, err := dcap.ReadLeaf(several); err != nil || bytes.Count(several, []byte(old)) != 1 {
			t.Fatalf("the certificate does not have %x once: %v", old, err)
		}
		return bytes.Replace(several, []byte(old), []byte(with), 1)
	}
	standard := func(arc int) asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, arc} }
	foreign := make([]pkix.Extension, 17)
	for i := range foreign {
		foreign[i].Id = asn1.ObjectIdentifier{1, 2, 3, i + 1}
	}
	for name, tc := range map[string]struct {
		raw    []byte
		reason string
	}{
		"nothing":                {nil, "certificate"},
		"trailing byte":          {append(bytes.Clone(plain), 0), "too many"},
		"too large":              {make([]byte, 8193), "at most 8192"},
		"version 2":              {swap("\xa0\x03\x02\x01\x02", "\xa0\x03\x02\x01\x01"), "version"},
		"negative serial":        {swap("\x02\x01\x03\x30\x0a", "\x02\x01\x83\x30\x0a"), "serial number"},
		"algorithm, inside":      {swap("\x02\x01\x03\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", "\x02\x01\x03\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"), "ECDSA with SHA-256"},
		"no zone":                {swap("Z0", "00"), "time"},
		"another curve":          {leafOf(t, func(s *scene) { s.certified.pck = newKey(t, elliptic.P384()) }), "P-256"},
		"compressed key":         {swap("\x03\x42\x00\x04", "\x03\x42\x00\x02"), "P-256"},
		"two common names":       {leafOf(t, func(s *scene) { s.pck.Subject.ExtraNames = twoNames() }), "common name"},
		"no common name":         {leafOf(t, func(s *scene) { s.pck.Subject.CommonName = "" }), "common name"},
		"letters of another set": {leafOf(t, func(s *scene) { s.pck.Subject.Organization = []string{"Intel*"} }), "unusual letters"},
		"a serial name": {leafOf(t, func(s *scene) {
			s.pck.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: "x"}}
		}), "attribute"},
		"no basic constraints":     {leafOf(t, func(s *scene) { s.pck.BasicConstraintsValid = false }), "CA flag"},
		"CA":                       {leafOf(t, func(s *scene) { s.pck.IsCA = true }), "CA flag"},
		"no key usage":             {leafOf(t, func(s *scene) { s.pck.KeyUsage = 0 }), "key usage"},
		"key usage of two bytes":   {leafOf(t, func(s *scene) { s.pck.KeyUsage |= x509.KeyUsageDecipherOnly }), "key usage"},
		"key usage, spare bits":    {swap("\x03\x02\x07\x80", "\x03\x02\x07\x81"), "key usage"},
		"no SGX extension":         {leafOf(t, func(s *scene) { s.bare = true }), "SGX extension"},
		"critical":                 {extra(asn1.ObjectIdentifier{1, 2, 3}, true, ""), "unknown critical extension"},
		"critical points":          {extra(standard(31), true, "\x30\x00"), "unknown critical extension"},
		"subject key identifier":   {extra(standard(14), false, "\x04\x01\x01\x00"), "key identifier"},
		"authority key identifier": {extra(standard(35), false, "\x30\x03\x81\x01\x01"), "key identifier"},
		"distribution points":      {extra(standard(31), false, "\x30\x04\x30\x02\xa1\x00"), "distribution points"},
		"subject's other names":    {extra(standard(17), false, "\x30\x00"), "does not belong"},
		"inhibited policies":       {extra(standard(54), false, "\x02\x01\x00"), "does not belong"},
		"extended key usage":       {leafOf(t, func(s *scene) { s.pck.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), "does not belong"},
		"authority information":    {leafOf(t, func(s *scene) { s.pck.OCSPServer = []string{"http://x"} }), "does not belong"},
		"FALSE written out":        {swap("\x06\x03\x55\x1d\x0f\x01\x01\xff", "\x06\x03\x55\x1d\x0f\x01\x01\x00"), "extension"},
		"an extension twice":       {twice("\x06\x03\x2a\x03\x02", "\x06\x03\x2a\x03\x01"), "2a0301 appears twice"},
		"SGX extension twice":      {twice("\x86\xf8\x4d\x01\x0d\x02", "\x86\xf8\x4d\x01\x0d\x01"), "2a864886f84d010d01 appears twice"},
		"key usage as constraints": {swap("\x55\x1d\x0f\x01", "\x55\x1d\x13\x01"), "CA flag"},
		"many extensions":          {leafOf(t, func(s *scene) { s.pck.ExtraExtensions = foreign }), "more than 16"},
		"no OID":                   {swap("\x06\x09\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01\x04", "\x06\x09\x80\x86\x48\x86\xf8\x4d\x01\x0d\x01\x04"), "not an OID"},
	} {
		if _, err := dcap.ReadLeaf(tc.raw); err == nil || !strings.Contains(err.Error(), tc.reason) {
			t.Errorf("%s: %v, want an error with %q", name, err, tc.reason)
		}
	}
}

// twoNames is a second common name.
func twoNames() []pkix.AttributeTypeAndValue {
	cn := asn1.ObjectIdentifier{2, 5, 4, 3}
	return []pkix.AttributeTypeAndValue{{Type: cn, Value: "Intel SGX PCK Certificate"}, {Type: cn, Value: "Intel SGX PCK Certificate"}}
}

func TestTimesOfCertificatesAreReadAsX509ReadsThem(t *testing.T) {
	plain := leafOf(t, func(*scene) {})
	now := at(t, june).AddDate(-1, 0, 0).UTC().Format("060102150405Z")
	if !bytes.Contains(plain, []byte(now)) {
		t.Fatalf("%s is not in the certificate", now)
	}
	for text, good := range map[string]bool{
		"240229235959Z": true, "230229000000Z": false, "491231235959Z": true, "500101000000Z": true, "991231235959Z": true,
		"241301000000Z": false, "240001000000Z": false, "240100000000Z": false, "240132000000Z": false, "240101240000Z": false,
		"240101006000Z": false, "240101000060Z": false, "2401010000000": false, "24010100000-Z": false, "2401010000 0Z": false,
	} {
		raw := bytes.Replace(plain, []byte(now), []byte(text), 1)
		got, err := dcap.ReadLeaf(raw)
		if (err == nil) != good {
			t.Errorf("%s: %v, want it read: %t", text, err, good)
		}
		if err == nil {
			sameAsX509(t, raw, got)
		}
	}
}

// What is read of a PCK certificate, crypto/x509 reads too, and reads alike.
func FuzzPCKCertificate(f *testing.F) {
	for _, raw := range leavesOfVectors(f) {
		f.Add(raw)
	}
	f.Add(leafOf(f, func(*scene) {}))
	f.Add(leafOf(f, func(s *scene) { s.pck.NotAfter = time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC) }))
	f.Add(leafOf(f, func(s *scene) { s.pck.CRLDistributionPoints = []string{"a", "b"} }))
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		got, err := dcap.ReadLeaf(raw)
		if !bytes.Equal(before, raw) {
			t.Error("reading changed the certificate")
		}
		if err == nil {
			sameAsX509(t, raw, got)
		}
	})
}
