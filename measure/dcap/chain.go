package dcap

import (
	"crypto/x509"
	"slices"
	"time"

	"cocoon/measure/tdx"
)

// isSGXExtension compares an OID with that of Intel's extension; oidSGX is its encoding.
func isSGXExtension(id []int) bool {
	return slices.Equal(id, []int{1, 2, 840, 113741, 1, 13, 1})
}

// pckChain is what follows from the certificates of a quote, whatever the time and the collateral: everything in it is
// signed below the root. It never changes.
type pckChain struct {
	leaf      certificate
	authority certificate
	ca        CA
	root      *root
	extension *pckExtension
}

// readChain reads and checks the certificates of a quote. A CA certificate that is byte-equal to known, which the
// collateral has verified below the same roots, is not verified again.
func readChain(area []byte, roots *Roots, known *Collateral) (*pckChain, error) {
	raw, err := pemChain(area, 3)
	if err != nil {
		return nil, fail(ClassChain, "reading PCK chain: %w", err)
	}
	c := &pckChain{root: roots.find(raw[2])}
	if c.root == nil {
		return nil, fail(ClassRoot, "the quote's PCK chain ends in a root certificate that is not trusted")
	}
	if known != nil && known.root.id == c.root.id && known.authority.is(raw[1]) {
		c.authority, c.ca = known.authority, known.ca
	} else if c.authority, c.ca, err = authority(raw[1], c.root); err != nil {
		return nil, fail(ClassChain, "PCK chain: %w", err)
	}
	if c.leaf, err = parseCertificate(raw[0], rule{[]string{namePCK}, false}, c.authority); err != nil {
		return nil, fail(ClassChain, "PCK chain: %w", err)
	}
	if c.extension, err = sgxExtension(c.leaf.Certificate); err != nil {
		return nil, fail(ClassChain, "PCK certificate: %w", err)
	}
	return c, nil
}

// sgxExtension finds and reads Intel's extension; x509 refuses certificates with an extension twice.
func sgxExtension(cert *x509.Certificate) (*pckExtension, error) {
	var raw []byte
	for _, e := range cert.Extensions {
		if isSGXExtension(e.Id) {
			raw = e.Value
		}
	}
	return parsePCKExtension(raw)
}

// checkDates checks that every certificate holds at a time.
func (c *pckChain) checkDates(now time.Time) error {
	for _, cert := range []certificate{c.leaf, c.authority, c.root.certificate} {
		switch {
		case now.Before(cert.NotBefore):
			return fail(ClassChain, "PCK chain: certificate of %q is not valid before %s, it is %s",
				cert.Subject.CommonName, stamp(cert.NotBefore), stamp(now))
		case now.After(cert.NotAfter):
			return fail(ClassChain, "PCK chain: certificate of %q expired at %s, it is %s",
				cert.Subject.CommonName, stamp(cert.NotAfter), stamp(now))
		}
	}
	return nil
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
	case with.pckCRL.has(c.leaf.serial()):
		return fail(ClassRevoked, "the PCK certificate is on the revocation list of %q", c.authority.Subject.CommonName)
	}
	return nil
}

func (c *pckChain) platform(tee tdx.TEEType) Platform {
	return Platform{FMSPC: c.extension.fmspc, PCEID: c.extension.pceID, CA: c.ca, TEE: tee}
}

// readPlatform reads a chain without verifying it.
func readPlatform(area []byte, tee tdx.TEEType) (Platform, error) {
	raw, err := pemChain(area, 3)
	if err != nil {
		return Platform{}, fail(ClassChain, "reading PCK chain: %w", err)
	}
	cert, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return Platform{}, fail(ClassChain, "reading PCK certificate: %w", err)
	}
	c := pckChain{}
	switch cert.Issuer.CommonName {
	case namePlatformCA:
		c.ca = PlatformCA
	case nameProcessorCA:
		c.ca = ProcessorCA
	default:
		return Platform{}, fail(ClassChain, "PCK certificate is issued by %q, want %q or %q", cert.Issuer.CommonName, namePlatformCA, nameProcessorCA)
	}
	if c.extension, err = sgxExtension(cert); err != nil {
		return Platform{}, fail(ClassChain, "PCK certificate: %w", err)
	}
	return c.platform(tee), nil
}
