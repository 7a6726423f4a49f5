package tdx

import "fmt"

// Sizes of quote bodies (Intel TDX DCAP quoting library API, "TD quote body").
const (
	// SGXBodySize is an SGX report body, body type 1 of a v5 quote.
	SGXBodySize = 384
	// Body10Size is a TD 1.0 body: every v4 TD quote, and type 2 of v5.
	Body10Size = 584
	// Body15Size is a TD 1.5 body, type 3 of v5: TD 1.0 and two more fields.
	Body15Size = 648
)

// ReportDataSize is the size of the field that binds a report to its user's data.
const ReportDataSize = 64

// Body is what a quote says about a TD. Registers have their size in bytes as type; SVNs, attributes and XFAM are raw,
// little-endian where they are numbers.
type Body struct {
	TEETCBSVN      [16]byte
	MRSEAM         Digest
	MRSignerSEAM   Digest
	SEAMAttributes [8]byte
	TDAttributes   [8]byte
	XFAM           [8]byte
	Measurements
	ReportData [ReportDataSize]byte
	// Service holds the fields that TD 1.5 added; nil in a TD 1.0 body.
	Service *ServiceTD
}

// Measurements are the fields of a TD that the image hash covers, in the order it takes them.
type Measurements struct {
	MRTD          Digest
	MRConfigID    Digest
	MROwner       Digest
	MROwnerConfig Digest
	// RTMR holds RTMR0..RTMR3.
	RTMR [4]Digest
}

// ServiceTD holds the TD 1.5 fields.
type ServiceTD struct {
	TEETCBSVN2  [16]byte
	MRServiceTD Digest
}

// Register returns the value of a register.
func (m *Measurements) Register(r Register) (Digest, error) {
	switch {
	case r == MRTD:
		return m.MRTD, nil
	case r >= RTMR0 && r <= RTMR3:
		return m.RTMR[r-RTMR0], nil
	}
	return Digest{}, fmt.Errorf("reading register: %s does not exist", r)
}

// ParseBody reads a TD body; its size says whether it is of TD 1.0 or 1.5.
func ParseBody(data []byte) (*Body, error) {
	if len(data) != Body10Size && len(data) != Body15Size {
		return nil, fmt.Errorf("reading TD quote body: %d bytes, want %d or %d", len(data), Body10Size, Body15Size)
	}
	b := new(Body)
	rest := data
	for _, field := range b.fields() {
		rest = rest[copy(field, rest):]
	}
	if len(data) == Body15Size {
		b.Service = new(ServiceTD)
		rest = rest[copy(b.Service.TEETCBSVN2[:], rest):]
		copy(b.Service.MRServiceTD[:], rest)
	}
	return b, nil
}

// Encode writes the body as it stands in a quote.
func (b *Body) Encode() []byte {
	out := make([]byte, 0, Body15Size)
	for _, field := range b.fields() {
		out = append(out, field...)
	}
	if b.Service != nil {
		out = append(out, b.Service.TEETCBSVN2[:]...)
		out = append(out, b.Service.MRServiceTD[:]...)
	}
	return out
}

// fields lists the TD 1.0 fields in wire order; their sizes add up to Body10Size.
func (b *Body) fields() [15][]byte {
	m := b.Measurements.fields()
	return [...][]byte{
		b.TEETCBSVN[:], b.MRSEAM[:], b.MRSignerSEAM[:], b.SEAMAttributes[:], b.TDAttributes[:], b.XFAM[:],
		m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], b.ReportData[:],
	}
}

// fields lists the measurements in the order of quotes, of TDINFO and of the image hash.
func (m *Measurements) fields() [8][]byte {
	return [...][]byte{
		m.MRTD[:], m.MRConfigID[:], m.MROwner[:], m.MROwnerConfig[:],
		m.RTMR[0][:], m.RTMR[1][:], m.RTMR[2][:], m.RTMR[3][:],
	}
}
