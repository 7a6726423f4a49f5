package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"

	"cocoon/measure/tdx"
)

// signer is what stands behind a quote's signature: an attestation key that a quoting enclave made, whose report the
// PCK key of a platform signed. Like the chain in it, it follows from bytes alone and never changes.
type signer struct {
	chain  *pckChain
	key    *ecdsa.PublicKey
	report *tdx.SGXBody // of the quoting enclave
}

// signer finds who signed a quote. Chains that were seen before are not verified again, nor are attestation keys.
func (v *Verifier) signer(s *tdx.Signature, c *Collateral) (*signer, error) {
	// The other fields have fixed sizes, but for the last.
	sum := sha256.New()
	sum.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s.QEAuth))))
	for _, field := range [][]byte{s.Key, s.QEReport, s.QESignature, s.QEAuth, s.PCKChain} {
		sum.Write(field)
	}
	var key [sha256.Size]byte
	sum.Sum(key[:0])
	if known := v.signers.get(key); known != nil {
		return known, nil
	}
	chain, err := v.chain(s.PCKChain, c)
	if err != nil {
		return nil, err
	}
	found, err := readSigner(s, chain)
	if err != nil {
		return nil, err
	}
	v.signers.put(key, found)
	return found, nil
}

// chain is the checked PCK chain of a PEM area.
func (v *Verifier) chain(area []byte, c *Collateral) (*pckChain, error) {
	key := sha256.Sum256(area)
	if known := v.chains.get(key); known != nil {
		return known, nil
	}
	chain, err := readChain(area, v.roots, c)
	if err != nil {
		return nil, err
	}
	v.chains.put(key, chain)
	return chain, nil
}

// readSigner follows the signatures from the PCK key to the attestation key: the PCK key signs the quoting enclave's
// report, which names the attestation key.
func readSigner(s *tdx.Signature, chain *pckChain) (*signer, error) {
	if !verifyRaw(chain.leaf.key, s.QEReport, s.QESignature) {
		return nil, fail(ClassQuoteSignature, "the quoting enclave's report is not signed by the PCK key")
	}
	report, err := tdx.ParseSGXBody(s.QEReport)
	if err != nil {
		return nil, failAs(ClassQuoteParse, err)
	}
	binding := sha256.Sum256(append(bytes.Clone(s.Key), s.QEAuth...))
	var want [tdx.ReportDataSize]byte
	copy(want[:], binding[:])
	if report.ReportData != want {
		return nil, fail(ClassQuoteSignature, "the quoting enclave's report does not name the attestation key")
	}
	key, err := rawKey(s.Key)
	if err != nil {
		return nil, fail(ClassQuoteSignature, "reading attestation key: %w", err)
	}
	return &signer{chain: chain, key: key, report: report}, nil
}
