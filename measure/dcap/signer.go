package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"

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
	chainKey := c.chainKey(s.PCKChain)
	// All fields but the last have fixed sizes, so the hashed bytes can be read in one way only.
	sum := sha256.New()
	for _, field := range [][]byte{chainKey[:], s.Key, s.QEReport, s.QESignature, s.QEAuth} {
		sum.Write(field)
	}
	var key [sha256.Size]byte
	sum.Sum(key[:0])
	if known := v.signers.get(key); known != nil {
		return known, nil
	}
	chain := v.chains.get(chainKey)
	if chain == nil {
		var err error
		if chain, err = readChain(s.PCKChain, v.roots, c); err != nil {
			return nil, err
		}
		v.chains.put(chainKey, chain)
	}
	found, err := readSigner(s, chain)
	if err != nil {
		return nil, err
	}
	v.signers.put(key, found)
	return found, nil
}

// chainKey is what the cache knows a quote's certificates by: SHA-256 of a hash and a text. With collateral of the same CA
// the hash is the collateral's, of what stands above the platform's certificate, which need not be hashed again, and the
// text is the platform's own part. Otherwise the text is all there is, and zeros stand in the hash's place: without them, a
// text that begins with a hash would be taken for certificates that were verified.
func (c *Collateral) chainKey(area []byte) (key [sha256.Size]byte) {
	var above [sha256.Size]byte
	if c != nil {
		text := bytes.TrimSuffix(bytes.TrimSuffix(area, []byte{0}), []byte("\n")) // what pemBodies allows at the end
		if own, ok := bytes.CutSuffix(text, c.above); ok {
			above, area = c.aboveHash, own
		}
	}
	sum := sha256.New()
	sum.Write(above[:])
	sum.Write(area)
	sum.Sum(key[:0])
	return key
}

// readSigner follows the signatures from the PCK key to the attestation key: the PCK key signs the quoting enclave's
// report, which names the attestation key.
func readSigner(s *tdx.Signature, chain *pckChain) (*signer, error) {
	if !verifyRaw(chain.key, s.QEReport, s.QESignature) {
		return nil, fail(ClassQuoteSignature, "the quoting enclave's report is not signed by the PCK key")
	}
	report, err := tdx.ParseSGXBody(s.QEReport)
	if err != nil {
		return nil, failAs(ClassQuoteParse, err)
	}
	var buf [128]byte // QEAuth has 32 bytes in all quotes seen
	binding := sha256.Sum256(append(append(buf[:0], s.Key...), s.QEAuth...))
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
