package policy

import (
	"encoding/binary"
	"slices"

	"cocoon/measure/tdx"
)

func wantTDDebug(*Rules) string { return "attribute bits 0 to 7 zero" }

// judgeTDDebug has no setting: a host can read the memory of a TD under debug, whose image hash is that of its
// production twin.
func judgeTDDebug(_ *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	bits := td.TDAttributes[0]
	words = appendNumber(words, uint64(bits))
	if bits&1 != 0 {
		words = append(words, " (DEBUG)"...)
	}
	return words, passIf(bits == 0)
}

func wantMask(m Mask) string {
	return "all of " + number(m.MustOne) + ", none outside of " + number(m.MayOne)
}

func judgeMask(m Mask, raw [8]byte, words []byte) ([]byte, outcome) {
	v := binary.LittleEndian.Uint64(raw[:])
	return appendNumber(words, v), passIf(m.admits(v))
}

func wantTDAttributes(r *Rules) string { return wantMask(r.TDAttributes) }

// judgeTDAttributes leaves bits 0 to 7 to judgeTDDebug, so that a debug TD fails one rule and not two.
func judgeTDAttributes(r *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	raw := td.TDAttributes
	raw[0] = 0
	return judgeMask(r.TDAttributes, raw, words)
}

func wantXFAM(r *Rules) string { return wantMask(r.XFAM) }

func judgeXFAM(r *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	return judgeMask(r.XFAM, td.XFAM, words)
}

func wantMRSEAM(r *Rules) string { return oneOf(r.MRSEAM, tdx.Digest.String) }

func judgeMRSEAM(r *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	return appendHex(words, td.MRSEAM[:]), passIf(len(r.MRSEAM) == 0 || slices.Contains(r.MRSEAM, td.MRSEAM))
}

func wantMRSignerSEAM(r *Rules) string { return digest(r.MRSignerSEAM) }

func judgeMRSignerSEAM(r *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	return appendDigest(words, td.MRSignerSEAM), passIf(td.MRSignerSEAM == r.MRSignerSEAM)
}

func wantSEAMAttributes(r *Rules) string { return number(r.SEAMAttributes) }

func judgeSEAMAttributes(r *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	v := binary.LittleEndian.Uint64(td.SEAMAttributes[:])
	return appendNumber(words, v), passIf(v == r.SEAMAttributes)
}

func wantServiceTD(r *Rules) string { return oneOf(r.MRServiceTD, digest) }

func judgeServiceTD(r *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	if td.Service == nil {
		return append(words, "no such field in TD 1.0"...), pass
	}
	got := td.Service.MRServiceTD
	return appendDigest(words, got), passIf(slices.Contains(r.MRServiceTD, got))
}

// digest words a digest that is zero when there is nothing.
func digest(d tdx.Digest) string { return string(appendDigest(nil, d)) }

func appendDigest(words []byte, d tdx.Digest) []byte {
	if d.IsZero() {
		return append(words, "zero"...)
	}
	return appendHex(words, d[:])
}

// Enclave attribute flags (Intel SDM volume 3D, ATTRIBUTES).
const (
	enclaveInit  = 1 << 0
	enclaveDebug = 1 << 1
)

func wantEnclaveDebug(*Rules) string { return "DEBUG clear" }

// judgeEnclaveDebug has no setting: a debug enclave has the MRENCLAVE of its production twin.
func judgeEnclaveDebug(_ *Rules, e *tdx.SGXBody, words []byte) ([]byte, outcome) {
	return appendHex(words, e.Attributes[:8]), passIf(e.Attributes[0]&enclaveDebug == 0)
}

func wantEnclaveInit(*Rules) string { return "INIT set" }

func judgeEnclaveInit(_ *Rules, e *tdx.SGXBody, words []byte) ([]byte, outcome) {
	return appendHex(words, e.Attributes[:8]), passIf(e.Attributes[0]&enclaveInit != 0)
}
