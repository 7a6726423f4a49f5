package tdx_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// pattern is a quote of the given version whose body bytes are their own offsets, so that a misplaced field shows.
// Three bytes follow it.
func pattern(version, bodySize int) []byte {
	le := binary.LittleEndian
	q := append([]byte(nil), make([]byte, 48)...)
	le.PutUint16(q, uint16(version))
	le.PutUint16(q[2:], 2)
	if bodySize != 384 {
		le.PutUint32(q[4:], 0x81)
	}
	copy(q[12:], "\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07")
	if version == 5 {
		q = le.AppendUint32(le.AppendUint16(q, map[int]uint16{384: 1, 584: 2, 648: 3}[bodySize]), uint32(bodySize))
	}
	q = append(q, ramp(bodySize, 0)...)
	s := signaturePart(version, "auth", "chain")
	q = le.AppendUint32(q, uint32(len(s)))
	return append(append(q, s...), "end"...)
}

// ramp is n bytes that say where they are.
func ramp(n int, start byte) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = start + byte(i) + byte(i>>8)
	}
	return out
}

// signaturePart lays out a signature part by hand, as attestation.md section 9 states it.
func signaturePart(version int, auth, chain string) []byte {
	le := binary.LittleEndian
	inner := append(ramp(384, 3), ramp(64, 4)...)
	inner = append(le.AppendUint16(inner, uint16(len(auth))), auth...)
	inner = append(le.AppendUint32(le.AppendUint16(inner, 5), uint32(len(chain))), chain...)
	s := append(ramp(64, 1), ramp(64, 2)...)
	if version >= 4 {
		s = le.AppendUint32(le.AppendUint16(s, 6), uint32(len(inner)))
	}
	return append(s, inner...)
}

func quote(tb testing.TB, data []byte) *tdx.Quote {
	tb.Helper()
	q, err := tdx.ParseQuote(data)
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

// Offsets of attestation.md section 9, stated again: the parser must find each field there.
func TestBodyFieldsLieAtTheirOffsets(t *testing.T) {
	for _, size := range []int{584, 648} {
		raw := pattern(5, size)[54 : 54+size]
		b, err := tdx.ParseBody(raw)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]struct {
			off int
			got []byte
		}{
			"TEE_TCB_SVN": {0, b.TEETCBSVN[:]}, "MRSEAM": {16, b.MRSEAM[:]}, "MRSIGNERSEAM": {64, b.MRSignerSEAM[:]},
			"SEAMATTRIBUTES": {112, b.SEAMAttributes[:]}, "TDATTRIBUTES": {120, b.TDAttributes[:]}, "XFAM": {128, b.XFAM[:]},
			"MRTD": {136, b.MRTD[:]}, "MRCONFIGID": {184, b.MRConfigID[:]}, "MROWNER": {232, b.MROwner[:]},
			"MROWNERCONFIG": {280, b.MROwnerConfig[:]}, "RTMR0": {328, b.RTMR[0][:]}, "RTMR1": {376, b.RTMR[1][:]},
			"RTMR2": {424, b.RTMR[2][:]}, "RTMR3": {472, b.RTMR[3][:]}, "REPORTDATA": {520, b.ReportData[:]},
		}
		if size == 648 {
			fields["TEE_TCB_SVN_2"] = struct {
				off int
				got []byte
			}{584, b.Service.TEETCBSVN2[:]}
			fields["MRSERVICETD"] = struct {
				off int
				got []byte
			}{600, b.Service.MRServiceTD[:]}
		} else if b.Service != nil {
			t.Error("a TD 1.0 body has TD 1.5 fields")
		}
		total := 0
		for name, f := range fields {
			total += len(f.got)
			if !bytes.Equal(f.got, raw[f.off:f.off+len(f.got)]) {
				t.Errorf("%s of a %d-byte body is %x", name, size, f.got)
			}
		}
		if total != size {
			t.Errorf("fields cover %d of %d bytes", total, size)
		}
		if !bytes.Equal(b.Encode(), raw) {
			t.Errorf("body of %d bytes does not encode to itself", size)
		}
	}
}

func TestImageHashVectors(t *testing.T) {
	type registers struct {
		MRTD, MRConfigID, MROwner, MROwnerConfig, RTMR0, RTMR1, RTMR2, RTMR3 tdx.Digest
	}
	hash := func(r registers) string {
		return tdx.ImageHash(&tdx.Measurements{
			MRTD: r.MRTD, MRConfigID: r.MRConfigID, MROwner: r.MROwner, MROwnerConfig: r.MROwnerConfig,
			RTMR: [4]tdx.Digest{r.RTMR0, r.RTMR1, r.RTMR2, r.RTMR3},
		}).String()
	}
	var own struct {
		Cases []struct {
			Name   string
			Fields json.RawMessage
			Hash   string `json:"image_hash_hex"`
		} `json:"image_hash"`
	}
	golden.JSON(t, "measure/cocoon.json", &own)
	for _, c := range own.Cases {
		var r registers
		if c.Fields[0] == '{' {
			if err := json.Unmarshal(c.Fields, &r); err != nil {
				t.Fatal(err)
			}
		}
		if got := hash(r); got != c.Hash {
			t.Errorf("%s: %s, want %s", c.Name, got, c.Hash)
		}
	}
	var wire struct {
		Cases []struct {
			Registers map[string]tdx.Digest
			Hash      string `json:"image_hash"`
		}
	}
	golden.JSON(t, "protocol/image_hash.json", &wire)
	for i, c := range wire.Cases {
		m := c.Registers
		got := hash(registers{
			m["mr_td"], m["mr_config_id"], m["mr_owner"], m["mr_owner_config"], m["rtmr0"], m["rtmr1"], m["rtmr2"], m["rtmr3"],
		})
		if got != c.Hash || len(m) != 8 {
			t.Errorf("case %d: %s, want %s", i, got, c.Hash)
		}
	}
	if len(own.Cases) != 3 || len(wire.Cases) != 2 {
		t.Errorf("%d and %d cases, want 3 and 2", len(own.Cases), len(wire.Cases))
	}
}

func TestOnlyRealMeasurementsArePublished(t *testing.T) {
	var m tdx.Measurements
	if !m.IsZero() || !m.IsFake() {
		t.Error("zero measurements are not recognised")
	}
	if _, err := tdx.PublishableHash(&m); !errors.Is(err, tdx.ErrFakeImage) {
		t.Errorf("got %v, want ErrFakeImage", err)
	}
	m.MRTD[0] = 1
	if m.IsZero() || !m.IsFake() {
		t.Error("a zero RTMR0 alone marks fake measurements")
	}
	m.RTMR[0][47] = 1
	h, err := tdx.PublishableHash(&m)
	if err != nil || h != tdx.ImageHash(&m) || h.IsZero() {
		t.Errorf("hash %s (%v)", h, err)
	}
	if !tdx.NoImageHash().IsZero() {
		t.Error("the hash of no attestation is not zero")
	}
	// SHA-256 of 32 bytes 0x11 and 64 zero bytes, computed with Python.
	enclave := [32]byte(bytes.Repeat([]byte{0x11}, 32))
	if got := tdx.SGXImageHash(enclave).String(); got != "b284de3ded5ee84cf47e629c1b5b0b9973e499c0b74b911fa4550db15913a808" {
		t.Errorf("SGX image hash %s", got)
	}
}

func TestRegistersAreReadByName(t *testing.T) {
	m := tdx.Measurements{MRTD: tdx.Digest{1}, RTMR: [4]tdx.Digest{{2}, {3}, {4}, {5}}}
	for r := tdx.MRTD; r <= tdx.RTMR3; r++ {
		d, err := m.Register(r)
		if err != nil || d[0] != byte(r)+1 {
			t.Errorf("%s is %s (%v)", r, d, err)
		}
		text, err := r.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back tdx.Register
		if err := back.UnmarshalText(text); err != nil || back != r {
			t.Errorf("%s reads back as %s (%v)", r, back, err)
		}
	}
	if _, err := m.Register(9); err == nil {
		t.Error("register 9 was read")
	}
	for r, name := range map[tdx.Register]string{tdx.MRTD: "MRTD", tdx.RTMR0: "RTMR0", tdx.RTMR3: "RTMR3"} {
		if r.String() != name {
			t.Errorf("register %d is called %s, want %s", r, r, name)
		}
	}
	back := tdx.RTMR2
	for _, bad := range []string{"", "rtmr0", "RTMR4", "RTMR255", "MRTD "} {
		if err := back.UnmarshalText([]byte(bad)); err == nil || back != tdx.RTMR2 {
			t.Errorf("%q reads as %s (%v)", bad, back, err)
		}
	}
}

func TestDigestText(t *testing.T) {
	d := tdx.Sum([]byte("x"))
	if back, err := tdx.ParseDigest(d.String()); err != nil || back != d {
		t.Errorf("%s reads back as %s (%v)", d, back, err)
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 95), strings.Repeat("g", 96)} {
		if _, err := tdx.ParseDigest(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
		kept := d
		if err := kept.UnmarshalText([]byte(bad)); err == nil || kept != d {
			t.Errorf("%q reads as %s (%v)", bad, kept, err)
		}
	}
	want := sha512.Sum384(append(make([]byte, 48), d[:]...))
	if got := (tdx.Digest{}).Extend(d); got != tdx.Digest(want) {
		t.Errorf("extend gives %s, want %x", got, want)
	}
}
