package tdx_test

import (
	"bytes"
	"crypto/sha512"
	"strings"
	"testing"

	"cocoon/measure/tdx"
)

// report is a TDREPORT with distinct bytes in every field and right hashes.
func report(edit func(r []byte)) []byte {
	r := make([]byte, 1024)
	fill := func(off, n int, v byte) { copy(r[off:], bytes.Repeat([]byte{v}, n)) }
	r[0] = 0x81
	fill(16, 16, 1)     // CPUSVN
	fill(128, 64, 2)    // REPORTDATA
	fill(224, 32, 3)    // MAC
	fill(256, 8, 0xff)  // VALID
	fill(264, 16, 4)    // TEE_TCB_SVN
	fill(280, 48, 5)    // MRSEAM
	fill(328, 48, 6)    // MRSIGNERSEAM
	fill(376, 8, 7)     // SEAM attributes
	fill(384, 16, 0x0a) // TEE_TCB_SVN_2
	fill(512, 8, 8)     // TD attributes
	fill(520, 8, 9)     // XFAM
	fill(528, 48, 0x10) // MRTD
	fill(576, 48, 0x11)
	fill(624, 48, 0x12)
	fill(672, 48, 0x13)
	fill(720, 48, 0x20) // RTMR0
	fill(768, 48, 0x21)
	fill(816, 48, 0x22)
	fill(864, 48, 0x23)
	fill(912, 48, 0x30) // SERVTD_HASH
	edit(r)
	tcb, info := sha512.Sum384(r[256:495]), sha512.Sum384(r[512:])
	copy(r[32:], tcb[:])
	copy(r[80:], info[:])
	return r
}

func TestReportFieldsLieAtTheirOffsets(t *testing.T) {
	r, err := tdx.ParseReport(report(func([]byte) {}))
	if err != nil {
		t.Fatal(err)
	}
	b := &r.Body
	for name, f := range map[string]struct {
		got  []byte
		want byte
	}{
		"CPUSVN": {r.CPUSVN[:], 1}, "REPORTDATA": {b.ReportData[:], 2}, "TEE_TCB_SVN": {b.TEETCBSVN[:], 4},
		"MRSEAM": {b.MRSEAM[:], 5}, "MRSIGNERSEAM": {b.MRSignerSEAM[:], 6}, "SEAMATTRIBUTES": {b.SEAMAttributes[:], 7},
		"TDATTRIBUTES": {b.TDAttributes[:], 8}, "XFAM": {b.XFAM[:], 9}, "MRTD": {b.MRTD[:], 0x10},
		"MRCONFIGID": {b.MRConfigID[:], 0x11}, "MROWNER": {b.MROwner[:], 0x12}, "MROWNERCONFIG": {b.MROwnerConfig[:], 0x13},
		"RTMR0": {b.RTMR[0][:], 0x20}, "RTMR1": {b.RTMR[1][:], 0x21}, "RTMR2": {b.RTMR[2][:], 0x22}, "RTMR3": {b.RTMR[3][:], 0x23},
		"TEE_TCB_SVN_2": {r.TEETCBSVN2[:], 0x0a}, "SERVTD_HASH": {r.ServiceTDHash[:], 0x30},
	} {
		if !bytes.Equal(f.got, bytes.Repeat([]byte{f.want}, len(f.got))) {
			t.Errorf("%s is %x, want 0x%02x repeated", name, f.got, f.want)
		}
	}
}

func TestMalformedReportsAreRejected(t *testing.T) {
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"short":                {report(func([]byte) {})[:1023], "1023 bytes"},
		"trailing byte":        {append(report(func([]byte) {}), 0), "1025 bytes"},
		"type":                 {report(func(r []byte) { r[0] = 0x0f }), "type bytes"},
		"subtype":              {report(func(r []byte) { r[1] = 1 }), "type bytes"},
		"version":              {report(func(r []byte) { r[2] = 2 }), "type bytes"},
		"reserved in header":   {report(func(r []byte) { r[4] = 1 }), "reserved byte 4"},
		"reserved before MAC":  {report(func(r []byte) { r[192] = 1 }), "reserved byte 192"},
		"reserved after TCB":   {report(func(r []byte) { r[511] = 1 }), "reserved byte 511"},
		"reserved after hash":  {report(func(r []byte) { r[1023] = 1 }), "reserved byte 1023"},
		"altered TCB info":     {flip(report(func([]byte) {}), 264), "TEE_TCB_INFO_HASH"},
		"altered TDINFO":       {flip(report(func([]byte) {}), 720), "TEE_INFO_HASH"},
		"altered TCB digest":   {flip(report(func([]byte) {}), 32), "TEE_TCB_INFO_HASH"},
		"altered report alone": {flip(report(func([]byte) {}), 127), "TEE_INFO_HASH"},
	} {
		if _, err := tdx.ParseReport(tc.data); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
	}
	if _, err := tdx.ParseReport(report(func(r []byte) { r[2] = 1 })); err != nil {
		t.Errorf("a report with a service TD was refused: %v", err)
	}
}

func flip(data []byte, off int) []byte {
	data[off] ^= 1
	return data
}

func FuzzReport(f *testing.F) {
	f.Add(report(func([]byte) {}))
	f.Add(report(func(r []byte) { r[2] = 1 }))
	f.Add(report(func(r []byte) { clear(r[512:]) }))
	f.Add(make([]byte, 1024))
	f.Add(make([]byte, 3))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := tdx.ParseReport(data)
		if err != nil {
			return
		}
		// Everything the report hashes is in its fields or reserved: written back, they give the input.
		back := report(func(out []byte) {
			copy(out, data[:512])
			b := &r.Body
			info := append(append([]byte(nil), b.TDAttributes[:]...), b.XFAM[:]...)
			for _, d := range []tdx.Digest{b.MRTD, b.MRConfigID, b.MROwner, b.MROwnerConfig, b.RTMR[0], b.RTMR[1], b.RTMR[2], b.RTMR[3], r.ServiceTDHash} {
				info = append(info, d[:]...)
			}
			clear(out[512:])
			copy(out[512:], info)
		})
		if !bytes.Equal(back, data) {
			t.Error("the report does not encode to its own bytes")
		}
	})
}
