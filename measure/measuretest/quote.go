package measuretest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"cocoon/measure/tdx"
)

// Quote layout (attestation.md section 9).
const (
	headerSize   = 48
	keyECDSAP256 = 2
	teeTDX       = 0x81
	offVendor    = 12
	offUserData  = 28
	authSize     = 32
	typeQEReport = 6 // outer certification data of v4 and v5
	typePEMChain = 5

	bodySGX  = 1
	bodyTD10 = 2
	bodyTD15 = 3

	versionSGX = 3
	version4   = 4
	version5   = 5
)

// vendor is Intel's QE vendor id.
func vendor() [16]byte {
	return [16]byte{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}
}

// Spec says what quote to make and how it departs from an honest one. The zero Spec is an honest quote of version 4
// over zero report data.
type Spec struct {
	// Version is 3 (an enclave's quote), 4 or 5; 0 means 4.
	Version int
	// BodyType is 1 (enclave), 2 (TD 1.0) or 3 (TD 1.5); 0 means what the version usually has: enclave, TD 1.0, TD 1.5.
	BodyType   uint16
	ReportData [tdx.ReportDataSize]byte
	// Report changes the TDREPORT before the quoting enclave sees it; hashes and MAC are made right again.
	Report func(report []byte)
	// TD changes a TD's body before it is signed.
	TD func(*tdx.Body)
	// Before changes the parts before they are signed, After afterwards.
	Before, After func(*Parts)
	// Raw changes the finished quote.
	Raw func(quote []byte) []byte
}

// Parts are the parts of a quote, each as it stands in the quote.
type Parts struct {
	Header [headerSize]byte
	// Descriptor is body type and size of a v5 quote, empty in others.
	Descriptor []byte
	Body       []byte
	// QuoteSignature is the attestation key's over header, descriptor and body.
	QuoteSignature, AttestationKey []byte
	// OuterType and InnerType are the certification data types; v3 has no outer.
	OuterType, InnerType        uint16
	QEReport, QEReportSignature []byte
	AuthData                    []byte
	// Chain is the PEM area.
	Chain []byte
}

func (s *Spec) setDefaults() error {
	if s.Version == 0 {
		s.Version = version4
	}
	if s.BodyType == 0 {
		s.BodyType = map[int]uint16{versionSGX: bodySGX, version4: bodyTD10, version5: bodyTD15}[s.Version]
	}
	ok := s.Version == versionSGX && s.BodyType == bodySGX ||
		s.Version == version4 && (s.BodyType == bodySGX || s.BodyType == bodyTD10) ||
		s.Version == version5 && s.BodyType >= bodySGX && s.BodyType <= bodyTD15
	if !ok {
		return fmt.Errorf("quotes of version %d have no body of type %d", s.Version, s.BodyType)
	}
	return nil
}

func (s *Spec) kind() enclaveKind {
	if s.BodyType == bodySGX {
		return quotingSGX
	}
	return quotingTDX
}

// QuoteWith makes a quote that departs from an honest one as the spec says. An enclave's quote is of a made-up
// application enclave.
func (t *TD) QuoteWith(ctx context.Context, s Spec) ([]byte, error) {
	if err := s.setDefaults(); err != nil {
		return nil, fmt.Errorf("making simulated quote: %w", err)
	}
	if t.platform.opts.Quoting != nil {
		if err := t.platform.opts.Quoting(ctx); err != nil {
			return nil, fmt.Errorf("making simulated quote: %w", err)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("making simulated quote: %w", err)
	}
	q, err := t.makeQuote(&s)
	if err != nil {
		return nil, fmt.Errorf("making simulated quote: %w", err)
	}
	return q, nil
}

func (t *TD) makeQuote(s *Spec) ([]byte, error) {
	body, err := t.quoteBody(s)
	if err != nil {
		return nil, err
	}
	return t.platform.assemble(s, body)
}

func (t *TD) quoteBody(s *Spec) ([]byte, error) {
	if s.kind() == quotingSGX {
		return applicationEnclave(t.platform, s.ReportData), nil
	}
	report := t.Report(s.ReportData)
	if s.Report != nil {
		s.Report(report)
		t.platform.sealReport(report)
	}
	if err := t.platform.CheckReport(report); err != nil {
		return nil, err
	}
	body, err := bodyOf(report, s.BodyType == bodyTD15)
	if err != nil {
		return nil, err
	}
	if s.TD != nil {
		s.TD(body)
	}
	return body.Encode(), nil
}

func (p *Platform) assemble(s *Spec, body []byte) ([]byte, error) {
	parts, err := p.unsigned(s, body)
	if err != nil {
		return nil, err
	}
	if s.Before != nil {
		s.Before(parts)
	}
	if parts.QEReportSignature, err = p.pki.pck.key.raw(parts.QEReport); err != nil {
		return nil, err
	}
	if parts.QuoteSignature, err = p.attestation.raw(parts.signed()); err != nil {
		return nil, err
	}
	if s.After != nil {
		s.After(parts)
	}
	quote := parts.encode()
	if s.Raw != nil {
		quote = s.Raw(quote)
	}
	return quote, nil
}

// unsigned are the parts with the attestation key bound to the quoting enclave.
func (p *Platform) unsigned(s *Spec, body []byte) (*Parts, error) {
	le := binary.LittleEndian
	parts := &Parts{Body: body, OuterType: typeQEReport, InnerType: typePEMChain, Chain: chain(p.pki.pck, p.pki.ca, p.pki.root)}
	qe := p.qe[s.kind()]
	le.PutUint16(parts.Header[0:], uint16(s.Version)) //nolint:gosec // 3, 4 or 5
	le.PutUint16(parts.Header[2:], keyECDSAP256)
	v := vendor()
	copy(parts.Header[offVendor:], v[:])
	switch {
	case s.Version == versionSGX:
		le.PutUint16(parts.Header[8:], qe.ISVSVN)
		le.PutUint16(parts.Header[10:], p.opts.PCESVN)
	case s.kind() == quotingTDX:
		le.PutUint32(parts.Header[4:], teeTDX)
	}
	if s.Version == version5 {
		parts.Descriptor = le.AppendUint32(le.AppendUint16(nil, s.BodyType), uint32(len(body))) //nolint:gosec // at most 648
	}
	ppid, err := p.secrets.bytes(p.opts.machineLabel("quote user data"), headerSize-offUserData)
	if err != nil {
		return nil, err
	}
	copy(parts.Header[offUserData:], ppid)
	if parts.AttestationKey, err = p.attestation.point(); err != nil {
		return nil, err
	}
	parts.AuthData = make([]byte, authSize)
	for i := range parts.AuthData {
		parts.AuthData[i] = byte(i)
	}
	parts.QEReport = qe.report(p.opts.Components, parts.binding())
	return parts, nil
}

// binding ties the attestation key to the quoting enclave: SHA-256(key ‖ auth data), and 32 zero bytes.
func (p *Parts) binding() (data [tdx.ReportDataSize]byte) {
	sum := sha256.Sum256(append(append([]byte(nil), p.AttestationKey...), p.AuthData...))
	copy(data[:], sum[:])
	return data
}

// Rebind makes the QE report's data right for the parts' attestation key and auth data.
func (p *Parts) Rebind() {
	data := p.binding()
	copy(p.QEReport[offSGXReportData:], data[:])
}

func (p *Parts) signed() []byte {
	out := append([]byte(nil), p.Header[:]...)
	out = append(out, p.Descriptor...)
	return append(out, p.Body...)
}

// encode nests the parts as attestation.md section 9 says.
func (p *Parts) encode() []byte {
	le := binary.LittleEndian
	certification := append([]byte(nil), p.QEReport...)
	certification = append(certification, p.QEReportSignature...)
	certification = le.AppendUint16(certification, uint16(len(p.AuthData))) //nolint:gosec // a test's data
	certification = append(certification, p.AuthData...)
	certification = le.AppendUint16(certification, p.InnerType)
	certification = le.AppendUint32(certification, uint32(len(p.Chain))) //nolint:gosec // a few KiB
	certification = append(certification, p.Chain...)

	signature := append(append([]byte(nil), p.QuoteSignature...), p.AttestationKey...)
	if le.Uint16(p.Header[:]) != versionSGX {
		signature = le.AppendUint16(signature, p.OuterType)
		signature = le.AppendUint32(signature, uint32(len(certification))) //nolint:gosec // a few KiB
	}
	signature = append(signature, certification...)

	out := p.signed()
	out = le.AppendUint32(out, uint32(len(signature))) //nolint:gosec // a few KiB
	return append(out, signature...)
}
