package measuretest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"

	"cocoon/measure/tdx"
)

// TDREPORT layout (TDX module specification, TDREPORT_STRUCT; attestation.md section 9).
const (
	reportType      = 0x81
	offCPUSVN       = 16
	offTCBInfoHash  = 32
	offInfoHash     = 80
	offReportData   = 128
	offMAC          = 224
	offTCBInfo      = 256
	tcbInfoSize     = 239
	offTDInfo       = 512
	offTCBSVN       = offTCBInfo + 8
	offMRSEAM       = offTCBInfo + 24
	offTCBSVN2      = offTCBInfo + 128
	offTDXFAM       = offTDInfo + 8
	offTDRegisters  = offTDInfo + 16
	offServiceHash  = offTDInfo + 400
	reportVersion15 = 1 // a service TD is bound

	// validTDX15 says which fields of TEE_TCB_INFO a TDX 1.5 module fills.
	validTDX15    = 0x301ff
	reportKeySize = 32
)

// ErrReportMAC means that a report was not made on this platform, or was altered.
var ErrReportMAC = errors.New("TDREPORT has another platform's MAC, or was altered")

// Report is a TDREPORT over the report data: its structure and hashes are the real ones, its MAC is an HMAC under the
// platform's key.
func (t *TD) Report(reportData [tdx.ReportDataSize]byte) []byte {
	p, m := t.platform, t.Measurements()
	r := make([]byte, tdx.ReportSize)
	r[0] = reportType
	if !t.opts.ServiceTD.IsZero() {
		r[2] = reportVersion15
	}
	copy(r[offCPUSVN:], p.opts.Components[:])
	copy(r[offReportData:], reportData[:])
	le := binary.LittleEndian
	le.PutUint64(r[offTCBInfo:], validTDX15)
	copy(r[offTCBSVN:], p.opts.TEETCBSVN[:])
	copy(r[offMRSEAM:], p.seam[:])
	copy(r[offTCBSVN2:], p.opts.TEETCBSVN[:])
	le.PutUint64(r[offTDInfo:], t.opts.Attributes)
	le.PutUint64(r[offTDXFAM:], t.opts.XFAM)
	registers := r[offTDRegisters:]
	for _, d := range []tdx.Digest{m.MRTD, m.MRConfigID, m.MROwner, m.MROwnerConfig, m.RTMR[0], m.RTMR[1], m.RTMR[2], m.RTMR[3]} {
		registers = registers[copy(registers, d[:]):]
	}
	copy(r[offServiceHash:], t.opts.ServiceTD[:])
	p.sealReport(r)
	return r
}

// sealReport fills in the hashes and the MAC.
func (p *Platform) sealReport(r []byte) {
	tcb, info := sha512.Sum384(r[offTCBInfo:offTCBInfo+tcbInfoSize]), sha512.Sum384(r[offTDInfo:])
	copy(r[offTCBInfoHash:], tcb[:])
	copy(r[offInfoHash:], info[:])
	copy(r[offMAC:], p.reportMAC(r))
}

func (p *Platform) reportMAC(r []byte) []byte {
	mac := hmac.New(sha256.New, p.reportKey)
	mac.Write(r[:offMAC])
	return mac.Sum(nil)
}

// CheckReport is what an enclave on this platform can find out about a TDREPORT: that it was made here, and unaltered.
func (p *Platform) CheckReport(r []byte) error {
	if _, err := tdx.ParseReport(r); err != nil {
		return err
	}
	if !hmac.Equal(p.reportMAC(r), r[offMAC:offTCBInfo]) {
		return ErrReportMAC
	}
	return nil
}

// bodyOf is the quote body of a report. TD 1.5 fields are filled in if asked for.
func bodyOf(report []byte, td15 bool) (*tdx.Body, error) {
	r, err := tdx.ParseReport(report)
	if err != nil {
		return nil, err
	}
	if td15 {
		r.Body.Service = &tdx.ServiceTD{TEETCBSVN2: [16]byte(report[offTCBSVN2:]), MRServiceTD: r.ServiceTDHash}
	}
	return &r.Body, nil
}
