package tdx

import (
	"encoding/binary"
	"fmt"
)

// SGX report body layout (attestation.md section 9; Intel SDM volume 3D, REPORT).
const (
	offMiscSelect   = 16
	offISVExtProdID = 32
	offAttributes   = 48
	offMREnclave    = 64
	offMRSigner     = 128
	offConfigID     = 192
	offISVProdID    = 256
	offISVSVN       = 258
	offConfigSVN    = 260
	offISVFamilyID  = 304
	offSGXReport    = 320
)

// SGXBody is what a quote says about an enclave; the quoting enclave's own report has the same form. MiscSelect and
// Attributes are raw, as masks apply to them.
type SGXBody struct {
	CPUSVN       [16]byte
	MiscSelect   [4]byte
	ISVExtProdID [16]byte
	// Attributes are the 8 bytes of flags and the 8 bytes of XFRM.
	Attributes  [16]byte
	MREnclave   [32]byte
	MRSigner    [32]byte
	ConfigID    [64]byte
	ISVProdID   uint16
	ISVSVN      uint16
	ConfigSVN   uint16
	ISVFamilyID [16]byte
	ReportData  [ReportDataSize]byte
}

// sgxDebug is the DEBUG bit of the first attribute byte (Intel SDM volume 3D, ATTRIBUTES).
const sgxDebug = 1 << 1

// Debug reports an enclave whose memory its host can read.
func (b *SGXBody) Debug() bool { return b.Attributes[0]&sgxDebug != 0 }

// ParseSGXBody reads an SGX report body. Its reserved bytes are not looked at: the signature covers them and their
// meaning may grow.
func ParseSGXBody(data []byte) (*SGXBody, error) {
	if len(data) != SGXBodySize {
		return nil, fmt.Errorf("reading SGX report body: %d bytes, want %d", len(data), SGXBodySize)
	}
	le := binary.LittleEndian
	return &SGXBody{
		CPUSVN:       [16]byte(data),
		MiscSelect:   [4]byte(data[offMiscSelect:]),
		ISVExtProdID: [16]byte(data[offISVExtProdID:]),
		Attributes:   [16]byte(data[offAttributes:]),
		MREnclave:    [32]byte(data[offMREnclave:]),
		MRSigner:     [32]byte(data[offMRSigner:]),
		ConfigID:     [64]byte(data[offConfigID:]),
		ISVProdID:    le.Uint16(data[offISVProdID:]),
		ISVSVN:       le.Uint16(data[offISVSVN:]),
		ConfigSVN:    le.Uint16(data[offConfigSVN:]),
		ISVFamilyID:  [16]byte(data[offISVFamilyID:]),
		ReportData:   [ReportDataSize]byte(data[offSGXReport:]),
	}, nil
}

// Encode writes the body as it stands in a quote, with zero reserved bytes.
func (b *SGXBody) Encode() []byte {
	out := make([]byte, SGXBodySize)
	copy(out, b.CPUSVN[:])
	for _, f := range []struct {
		off   int
		value []byte
	}{
		{offMiscSelect, b.MiscSelect[:]},
		{offISVExtProdID, b.ISVExtProdID[:]},
		{offAttributes, b.Attributes[:]},
		{offMREnclave, b.MREnclave[:]},
		{offMRSigner, b.MRSigner[:]},
		{offConfigID, b.ConfigID[:]},
		{offISVFamilyID, b.ISVFamilyID[:]},
		{offSGXReport, b.ReportData[:]},
	} {
		copy(out[f.off:], f.value)
	}
	le := binary.LittleEndian
	le.PutUint16(out[offISVProdID:], b.ISVProdID)
	le.PutUint16(out[offISVSVN:], b.ISVSVN)
	le.PutUint16(out[offConfigSVN:], b.ConfigSVN)
	return out
}
