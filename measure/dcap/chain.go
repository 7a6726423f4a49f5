package dcap

import (
	"bytes"
	"time"

	"cocoon/measure/tdx"
)

// pckChain is what follows from the certificates of a quote, whatever the time and the collateral: everything in it is
// signed below the root. It never changes.
type pckChain struct {
	*leaf
	authority certificate
	ca        CA
	root      *root
}

// readChain reads and checks the certificates of a quote. A CA certificate that is byte-equal to known, which the
// collateral has verified below the same roots, is not verified again.
func readChain(area []byte, roots *Roots, known *Collateral) (*pckChain, error) {
	bodies, err := pemBodies(area, 3)
	if err != nil {
		return nil, fail(ClassChain, "reading PCK chain: %w", err)
	}
	raw, err := pemDecode(bodies[0])
	if err != nil {
		return nil, fail(ClassChain, "reading PCK chain: %w", err)
	}
	c := &pckChain{root: roots.findText(bodies[2])}
	if c.root == nil {
		if _, err := pemChain(area, 3); err != nil {
			return nil, fail(ClassChain, "reading PCK chain: %w", err)
		}
		return nil, fail(ClassRoot, "the quote's PCK chain ends in a root certificate that is not trusted")
	}
	if known != nil && known.root.id == c.root.id && bytes.Equal(known.authority.text, bodies[1]) {
		c.authority, c.ca = known.authority, known.ca
	} else if c.authority, c.ca, err = readAuthority(bodies[1], c.root); err != nil {
		return nil, fail(ClassChain, "PCK chain: %w", err)
	}
	var parts views
	if c.leaf, parts, err = readLeaf(raw); err == nil {
		err = parts.checkSigned(c.authority)
	}
	if err != nil {
		return nil, fail(ClassChain, "PCK chain: %w", err)
	}
	return c, nil
}

// readAuthority reads a PCK CA's certificate in the form of a PEM body.
func readAuthority(body []byte, above *root) (certificate, CA, error) {
	raw, err := pemDecode(body)
	if err != nil {
		return certificate{}, NoCA, err
	}
	return authority(raw, above)
}

// dated are the certificates' validities.
func (c *pckChain) dated() [3]window {
	return [...]window{c.window, c.authority.dates(), c.root.dates()}
}

// checkDates checks that every certificate holds at a time.
func (c *pckChain) checkDates(now time.Time) error {
	for _, w := range c.dated() {
		if err := w.checkAt(now); err != nil {
			return err
		}
	}
	return nil
}

// end is the last instant at which every certificate holds.
func (c *pckChain) end() time.Time {
	end := c.to
	for _, w := range c.dated() {
		if w.to.Before(end) {
			end = w.to
		}
	}
	return end
}

// checkMatch checks that collateral is for the quote's root, platform and CA. FMSPCs are compared as bytes.
func (c *pckChain) checkMatch(with *Collateral, tee tdx.TEEType) error {
	got, want := c.platform(tee), with.Platform()
	switch {
	case c.root.id != with.root.id:
		return fail(ClassCollateralMismatch, "the collateral goes back to root %s, the quote to %s", with.root.id, c.root.id)
	case got != want:
		return fail(ClassCollateralMismatch, "the collateral is for %s with PCEID %x, the quote from %s with PCEID %x",
			want, want.PCEID, got, got.PCEID)
	case !c.authority.key.Equal(with.authority.key):
		return fail(ClassCollateralMismatch, "the PCK CRL is signed by another %q than the quote's PCK certificate", c.authority.Subject.CommonName)
	}
	return nil
}

// checkRevocation asks the lists of collateral that matches.
func (c *pckChain) checkRevocation(with *Collateral) error {
	switch {
	case with.rootCRL.has(c.authority.serial()):
		return fail(ClassRevoked, "%q is on the root's revocation list", c.authority.Subject.CommonName)
	case with.pckCRL.has(c.serial):
		return fail(ClassRevoked, "the PCK certificate is on the revocation list of %q", c.authority.Subject.CommonName)
	}
	return nil
}

func (c *pckChain) platform(tee tdx.TEEType) Platform {
	return Platform{FMSPC: c.extension.fmspc, PCEID: c.extension.pceID, CA: c.ca, TEE: tee}
}

// readPlatform reads a chain without verifying it.
func readPlatform(area []byte, tee tdx.TEEType) (Platform, error) {
	bodies, err := pemBodies(area, 3)
	if err != nil {
		return Platform{}, fail(ClassChain, "reading PCK chain: %w", err)
	}
	raw, err := pemDecode(bodies[0])
	if err != nil {
		return Platform{}, fail(ClassChain, "reading PCK chain: %w", err)
	}
	l, parts, err := readLeaf(raw)
	if err != nil {
		return Platform{}, fail(ClassChain, "PCK certificate: %w", err)
	}
	issuer, err := parts.issuerName()
	if err != nil {
		return Platform{}, fail(ClassChain, "PCK certificate: %w", err)
	}
	c := pckChain{leaf: l}
	switch issuer {
	case namePlatformCA:
		c.ca = PlatformCA
	case nameProcessorCA:
		c.ca = ProcessorCA
	default:
		return Platform{}, fail(ClassChain, "PCK certificate is issued by %q, want %q or %q", issuer, namePlatformCA, nameProcessorCA)
	}
	return c.platform(tee), nil
}
