package dcap

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// Open verifies a bundle at a time: everything is signed by Intel's signers below one of the roots, in form, valid, and
// fits together. Each body is decoded from exactly the bytes that were signed.
func Open(b *Bundle, roots *Roots, now time.Time) (*Collateral, error) {
	if b == nil {
		return nil, fail(ClassCollateralMalformed, "opening collateral: there is none")
	}
	if err := b.checkComplete(); err != nil {
		return nil, fail(ClassCollateralMalformed, "opening collateral: %w", err)
	}
	c := new(Collateral)
	for _, step := range []func(*Bundle, *Roots) error{
		c.openRevocations, c.openTCBInfo, c.openQEIdentity,
	} {
		if err := step(b, roots); err != nil {
			return nil, err
		}
	}
	if c.tcb.tee != c.qe.tee {
		return nil, fail(ClassCollateralMismatch, "TCB info is for %s, but QE identity for %s", c.tcb.tee, c.qe.tee)
	}
	if err := c.CheckTime(now); err != nil {
		return nil, err
	}
	// The lists hold at this time, so they can be asked.
	if c.rootCRL.has(c.authority.serial()) {
		return nil, fail(ClassRevoked, "%q is on the root's revocation list", c.authority.Subject.CommonName)
	}
	c.generation = b.generation()
	c.expires = c.end()
	return c, nil
}

// generation hashes the signed bytes, each with its length before it.
func (b *Bundle) generation() (id [32]byte) {
	sum := sha256.New()
	for _, part := range []string{b.TCBInfo, b.QEIdentity, strings.ToLower(b.PCKCRL), strings.ToLower(b.RootCACRL)} {
		sum.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(part))))
		sum.Write([]byte(part))
	}
	sum.Sum(id[:0])
	return id
}

// end is the earliest end of all parts and their signers' certificates.
func (c *Collateral) end() time.Time {
	end := c.tcb.to
	for _, w := range c.dated() {
		if w.to.Before(end) {
			end = w.to
		}
	}
	for _, w := range c.certs {
		if w.to.Before(end) {
			end = w.to
		}
	}
	return end
}

// openRevocations reads both revocation lists below the chain of the PCK CA, which decides the root.
func (c *Collateral) openRevocations(b *Bundle, roots *Roots) error {
	raw, err := c.chain("PCK CRL issuer chain", b.PCKCRLIssuerChain, roots)
	if err != nil {
		return err
	}
	if c.authority, c.ca, err = authority(raw, c.root); err != nil {
		return fail(ClassCollateralSignature, "PCK CRL issuer chain: %w", err)
	}
	c.above = pemAbove(c.authority.text, c.root.text)
	c.aboveHash = sha256.Sum256(c.above)
	c.certs = append(c.certs, c.authority.window(), c.root.window())
	if c.rootCRL, err = openHexCRL("root CA CRL", b.RootCACRL, c.root.certificate); err != nil {
		return err
	}
	c.pckCRL, err = openHexCRL("PCK CRL", b.PCKCRL, c.authority)
	return err
}

func openHexCRL(name, text string, issuer certificate) (*crl, error) {
	if len(text) > 2*MaxResponse {
		return nil, fail(ClassCollateralMalformed, "%s has %d hex digits, at most %d", name, len(text), 2*MaxResponse)
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return nil, fail(ClassCollateralMalformed, "decoding %s: %w", name, err)
	}
	return openCRL(name, raw, issuer)
}

// chain reads an issuer chain of a bundle: one certificate, which is returned, and a trusted root, which must be the
// same for all chains.
func (c *Collateral) chain(name, text string, roots *Roots) ([]byte, error) {
	chain, err := pemChain([]byte(text), 2)
	if err != nil {
		return nil, fail(ClassCollateralMalformed, "reading %s: %w", name, err)
	}
	found := roots.find(chain[1])
	switch {
	case found == nil:
		return nil, fail(ClassRoot, "%s ends in a root certificate that is not trusted", name)
	case c.root != nil && c.root != found:
		return nil, fail(ClassCollateralMismatch, "%s ends in another root than the PCK CRL's", name)
	}
	c.root = found
	return chain[0], nil
}

func (c *Collateral) openTCBInfo(b *Bundle, roots *Roots) (err error) {
	if err := c.openSigned("TCB info", b.TCBInfo, b.TCBInfoSignature, b.TCBInfoIssuerChain, roots); err != nil {
		return err
	}
	c.tcb, err = parseTCBInfo(b.TCBInfo)
	return failAs(ClassCollateralMalformed, err)
}

func (c *Collateral) openQEIdentity(b *Bundle, roots *Roots) (err error) {
	if err := c.openSigned("QE identity", b.QEIdentity, b.QEIdentitySignature, b.QEIdentityIssuerChain, roots); err != nil {
		return err
	}
	c.qe, err = parseQEIdentity(b.QEIdentity)
	return failAs(ClassCollateralMalformed, err)
}

// openSigned checks the signature of a body by Intel's TCB signer.
func (c *Collateral) openSigned(name, body, signature, chain string, roots *Roots) error {
	if len(body) > MaxResponse {
		return fail(ClassCollateralMalformed, "%s has %d bytes, at most %d", name, len(body), MaxResponse)
	}
	var raw [rawSignatureSize]byte
	if n, err := hex.Decode(raw[:], []byte(signature[:min(len(signature), 2*len(raw))])); err != nil || n != len(raw) || len(signature) != 2*len(raw) {
		return fail(ClassCollateralMalformed, "signature of %s is not %d hex digits", name, 2*len(raw))
	}
	der, err := c.chain(name+" issuer chain", chain, roots)
	if err != nil {
		return err
	}
	signer, err := c.tcbSigner(der)
	if err != nil {
		return fail(ClassCollateralSignature, "%s issuer chain: %w", name, err)
	}
	if c.rootCRL.has(signer.serial()) {
		return fail(ClassCollateralSignature, "%s issuer chain: %q is on the root's revocation list", name, signer.Subject.CommonName)
	}
	if !verifyRaw(signer.key, []byte(body), raw[:]) {
		return fail(ClassCollateralSignature, "%s is not signed by the %q of its issuer chain", name, signer.Subject.CommonName)
	}
	return nil
}

// tcbSigner reads the certificate of a TCB signer; both bodies usually have the same.
func (c *Collateral) tcbSigner(raw []byte) (certificate, error) {
	if c.signer.is(raw) {
		return c.signer, nil
	}
	signer, err := parseCertificate(raw, rule{[]string{nameTCBSigning}, false}, c.root.certificate)
	if err != nil {
		return certificate{}, err
	}
	c.signer = signer
	c.certs = append(c.certs, signer.window())
	return signer, nil
}
