package tdx_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

func TestRealQuotesGiveTheirImageHash(t *testing.T) {
	tests := map[string]struct {
		hex     bool
		version uint16
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
			if q.Version != tc.version || len(q.Signed)-len(q.Message)-4 != tc.signed || len(raw)-len(q.Signed) != tc.trail {
				t.Errorf("version %d, signature %d, trailing %d; want %d, %d, %d",
					q.Version, len(q.Signed)-len(q.Message)-4, len(raw)-len(q.Signed), tc.version, tc.signed, tc.trail)
			}
			if got := tdx.ImageHash(&q.TD.Measurements); got.String() != tc.hash {
				t.Errorf("image hash %s, want %s", got, tc.hash)
			}
			if got := hex.EncodeToString(q.TD.XFAM[:]); got != tc.xfam {
				t.Errorf("XFAM %s, want %s", got, tc.xfam)
			}
			if (q.TD.Service != nil) != (tc.version == 5) || q.TD.IsFake() != tc.noRTMR0 || !q.TD.MRSignerSEAM.IsZero() {
				t.Errorf("service fields %v, fake %t", q.TD.Service, q.TD.IsFake())
			}
			if hex.EncodeToString(q.QEVendor[:]) != "939a7233f79c4ca9940a0db3957f0607" {
				t.Errorf("QE vendor %x", q.QEVendor)
			}
			if cut := quote(t, raw[:len(q.Signed)]); cmp.Diff(q, cut) != "" {
				t.Error("the quote depends on the bytes behind it")
			}
		})
	}
}

func TestSGXQuotesAreRead(t *testing.T) {
	raw := golden.Vector(t, "attestation/sgx_quote")
	q := quote(t, raw)
	b := q.SGX
	if q.Version != 3 || q.TEE != tdx.SGX || q.TD != nil || len(q.Message) != 432 || len(q.Signed) != len(raw) {
		t.Fatalf("version %d, %s, %d bytes signed of %d", q.Version, q.TEE, len(q.Message), len(q.Signed))
	}
	for name, f := range map[string]struct {
		got  []byte
		want string
	}{
		"MRENCLAVE":   {b.MREnclave[:], "33d8736db756ed4997e04ba358d27833188f1932ff7b1d156904d3f560452fbb"},
		"MRSIGNER":    {b.MRSigner[:], "815f42f11cf64430c30bab7816ba596a1da0130c3b028b673133a66cf9a3e0e6"},
		"ATTRIBUTES":  {b.Attributes[:], "0500000000000000e700000000000000"},
		"REPORTDATA":  {b.ReportData[:], hex.EncodeToString(append([]byte("Hello, world!"), make([]byte, 51)...))},
		"MISCSELECT":  {b.MiscSelect[:], "00000000"},
		"ISVFAMILYID": {b.ISVFamilyID[:], strings.Repeat("00", 16)},
	} {
		if got := hex.EncodeToString(f.got); got != f.want {
			t.Errorf("%s is %s, want %s", name, got, f.want)
		}
	}
	qe, err := tdx.ParseSGXBody(q.Signature.QEReport)
	if err != nil || qe.ISVSVN != 10 || qe.ISVProdID != 1 {
		t.Errorf("the quoting enclave is %+v (%v)", qe, err)
	}
	if b.Debug() || !bytes.Equal(b.Encode(), q.Message[48:]) {
		t.Error("the body is a debug enclave's or does not encode to itself")
	}
}

func TestSGXBodyFieldsLieAtTheirOffsets(t *testing.T) {
	raw := make([]byte, 384)
	for i, f := range [][2]int{{0, 16}, {16, 4}, {32, 16}, {48, 16}, {64, 32}, {128, 32}, {192, 64}, {256, 2}, {258, 2}, {260, 2}, {304, 16}, {320, 64}} {
		copy(raw[f[0]:], bytes.Repeat([]byte{byte(i + 1)}, f[1]))
	}
	b, err := tdx.ParseSGXBody(raw)
	if err != nil {
		t.Fatal(err)
	}
	fields := [][]byte{
		b.CPUSVN[:], b.MiscSelect[:], b.ISVExtProdID[:], b.Attributes[:], b.MREnclave[:], b.MRSigner[:], b.ConfigID[:],
		{byte(b.ISVProdID), byte(b.ISVProdID >> 8)},
		{byte(b.ISVSVN), byte(b.ISVSVN >> 8)},
		{byte(b.ConfigSVN), byte(b.ConfigSVN >> 8)},
		b.ISVFamilyID[:], b.ReportData[:],
	}
	for i, f := range fields {
		if !bytes.Equal(f, bytes.Repeat([]byte{byte(i + 1)}, len(f))) {
			t.Errorf("field %d is %x", i, f)
		}
	}
	if !bytes.Equal(b.Encode(), raw) {
		t.Error("the body does not encode to itself")
	}
	for attributes, want := range map[byte]bool{0x05: false, 0x07: true, 0x02: true, 0xfd: false} {
		b.Attributes[0] = attributes
		if b.Debug() != want {
			t.Errorf("attributes %#02x: debug %t", attributes, !want)
		}
	}
	for _, n := range []int{0, 383, 385} {
		if _, err := tdx.ParseSGXBody(make([]byte, n)); err == nil {
			t.Errorf("a body of %d bytes was accepted", n)
		}
	}
}

func TestEveryKindOfQuoteIsRead(t *testing.T) {
	for name, tc := range map[string]struct {
		version, size int
		tee           tdx.TEEType
	}{
		"SGX v3":    {3, 384, tdx.SGX},
		"SGX v4":    {4, 384, tdx.SGX},
		"SGX v5":    {5, 384, tdx.SGX},
		"TD v4":     {4, 584, tdx.TDX},
		"TD 1.0 v5": {5, 584, tdx.TDX},
		"TD 1.5 v5": {5, 648, tdx.TDX},
	} {
		t.Run(name, func(t *testing.T) {
			raw := pattern(tc.version, tc.size)
			q := quote(t, raw)
			s := q.Signature
			if q.TEE != tc.tee || (q.SGX == nil) != (tc.tee == tdx.TDX) || (q.TD == nil) != (tc.tee == tdx.SGX) {
				t.Fatalf("read as %s, %v, %v", q.TEE, q.TD, q.SGX)
			}
			if !bytes.Equal(q.Signed, raw[:len(raw)-3]) || !bytes.Equal(q.Message[len(q.Message)-tc.size:], ramp(tc.size, 0)) {
				t.Error("the signed part or the body is misplaced")
			}
			for name, f := range map[string]struct{ got, want []byte }{
				"quote signature": {s.Quote, ramp(64, 1)}, "attestation key": {s.Key, ramp(64, 2)},
				"QE report": {s.QEReport, ramp(384, 3)}, "QE report signature": {s.QESignature, ramp(64, 4)},
				"QE auth": {s.QEAuth, []byte("auth")}, "PCK chain": {s.PCKChain, []byte("chain")},
			} {
				if !bytes.Equal(f.got, f.want) {
					t.Errorf("%s is %x", name, f.got)
				}
			}
			back, err := s.Encode(q.Version)
			if err != nil || !bytes.Equal(back, q.Signed[len(q.Message)+4:]) {
				t.Errorf("the signature part does not encode to itself: %v", err)
			}
		})
	}
}

func TestSplittingAQuoteAllocatesNothing(t *testing.T) {
	for name, raw := range map[string][]byte{"v3": pattern(3, 384), "v4": pattern(4, 584), "v5": pattern(5, 648)} {
		var p tdx.Parts
		if n := testing.AllocsPerRun(100, func() { p, _ = tdx.Split(raw) }); n != 0 || len(p.Quote) == 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestUnsupportedKindsAreToldApart(t *testing.T) {
	for name, tc := range map[string]struct {
		version, size int
		edit          func(q []byte)
		want          string
	}{
		"version":              {4, 584, func(q []byte) { q[0] = 6 }, "version is 6"},
		"old version":          {4, 584, func(q []byte) { q[0] = 2 }, "version is 2"},
		"P-384 key":            {4, 584, func(q []byte) { q[2] = 3 }, "key type is 3"},
		"TEE type":             {4, 584, func(q []byte) { q[4] = 0x82 }, "TEE type 0x82"},
		"TDX in version 3":     {3, 384, func(q []byte) { q[4] = 0x81 }, "version 3 with TDX"},
		"vendor":               {4, 584, func(q []byte) { q[12]++ }, "vendor"},
		"body type":            {5, 584, func(q []byte) { q[48] = 4 }, "body type is 4"},
		"outer certification":  {4, 584, func(q []byte) { q[636+128] = 5 }, "certification type is 5"},
		"PPID in clear":        {4, 584, func(q []byte) { q[636+128+6+448+2+4] = 1 }, "of the QE report is 1"},
		"PPID, 3072 bit, v3":   {3, 384, func(q []byte) { q[436+128+448+2+4] = 3 }, "of the QE report is 3"},
		"platform manifest v5": {5, 648, func(q []byte) { q[54+648+4+128+6+448+2+4] = 7 }, "of the QE report is 7"},
	} {
		raw := pattern(tc.version, tc.size)
		tc.edit(raw)
		if _, err := tdx.ParseQuote(raw); !errors.Is(err, tdx.ErrType) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want ErrType with %q", name, err, tc.want)
		}
	}
}

func TestMalformedQuotesAreRejected(t *testing.T) {
	const part = 632 + 4 // of a v4 TD quote: where the signature part begins
	tests := map[string]struct {
		version int
		edit    func(q []byte) []byte
		want    string
	}{
		"body size":             {5, func(q []byte) []byte { q[50]++; return q }, "want 584"},
		"body of another type":  {5, func(q []byte) []byte { q[48] = 3; return q }, "want 648"},
		"body of another TEE":   {5, func(q []byte) []byte { q[4] = 0; return q }, "but the header says SGX"},
		"signature size":        {4, func(q []byte) []byte { q[635] = 0xff; return q }, "signature part"},
		"signature size 10":     {4, func(q []byte) []byte { q[632], q[633] = 10, 0; return q }, "ends inside"},
		"signature size 0":      {4, func(q []byte) []byte { q[632], q[633] = 0, 0; return q }, "ends inside"},
		"signature size + 1":    {4, func(q []byte) []byte { q[632]++; return q }, "certification data of"},
		"signature size - 1":    {4, func(q []byte) []byte { q[632]--; return q }, "certification data of"},
		"certification size +":  {4, func(q []byte) []byte { q[part+130]++; return q }, "certification data of"},
		"certification size -":  {4, func(q []byte) []byte { q[part+130]--; return q }, "certification data of"},
		"certification overrun": {4, func(q []byte) []byte { q[part+133] = 0xff; return q }, "certification data of"},
		"QE auth overrun":       {4, func(q []byte) []byte { q[part+134+448], q[part+135+448] = 0xff, 0xff; return q }, "ends inside"},
		"chain size +":          {4, func(q []byte) []byte { q[part+134+448+2+4+2]++; return q }, "PCK chain of 6 bytes"},
		"chain size -":          {4, func(q []byte) []byte { q[part+134+448+2+4+2]--; return q }, "PCK chain of 4 bytes"},
		"too large":             {4, func(q []byte) []byte { return append(q, make([]byte, 32<<10)...) }, "at most"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tdx.ParseQuote(tc.edit(pattern(tc.version, 584)))
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, tdx.ErrType) {
				t.Errorf("got %v, want an error with %q that is not ErrType", err, tc.want)
			}
		})
	}
}

func TestCraftedQuotesAreRejected(t *testing.T) {
	for _, name := range []string{"crafted_signed_size_10.bin", "crafted_signed_size_0x82.bin", "crafted_qe_auth_0xffff.bin"} {
		if _, err := tdx.ParseQuote(golden.Vector(t, "attestation/"+name)); err == nil || errors.Is(err, tdx.ErrType) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTruncatedQuotesAreRejected(t *testing.T) {
	for _, full := range [][]byte{pattern(3, 384), pattern(4, 384), pattern(4, 584), pattern(5, 384), pattern(5, 584), pattern(5, 648)} {
		size := len(quote(t, full).Signed)
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

func TestSignaturePartsOfWrongSizeAreNotWritten(t *testing.T) {
	good := func() *tdx.Signature {
		return &tdx.Signature{Quote: make([]byte, 64), Key: make([]byte, 64), QEReport: make([]byte, 384), QESignature: make([]byte, 64)}
	}
	for name, edit := range map[string]func(s *tdx.Signature){
		"quote signature": func(s *tdx.Signature) { s.Quote = s.Quote[1:] },
		"attestation key": func(s *tdx.Signature) { s.Key = nil },
		"QE report":       func(s *tdx.Signature) { s.QEReport = make([]byte, 385) },
		"QE signature":    func(s *tdx.Signature) { s.QESignature = nil },
		"QE auth":         func(s *tdx.Signature) { s.QEAuth = make([]byte, 1<<16) },
	} {
		s := good()
		edit(s)
		if _, err := s.Encode(4); err == nil {
			t.Errorf("%s of a wrong size was written", name)
		}
	}
	if raw, err := good().Encode(3); err != nil || len(raw) != 584 {
		t.Errorf("%d bytes (%v)", len(raw), err)
	}
}

func fuzzQuote(f *testing.F, version int, sizes ...int) {
	f.Helper()
	for _, size := range sizes {
		q := pattern(version, size)
		f.Add(q)
		f.Add(q[:len(q)-3])
		f.Add(q[:len(q)-4])
		f.Add(q[:60])
		binary.LittleEndian.PutUint16(q[len(q)-3-15:], 0xffff)
		f.Add(q)
	}
	f.Add([]byte{byte(version), 0, 2, 0, 0x81, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := tdx.ParseQuote(data)
		if err != nil {
			return
		}
		if q.TD != nil && !bytes.HasSuffix(q.Message, q.TD.Encode()) {
			t.Error("the body does not encode to its own bytes")
		}
		if q.SGX != nil {
			body := q.Message[len(q.Message)-tdx.SGXBodySize:]
			back, err := tdx.ParseSGXBody(q.SGX.Encode())
			if err != nil || *back != *q.SGX || !bytes.HasPrefix(body, q.SGX.CPUSVN[:]) {
				t.Errorf("the body does not survive its encoding: %v", err)
			}
		}
		part, err := q.Signature.Encode(q.Version)
		again := append(binary.LittleEndian.AppendUint32(bytes.Clone(q.Message), uint32(len(part))), part...)
		if err != nil || !bytes.Equal(again, q.Signed) || !bytes.HasPrefix(data, again) {
			t.Errorf("message and signature part are not the quote: %v", err)
		}
		cut, err := tdx.ParseQuote(q.Signed)
		if err != nil || cmp.Diff(q, cut) != "" {
			t.Errorf("cutting the trailing bytes changes the quote: %v", err)
		}
	})
}

func FuzzQuoteV3(f *testing.F) { fuzzQuote(f, 3, 384) }

func FuzzQuoteV4(f *testing.F) { fuzzQuote(f, 4, 384, 584) }

func FuzzQuoteV5(f *testing.F) { fuzzQuote(f, 5, 384, 584, 648) }
