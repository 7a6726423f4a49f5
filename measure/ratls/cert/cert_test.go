package cert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/tests/golden"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func testSpec() Spec {
	return Spec{
		Key: testKey(1), NotBefore: noon, Lifetime: DefaultLifetime,
		Random: bytes.NewReader(bytes.Repeat([]byte{0xff}, 64)),
	}
}

func testClaims() *Claims {
	return &Claims{
		Role: RoleWorker, NetworkID: -239, Seqno: 5, NotBefore: noon.Unix(), NotAfter: noon.Add(DefaultLifetime).Unix(),
		Nonce: [16]byte{1, 2, 3},
	}
}

func create(tb testing.TB, edit func(*Spec)) *x509.Certificate {
	tb.Helper()
	s := testSpec()
	if edit != nil {
		edit(&s)
	}
	der, err := Create(s)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestLayoutIsTheReferences(t *testing.T) {
	quote := bytes.Repeat([]byte{0xab}, 5000)
	c := create(t, func(s *Spec) { s.Quote = quote })
	type ext struct {
		ID       string
		Critical bool
		Value    string
	}
	var got []ext
	for _, x := range c.Extensions {
		got = append(got, ext{x.Id.String(), x.Critical, hex.EncodeToString(x.Value)})
	}
	key := KeyOf(testKey(1))
	keyID := sha1.Sum(key[:])
	want := []ext{
		{"1.3.6.1.4.1.12345.1", true, hex.EncodeToString(quote)},
		{"1.3.6.1.4.1.12345.2", true, hex.EncodeToString(key[:])},
		{"2.5.29.19", true, "3000"},
		{"2.5.29.15", true, "03020780"},
		{"2.5.29.37", true, "301406082b0601050507030106082b06010505070302"},
		{"2.5.29.14", false, "0414" + hex.EncodeToString(keyID[:])},
		{"2.5.29.17", false, "30288209" + hex.EncodeToString([]byte("localhost")) + "8209" + hex.EncodeToString([]byte("127.0.0.1")) + "8710" + strings.Repeat("00", 15) + "01"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("extensions (-want +got):\n%s", diff)
	}
	if s := c.SerialNumber; s.BitLen() > 127 || s.Sign() <= 0 {
		t.Errorf("serial number is %x, want 128 bits with a clear top bit", s)
	}
	if c.NotAfter.Sub(c.NotBefore) != 86400*time.Second || !c.NotBefore.Equal(noon) {
		t.Errorf("valid from %s to %s", c.NotBefore, c.NotAfter)
	}
	if !slices.Equal(c.DNSNames, []string{"localhost", "127.0.0.1"}) {
		t.Errorf("DNS names are %q", c.DNSNames)
	}
}

func TestWithoutQuoteTheTwoExtensionsAreAbsent(t *testing.T) {
	c := create(t, nil)
	if len(c.Extensions) != 5 || c.Extensions[0].Id.String() != "2.5.29.19" {
		t.Errorf("extensions are %v", c.Extensions)
	}
}

func TestSameInputsGiveTheSameCertificate(t *testing.T) {
	if a, b := create(t, nil), create(t, nil); !bytes.Equal(a.Raw, b.Raw) {
		t.Error("two certificates of one specification differ")
	}
}

// TestOpenSSLReadsTheLayout lets the reference implementation's library name what stands in the certificate.
func TestOpenSSLReadsTheLayout(t *testing.T) {
	tool, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("no openssl program on this machine")
	}
	c := create(t, func(s *Spec) { s.Quote = bytes.Repeat([]byte{0xab}, 700) })
	cmd := exec.CommandContext(t.Context(), tool, "x509", "-noout", "-text", "-nameopt", "RFC2253,show_type", "-certopt", "ext_dump")
	cmd.Stdin = bytes.NewReader(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	keyID := strings.ToUpper(hex.EncodeToString(c.SubjectKeyId))
	var colons []string
	for i := 0; i < len(keyID); i += 2 {
		colons = append(colons, keyID[i:i+2])
	}
	for _, want := range []string{
		"Version: 3", "ED25519", "X509v3 Basic Constraints: critical", "CA:FALSE", "X509v3 Key Usage: critical", "Digital Signature",
		"TLS Web Server Authentication, TLS Web Client Authentication", "DNS:localhost, DNS:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
		"CN=UTF8STRING:localhost,OU=UTF8STRING:Security,O=UTF8STRING:TDLib Development,ST=UTF8STRING:DUBAI,C=PRINTABLESTRING:AE",
		strings.Join(colons, ":"),
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("openssl does not print %q:\n%s", want, out)
		}
	}
}

func TestInspectReadsWhatCreateWrote(t *testing.T) {
	key := KeyOf(testKey(1))
	quote, fake := bytes.Repeat([]byte{1}, 1020), ReportData(key)
	apr := make([]byte, 496)
	copy(apr[384:], fake[:])
	for name, c := range map[string]struct {
		edit func(*Spec)
		want Evidence
		fake bool
	}{
		"none":     {func(*Spec) {}, Evidence{Key: key}, false},
		"TDX":      {func(s *Spec) { s.Quote = quote }, Evidence{Kind: TDX, Key: key, Quote: quote}, false},
		"fake Dec": {func(s *Spec) { s.Quote = fake[:] }, Evidence{Kind: Fake, Key: key, Quote: fake[:]}, true},
		"fake Apr": {func(s *Spec) { s.Quote = apr }, Evidence{Kind: Fake, Key: key, Quote: apr}, true},
		"v2":       {func(s *Spec) { s.Quote, s.Claims = quote, testClaims() }, Evidence{Kind: TDX, Key: key, Quote: quote, Claims: testClaims()}, false},
		"largest":  {func(s *Spec) { s.Quote = make([]byte, MaxQuote) }, Evidence{Kind: TDX, Key: key, Quote: make([]byte, MaxQuote)}, false},
	} {
		for _, purpose := range []Purpose{Server, Client} {
			got, err := Inspect(create(t, c.edit), purpose)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			data, ok := got.FakeReportData()
			if ok != c.fake || c.fake && data != got.ReportData() {
				t.Errorf("%s: fake report data %x (%t)", name, data, ok)
			}
		}
	}
}

// template is a certificate that passes; tests spoil one thing of it.
func template(tb testing.TB) *x509.Certificate {
	tb.Helper()
	good := create(tb, func(s *Spec) { s.Quote = make([]byte, 700) })
	return &x509.Certificate{
		SerialNumber: big.NewInt(7), RawSubject: good.RawSubject, NotBefore: good.NotBefore, NotAfter: good.NotAfter,
		ExtraExtensions: good.Extensions,
	}
}

func without(list []pkix.Extension, id asn1.ObjectIdentifier) []pkix.Extension {
	return slices.DeleteFunc(slices.Clone(list), func(x pkix.Extension) bool { return x.Id.Equal(id) })
}

func sign(tb testing.TB, t *x509.Certificate) *x509.Certificate {
	tb.Helper()
	key := testKey(2)
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestInspectRefuses(t *testing.T) {
	ext := func(n int, critical bool, size int) pkix.Extension {
		return pkix.Extension{Id: arc(n), Critical: critical, Value: make([]byte, size)}
	}
	for name, c := range map[string]struct {
		edit func(*x509.Certificate)
		want Code
	}{
		"nothing is wrong": {func(*x509.Certificate) {}, ""},
		"serial of 20 bytes": {func(c *x509.Certificate) {
			c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 159)
		}, ""},
		"CA": {func(c *x509.Certificate) {
			c.ExtraExtensions = without(c.ExtraExtensions, oidBasicConstraints())
			c.IsCA, c.BasicConstraintsValid = true, true
		}, CodeUsage},
		"no key usage": {func(c *x509.Certificate) { c.ExtraExtensions = without(c.ExtraExtensions, oidKeyUsage()) }, CodeUsage},
		"other key usage": {func(c *x509.Certificate) {
			c.ExtraExtensions = without(c.ExtraExtensions, oidKeyUsage())
			c.KeyUsage = x509.KeyUsageKeyAgreement
		}, CodeUsage},
		"no extended key usage": {func(c *x509.Certificate) { c.ExtraExtensions = without(c.ExtraExtensions, oidExtKeyUsage()) }, CodeUsage},
		"the other side's usage": {func(c *x509.Certificate) {
			c.ExtraExtensions = without(c.ExtraExtensions, oidExtKeyUsage())
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}, CodeUsage},
		"lives too long":             {func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(MaxLifetime + time.Second) }, CodeLifetime},
		"lives as long as may be":    {func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(MaxLifetime) }, ""},
		"ends before it begins":      {func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(-time.Second) }, CodeLifetime},
		"quote of 32 KiB and a byte": {func(c *x509.Certificate) { c.ExtraExtensions[0].Value = make([]byte, MaxQuote+1) }, CodeQuoteSize},
		"64 KiB of something else":   {func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, ext(50, false, MaxDER)) }, CodeFormat},
		"unknown, critical":          {func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, ext(4, true, 1)) }, CodeExtension},
		"unknown, not critical":      {func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, ext(4, false, 1)) }, ""},
		"quote and SEV report":       {func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, ext(101, true, 1184)) }, CodeExtension},
		"SEV report and quote":       {func(c *x509.Certificate) { c.ExtraExtensions = slices.Insert(c.ExtraExtensions, 0, ext(100, true, 64)) }, CodeExtension},
		"claims of another size":     {func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, ext(3, false, 115)) }, CodeClaims},
		"claims of another kind":     {func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, ext(3, false, 116)) }, CodeClaims},
		"critical name constraints": {func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"localhost"}, true
		}, CodeExtension},
		"certificate without a quote": {func(c *x509.Certificate) { c.ExtraExtensions = c.ExtraExtensions[2:] }, ""},
	} {
		spoiled := template(t)
		c.edit(spoiled)
		_, err := Inspect(sign(t, spoiled), Server)
		var got Code
		if e, ok := errors.AsType[*Error](err); ok {
			got = e.Code
		}
		if got != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// What the X.509 library would not write, and may yet read.
func TestInspectRefusesOddForms(t *testing.T) {
	for name, edit := range map[string]func(*x509.Certificate){
		"version 1":          func(c *x509.Certificate) { c.Version = 1 },
		"serial of 21 bytes": func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 160) },
	} {
		c := create(t, nil)
		edit(c)
		_, err := Inspect(c, Server)
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != CodeFormat {
			t.Errorf("%s: %v, want %s", name, err, CodeFormat)
		}
	}
}

// Claims are for the time of their certificate: one with other times would not say how old its block may be.
func TestClaimsAreValidAsLongAsTheCertificate(t *testing.T) {
	for name, edit := range map[string]func(*Claims){
		"as long":      func(*Claims) {},
		"begin later":  func(c *Claims) { c.NotBefore++ },
		"begin sooner": func(c *Claims) { c.NotBefore-- },
		"end later":    func(c *Claims) { c.NotAfter++ },
		"end sooner":   func(c *Claims) { c.NotAfter-- },
	} {
		claims := testClaims()
		edit(claims)
		c := template(t)
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: arc(extClaims), Value: claims.Append(nil)})
		_, err := Inspect(sign(t, c), Server)
		if e, ok := errors.AsType[*Error](err); ok != (name != "as long") || ok && e.Code != CodeClaims {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSerialNumbersArePositive(t *testing.T) {
	c := create(t, func(s *Spec) { s.Random = bytes.NewReader(make([]byte, 64)) })
	if c.SerialNumber.Sign() <= 0 {
		t.Errorf("serial number is %s", c.SerialNumber)
	}
}

func TestInspectRefusesOtherKeysAndSigners(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := testKey(2), testKey(3)
	parent := template(t)
	parent.RawSubject = nil
	parent.Subject = pkix.Name{CommonName: "another"}
	for name, c := range map[string]struct {
		parent *x509.Certificate
		public any
		signer any
		want   Code
	}{
		"P-256":               {template(t), p256.Public(), p256, CodeKey},
		"signed by P-256":     {template(t), ours.Public(), p256, CodeSignature},
		"signed by another":   {template(t), ours.Public(), theirs, CodeSignature},
		"issued by another":   {parent, ours.Public(), ours, CodeSignature},
		"nothing of the kind": {template(t), ours.Public(), ours, ""},
	} {
		der, err := x509.CreateCertificate(rand.Reader, template(t), c.parent, c.public, c.signer)
		if err != nil {
			t.Fatal(name, err)
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(name, err)
		}
		_, err = Inspect(parsed, Client)
		e, _ := errors.AsType[*Error](err)
		if (c.want == "") != (err == nil) || e != nil && e.Code != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestEverySingleBitOfACertificateCounts flips each bit once: what still parses must be refused.
func TestEverySingleBitOfACertificateCounts(t *testing.T) {
	good := create(t, func(s *Spec) { s.Quote = make([]byte, 128) }).Raw
	parsed := 0
	for at := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[at/8] ^= 1 << (at % 8)
		c, err := x509.ParseCertificate(bad)
		if err != nil {
			continue
		}
		parsed++
		if _, err := Inspect(c, Server); err == nil {
			t.Errorf("bit %d of byte %d may be flipped", at%8, at/8)
		}
	}
	if parsed < 1000 {
		t.Errorf("only %d flipped certificates parsed: the test has lost its point", parsed)
	}
}

func TestRepeatedExtensionsDoNotParse(t *testing.T) {
	c := template(t)
	c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: arc(extQuote), Critical: true, Value: []byte{1}})
	der, err := x509.CreateCertificate(rand.Reader, c, c, testKey(2).Public(), testKey(2))
	if err == nil { // the writer may refuse first
		_, err = x509.ParseCertificate(der)
	}
	if err == nil || !strings.Contains(err.Error(), "duplicate extension") {
		t.Errorf("an extension may stand twice: %v", err)
	}
}

func TestSEVIsRecognised(t *testing.T) {
	c := template(t)
	c.ExtraExtensions = slices.Concat([]pkix.Extension{
		{Id: arc(extSEVData), Critical: true, Value: make([]byte, 64)},
		{Id: arc(extSEVReport), Critical: true, Value: make([]byte, 1184)},
		{Id: arc(extSEVKey), Critical: true, Value: make([]byte, 900)},
	}, c.ExtraExtensions[2:])
	e, err := Inspect(sign(t, c), Server)
	if err != nil || e.Kind != SEV || e.Quote != nil {
		t.Errorf("evidence %+v (%v), want SEV without a quote", e, err)
	}
}

func TestCheckTime(t *testing.T) {
	c := create(t, nil)
	end := noon.Add(DefaultLifetime)
	for name, v := range map[string]struct {
		now  time.Time
		late time.Duration
		want Code
	}{
		"300 s early":         {noon.Add(-300 * time.Second), 0, ""},
		"301 s early":         {noon.Add(-301 * time.Second), 0, CodeEarly},
		"within":              {noon.Add(time.Hour), 0, ""},
		"last second":         {end, 0, ""},
		"one second late":     {end.Add(time.Second), 0, CodeExpired},
		"late, with grace":    {end.Add(5 * time.Minute), 5 * time.Minute, ""},
		"later than grace":    {end.Add(5*time.Minute + time.Second), 5 * time.Minute, CodeExpired},
		"early despite grace": {noon.Add(-time.Hour), time.Hour, CodeEarly},
	} {
		err := CheckTime(c, v.now, v.late)
		e, _ := errors.AsType[*Error](err)
		if (err == nil) != (v.want == "") || e != nil && e.Code != v.want {
			t.Errorf("%s: %v, want %q", name, err, v.want)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Spec){
		"no key":           func(s *Spec) { s.Key = nil },
		"no lifetime":      func(s *Spec) { s.Lifetime = 0 },
		"lives too long":   func(s *Spec) { s.Lifetime = MaxLifetime + time.Second },
		"half a second":    func(s *Spec) { s.Lifetime = 1500 * time.Millisecond },
		"empty quote":      func(s *Spec) { s.Quote = []byte{} },
		"long quote":       func(s *Spec) { s.Quote = make([]byte, MaxQuote+1) },
		"no randomness":    func(s *Spec) { s.Random = nil },
		"too little of it": func(s *Spec) { s.Random = bytes.NewReader(make([]byte, 15)) },
		"claims start later": func(s *Spec) {
			s.Claims = testClaims()
			s.Claims.NotBefore++
		},
		"claims end later": func(s *Spec) {
			s.Claims = testClaims()
			s.Claims.NotAfter++
		},
	} {
		s := testSpec()
		edit(&s)
		if _, err := Create(s); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

type v2Vectors struct {
	V2 struct {
		Claims       string `json:"claims_hex"`
		Seed         string `json:"ed25519_seed"`
		Exporter     string `json:"fresh_exporter"`
		FreshClient  string `json:"fresh_report_data_client"`
		FreshServer  string `json:"fresh_report_data_server"`
		ReportDataV2 string `json:"report_data"`
		SPKI         string `json:"spki_der"`
	} `json:"ratls_v2"`
}

func TestGoldenClaimsAndReportData(t *testing.T) {
	var v v2Vectors
	golden.JSON(t, "attestation/wire_vectors.json", &v)
	want := golden.Hex(t, v.V2.Claims)
	claims, err := ParseClaims(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := claims.Append(nil); !bytes.Equal(got, want) {
		t.Errorf("claims are written %x, want %x", got, want)
	}
	if claims.Role != RoleWorker || claims.NetworkID != -239 || claims.NotAfter-claims.NotBefore != 86400 {
		t.Errorf("claims are %+v", claims)
	}
	key := KeyOf(ed25519.NewKeyFromSeed(golden.Hex(t, v.V2.Seed)))
	spki, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(key[:]))
	if err != nil || !bytes.Equal(spki, key.SPKI()) || hex.EncodeToString(spki) != v.V2.SPKI {
		t.Errorf("SPKI is %x (%v), want %s", key.SPKI(), err, v.V2.SPKI)
	}
	exporter := [ExporterSize]byte(golden.Hex(t, v.V2.Exporter))
	for name, c := range map[string]struct {
		got  [64]byte
		want string
	}{
		"v2":           {ReportDataV2(key, claims), v.V2.ReportDataV2},
		"fresh client": {FreshReportData(Client, key, exporter), v.V2.FreshClient},
		"fresh server": {FreshReportData(Server, key, exporter), v.V2.FreshServer},
	} {
		if hex.EncodeToString(c.got[:]) != c.want {
			t.Errorf("%s report data is %x, want %s", name, c.got, c.want)
		}
	}
}

func TestEveryFieldOfClaimsCounts(t *testing.T) {
	base := testClaims().Append(nil)
	if len(base) != ClaimsSize {
		t.Fatalf("claims have %d bytes", len(base))
	}
	seen := map[[64]byte]bool{}
	for at := 4; at < ClaimsSize; at++ {
		data := bytes.Clone(base)
		data[at] ^= 1
		c, err := ParseClaims(data)
		if err != nil || !bytes.Equal(c.Append(nil), data) {
			t.Fatalf("byte %d: %v", at, err)
		}
		seen[ReportDataV2(Key{}, c)] = true
	}
	if len(seen) != ClaimsSize-4 {
		t.Errorf("%d of %d changes give another report data", len(seen), ClaimsSize-4)
	}
	data := bytes.Clone(base)
	data[offSeqno+3] = 0x80
	if _, err := ParseClaims(data); err == nil {
		t.Error("a negative block number is accepted")
	}
}

func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		None.String(): "none", TDX.String(): "tdx", Fake.String(): "fake", SEV.String(): "sev",
		RoleKeyManager.String(): "key manager", Role(-1).String(): "role -1", Role(9).String(): "role 9",
	} {
		if got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}

func FuzzInspect(f *testing.F) {
	for _, edit := range []func(*Spec){
		nil,
		func(s *Spec) { s.Quote = make([]byte, 64) },
		func(s *Spec) { s.Quote = make([]byte, 496) },
		func(s *Spec) { s.Quote = bytes.Repeat([]byte{4, 0}, 600) },
		func(s *Spec) { s.Quote, s.Claims = make([]byte, 700), testClaims() },
	} {
		f.Add(create(f, edit).Raw)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		e, err := Inspect(c, Server)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Errorf("refused without a code: %v", err)
			}
			return
		}
		if len(e.Quote) > MaxQuote || (e.Kind == TDX || e.Kind == Fake) != (e.Quote != nil) {
			t.Errorf("%s evidence with a quote of %d bytes", e.Kind, len(e.Quote))
		}
		if !bytes.Equal(e.Key.SPKI(), c.RawSubjectPublicKeyInfo) {
			t.Errorf("key info is %x, want %x", c.RawSubjectPublicKeyInfo, e.Key.SPKI())
		}
	})
}

func FuzzClaims(f *testing.F) {
	f.Add(testClaims().Append(nil))
	f.Add((Claims{}).Append(nil))
	f.Add((Claims{Role: -1, NetworkID: -3, Seqno: 1<<31 - 1, Workchain: -1}).Append(nil))
	f.Add(make([]byte, ClaimsSize))
	f.Add([]byte{0xd7, 0xf1, 0xeb, 0xfc})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseClaims(data)
		if err == nil && !bytes.Equal(c.Append(nil), data) {
			t.Errorf("claims %x are written %x", data, c.Append(nil))
		}
	})
}
