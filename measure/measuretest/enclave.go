package measuretest

import (
	"encoding/binary"

	"cocoon/measure/tdx"
)

// SGX report body layout (attestation.md section 9).
const (
	offSGXAttributes = 48
	offMREnclave     = 64
	offMRSigner      = 128
	offISVProdID     = 256
	offISVSVN        = 258
	offSGXReportData = 320

	// Attributes of a production enclave: INIT and 64-bit mode; the quoting enclave may also use its provisioning key.
	attributesEnclave = 0x05
	attributesQE      = 0x15
	xfrmLegacy        = 0xe7
)

// enclaveKind tells the two quoting enclaves apart: that of TDs and that of enclaves.
type enclaveKind uint8

const (
	quotingTDX enclaveKind = iota
	quotingSGX
)

// enclave is who an enclave is.
type enclave struct {
	MREnclave, MRSigner []byte
	ISVProdID, ISVSVN   uint16
	Attributes          uint64
}

func newEnclaves(s secrets) (map[enclaveKind]enclave, error) {
	out := map[enclaveKind]enclave{
		quotingTDX: {ISVProdID: 2, ISVSVN: 6, Attributes: attributesQE},
		quotingSGX: {ISVProdID: 1, ISVSVN: 10, Attributes: attributesQE},
	}
	for kind, label := range map[enclaveKind]string{quotingTDX: "TD quoting enclave", quotingSGX: "quoting enclave"} {
		e := out[kind]
		var err error
		if e.MREnclave, err = s.bytes(label, 32); err != nil {
			return nil, err
		}
		if e.MRSigner, err = s.bytes(label+" signer", 32); err != nil {
			return nil, err
		}
		out[kind] = e
	}
	return out, nil
}

// report is the enclave's report body.
func (e enclave) report(cpuSVN [componentsLen]byte, data [tdx.ReportDataSize]byte) []byte {
	r := make([]byte, tdx.SGXBodySize)
	copy(r, cpuSVN[:])
	le := binary.LittleEndian
	le.PutUint64(r[offSGXAttributes:], e.Attributes)
	le.PutUint64(r[offSGXAttributes+8:], xfrmLegacy)
	copy(r[offMREnclave:], e.MREnclave)
	copy(r[offMRSigner:], e.MRSigner)
	le.PutUint16(r[offISVProdID:], e.ISVProdID)
	le.PutUint16(r[offISVSVN:], e.ISVSVN)
	copy(r[offSGXReportData:], data[:])
	return r
}

// Enclave is the MRENCLAVE of the made-up enclave whose quotes the platform makes.
func (p *Platform) Enclave() [32]byte {
	measurement := tdx.Sum([]byte("simulated enclave"))
	return [32]byte(measurement[:])
}

// applicationEnclave is the body of a made-up enclave's quote, like the seal server's.
func applicationEnclave(p *Platform, data [tdx.ReportDataSize]byte) []byte {
	measurement, signer := p.Enclave(), tdx.Sum([]byte("simulated enclave signer"))
	e := enclave{MREnclave: measurement[:], MRSigner: signer[:32], ISVProdID: 7, ISVSVN: 1, Attributes: attributesEnclave}
	return e.report(p.opts.Components, data)
}
