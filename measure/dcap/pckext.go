package dcap

import (
	"bytes"
	"fmt"
)

// oidSGX is the content of the OID 1.2.840.113741.1.13.1, Intel's SGX extension of PCK certificates (attestation.md
// section 10.2); its members' OIDs continue it by one or two arcs.
const oidSGX = "\x2a\x86\x48\x86\xf8\x4d\x01\x0d\x01"

// Last arcs of the members' OIDs.
const (
	arcPPID  = 1
	arcTCB   = 2
	arcPCEID = 3
	arcFMSPC = 4
	arcType  = 5
	arcPIID  = 6

	arcComponents = 16 // arcs 1 to 16 below arcTCB
	arcPCESVN     = 17
	arcCPUSVN     = 18
)

// pckExtension is what Intel says about a platform in its PCK certificate.
type pckExtension struct {
	ppid       [16]byte
	components [16]byte
	pceSVN     uint16
	cpuSVN     [16]byte
	pceID      [2]byte
	fmspc      FMSPC
	piid       [16]byte
	hasPIID    bool
}

// parsePCKExtension reads the extension's value: members by OID, in any order, each at most once. Members that Intel may
// add are ignored.
func parsePCKExtension(data []byte) (*pckExtension, error) {
	e := new(pckExtension)
	in := der(data)
	list, err := in.next(tagSequence)
	if err == nil && len(in) != 0 {
		err = fmt.Errorf("%d bytes after it", len(in))
	}
	var seen uint32
	if err == nil {
		seen, err = eachMember(list, len(oidSGX)+1, e.member)
	}
	if err != nil {
		return nil, fmt.Errorf("reading SGX extension: %w", err)
	}
	for arc := arcPPID; arc <= arcType; arc++ {
		if seen&(1<<arc) == 0 {
			return nil, fmt.Errorf("reading SGX extension: member %d is missing", arc)
		}
	}
	e.hasPIID = seen&(1<<arcPIID) != 0
	return e, nil
}

// eachMember calls read for each {OID, value} of a list whose OID has the given length and Intel's prefix, with its
// last arc. It returns the set of last arcs below 32, and refuses repetitions among them.
func eachMember(list der, oidLength int, read func(arc, tag byte, value der) error) (seen uint32, err error) {
	for len(list) > 0 {
		member, err := list.next(tagSequence)
		if err != nil {
			return 0, err
		}
		oid, err := member.next(tagOID)
		if err != nil {
			return 0, err
		}
		tag, value, err := member.element()
		if err != nil {
			return 0, err
		}
		if len(member) != 0 {
			return 0, fmt.Errorf("%d bytes after a member's value", len(member))
		}
		arc, known := lastArc(oid, oidLength)
		if !known {
			continue
		}
		if seen&(1<<arc) != 0 {
			return 0, fmt.Errorf("member %d appears twice", arc)
		}
		seen |= 1 << arc
		if err := read(arc, tag, value); err != nil {
			return 0, fmt.Errorf("member %d: %w", arc, err)
		}
	}
	return seen, nil
}

func lastArc(oid der, length int) (arc byte, ok bool) {
	if len(oid) != length || !bytes.HasPrefix(oid, []byte(oidSGX)) {
		return 0, false
	}
	if length > len(oidSGX)+1 && oid[len(oidSGX)] != arcTCB {
		return 0, false
	}
	arc = oid[length-1]
	return arc, arc < 32
}

func (e *pckExtension) member(arc, tag byte, value der) error {
	switch arc {
	case arcPPID:
		return octets(e.ppid[:], tag, value)
	case arcTCB:
		return e.tcb(tag, value)
	case arcPCEID:
		return octets(e.pceID[:], tag, value)
	case arcFMSPC:
		return octets(e.fmspc[:], tag, value)
	case arcType:
		if tag != tagEnumerated {
			return fmt.Errorf("tag %#02x, want an enumeration", tag)
		}
		_, err := value.number(255)
		return err
	case arcPIID:
		return octets(e.piid[:], tag, value)
	}
	return nil
}

// tcb reads the nested list of SVNs, all of which must be there.
func (e *pckExtension) tcb(tag byte, value der) error {
	if tag != tagSequence {
		return fmt.Errorf("tag %#02x, want a sequence", tag)
	}
	seen, err := eachMember(value, len(oidSGX)+2, func(arc, tag byte, value der) error {
		if arc == arcCPUSVN {
			return octets(e.cpuSVN[:], tag, value)
		}
		if arc > arcCPUSVN || arc == 0 {
			return nil
		}
		if tag != tagInteger {
			return fmt.Errorf("tag %#02x, want an integer", tag)
		}
		limit := uint32(255)
		if arc == arcPCESVN {
			limit = 1<<16 - 1
		}
		v, err := value.number(limit)
		if arc == arcPCESVN {
			e.pceSVN = uint16(v) //nolint:gosec // number bounds it
		} else {
			e.components[arc-1] = byte(v) //nolint:gosec // number bounds it
		}
		return err
	})
	if err != nil {
		return err
	}
	const all = 1<<(arcCPUSVN+1) - 2
	if seen&all != all {
		return fmt.Errorf("of components 1 to %d, PCESVN and CPUSVN some are missing", arcComponents)
	}
	return nil
}

func octets(dst []byte, tag byte, value der) error {
	if tag != tagOctetString || len(value) != len(dst) {
		return fmt.Errorf("tag %#02x and %d bytes, want an octet string of %d", tag, len(value), len(dst))
	}
	copy(dst, value)
	return nil
}
