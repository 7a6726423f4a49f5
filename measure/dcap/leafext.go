package dcap

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The content of the OIDs of extensions of PCK certificates (RFC 5280 section 4.2.1).
const (
	oidStandard           = "\x55\x1d" // 2.5.29, continued by one arc
	oidSubjectKey         = oidStandard + "\x0e"
	oidKeyUsage           = oidStandard + "\x0f"
	oidBasicConstraints   = oidStandard + "\x13"
	oidDistributionPoints = oidStandard + "\x1f"
	oidAuthorityKey       = oidStandard + "\x23"
	oidAuthorityInfo      = "\x2b\x06\x01\x05\x05\x07\x01\x01" // id-pe-authorityInfoAccess, which x509 reads
)

// extensions reads the list: each at most once, and all that matter present.
func (l *leaf) extensions(list *fieldsDER) error {
	var buf [maxExtensions]der
	seen := buf[:0]
	has := func(id string) bool {
		for _, other := range seen {
			if string(other) == id {
				return true
			}
		}
		return false
	}
	for len(list.rest) > 0 {
		e := list.inside("extension", tagSequence)
		id := e.value("extension", tagOID)
		critical := e.take(derTrue)
		value := e.value("extension", tagOctetString)
		e.end()
		switch err := cmp.Or(list.err, e.err); {
		case err != nil:
			return err
		case len(seen) == maxExtensions:
			return fmt.Errorf("more than %d extensions", maxExtensions)
		case has(string(id)):
			return fmt.Errorf("extension %x appears twice", []byte(id))
		}
		seen = append(seen, id)
		if err := l.take(id, critical, value); err != nil {
			return err
		}
	}
	switch {
	case !has(oidBasicConstraints):
		return errors.New("CA flag: basic constraints are missing")
	case !has(oidKeyUsage):
		return errors.New("key usage is missing")
	case l.extension == nil:
		return errors.New("reading SGX extension: it is missing")
	}
	return nil
}

// take reads one extension. What is unknown is passed over if it says that it may be.
func (l *leaf) take(id der, critical bool, value der) (err error) {
	switch {
	case string(id) == oidBasicConstraints && string(value) == derNoCA:
		return nil
	case string(id) == oidBasicConstraints:
		return errors.New("CA flag is set, or basic constraints say more than that it is not")
	case string(id) == oidKeyUsage:
		return checkUsage(value)
	case critical:
		return fmt.Errorf("unknown critical extension %x", []byte(id))
	case string(id) == oidSGX:
		l.extension, err = parsePCKExtension(value)
		return err
	case string(id) == oidSubjectKey || string(id) == oidAuthorityKey:
		return checkKeyID(id, value)
	case string(id) == oidDistributionPoints:
		return checkPoints(value)
	case bytes.HasPrefix(id, []byte(oidStandard)) || string(id) == oidAuthorityInfo:
		return fmt.Errorf("extension %x does not belong into a PCK certificate", []byte(id))
	case !isPlainOID(id):
		return fmt.Errorf("extension %x: not an OID", []byte(id))
	}
	return nil
}

// checkUsage checks that key usage, one byte of bits, has the digital signature.
func checkUsage(value der) error {
	in := fieldsOfDER("key usage", value)
	bits := in.value("key usage", tagBitString)
	in.end()
	switch {
	case in.err != nil:
		return in.err
	case len(bits) != 2 || bits[0] > 7 || bits[1]&(1<<bits[0]-1) != 0:
		return fmt.Errorf("key usage is %x, want one byte of bits", value)
	case bits[1]&bitDigitalSignature == 0:
		return errors.New("key usage does not allow what the key is used for")
	}
	return nil
}

// checkKeyID checks the form of the two extensions that identify keys. Nothing here goes by them: names and signatures
// decide.
func checkKeyID(id, value der) error {
	in := fieldsOfDER("key identifier", value)
	if string(id) == oidAuthorityKey {
		outer := in
		in = outer.inside("key identifier", tagSequence)
		outer.end()
		in.value("key identifier", tagImplicit0)
		in.end()
		return cmp.Or(outer.err, in.err)
	}
	in.value("key identifier", tagOctetString)
	in.end()
	return in.err
}

// checkPoints checks the form of the list of addresses of revocation lists: each a full name that is one URI. Nothing
// here goes there.
func checkPoints(value der) error {
	const name = "distribution points"
	in := fieldsOfDER(name, value)
	list := in.inside(name, tagSequence)
	in.end()
	err := cmp.Or(in.err, list.err)
	for err == nil && len(list.rest) > 0 {
		point := list.inside(name, tagSequence)
		whole := point.inside(name, tagExplicit0)
		point.end()
		full := whole.inside(name, tagExplicit0)
		whole.end()
		full.value(name, tagImplicit6)
		full.end()
		err = cmp.Or(list.err, point.err, whole.err, full.err)
	}
	return err
}

// commonName is the common name within a name in DER: one attribute in each set, all in letters that every string type
// writes alike, and one of them the common name.
func commonName(raw []byte) (der, error) {
	outer := fieldsOfDER("name", raw)
	list := outer.inside("name", tagSequence)
	outer.end()
	found, err := der(nil), outer.err
	for err == nil && len(list.rest) > 0 {
		var name der
		if name, err = nameAttribute(list); name != nil {
			if found != nil {
				err = errors.New("two common names")
			}
			found = name
		}
	}
	if err == nil && found == nil {
		err = errors.New("no common name")
	}
	return found, err
}

// nameAttribute reads the next attribute of a name; the value is nil if it is not the common name.
func nameAttribute(list *fieldsDER) (der, error) {
	set := list.inside("name", tagSet)
	attribute := set.inside("attribute", tagSequence)
	set.end()
	id := attribute.value("attribute", tagOID)
	tag, text, err := attribute.rest.element()
	attribute.end()
	switch err := cmp.Or(list.err, set.err, attribute.err, err); {
	case err != nil:
		return nil, err
	case len(id) != 3 || id[0] != 0x55 || id[1] != 0x04 || id[2] >= 0x80: // 2.5.4, X.520
		return nil, fmt.Errorf("attribute %x", []byte(id))
	case tag != tagUTF8String && tag != tagPrintableString || len(text) == 0 || slices.ContainsFunc(text, isUnusual):
		return nil, fmt.Errorf("attribute %x: tag %#02x, or unusual letters in %.40q", []byte(id), tag, text)
	case id[2] != arcCommonName:
		return nil, nil
	}
	return text, nil
}

const arcCommonName = 3

// isUnusual tells bytes that are not in PrintableString.
func isUnusual(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return false
	}
	return strings.IndexByte(" '()+,-./:=?", c) < 0
}

// isPlainOID checks the form of an OID whose arcs have at most four bytes each.
func isPlainOID(oid der) bool {
	if len(oid) == 0 || len(oid) > maxOID || oid[len(oid)-1]&0x80 != 0 {
		return false
	}
	length := 0
	for _, b := range oid {
		if length == 0 && b == 0x80 || length == 4 {
			return false
		}
		length++
		if b&0x80 == 0 {
			length = 0
		}
	}
	return true
}
