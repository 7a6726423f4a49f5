package measuretest

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
)

// sgxOID is the PCK certificate's SGX extension, 1.2.840.113741.1.13.1, and what is below it (Intel SGX PCK
// Certificate and CRL Profile Specification).
func sgxOID(below ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, below...)
}

// Members of the SGX extension.
const (
	oidPPID       = 1
	oidTCB        = 2
	oidPCEID      = 3
	oidFMSPC      = 4
	oidType       = 5
	oidInstance   = 6
	oidTCBPCESVN  = 17 // below oidTCB, after the 16 components
	oidTCBCPUSVN  = 18
	typeScalable  = 1 // SGX type "scalable", what server platforms are
	identitySize  = 16
	componentsLen = 16
)

// member is one entry of the extension: an identifier and a value.
type member struct {
	id    asn1.ObjectIdentifier
	value any
}

// sequence encodes members one after another, inside a SEQUENCE.
func sequence(members []member) (asn1.RawValue, error) {
	out := asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true}
	for _, m := range members {
		id, err := asn1.Marshal(m.id)
		if err != nil {
			return out, fmt.Errorf("encoding %v: %w", m.id, err)
		}
		value, err := asn1.Marshal(m.value)
		if err != nil {
			return out, fmt.Errorf("encoding %v: %w", m.id, err)
		}
		pair, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: append(id, value...)})
		if err != nil {
			return out, fmt.Errorf("encoding %v: %w", m.id, err)
		}
		out.Bytes = append(out.Bytes, pair...)
	}
	return out, nil
}

// sgxExtension says which platform a PCK certificate is for and how recent its microcode is.
func sgxExtension(s secrets, o *Options) (pkix.Extension, error) {
	ppid, err := s.bytes(o.machineLabel("ppid"), identitySize)
	if err != nil {
		return pkix.Extension{}, err
	}
	instance, err := s.bytes(o.machineLabel("platform instance"), identitySize)
	if err != nil {
		return pkix.Extension{}, err
	}
	levels := make([]member, 0, componentsLen+2)
	for i, svn := range o.Components {
		levels = append(levels, member{sgxOID(oidTCB, i+1), int(svn)})
	}
	levels = append(levels, member{sgxOID(oidTCB, oidTCBPCESVN), int(o.PCESVN)}, member{sgxOID(oidTCB, oidTCBCPUSVN), o.Components[:]})
	tcb, err := sequence(levels)
	if err != nil {
		return pkix.Extension{}, err
	}
	members := []member{
		{sgxOID(oidPPID), ppid},
		{sgxOID(oidTCB), tcb},
		{sgxOID(oidPCEID), o.PCEID[:]},
		{sgxOID(oidFMSPC), o.FMSPC[:]},
		{sgxOID(oidType), asn1.Enumerated(typeScalable)},
	}
	if !o.ProcessorCA { // platforms of one processor have no instance
		members = append(members, member{sgxOID(oidInstance), instance})
	}
	all, err := sequence(members)
	if err != nil {
		return pkix.Extension{}, err
	}
	value, err := asn1.Marshal(all)
	if err != nil {
		return pkix.Extension{}, fmt.Errorf("encoding SGX extension: %w", err)
	}
	return pkix.Extension{Id: sgxOID(), Value: value}, nil
}
