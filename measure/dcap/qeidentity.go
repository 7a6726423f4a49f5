package dcap

import (
	"bytes"
	"fmt"
	"time"

	"cocoon/measure/tdx"
)

// qeIdentityVersion is the version of the enclave identity that the PCS API, version 4, serves.
const qeIdentityVersion = 2

// qeIdentity describes the quoting enclave whose reports are acceptable.
type qeIdentity struct {
	window
	tee                        tdx.TEEType
	evaluation                 int
	miscSelect, miscSelectMask [4]byte
	attributes, attributesMask [16]byte
	signer                     [32]byte
	prodID                     uint16
	levels                     []svnLevel
	newest                     time.Time
}

// parseQEIdentity decodes a signed QE identity from exactly its signed text.
func parseQEIdentity(text string) (*qeIdentity, error) {
	v, err := walk(text)
	if err != nil {
		return nil, fmt.Errorf("reading QE identity: %w", err)
	}
	f := fieldsOf("enclaveIdentity", &v, "id", "version", "issueDate", "nextUpdate", "tcbEvaluationDataNumber", "miscselect",
		"miscselectMask", "attributes", "attributesMask", "mrsigner", "isvprodid", "tcbLevels")
	q := &qeIdentity{
		window:     window{"QE identity", f.time("issueDate"), f.time("nextUpdate")},
		evaluation: f.uint31("tcbEvaluationDataNumber"),
		prodID:     f.uint16("isvprodid"),
	}
	switch id := f.text("id"); id {
	case "TD_QE":
		q.tee = tdx.TDX
	case "QE":
		q.tee = tdx.SGX
	default:
		f.fail("id", fmt.Errorf("%.40q, want TD_QE or QE", id))
	}
	f.exactly("version", qeIdentityVersion)
	f.bytes("miscselect", q.miscSelect[:])
	f.bytes("miscselectMask", q.miscSelectMask[:])
	f.bytes("attributes", q.attributes[:])
	f.bytes("attributesMask", q.attributesMask[:])
	f.bytes("mrsigner", q.signer[:])
	q.levels, q.newest = f.svnLevels()
	if f.err != nil {
		return nil, fmt.Errorf("reading QE identity: %w", f.err)
	}
	return q, nil
}

// check compares a quoting enclave's report with the identity (attestation.md section 10.3).
func (q *qeIdentity) check(report *tdx.SGXBody) error {
	switch {
	case report.MRSigner != q.signer:
		return fmt.Errorf("MRSIGNER of the quoting enclave is %x, want %x", report.MRSigner, q.signer)
	case report.ISVProdID != q.prodID:
		return fmt.Errorf("ISVPRODID of the quoting enclave is %d, want %d", report.ISVProdID, q.prodID)
	case !masked(report.MiscSelect[:], q.miscSelectMask[:], q.miscSelect[:]):
		return fmt.Errorf("MISCSELECT of the quoting enclave is %x, want %x under the mask %x", report.MiscSelect, q.miscSelect, q.miscSelectMask)
	case !masked(report.Attributes[:], q.attributesMask[:], q.attributes[:]):
		return fmt.Errorf("ATTRIBUTES of the quoting enclave are %x, want %x under the mask %x", report.Attributes, q.attributes, q.attributesMask)
	}
	return nil
}

// masked reports (value & mask) == want.
func masked(value, mask, want []byte) bool {
	var buf [16]byte
	got := append(buf[:0], value...)
	for i := range got {
		got[i] &= mask[i]
	}
	return bytes.Equal(got, want)
}
