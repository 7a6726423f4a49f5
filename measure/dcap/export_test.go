package dcap

import "cocoon/measure/tdx"

// What the tests in package dcap_test see of the parsers.

// ParsePCKExtension reads Intel's extension and gives what matters of it.
func ParsePCKExtension(data []byte) (fmspc FMSPC, components [16]byte, pceSVN uint16, hasPIID bool, err error) {
	e, err := parsePCKExtension(data)
	if err != nil {
		return FMSPC{}, components, 0, false, err
	}
	return e.fmspc, e.components, e.pceSVN, e.hasPIID, nil
}

// ParseTCBInfo reads TCB info and gives its platform.
func ParseTCBInfo(text string) (Platform, error) {
	t, err := parseTCBInfo(text)
	if err != nil {
		return Platform{}, err
	}
	return Platform{FMSPC: t.fmspc, PCEID: t.pceID, TEE: t.tee}, nil
}

// ParseQEIdentity reads a QE identity and gives whose it is.
func ParseQEIdentity(text string) (tdx.TEEType, [32]byte, error) {
	q, err := parseQEIdentity(text)
	if err != nil {
		return 0, [32]byte{}, err
	}
	return q.tee, q.signer, nil
}

// ParseCRL reads a revocation list and gives the number of its entries.
func ParseCRL(raw []byte) (int, error) {
	list, err := parseCRL(raw)
	if err != nil {
		return 0, err
	}
	return len(list.RevokedCertificateEntries), nil
}

// PEMChain reads certificates in their exact form.
func PEMChain(text []byte, want int) ([][]byte, error) { return pemChain(text, want) }

// Walk reads a JSON value and gives its text.
func Walk(text string) (string, error) {
	v, err := walk(text)
	if v.kind == isString {
		return `"` + v.raw + `"`, err
	}
	return v.raw, err
}

// Combine is the status of a whole.
func Combine(parts ...Status) Status { return combine(parts...) }

// CacheSize is how many chains and attestation keys a verifier remembers.
func (v *Verifier) CacheSize() (chains, keys int) {
	return len(v.chains.young) + len(v.chains.old), len(v.signers.young) + len(v.signers.old)
}
