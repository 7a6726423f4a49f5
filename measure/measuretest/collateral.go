package measuretest

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Dates of collateral, relative to when it is asked for (lifetimes as in attestation.md section 11.1).
const (
	collateralAge  = time.Hour
	collateralLife = 30 * 24 * time.Hour
	rootCRLLife    = 365 * 24 * time.Hour
	revocationAge  = 48 * time.Hour
	// newestTCB and olderTCB are how long before the collateral's issue its levels were new.
	newestTCB = 180 * 24 * time.Hour
	olderTCB  = 540 * 24 * time.Hour

	// EvaluationNumber is the TCB evaluation data number of honest collateral.
	EvaluationNumber = 18

	upToDate  = "UpToDate"
	outOfDate = "OutOfDate"
)

// CollateralSpec says what collateral to make and how it departs from honest one, which calls everything up to date.
type CollateralSpec struct {
	// SGX asks for collateral of enclaves' quotes instead of TDs'.
	SGX bool
	// Now is when the collateral is asked for; zero means the platform's time.
	Now time.Time
	// Platform, Module and QE are the statuses; empty means UpToDate.
	Platform, Module, QE string
	// Advisories belong to the platform's level.
	Advisories []string
	// RevokePCK, RevokeCA and RevokeSigner put a certificate into the CRL of its issuer.
	RevokePCK, RevokeCA, RevokeSigner bool
	// TCBInfo, QEIdentity, PCKCRL and RootCRL change what is signed.
	TCBInfo         func(*TCBInfo)
	QEIdentity      func(*QEIdentity)
	PCKCRL, RootCRL func(*x509.RevocationList)
	// Draft changes a text before it is signed, Text afterwards, which breaks its signature. The name is tcbInfo or
	// enclaveIdentity.
	Draft, Text func(name string, text []byte) []byte
}

// signedText is a text of the provisioning service and its signature, r ‖ s.
type signedText struct{ text, signature []byte }

// answers is everything the provisioning service says about the platform, each as it is signed.
type answers struct {
	tcbInfo, qeIdentity signedText
	pckCRL, rootCRL     []byte // DER
	signers, cas        []byte // issuer chains, PEM
}

// answers makes collateral.
func (p *Platform) answers(s CollateralSpec) (*answers, error) {
	if s.Now.IsZero() {
		s.Now = p.opts.Now
	}
	s.Now = s.Now.UTC().Truncate(time.Second)
	out := &answers{signers: chain(p.pki.tcb, p.pki.root), cas: chain(p.pki.ca, p.pki.root)}
	var err error
	if out.tcbInfo, err = p.tcbInfo(&s); err != nil {
		return nil, fmt.Errorf("making TCB info: %w", err)
	}
	if out.qeIdentity, err = p.qeIdentity(&s); err != nil {
		return nil, fmt.Errorf("making QE identity: %w", err)
	}
	var leaf, authorities []*big.Int
	for _, r := range []struct {
		revoked bool
		list    *[]*big.Int
		id      identity
	}{{s.RevokePCK, &leaf, p.pki.pck}, {s.RevokeCA, &authorities, p.pki.ca}, {s.RevokeSigner, &authorities, p.pki.tcb}} {
		if r.revoked {
			*r.list = append(*r.list, r.id.cert.SerialNumber)
		}
	}
	if out.pckCRL, err = crl(p.pki.ca, &s, collateralLife, leaf, s.PCKCRL); err != nil {
		return nil, fmt.Errorf("making PCK CRL: %w", err)
	}
	if out.rootCRL, err = crl(p.pki.root, &s, rootCRLLife, authorities, s.RootCRL); err != nil {
		return nil, fmt.Errorf("making root CRL: %w", err)
	}
	return out, nil
}

func (p *Platform) tcbInfo(s *CollateralSpec) (signedText, error) {
	info := &TCBInfo{
		ID: "TDX", Version: 3, IssueDate: date(s.Now, -collateralAge), NextUpdate: date(s.Now, collateralLife-collateralAge),
		// Real collateral has either case; the oracle takes lower case only.
		FMSPC: hex.EncodeToString(p.opts.FMSPC[:]), PCEID: hex.EncodeToString(p.opts.PCEID[:]),
		TCBEvaluationDataNumber: EvaluationNumber,
	}
	newest := TCBLevel{
		TCB:     TCB{SGX: components(p.opts.Components), PCESVN: p.opts.PCESVN},
		TCBDate: date(s.Now, -newestTCB), TCBStatus: status(s.Platform), AdvisoryIDs: s.Advisories,
	}
	older := TCBLevel{TCB: TCB{SGX: components([componentsLen]byte{})}, TCBDate: date(s.Now, -olderTCB), TCBStatus: outOfDate, AdvisoryIDs: []string{"INTEL-SA-00001"}}
	if s.SGX {
		info.ID = "SGX"
	} else {
		p.addModules(info, s)
		newest.TCB.TDX, older.TCB.TDX = components(p.opts.TEETCBSVN), components([componentsLen]byte{})
	}
	info.TCBLevels = []TCBLevel{newest, older}
	if s.TCBInfo != nil {
		s.TCBInfo(info)
	}
	return p.sign(tcbInfoMember, info, s)
}

// addModules describes the TDX module that the platform has.
func (p *Platform) addModules(info *TCBInfo, s *CollateralSpec) {
	module := TDXModule{MRSigner: strings.Repeat("00", 48), Attributes: strings.Repeat("00", 8), AttributesMask: strings.Repeat("FF", 8)}
	svn, version := uint16(p.opts.TEETCBSVN[0]), p.opts.TEETCBSVN[1]
	info.TDXModule = &module
	info.TDXModuleIdentities = []ModuleIdentity{{
		ID: fmt.Sprintf("TDX_%02x", version), TDXModule: module,
		TCBLevels: []EnclaveLevel{level(svn, s.Now, newestTCB, status(s.Module)), level(0, s.Now, olderTCB, outOfDate)},
	}}
}

func (p *Platform) qeIdentity(s *CollateralSpec) (signedText, error) {
	id := &QEIdentity{
		ID: "TD_QE", Version: 2, IssueDate: date(s.Now, -collateralAge), NextUpdate: date(s.Now, collateralLife-collateralAge),
		TCBEvaluationDataNumber: EvaluationNumber, MiscSelect: "00000000", MiscSelectMask: "FFFFFFFF",
		Attributes: "11000000000000000000000000000000", AttributesMask: "FBFFFFFFFFFFFFFF0000000000000000",
	}
	kind := quotingTDX
	if s.SGX {
		id.ID, kind = "QE", quotingSGX
	}
	qe := p.qe[kind]
	id.MRSigner, id.ISVProdID = strings.ToUpper(hex.EncodeToString(qe.MRSigner)), qe.ISVProdID
	id.TCBLevels = []EnclaveLevel{level(qe.ISVSVN, s.Now, newestTCB, status(s.QE)), level(0, s.Now, olderTCB, outOfDate)}
	if s.QEIdentity != nil {
		s.QEIdentity(id)
	}
	return p.sign(enclaveIdentityMember, id, s)
}

// sign encodes and signs a document; name is the member that holds it in the service's answer.
func (p *Platform) sign(name string, document any, s *CollateralSpec) (signedText, error) {
	text, err := json.Marshal(document)
	if err != nil {
		return signedText{}, err
	}
	if s.Draft != nil {
		text = s.Draft(name, text)
	}
	signature, err := p.pki.tcb.key.raw(text)
	if s.Text != nil {
		text = s.Text(name, text)
	}
	return signedText{text, signature}, err
}

func crl(issuer identity, s *CollateralSpec, life time.Duration, revoked []*big.Int, edit func(*x509.RevocationList)) ([]byte, error) {
	t := &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: s.Now.Add(-collateralAge), NextUpdate: s.Now.Add(life - collateralAge),
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
	for _, serial := range revoked {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: s.Now.Add(-revocationAge)})
	}
	if edit != nil {
		edit(t)
	}
	return x509.CreateRevocationList(nil, t, issuer.cert, issuer.key)
}

func level(svn uint16, now time.Time, age time.Duration, status string) EnclaveLevel {
	l := EnclaveLevel{TCBDate: date(now, -age), TCBStatus: status}
	l.TCB.ISVSVN = svn
	return l
}

func status(s string) string {
	if s == "" {
		return upToDate
	}
	return s
}

func components(svns [componentsLen]byte) []Component {
	out := make([]Component, 0, len(svns))
	for _, svn := range svns {
		out = append(out, Component{SVN: int(svn)})
	}
	return out
}

// date is a time in collateral's form, RFC 3339 in UTC.
func date(now time.Time, offset time.Duration) string { return now.Add(offset).Format(time.RFC3339) }
