package measuretest

import (
	"context"
	"encoding/hex"
	"fmt"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Roots is the set of the platform's root alone.
func (p *Platform) Roots() *dcap.Roots { return p.roots }

// RootID is what contracts and configurations name the platform's root by.
func (p *Platform) RootID() dcap.RootID { return p.rootID }

// Bundle is honest collateral for the platform's TD quotes.
func (p *Platform) Bundle() (*dcap.Bundle, error) { return p.BundleWith(CollateralSpec{}) }

// BundleWith is collateral that departs from honest collateral as the spec says.
func (p *Platform) BundleWith(s CollateralSpec) (*dcap.Bundle, error) {
	a, err := p.answers(s)
	if err != nil {
		return nil, err
	}
	return &dcap.Bundle{
		PCKCRLIssuerChain: string(a.cas), RootCACRL: hex.EncodeToString(a.rootCRL), PCKCRL: hex.EncodeToString(a.pckCRL),
		TCBInfoIssuerChain: string(a.signers), TCBInfo: string(a.tcbInfo.text), TCBInfoSignature: hex.EncodeToString(a.tcbInfo.signature),
		QEIdentityIssuerChain: string(a.signers), QEIdentity: string(a.qeIdentity.text), QEIdentitySignature: hex.EncodeToString(a.qeIdentity.signature),
	}, nil
}

// Collateral is opened honest collateral, as a source of it gives it.
func (p *Platform) Collateral(_ context.Context, want dcap.Platform) (*dcap.Collateral, error) {
	b, err := p.BundleWith(CollateralSpec{SGX: want.TEE == tdx.SGX})
	if err != nil {
		return nil, err
	}
	c, err := dcap.Open(b, p.roots, p.opts.Now)
	if err != nil {
		return nil, fmt.Errorf("opening simulated collateral: %w", err)
	}
	return c, nil
}
