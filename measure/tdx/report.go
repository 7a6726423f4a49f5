package tdx

import (
	"crypto/sha512"
	"errors"
	"fmt"
)

// TDREPORT layout (TDX module specification, TDREPORT_STRUCT; attestation.md section 9).
const (
	// ReportSize is the size of a TDREPORT.
	ReportSize = 1024

	reportType       = 0x81
	offTCBInfoHash   = 32
	offInfoHash      = 80
	offReportData    = 128
	offTCBInfo       = 256
	tcbInfoSize      = 239
	tcbInfoReserved  = 17
	offTCBSVN        = offTCBInfo + 8
	offMRSEAM        = offTCBInfo + 24
	offMRSignerSEAM  = offTCBInfo + 72
	offSEAMAttribute = offTCBInfo + 120
	offTCBSVN2       = offTCBInfo + 128 // TDX 1.5; zero before
	offTDInfo        = 512
	offTDXFAM        = offTDInfo + 8
	offTDRegisters   = offTDInfo + 16
	offServiceHash   = offTDInfo + 400
	offTDReserved    = offTDInfo + 448
	offCPUSVN        = 16
	offMACReserved   = 192
)

// Report is a TDREPORT: the fields a quote body has, and what only the report says. Its MAC can be checked on the
// machine that made it, nowhere else.
type Report struct {
	// CPUSVN is the security version of the processor.
	CPUSVN [16]byte
	// Body holds the fields a quote of this report has; Service is nil, its fields lie elsewhere in a report.
	Body Body
	// TEETCBSVN2 is the TDX module that runs now, TEETCBSVN in the body the one the TD was started under. Modules before
	// 1.5 leave it zero.
	TEETCBSVN2 [16]byte
	// ServiceTDHash covers the service TDs bound to the TD; zero when none is.
	ServiceTDHash Digest
}

// ParseReport reads a TDREPORT and checks everything in it that can be checked off the machine: type bytes, reserved
// bytes and both embedded hashes.
func ParseReport(data []byte) (*Report, error) {
	if len(data) != ReportSize {
		return nil, fmt.Errorf("reading TDREPORT: %d bytes, want %d", len(data), ReportSize)
	}
	if err := checkReport(data); err != nil {
		return nil, fmt.Errorf("reading TDREPORT: %w", err)
	}
	r := &Report{CPUSVN: [16]byte(data[offCPUSVN:]), TEETCBSVN2: [16]byte(data[offTCBSVN2:]), ServiceTDHash: Digest(data[offServiceHash:])}
	b := &r.Body
	b.TEETCBSVN = [16]byte(data[offTCBSVN:])
	b.MRSEAM = Digest(data[offMRSEAM:])
	b.MRSignerSEAM = Digest(data[offMRSignerSEAM:])
	b.SEAMAttributes = [8]byte(data[offSEAMAttribute:])
	b.TDAttributes = [8]byte(data[offTDInfo:])
	b.XFAM = [8]byte(data[offTDXFAM:])
	b.ReportData = [ReportDataSize]byte(data[offReportData:])
	rest := data[offTDRegisters:offServiceHash]
	for _, field := range b.Measurements.fields() {
		rest = rest[copy(field, rest):]
	}
	return r, nil
}

func checkReport(data []byte) error {
	// type, subtype, version (1 when a service TD is bound), reserved.
	if data[0] != reportType || data[1] != 0 || data[2] > 1 || data[3] != 0 {
		return fmt.Errorf("type bytes are % x, want %02x 00 00|01 00", data[:4], reportType)
	}
	for _, reserved := range [][2]int{
		{4, offCPUSVN},
		{offMACReserved, offMACReserved + 32},
		{offTCBInfo + tcbInfoSize, offTCBInfo + tcbInfoSize + tcbInfoReserved},
		{offTDReserved, ReportSize},
	} {
		for i := reserved[0]; i < reserved[1]; i++ {
			if data[i] != 0 {
				return fmt.Errorf("reserved byte %d is 0x%02x, want 0", i, data[i])
			}
		}
	}
	if sha512.Sum384(data[offTCBInfo:offTCBInfo+tcbInfoSize]) != [DigestSize]byte(data[offTCBInfoHash:]) {
		return errors.New("TEE_TCB_INFO_HASH does not match: the TCB information was altered")
	}
	if sha512.Sum384(data[offTDInfo:]) != [DigestSize]byte(data[offInfoHash:]) {
		return errors.New("TEE_INFO_HASH does not match: TDINFO was altered")
	}
	return nil
}
