package dcap_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"strings"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// requote is the quote with other text in place of its certificates, every size adapted.
func requote(tb testing.TB, quote []byte, area string) []byte {
	tb.Helper()
	p, err := tdx.Split(quote)
	if err != nil {
		tb.Fatal(err)
	}
	s := p.Signature
	s.PCKChain = []byte(area)
	raw, err := s.Encode(p.Version)
	if err != nil {
		tb.Fatal(err)
	}
	out := binary.LittleEndian.AppendUint32(append([]byte(nil), p.Message...), uint32(len(raw)))
	return append(out, raw...)
}

// What a verifier remembers must not make it accept a text that it would refuse at first sight. The keys of its cache are
// hashes of pieces of the text, so a text made of those hashes is the one to try.
func TestRememberedCertificatesHaveOneText(t *testing.T) {
	b := newScene(t, tdx.TDX).build(t)
	c, err := dcap.Open(b.bundle, b.roots, b.now)
	if err != nil {
		t.Fatal(err)
	}
	area := b.chain(t)
	end := strings.Index(area, "-----END CERTIFICATE-----")
	own, above := area[:end], strings.TrimSuffix(area[end:], "\n")
	hashed := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return string(sum[:])
	}
	zeros := string(make([]byte, sha256.Size))
	remembering := dcap.NewVerifier(b.roots, 16)
	for range 2 { // the second time from memory, below the collateral's CA and without collateral
		if _, err := remembering.Verify(b.quote, c, b.now); err != nil {
			t.Fatal(err)
		}
		if _, err := remembering.VerifySignatures(b.quote, b.now); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"hash of the CAs, own part": hashed(above) + own,
		"hash of all":               hashed(area),
		"zeros, all":                zeros + area,
		"zeros, own part":           zeros + own,
		"own part":                  own,
		"hash of the CAs, all":      hashed(above) + area,
		"CAs alone":                 above,
		"CAs twice":                 strings.TrimSuffix(area, "\n") + above,
		"NUL before the line feed":  strings.TrimSuffix(area, "\n") + "\x00\n",
		"two NULs":                  area + "\x00\x00",
	} {
		quote := requote(t, b.quote, text)
		if _, err := remembering.Verify(quote, c, b.now); dcap.ClassOf(err) != dcap.ClassChain {
			t.Errorf("%s: with collateral: %v", name, err)
		}
		if _, err := remembering.VerifySignatures(quote, b.now); dcap.ClassOf(err) != dcap.ClassChain {
			t.Errorf("%s: without: %v", name, err)
		}
		if _, err := dcap.PlatformOf(quote); dcap.ClassOf(err) != dcap.ClassChain {
			t.Errorf("%s: its platform: %v", name, err)
		}
	}
}

// A certificate names its issuer: one of the other CA's name is none of this CA, though its key signed it.
func TestPCKCertificatesNameTheirIssuer(t *testing.T) {
	s := newScene(t, tdx.TDX)
	s.chain = func(area string) string {
		certs := strings.SplitAfter(area, "-----END CERTIFICATE-----\n")
		named := s.ca
		named.Subject.CommonName = "Intel SGX PCK Processor CA"
		leaf := s.pck
		leaf.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, Value: s.ext.encode()}}
		return toPEM(issue(t, &leaf, &named, s.certified.pck, s.keys.issuer)) + certs[1] + certs[2]
	}
	b := s.build(t)
	const reason = `issued by "Intel SGX PCK Processor CA", want the "Intel SGX PCK Platform CA" above it`
	_, verified := b.verify()
	_, signed := dcap.NewVerifier(b.roots, 0).VerifySignatures(b.quote, b.now)
	for _, err := range []error{verified, signed} {
		if dcap.ClassOf(err) != dcap.ClassChain || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v", dcap.ClassOf(err), err)
		}
	}
}

// Text that is no certificate is a malformed chain, whichever it stands in for, and whoever's the root is.
func TestMalformedCertificatesAreToldFromForeignRoots(t *testing.T) {
	b := newScene(t, tdx.TDX).build(t)
	stranger := newScene(t, tdx.TDX)
	stranger.rekey(t, "a stranger's keys")
	foreign := stranger.build(t)
	for name, text := range map[string]string{"base64": "====\n", "DER": "MAAA\n", "lines": "MA\nAA\n"} {
		broken := "-----BEGIN CERTIFICATE-----\n" + text + "-----END CERTIFICATE-----\n"
		for position := range 3 {
			for _, from := range []*built{b, foreign} {
				certs := strings.SplitAfter(from.chain(t), "-----END CERTIFICATE-----\n")[:3]
				certs[position] = broken
				want := dcap.ClassChain
				if name == "DER" && (position == 2 || from == foreign) {
					want = dcap.ClassRoot // which is known by its bytes, and is looked at first
				}
				quote := requote(t, from.quote, strings.Join(certs, ""))
				_, err := dcap.NewVerifier(b.roots, 0).VerifySignatures(quote, b.now)
				if dcap.ClassOf(err) != want {
					t.Errorf("%s in place %d: %q: %v, want %q", name, position, dcap.ClassOf(err), err, want)
				}
				if _, err := dcap.PlatformOf(quote); position == 0 && dcap.ClassOf(err) != dcap.ClassChain {
					t.Errorf("%s in place of the leaf: platform read: %v", name, err)
				}
			}
		}
	}
}

// Reasons repeat what strangers wrote. They are kept, shown and logged, so they have a length.
func TestReasonsAreBounded(t *testing.T) {
	const most = 600
	long := strings.Repeat("\x01", 7000) // %q makes four of each
	identifier := make(asn1.ObjectIdentifier, 2000)
	identifier[0], identifier[1] = 1, 2
	for i := range identifier[2:] {
		identifier[2+i] = 1 << 30
	}
	serial := new(big.Int).SetBytes([]byte(strings.Repeat("\x7f", 20)))
	extended := func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: identifier[:1000], Critical: true, Value: []byte{5, 0}})
	}
	for name, edit := range map[string]func(s *scene){
		"leaf's name":           func(s *scene) { s.pck.Subject.CommonName = strings.Repeat("a", 7000) },
		"leaf's name, unusual":  func(s *scene) { s.pck.Subject.CommonName = long },
		"CA's name":             func(s *scene) { s.ca.Subject.CommonName = long },
		"signer's name":         func(s *scene) { s.tcb.Subject.CommonName = long },
		"leaf's extension":      func(s *scene) { extended(&s.pck) },
		"CA's extension":        func(s *scene) { extended(&s.ca) },
		"signer's extension":    func(s *scene) { extended(&s.tcb) },
		"leaf's serial":         func(s *scene) { s.pck.SerialNumber = serial; s.pck.KeyUsage = 0 },
		"id":                    replaceTCB(`"TDX"`, `"`+strings.Repeat("x", 100_000)+`"`),
		"status":                replaceTCB(`"tcbStatus":"UpToDate"`, `"tcbStatus":"`+strings.Repeat("\x7f", 100_000)+`"`),
		"key in another case":   replaceTCB(`"tcbType":0`, `"tcbType":0,"`+strings.Repeat("k", 100_000)+`":1,"`+strings.Repeat("K", 100_000)+`":2`),
		"escape in a key":       replaceQE(`"isvprodid"`, `"\u0069`+strings.Repeat("s", 100_000)+`"`),
		"no colon":              replaceQE(`"isvprodid":`, `"`+strings.Repeat("s", 100_000)+`"`),
		"evaluation number":     replaceQE(`Number":18`, `Number":`+strings.Repeat("9", 100_000)),
		"two modules of a name": replaceTCB(`"tdxModuleIdentities":[`, `"tdxModuleIdentities":[`+namedModule()+`,`+namedModule()+`,`),
	} {
		s := newScene(t, tdx.TDX)
		edit(s)
		b := s.build(t)
		_, opened := dcap.Open(b.bundle, b.roots, b.now)
		_, verified := dcap.NewVerifier(b.roots, 0).VerifySignatures(b.quote, b.now)
		_, platform := dcap.PlatformOf(b.quote)
		refusals := 0
		for _, err := range []error{opened, verified, platform} {
			if err == nil {
				continue
			}
			refusals++
			if n := len(err.Error()); n > most || dcap.ClassOf(err) == "" {
				t.Errorf("%s: a reason of class %q and %d bytes, at most %d: %.80s...", name, dcap.ClassOf(err), n, most, err)
			}
		}
		if refusals == 0 {
			t.Errorf("%s: refused by nobody", name)
		}
	}
	answer := []byte(`{"` + strings.Repeat(`\u0041`, 100_000) + `":1}`)
	if _, err := dcap.Assemble([]dcap.Response{{Kind: dcap.TCBInfo, Body: answer}}); err == nil || len(err.Error()) > most {
		t.Errorf("an answer with a long key: %.80s...", err)
	}
	if _, err := dcap.ParseBundle(answer); err == nil || len(err.Error()) > most {
		t.Errorf("a bundle with a long key: %.80s...", err)
	}
}

// namedModule is a TDX module with a long name.
func namedModule() string {
	return `{"id":"` + strings.Repeat("m", 50_000) + `","mrsigner":"` + strings.Repeat("0", 96) +
		`","attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF","tcbLevels":[]}`
}
