package dcap_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// scene is everything that goes into one verification, made by a PKI of the test's own. Tests change a member or two and
// then build it: signatures are made last, so that exactly one rule is broken.
type scene struct {
	now      time.Time
	root, ca x509.Certificate
	rootCert *x509.Certificate // made once, so that scenes can be mixed
	pck, tcb x509.Certificate
	// keys sign; certificates carry the key of the same name. Tests replace one to break a signature.
	keys, certified keys
	trusted         bool // whether the verifier knows the root
	bare            bool // whether the PCK certificate lacks Intel's extension

	version int
	header  []byte
	td      *tdx.Body    // nil for an enclave's quote
	sgx     *tdx.SGXBody // nil for a TD's
	qe      tdx.SGXBody
	auth    []byte
	binding func(sum *[64]byte)     // edits the quoting enclave's report data
	chain   func(pem string) string // edits the PEM area
	signed  func(s *tdx.Signature)  // edits the signature part
	tamper  func(quote []byte)      // edits the finished quote
	ext     extension

	tcbInfo, qeIdentity string
	pckCRL, rootCRL     x509.RevocationList
	bundle              func(b *dcap.Bundle)
}

// keys are named after their certificates; issuer signs the PCK certificate, quote the quote's message.
type keys struct{ root, ca, issuer, pck, tcb, attestation, quote *ecdsa.PrivateKey }

// extension is the content of Intel's SGX extension.
type extension struct {
	ppid, cpuSVN, piid []byte
	components         [16]int
	pceSVN             int
	pceID, fmspc       []byte
	edit               func(der []byte) []byte
}

const (
	tcbInfoTDX = `{"id":"TDX","version":3,"issueDate":"2025-06-10T00:00:00Z","nextUpdate":"2025-07-10T00:00:00Z",` +
		`"fmspc":"00806F05AB00","pceId":"0001","tcbType":0,"tcbEvaluationDataNumber":17,` +
		`"tdxModule":{"mrsigner":"SIGNER","attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF"},` +
		`"tdxModuleIdentities":[{"id":"TDX_01","mrsigner":"SIGNER","attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF",` +
		`"tcbLevels":[{"tcb":{"isvsvn":4},"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":"UpToDate"},` +
		`{"tcb":{"isvsvn":2},"tcbDate":"2023-01-01T00:00:00Z","tcbStatus":"OutOfDate","advisoryIDs":["INTEL-SA-00003"]}]}],` +
		`"tcbLevels":[LEVEL0,LEVEL1]}`
	tcbInfoSGX = `{"id":"SGX","version":3,"issueDate":"2025-06-10T00:00:00Z","nextUpdate":"2025-07-10T00:00:00Z",` +
		`"fmspc":"00806F05AB00","pceId":"0001","tcbType":0,"tcbEvaluationDataNumber":17,"tcbLevels":[LEVEL0,LEVEL1]}`
	qeIdentityText = `{"id":"TD_QE","version":2,"issueDate":"2025-06-11T00:00:00Z","nextUpdate":"2025-07-11T00:00:00Z",` +
		`"tcbEvaluationDataNumber":18,"miscselect":"01000000","miscselectMask":"FFFFFFFF","attributes":"11000000000000000000000000000000",` +
		`"attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"DC9E2A7C6F948F17474E34A7FC43ED030F7C1563F1BABDDF6340C82E0E54A8C5",` +
		`"isvprodid":2,"tcbLevels":[{"tcb":{"isvsvn":4},"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":"UpToDate"},` +
		`{"tcb":{"isvsvn":2},"tcbDate":"2023-02-02T00:00:00Z","tcbStatus":"OutOfDate","advisoryIDs":["INTEL-SA-00004","INTEL-SA-00001"]}]}`
)

// levelText is a platform level: every SGX component at sgx, TDX components 5, 0, 2 and then tdx.
func levelText(sgx, pceSVN, tdxSVN int, rest string) string {
	components := func(svns ...int) string {
		var out []string
		for _, svn := range svns {
			out = append(out, fmt.Sprintf(`{"svn":%d,"category":"BIOS","type":"a type"}`, svn))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	all, td := make([]int, 16), []int{5, 0, 2}
	for i := range all {
		all[i] = sgx
	}
	for len(td) < 16 {
		td = append(td, tdxSVN)
	}
	return fmt.Sprintf(`{"tcb":{"sgxtcbcomponents":%s,"pcesvn":%d,"tdxtcbcomponents":%s},%s}`, components(all...), pceSVN, components(td...), rest)
}

// newScene is a scene that verifies: a TD quote of version 4, or an enclave's of version 3.
func newScene(tb testing.TB, tee tdx.TEEType) *scene {
	tb.Helper()
	s := &scene{
		now: at(tb, june), trusted: true, version: 4, auth: []byte("thirty-two bytes of QE auth data"),
		header: make([]byte, 48), qe: tdx.SGXBody{MiscSelect: [4]byte{1}, Attributes: [16]byte{0x15}, ISVProdID: 2, ISVSVN: 4},
		qeIdentity: qeIdentityText, tcbInfo: tcbInfoTDX,
		binding: func(*[64]byte) {}, chain: func(p string) string { return p }, signed: func(*tdx.Signature) {}, tamper: func([]byte) {}, bundle: func(*dcap.Bundle) {},
	}
	signer, _ := hex.DecodeString("DC9E2A7C6F948F17474E34A7FC43ED030F7C1563F1BABDDF6340C82E0E54A8C5")
	s.qe.MRSigner = [32]byte(signer)
	binary.LittleEndian.PutUint16(s.header[2:], 2)
	copy(s.header[12:], "\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07")
	if tee == tdx.TDX {
		binary.LittleEndian.PutUint32(s.header[4:], 0x81)
		s.td = &tdx.Body{TEETCBSVN: [16]byte{4, 1, 7, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, ReportData: [64]byte{1, 2, 3}}
		s.td.MRTD = tdx.Sum([]byte("an image"))
		s.td.MRSignerSEAM = tdx.Sum([]byte("a signer"))
	} else {
		s.version, s.tcbInfo = 3, tcbInfoSGX
		s.sgx = &tdx.SGXBody{MREnclave: [32]byte{1}, MRSigner: [32]byte{2}}
		s.qeIdentity = strings.Replace(s.qeIdentity, "TD_QE", "QE", 1)
	}
	s.tcbInfo = strings.NewReplacer("SIGNER", tdx.Sum([]byte("a signer")).String(),
		"LEVEL0", levelText(3, 11, 1, `"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":"UpToDate"`),
		"LEVEL1", levelText(2, 5, 0, `"tcbDate":"2023-08-09T00:00:00Z","tcbStatus":"OutOfDate","advisoryIDs":["INTEL-SA-00002","INTEL-SA-00001"]`),
	).Replace(s.tcbInfo)
	s.ext = extension{
		ppid: []byte("a package's PPID"), cpuSVN: make([]byte, 16), piid: []byte("platform's PIID."), pceSVN: 11,
		pceID: []byte{0, 1}, fmspc: []byte{0, 0x80, 0x6f, 5, 0xab, 0},
	}
	for i := range s.ext.components {
		s.ext.components[i] = 3
	}
	s.makeTemplates(tb)
	return s
}

func (s *scene) makeTemplates(tb testing.TB) {
	tb.Helper()
	s.rekey(tb, "the usual keys")
	template := func(name string, serial int64, ca bool) x509.Certificate {
		c := x509.Certificate{
			Subject:      pkix.Name{CommonName: name, Organization: []string{"Intel Corporation"}},
			SerialNumber: big.NewInt(serial), NotBefore: s.now.AddDate(-1, 0, 0), NotAfter: s.now.AddDate(1, 0, 0),
			SignatureAlgorithm: x509.ECDSAWithSHA256, BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageDigitalSignature,
			MaxPathLen: -1,
		}
		if ca {
			c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		}
		return c
	}
	s.root = template("Intel SGX Root CA", 1, true)
	s.root.MaxPathLen = 1
	s.ca = template("Intel SGX PCK Platform CA", 2, true)
	s.ca.MaxPathLen, s.ca.MaxPathLenZero = 0, true
	s.pck = template("Intel SGX PCK Certificate", 3, false)
	s.tcb = template("Intel SGX TCB Signing", 4, false)
	for _, crl := range []*x509.RevocationList{&s.pckCRL, &s.rootCRL} {
		*crl = x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: s.now.AddDate(0, 0, -1), NextUpdate: s.now.AddDate(0, 0, 29), SignatureAlgorithm: x509.ECDSAWithSHA256,
			RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(77), RevocationTime: s.now}},
		}
	}
}

// rekey gives the scene keys that follow from a text, so that a scene is the same in every process: fuzzing has several.
func (s *scene) rekey(tb testing.TB, text string) {
	tb.Helper()
	for i, k := range []**ecdsa.PrivateKey{&s.keys.root, &s.keys.ca, &s.keys.pck, &s.keys.tcb, &s.keys.attestation} {
		scalar := sha256.Sum256(fmt.Append(nil, text, i))
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
		if err != nil {
			tb.Fatal(err)
		}
		*k = key
	}
	s.keys.quote, s.keys.issuer = s.keys.attestation, s.keys.ca
	s.certified = s.keys
}

// newKey is a key that nothing else has.
func newKey(tb testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// built is a scene ready to be verified.
type built struct {
	quote  []byte
	bundle *dcap.Bundle
	roots  *dcap.Roots
	now    time.Time
}

func (s *scene) build(tb testing.TB) *built {
	tb.Helper()
	if s.rootCert == nil {
		s.rootCert = issue(tb, &s.root, &s.root, s.certified.root, s.keys.root)
	}
	root := s.rootCert
	ca := issue(tb, &s.ca, root, s.certified.ca, s.keys.root)
	signer := issue(tb, &s.tcb, root, s.certified.tcb, s.keys.root)
	leaf := s.pck
	if !s.bare {
		leaf.ExtraExtensions = append([]pkix.Extension{{
			Id: asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, Value: s.ext.encode(),
		}}, leaf.ExtraExtensions...)
	}
	pck := issue(tb, &leaf, ca, s.certified.pck, s.keys.issuer)
	b := &built{now: s.now}
	b.quote = s.quote(tb, toPEM(pck)+toPEM(ca)+toPEM(root))
	b.bundle = &dcap.Bundle{
		PCKCRLIssuerChain:  toPEM(ca) + toPEM(root),
		PCKCRL:             revoke(tb, &s.pckCRL, ca, s.keys.ca),
		RootCACRL:          revoke(tb, &s.rootCRL, root, s.keys.root),
		TCBInfoIssuerChain: toPEM(signer) + toPEM(root), TCBInfo: s.tcbInfo,
		TCBInfoSignature:      hex.EncodeToString(sign(tb, s.keys.tcb, []byte(s.tcbInfo))),
		QEIdentityIssuerChain: toPEM(signer) + toPEM(root), QEIdentity: s.qeIdentity,
		QEIdentitySignature: hex.EncodeToString(sign(tb, s.keys.tcb, []byte(s.qeIdentity))),
	}
	s.bundle(b.bundle)
	if !s.trusted {
		again := s.root // the same name and key, another certificate
		again.SerialNumber = big.NewInt(99)
		root = issue(tb, &again, &again, s.certified.root, s.keys.root)
	}
	roots, err := dcap.NewRoots(root)
	if err != nil {
		tb.Fatal(err)
	}
	b.roots = roots
	return b
}

func (s *scene) quote(tb testing.TB, chain string) []byte {
	tb.Helper()
	le := binary.LittleEndian
	q := append([]byte(nil), s.header...)
	if q[0] == 0 {
		le.PutUint16(q, uint16(s.version))
	}
	var body []byte
	kind := uint16(1)
	switch {
	case s.td == nil:
		body = s.sgx.Encode()
	case s.td.Service != nil:
		body, kind = s.td.Encode(), 3
	default:
		body, kind = s.td.Encode(), 2
	}
	if s.version == 5 {
		q = le.AppendUint32(le.AppendUint16(q, kind), uint32(len(body)))
	}
	q = append(q, body...)
	attestation, err := s.certified.attestation.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	part := tdx.Signature{Quote: sign(tb, s.keys.quote, q), Key: attestation[1:], QEAuth: s.auth, PCKChain: []byte(s.chain(chain))}
	sum := sha256.Sum256(append(append([]byte(nil), part.Key...), part.QEAuth...))
	copy(s.qe.ReportData[:], sum[:])
	s.binding(&s.qe.ReportData)
	part.QEReport = s.qe.Encode()
	part.QESignature = sign(tb, s.keys.pck, part.QEReport)
	s.signed(&part)
	raw, err := part.Encode(uint16(s.version))
	if err != nil {
		tb.Fatal(err)
	}
	q = append(le.AppendUint32(q, uint32(len(raw))), raw...)
	s.tamper(q)
	return q
}

// otherKey puts another attestation key into the quote, rightly bound.
func (s *scene) otherKey(key []byte) (func(*[64]byte), func(*tdx.Signature)) {
	return func(out *[64]byte) {
			sum := sha256.Sum256(append(append([]byte(nil), key...), s.auth...))
			copy(out[:], sum[:])
		}, func(p *tdx.Signature) {
			p.Key = key
		}
}

// verify opens and verifies what was built.
func (b *built) verify() (*dcap.Result, error) {
	c, err := dcap.Open(b.bundle, b.roots, b.now)
	if err != nil {
		return nil, err
	}
	return dcap.NewVerifier(b.roots, 4).Verify(b.quote, c, b.now)
}

func issue(tb testing.TB, template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	if parent == template {
		parent = &x509.Certificate{Subject: template.Subject, PublicKey: &signer.PublicKey}
	}
	copied := *parent
	copied.PublicKey = &signer.PublicKey // CreateCertificate compares; the tests sign with wrong keys too
	raw, err := x509.CreateCertificate(nil, template, &copied, &key.PublicKey, signer)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

func revoke(tb testing.TB, template *x509.RevocationList, issuer *x509.Certificate, key *ecdsa.PrivateKey) string {
	tb.Helper()
	copied := *issuer
	copied.PublicKey = &key.PublicKey
	if copied.SubjectKeyId == nil {
		copied.SubjectKeyId = []byte{1}
	}
	copied.KeyUsage |= x509.KeyUsageCRLSign
	raw, err := x509.CreateRevocationList(nil, template, &copied, key)
	if err != nil {
		tb.Fatal(err)
	}
	return hex.EncodeToString(raw)
}

func toPEM(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// sign makes a signature r ‖ s over SHA-256.
func sign(tb testing.TB, key *ecdsa.PrivateKey, message []byte) []byte {
	tb.Helper()
	digest := sha256.Sum256(message)
	der, err := key.Sign(nil, digest[:], crypto.SHA256) // without randomness: deterministic, RFC 6979
	if err != nil {
		tb.Fatal(err)
	}
	var raw struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &raw); err != nil {
		tb.Fatal(err)
	}
	out := make([]byte, 64)
	raw.R.FillBytes(out[:32])
	raw.S.FillBytes(out[32:])
	return out
}

// encode writes the extension by hand, as DER.
func (e *extension) encode() []byte {
	oid := "\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01"
	member := func(arcs string, tag byte, value []byte) []byte {
		return tlv(0x30, append(tlv(0x06, []byte(oid+arcs)), tlv(tag, value)...))
	}
	var tcb []byte
	for i, svn := range e.components {
		tcb = append(tcb, member("\x02"+string(rune(i+1)), 0x02, integer(svn))...)
	}
	tcb = append(tcb, member("\x02\x11", 0x02, integer(e.pceSVN))...)
	tcb = append(tcb, member("\x02\x12", 0x04, e.cpuSVN)...)
	var all []byte
	all = append(all, member("\x01", 0x04, e.ppid)...)
	all = append(all, member("\x02", 0x30, tcb)...)
	all = append(all, member("\x03", 0x04, e.pceID)...)
	all = append(all, member("\x04", 0x04, e.fmspc)...)
	all = append(all, member("\x05", 0x0a, []byte{1})...)
	if e.piid != nil {
		all = append(all, member("\x06", 0x04, e.piid)...)
	}
	out := tlv(0x30, all)
	if e.edit != nil {
		out = e.edit(out)
	}
	return out
}

func integer(v int) []byte {
	switch {
	case v < 0x80:
		return []byte{byte(v)}
	case v < 0x8000:
		return []byte{byte(v >> 8), byte(v)}
	}
	return []byte{0, byte(v >> 8), byte(v)}
}

func tlv(tag byte, value []byte) []byte {
	switch n := len(value); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, value...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, value...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, value...)
	}
}
