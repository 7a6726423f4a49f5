package tdx_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// pattern is a quote of the given version whose body bytes are their own offsets, so that a misplaced field shows.
func pattern(version, bodySize int) []byte {
	le := binary.LittleEndian
	q := append([]byte(nil), make([]byte, 48)...)
	le.PutUint16(q, uint16(version))
	le.PutUint16(q[2:], 2)
	le.PutUint32(q[4:], 0x81)
	if version == 5 {
		kind := uint16(2)
		if bodySize == 648 {
			kind = 3
		}
		q = le.AppendUint32(le.AppendUint16(q, kind), uint32(bodySize))
	}
	for i := range bodySize {
		q = append(q, byte(i), byte(i>>8))[:len(q)+1]
	}
	q = le.AppendUint32(q, 5)
	return append(q, "signedtrailing"...)[:len(q)+5+3]
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

func TestRealQuotesGiveTheirImageHash(t *testing.T) {
	tests := map[string]struct {
		hex     bool
		version int
		signed  int // size of the signature part
		trail   int
		hash    string
		xfam    string
		noRTMR0 bool // genuine, but its firmware measured nothing
	}{
		"cocoon_quote.dat":      {false, 4, 4304, 70, "04b3afd931d28680af91a15b09d672c40ad6b141f7f9089a8d67d595220f7436", "e702060000000000", false},
		"cos-113-tdx-quote.dat": {false, 4, 4299, 3065, "650008ebb5eca49031b6b76e07ba4a88b8602371e46edcc7d8a6175a0e1e9101", "e700060000000000", false},
		"tdx_quote":             {false, 4, 4300, 70, "b260fa9168ca9f28e7f15f128a45ac31c419705b31a60feac30b322ee06bc752", "e702060000000000", false},
		"quotev4.hex":           {true, 4, 4299, 3065, "e64e2e763a99b9bf0aa6006a46c312d6cd15eff8ae2f82c7bc69a84d51a5057d", "e700060000000000", true},
		"tdx_quote_outdated":    {false, 5, 4300, 0, "571b21ee55a24c3adab8b2ff2973b1fce7de566dedbacc3b31e7bb82fe168913", "e718060000000000", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			raw := golden.Vector(t, "attestation/"+name)
			if tc.hex {
				raw = golden.Hex(t, strings.TrimSpace(string(raw)))
			}
			q := quote(t, raw)
			if q.Version != tc.version || len(q.Signature) != tc.signed || len(raw)-q.Size != tc.trail {
				t.Errorf("version %d, signature %d, trailing %d; want %d, %d, %d",
					q.Version, len(q.Signature), len(raw)-q.Size, tc.version, tc.signed, tc.trail)
			}
			if got := tdx.ImageHash(&q.Body.Measurements); got.String() != tc.hash {
				t.Errorf("image hash %s, want %s", got, tc.hash)
			}
			if got := hex.EncodeToString(q.Body.XFAM[:]); got != tc.xfam {
				t.Errorf("XFAM %s, want %s", got, tc.xfam)
			}
			if (q.Body.Service != nil) != (tc.version == 5) || q.Body.IsFake() != tc.noRTMR0 || !q.Body.MRSignerSEAM.IsZero() {
				t.Errorf("service fields %v, fake %t", q.Body.Service, q.Body.IsFake())
			}
			if hex.EncodeToString(q.QEVendor[:]) != "939a7233f79c4ca9940a0db3957f0607" {
				t.Errorf("QE vendor %x", q.QEVendor)
			}
			if cut := quote(t, raw[:q.Size]); cmp.Diff(q, cut) != "" {
				t.Error("the quote depends on the bytes behind it")
			}
		})
	}
}

func TestSGXQuotesAreNotTDQuotes(t *testing.T) {
	if _, err := tdx.ParseQuote(golden.Vector(t, "attestation/sgx_quote")); !errors.Is(err, tdx.ErrNotTDX) {
		t.Errorf("got %v, want ErrNotTDX", err)
	}
	for name, edit := range map[string]func(q []byte){
		"v5 with SGX body": func(q []byte) { q[48] = 1 },
		"TEE type of SGX":  func(q []byte) { q[4] = 0 },
	} {
		q := pattern(5, 584)
		edit(q)
		if _, err := tdx.ParseQuote(q); !errors.Is(err, tdx.ErrNotTDX) {
			t.Errorf("%s: got %v, want ErrNotTDX", name, err)
		}
	}
}

func TestMalformedQuotesAreRejected(t *testing.T) {
	tests := map[string]struct {
		version int
		edit    func(q []byte) []byte
		want    string
	}{
		"version":              {4, func(q []byte) []byte { q[0] = 6; return q }, "version is 6"},
		"key type":             {4, func(q []byte) []byte { q[2] = 3; return q }, "key type is 3"},
		"TEE type":             {4, func(q []byte) []byte { q[4] = 0x82; return q }, "TEE type is 0x82"},
		"body type":            {5, func(q []byte) []byte { q[48] = 4; return q }, "body type is 4"},
		"body size":            {5, func(q []byte) []byte { q[50]++; return q }, "want 584"},
		"body of another type": {5, func(q []byte) []byte { q[48] = 3; return q }, "want 648"},
		"signature size":       {4, func(q []byte) []byte { q[635] = 0xff; return q }, "signature part"},
		"too large":            {4, func(q []byte) []byte { return append(q, make([]byte, 32<<10)...) }, "at most"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tdx.ParseQuote(tc.edit(pattern(tc.version, 584)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	for _, full := range [][]byte{pattern(4, 584), pattern(5, 584), pattern(5, 648)} {
		size := quote(t, full).Size
		for n := range size {
			if _, err := tdx.ParseQuote(full[:n]); err == nil {
				t.Errorf("%d of %d bytes were accepted", n, size)
			}
		}
	}
	for _, n := range []int{0, 583, 585, 647, 649} {
		if _, err := tdx.ParseBody(make([]byte, n)); err == nil {
			t.Errorf("a body of %d bytes was accepted", n)
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
	}
	want := sha512.Sum384(append(make([]byte, 48), d[:]...))
	if got := (tdx.Digest{}).Extend(d); got != tdx.Digest(want) {
		t.Errorf("extend gives %s, want %x", got, want)
	}
}
