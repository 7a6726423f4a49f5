package measuretest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"strings"
	"time"

	"cocoon/measure/dcap"
)

const statusOutOfDate = dcap.OutOfDate

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func onBundle(edit func(*dcap.Bundle)) func(*kit, *dcap.Bundle) {
	return func(_ *kit, b *dcap.Bundle) { edit(b) }
}

func onTCBInfo(edit func(*TCBInfo)) func(*kit, *CollateralSpec) {
	return func(_ *kit, s *CollateralSpec) { s.TCBInfo = edit }
}

func onQEIdentity(edit func(*QEIdentity)) func(*kit, *CollateralSpec) {
	return func(_ *kit, s *CollateralSpec) { s.QEIdentity = edit }
}

// dateMutations let one piece of collateral be too old or too young. The window that is moved is years long, so that
// only this piece is outside.
func dateMutations() []mutation {
	past, future := "2021-01-01T00:00:00Z", "2049-01-01T00:00:00Z"
	pastTime, futureTime := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC)
	crls := func(pick func(*CollateralSpec) *func(*x509.RevocationList), edit func(*x509.RevocationList)) func(*kit, *CollateralSpec) {
		return func(_ *kit, s *CollateralSpec) { *pick(s) = edit }
	}
	pck := func(s *CollateralSpec) *func(*x509.RevocationList) { return &s.PCKCRL }
	root := func(s *CollateralSpec) *func(*x509.RevocationList) { return &s.RootCRL }
	expired := func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = pastTime, pastTime.AddDate(0, 1, 0) }
	early := func(l *x509.RevocationList) { l.ThisUpdate, l.NextUpdate = futureTime, futureTime.AddDate(0, 1, 0) }
	return []mutation{
		{name: "TCB info expired", on: all, want: "collateral_expired", answers: onTCBInfo(func(i *TCBInfo) { i.IssueDate, i.NextUpdate = past, past })},
		{name: "TCB info of the future", on: all, want: "collateral_not_yet_valid", answers: onTCBInfo(func(i *TCBInfo) { i.IssueDate, i.NextUpdate = future, future })},
		{name: "QE identity expired", on: all, want: "collateral_expired", answers: onQEIdentity(func(i *QEIdentity) { i.IssueDate, i.NextUpdate = past, past })},
		{name: "QE identity of the future", on: all, want: "collateral_not_yet_valid", answers: onQEIdentity(func(i *QEIdentity) { i.IssueDate, i.NextUpdate = future, future })},
		{name: "PCK CRL expired", on: all, want: "collateral_expired", answers: crls(pck, expired)},
		{name: "PCK CRL of the future", on: all, want: "collateral_not_yet_valid", answers: crls(pck, early)},
		{name: "root CRL expired", on: all, want: "collateral_expired", answers: crls(root, expired)},
		{name: "root CRL of the future", on: all, want: "collateral_not_yet_valid", answers: crls(root, early)},
		{name: "clock at the end", on: all, want: codeOK, clock: collateralLife - collateralAge},
		{name: "clock a second later", on: all, want: "collateral_expired", clock: collateralLife - collateralAge + time.Second},
		{name: "clock within the skew", on: all, want: codeOK, clock: -collateralAge - 300*time.Second},
		{name: "clock before the skew", on: all, want: "collateral_not_yet_valid", clock: -collateralAge - 301*time.Second},
	}
}

// collateralMutations break signatures, signers and what belongs together.
func collateralMutations() []mutation {
	return []mutation{
		{name: "PCK certificate revoked", on: all, want: "revoked", answers: func(_ *kit, s *CollateralSpec) { s.RevokePCK = true }},
		{name: "authority revoked", on: all, want: "revoked", answers: func(_ *kit, s *CollateralSpec) { s.RevokeCA = true }},
		{name: "signer revoked", on: all, want: "collateral_signature", answers: func(_ *kit, s *CollateralSpec) { s.RevokeSigner = true }},
		{name: "others revoked", on: all, want: codeOK, answers: func(_ *kit, s *CollateralSpec) {
			s.PCKCRL = func(l *x509.RevocationList) {
				for i := range int64(50) {
					l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
						x509.RevocationListEntry{SerialNumber: big.NewInt(1000 + i), RevocationTime: l.ThisUpdate})
				}
			}
		}},
		{name: "TCB info signature of QE identity", on: all, want: "collateral_signature", bundle: onBundle(func(b *dcap.Bundle) { b.TCBInfoSignature = b.QEIdentitySignature })},
		{name: "QE identity signature of TCB info", on: all, want: "collateral_signature", bundle: onBundle(func(b *dcap.Bundle) { b.QEIdentitySignature = b.TCBInfoSignature })},
		{name: "TCB info re-spaced", on: all, want: "collateral_signature", bundle: onBundle(func(b *dcap.Bundle) { b.TCBInfo += " " })},
		{name: "TCB info status improved", on: tds, want: "collateral_signature", bundle: onBundle(func(b *dcap.Bundle) {
			b.TCBInfo = strings.Replace(b.TCBInfo, outOfDate, upToDate, 1)
		})},
		{name: "PCK CRL of the root", on: all, want: "collateral_mismatch", bundle: onBundle(func(b *dcap.Bundle) { b.PCKCRL = b.RootCACRL })},
		{name: "root CRL of the authority", on: all, want: "collateral_mismatch", bundle: onBundle(func(b *dcap.Bundle) { b.RootCACRL = b.PCKCRL })},
		{name: "PCK CRL of a stranger", on: all, want: "collateral_signature", bundle: func(k *kit, b *dcap.Bundle) {
			b.PCKCRL = k.bundleOf(k.stranger(), CollateralSpec{}).PCKCRL
		}},
		{name: "texts signed by the authority", on: all, want: "collateral_signature", bundle: onBundle(func(b *dcap.Bundle) { b.TCBInfoIssuerChain = b.PCKCRLIssuerChain })},
		{name: "CRL issued by the TCB signer", on: all, want: "collateral_signature", bundle: onBundle(func(b *dcap.Bundle) { b.PCKCRLIssuerChain = b.TCBInfoIssuerChain })},
		{name: "collateral of an untrusted root", on: all, want: "root", bundle: func(k *kit, b *dcap.Bundle) {
			*b = *k.bundleOf(k.stranger(), CollateralSpec{SGX: strings.Contains(b.TCBInfo, `"id":"SGX"`)})
		}},
		{name: "collateral of another trusted root", on: all, want: "collateral_mismatch", trusted: (*kit).stranger, bundle: func(k *kit, b *dcap.Bundle) {
			*b = *k.bundleOf(k.stranger(), CollateralSpec{SGX: strings.Contains(b.TCBInfo, `"id":"SGX"`)})
		}},
		{name: "collateral of another FMSPC", on: all, want: "collateral_mismatch", answers: onTCBInfo(func(i *TCBInfo) { i.FMSPC = "00906ea10000" })},
		{name: "collateral of another PCEID", on: all, want: "collateral_mismatch", answers: onTCBInfo(func(i *TCBInfo) { i.PCEID = "0001" })},
		{name: "collateral of the other TEE", on: all, want: "collateral_mismatch", answers: func(_ *kit, s *CollateralSpec) { s.SGX = !s.SGX }},
		{name: "identity of the other TEE", on: all, want: "collateral_mismatch", bundle: func(k *kit, b *dcap.Bundle) {
			other := k.bundleOf(k.platform, CollateralSpec{SGX: !strings.Contains(b.TCBInfo, `"id":"SGX"`)})
			b.QEIdentity, b.QEIdentitySignature = other.QEIdentity, other.QEIdentitySignature
		}},
		{name: "CRL of the other authority", on: all, want: "collateral_mismatch", bundle: func(k *kit, b *dcap.Bundle) {
			other := k.bundleOf(k.sibling(func(o *Options) { o.ProcessorCA = true }), CollateralSpec{})
			b.PCKCRL, b.PCKCRLIssuerChain = other.PCKCRL, other.PCKCRLIssuerChain
		}},
		{name: "collateral below the evaluation number", on: tds, want: "collateral_rollback", answers: onTCBInfo(func(i *TCBInfo) { i.TCBEvaluationDataNumber-- })},
	}
}

// signedAs replaces in a text before it is signed.
func signedAs(name, old, replacement string) func(*kit, *CollateralSpec) {
	return func(_ *kit, s *CollateralSpec) {
		s.Draft = func(n string, text []byte) []byte {
			if n != name {
				return text
			}
			return []byte(strings.Replace(string(text), old, replacement, 1))
		}
	}
}

// textMutations break the form of collateral; what is signed is signed properly.
func textMutations() []mutation {
	const malformed = "collateral_malformed"
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}
	return []mutation{
		{name: "unknown member", on: all, want: codeOK, answers: signedAs(tcbInfoMember, `{"id"`, `{"new":[1],"id"`)},
		{name: "duplicate member", on: all, want: malformed, answers: signedAs(tcbInfoMember, `{"id"`, `{"tcbType":0,"id"`)},
		{name: "member in another case", on: all, want: malformed, answers: signedAs(tcbInfoMember, `{"id"`, `{"NextUpdate":"2040-01-01T00:00:00Z","id"`)},
		{name: "duplicate member in a level", on: all, want: malformed, answers: signedAs(tcbInfoMember, `"tcbStatus":"UpToDate"`, `"tcbStatus":"UpToDate","tcbStatus":"UpToDate"`)},
		{name: "duplicate member in the identity", on: all, want: malformed, answers: signedAs(enclaveIdentityMember, `{"id"`, `{"isvprodid":1,"id"`)},
		{name: "TCB info version 2", on: all, want: malformed, answers: onTCBInfo(func(i *TCBInfo) { i.Version = 2 })},
		{name: "QE identity version 1", on: all, want: malformed, answers: onQEIdentity(func(i *QEIdentity) { i.Version = 1 })},
		{name: "TCB info without id", on: all, want: malformed, answers: onTCBInfo(func(i *TCBInfo) { i.ID = "" })},
		{name: "no levels", on: all, want: malformed, answers: onTCBInfo(func(i *TCBInfo) { i.TCBLevels = nil })},
		{name: "15 components", on: all, want: malformed, answers: onTCBInfo(func(i *TCBInfo) { i.TCBLevels[0].TCB.SGX = i.TCBLevels[0].TCB.SGX[:15] })},
		{name: "15 TDX components", on: tds, want: malformed, answers: onTCBInfo(func(i *TCBInfo) { i.TCBLevels[0].TCB.TDX = i.TCBLevels[0].TCB.TDX[:15] })},
		{name: "unknown status", on: all, want: malformed, answers: func(_ *kit, s *CollateralSpec) { s.Platform = "Fine" }},
		{name: "date without zone", on: all, want: malformed, answers: onTCBInfo(func(i *TCBInfo) { i.IssueDate = strings.TrimSuffix(i.IssueDate, "Z") })},
		{name: "short FMSPC", on: all, want: malformed, answers: onTCBInfo(func(i *TCBInfo) { i.FMSPC = "5080" })},
		{name: "signature of 127 digits", on: all, want: malformed, bundle: onBundle(func(b *dcap.Bundle) { b.TCBInfoSignature = b.TCBInfoSignature[1:] })},
		{name: "no QE identity", on: all, want: malformed, bundle: onBundle(func(b *dcap.Bundle) { b.QEIdentity = "" })},
		{name: "PCK CRL not hexadecimal", on: all, want: malformed, bundle: onBundle(func(b *dcap.Bundle) { b.PCKCRL = "x" + b.PCKCRL[1:] })},
		{name: "root CRL with a trailing byte", on: all, want: malformed, bundle: onBundle(func(b *dcap.Bundle) { b.RootCACRL += "00" })},
		{name: "PCK CRL with a critical extension", on: all, want: malformed, answers: func(_ *kit, s *CollateralSpec) {
			s.PCKCRL = func(l *x509.RevocationList) { l.ExtraExtensions = append(l.ExtraExtensions, critical) }
		}},
		{name: "issuer chain ends in NUL", on: all, want: codeOK, bundle: onBundle(func(b *dcap.Bundle) { b.TCBInfoIssuerChain += "\x00" })},
		{name: "issuer chain of one certificate", on: all, want: malformed, bundle: onBundle(func(b *dcap.Bundle) {
			b.TCBInfoIssuerChain = string(certificates([]byte(b.TCBInfoIssuerChain))[0])
		})},
	}
}
