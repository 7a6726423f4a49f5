package measuretest

import (
	"crypto/x509"
	"fmt"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Platform is a machine: its certificates, its quoting enclaves and its TDX module. The TD in it is the one that the
// options describe; Launch starts more.
type Platform struct {
	*TD
	opts        Options
	secrets     secrets
	pki         *pki
	attestation *signer
	reportKey   []byte
	qe          map[enclaveKind]enclave
	seam        tdx.Digest
	roots       *dcap.Roots
	rootID      dcap.RootID
}

// NewPlatform makes the platform. It takes about a millisecond.
func NewPlatform(o Options) (*Platform, error) {
	p, err := newPlatform(o)
	if err != nil {
		return nil, fmt.Errorf("making simulated platform: %w", err)
	}
	return p, nil
}

func newPlatform(o Options) (*Platform, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	p := &Platform{opts: o, secrets: secrets{o.Seed}, seam: tdx.Sum([]byte("simulated TDX module"))}
	var err error
	if p.pki, err = newPKI(p.secrets, &p.opts); err != nil {
		return nil, err
	}
	if p.roots, err = dcap.NewRoots(p.pki.root.cert); err != nil {
		return nil, err
	}
	if p.rootID, err = dcap.RootIDOf(p.pki.root.cert); err != nil {
		return nil, err
	}
	if p.attestation, err = p.secrets.key(o.machineLabel("attestation")); err != nil {
		return nil, err
	}
	if p.reportKey, err = p.secrets.bytes(o.machineLabel("report"), reportKeySize); err != nil {
		return nil, err
	}
	if p.qe, err = newEnclaves(p.secrets); err != nil {
		return nil, err
	}
	p.TD, err = p.Launch(o.TD)
	return p, err
}

// RootCertificate is the platform's trust root; nothing else than a test's configuration may trust it.
func (p *Platform) RootCertificate() *x509.Certificate { return p.pki.root.cert }

// Certificate is one of the platform's certificates.
func (p *Platform) Certificate(role Role) *x509.Certificate {
	return map[Role]identity{RootCA: p.pki.root, PlatformCA: p.pki.ca, PCK: p.pki.pck, TCBSigning: p.pki.tcb}[role].cert
}
