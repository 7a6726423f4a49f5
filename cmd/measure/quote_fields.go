package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"

	"cocoon/measure/tdx"
)

func hexText(raw []byte) string { return hex.EncodeToString(raw) }

// fieldsOf lists the fields of a quote's body in its order, with what their bits mean.
func fieldsOf(q *tdx.Quote) []quoteField {
	if q.SGX != nil {
		return enclaveFields(q.SGX)
	}
	b := q.TD
	fields := []quoteField{
		{"tee_tcb_svn", hexText(b.TEETCBSVN[:]), moduleText(b.TEETCBSVN)},
		{"mrseam", hexText(b.MRSEAM[:]), ""},
		{"mrsignerseam", hexText(b.MRSignerSEAM[:]), zeroText(b.MRSignerSEAM, "zero: Intel's own module")},
		{"seam_attributes", hexText(b.SEAMAttributes[:]), ""},
		{"td_attributes", hexText(b.TDAttributes[:]), bitNames(b.TDAttributes, tdAttributeNames())},
		{"xfam", hexText(b.XFAM[:]), bitNames(b.XFAM, xfamNames())},
		{"mrtd", hexText(b.MRTD[:]), "firmware"},
		{"mrconfigid", hexText(b.MRConfigID[:]), ""},
		{"mrowner", hexText(b.MROwner[:]), ""},
		{"mrownerconfig", hexText(b.MROwnerConfig[:]), ""},
		{"rtmr0", hexText(b.RTMR[0][:]), registerText(b.RTMR[0], "machine and firmware settings")},
		{"rtmr1", hexText(b.RTMR[1][:]), registerText(b.RTMR[1], "boot loader or kernel, as the firmware starts it")},
		{"rtmr2", hexText(b.RTMR[2][:]), registerText(b.RTMR[2], "kernel, command line and initrd")},
		{"rtmr3", hexText(b.RTMR[3][:]), registerText(b.RTMR[3], "what the guest measured at run time")},
		{"report_data", hexText(b.ReportData[:]), ""},
	}
	if b.Service != nil {
		fields = append(fields,
			quoteField{"tee_tcb_svn_2", hexText(b.Service.TEETCBSVN2[:]), "running " + moduleText(b.Service.TEETCBSVN2)},
			quoteField{"mrservicetd", b.Service.MRServiceTD.String(), zeroText(b.Service.MRServiceTD, "no service TD bound")})
	}
	return fields
}

// enclaveFields lists the SGX fields that a policy or an auditor looks at.
func enclaveFields(b *tdx.SGXBody) []quoteField {
	le := binary.LittleEndian
	flags := [8]byte(b.Attributes[:8])
	return []quoteField{
		{"cpusvn", hexText(b.CPUSVN[:]), ""},
		{"miscselect", hexText(b.MiscSelect[:]), ""},
		{"attributes", hexText(b.Attributes[:8]), bitNames(flags, enclaveAttributeNames())},
		{"xfrm", hexText(b.Attributes[8:]), bitNames([8]byte(b.Attributes[8:]), xfamNames())},
		{"mrenclave", hexText(b.MREnclave[:]), "code and initial data"},
		{"mrsigner", hexText(b.MRSigner[:]), "key that signed the enclave"},
		{"configid", hexText(b.ConfigID[:]), ""},
		{"isvprodid", hexText(le.AppendUint16(nil, b.ISVProdID)), fmt.Sprint(b.ISVProdID)},
		{"isvsvn", hexText(le.AppendUint16(nil, b.ISVSVN)), fmt.Sprint(b.ISVSVN)},
		{"report_data", hexText(b.ReportData[:]), ""},
	}
}

// moduleText names the TDX module of a TEE_TCB_SVN (attestation.md section 10.4).
func moduleText(svn [16]byte) string { return fmt.Sprintf("module TDX_%02x, SVN %d", svn[1], svn[0]) }

func registerText(d tdx.Digest, text string) string {
	if d.IsZero() {
		return "nothing extended"
	}
	return text
}

func zeroText(d tdx.Digest, text string) string {
	if d.IsZero() {
		return text
	}
	return ""
}

// tdAttributeNames are the bits of TDATTRIBUTES (TDX module ABI specification).
func tdAttributeNames() map[int]string {
	return map[int]string{0: "DEBUG", 28: "SEPT_VE_DISABLE", 29: "MIGRATABLE", 30: "PKS", 31: "KL", 63: "PERFMON"}
}

// enclaveAttributeNames are the bits of SGX ATTRIBUTES (Intel SDM volume 3D).
func enclaveAttributeNames() map[int]string {
	return map[int]string{0: "INIT", 1: "DEBUG", 2: "MODE64BIT", 4: "PROVISIONKEY", 5: "EINITTOKEN_KEY", 7: "KSS"}
}

// xfamNames are the state components of XCR0 and IA32_XSS (Intel SDM volume 1, chapter 13).
func xfamNames() map[int]string {
	return map[int]string{
		0: "x87", 1: "SSE", 2: "AVX", 5: "AVX512-k", 6: "AVX512-ZMM", 7: "AVX512-Hi16", 8: "PT", 9: "PKRU", 11: "CET-U", 12: "CET-S",
		14: "UINTR", 15: "LBR", 16: "HWP", 17: "AMX-cfg", 18: "AMX-data",
	}
}

// bitNames lists the bits that are set in a little-endian field.
func bitNames(raw [8]byte, names map[int]string) string {
	var out []string
	for v := binary.LittleEndian.Uint64(raw[:]); v != 0; v &= v - 1 {
		bit := bits.TrailingZeros64(v)
		name := names[bit]
		if name == "" {
			name = fmt.Sprintf("bit %d", bit)
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}
