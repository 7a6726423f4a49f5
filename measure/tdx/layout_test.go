package tdx_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// Files and sizes as the vectors' README states them.
func TestRealQuotesHaveTheirLayout(t *testing.T) {
	const qeSigner = "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"
	for name, tc := range map[string]struct {
		sum     string
		version uint16
		tee     tdx.TEEType
		message int // bytes under the quote signature
		part    int // size of the signature part
		trail   int
		signer  string // MRSIGNER of the quoting enclave
		qeSVN   uint16
	}{
		"cocoon_quote.dat":      {"4e36dfe92842050bdef6fc65450e8c2f3fda49beb519f65ec44ac766f8b834b5", 4, tdx.TDX, 632, 4304, 70, qeSigner, 0},
		"cos-113-tdx-quote.dat": {"54334c81b4e03634ab3a269ad397c9cea3b5c9ee96c57505b684470b964fd15e", 4, tdx.TDX, 632, 4299, 3065, qeSigner, 6},
		"tdx_quote":             {"c42f9164325024bca2757bc8819b11879a0a369132ea4e2b7c85df4805ea72db", 4, tdx.TDX, 632, 4300, 70, qeSigner, 0},
		"quotev4.hex":           {"d7dbcb124e9a734b2dc5bf32c731cd80597c5ca20602e697a6a10c3d17b30009", 4, tdx.TDX, 632, 4299, 3065, qeSigner, 0},
		"tdx_quote_outdated":    {"4c453ea417a7863ed67c215fe4735d91e26f359c760e5984a277866d8d5758e9", 5, tdx.TDX, 54 + 648, 4300, 0, qeSigner, 0},
		"sgx_quote":             {"f8b81014b6e443609746822194910f5dc1c92c322fa0584298d1e33e505ca3b5", 3, tdx.SGX, 432, 4164, 0, "8c4f5775d796503e96137f77c68a829a0056ac8ded70140b081b094490c57bff", 10},
	} {
		raw := golden.Vector(t, "attestation/"+name)
		if strings.HasSuffix(name, ".hex") {
			raw = golden.Hex(t, strings.TrimSpace(string(raw)))
		}
		if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != tc.sum {
			t.Errorf("%s is another file", name)
		}
		q := quote(t, raw)
		if q.Version != tc.version || q.TEE != tc.tee || len(q.Message) != tc.message || len(q.Signed) != tc.message+4+tc.part || len(raw)-len(q.Signed) != tc.trail {
			t.Errorf("%s: version %d, %s, %d of %d bytes signed", name, q.Version, q.TEE, len(q.Message), len(q.Signed))
		}
		back, err := q.Signature.Encode(q.Version)
		if err != nil || !bytes.Equal(back, q.Signed[tc.message+4:]) {
			t.Errorf("%s: the signature part does not encode to itself (%v)", name, err)
		}
		qe, err := tdx.ParseSGXBody(q.Signature.QEReport)
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(qe.MRSigner[:]) != tc.signer || (tc.qeSVN != 0 && qe.ISVSVN != tc.qeSVN) || qe.Debug() {
			t.Errorf("%s: quoting enclave of %x, SVN %d, debug %t", name, qe.MRSigner, qe.ISVSVN, qe.Debug())
		}
		// What the quoting enclave vouches for.
		binding := sha256.Sum256(append(bytes.Clone(q.Signature.Key), q.Signature.QEAuth...))
		if !bytes.Equal(qe.ReportData[:32], binding[:]) || !bytes.Equal(qe.ReportData[32:], make([]byte, 32)) {
			t.Errorf("%s: key and QE auth are misplaced", name)
		}
		if !bytes.HasPrefix(q.Signature.PCKChain, []byte("-----BEGIN CERTIFICATE-----\n")) {
			t.Errorf("%s: the PCK chain is misplaced", name)
		}
	}
}

// Any layout is read back, and a size that is off by anything is an error.
func TestLayoutsAreExact(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		version := rapid.SampledFrom([]int{3, 4, 5}).Draw(r, "version")
		auth := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "auth")
		chain := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "chain")
		trail := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "trail")
		part := signaturePart(version, string(auth), string(chain))
		s, err := tdx.ParseSignature(uint16(version), part)
		if err != nil || !bytes.Equal(s.QEAuth, auth) || !bytes.Equal(s.PCKChain, chain) {
			r.Fatalf("%d and %d bytes read as %d and %d (%v)", len(auth), len(chain), len(s.QEAuth), len(s.PCKChain), err)
		}
		if len(trail) > 0 {
			if _, err := tdx.ParseSignature(uint16(version), append(bytes.Clone(part), trail...)); err == nil {
				r.Fatalf("%d bytes behind the signature part were accepted", len(trail))
			}
		}
		cut := rapid.IntRange(0, len(part)-1).Draw(r, "cut")
		if _, err := tdx.ParseSignature(uint16(version), part[:cut]); err == nil {
			r.Fatalf("%d of %d bytes were accepted", cut, len(part))
		}
		// The sizes lie before the QE auth and before the chain, and before all of it from version 4 on.
		at := len(part) - len(chain) - 4
		offsets := []int{at, at - 2 - len(auth) - 2}
		if version >= 4 {
			offsets = append(offsets, 130)
		}
		size := part[rapid.SampledFrom(offsets).Draw(r, "offset"):]
		delta := uint16(rapid.IntRange(1, 1<<16-1).Draw(r, "delta"))
		binary.LittleEndian.PutUint16(size, binary.LittleEndian.Uint16(size)+delta)
		if _, err := tdx.ParseSignature(uint16(version), part); err == nil {
			// A wrong QE auth size may move the chain onto bytes that read as one; it must still end where the part ends.
			got, _ := tdx.ParseSignature(uint16(version), part)
			again, err := got.Encode(uint16(version))
			if err != nil || !bytes.Equal(again, part) {
				r.Fatalf("a size off by %d was accepted", delta)
			}
		}
	})
}

// What a caller appends to a view must not overwrite the quote.
func TestViewsCannotGrow(t *testing.T) {
	raw := pattern(4, 584)
	p, err := tdx.Split(raw)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(raw)
	s := &p.Signature
	for name, view := range map[string][]byte{
		"quote": p.Quote, "message": p.Message, "body": p.Body, "quote signature": s.Quote, "key": s.Key, "QE report": s.QEReport,
		"QE signature": s.QESignature, "QE auth": s.QEAuth,
	} {
		if cap(view) != len(view) {
			t.Errorf("%s: %d bytes, but room for %d", name, len(view), cap(view))
		}
	}
	if !bytes.Equal(before, raw) {
		t.Error("splitting changed the quote")
	}
}

func TestDecodingReadsTheSameQuote(t *testing.T) {
	for name, raw := range map[string][]byte{"v3": pattern(3, 384), "v4": pattern(4, 584), "v5": pattern(5, 648)} {
		p, err := tdx.Split(raw)
		if err != nil {
			t.Fatal(err)
		}
		q, err := p.Decode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(quote(t, raw), q); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		p.Body = p.Body[1:]
		if _, err := p.Decode(); err == nil {
			t.Errorf("%s: a body of the wrong size was decoded", name)
		}
	}
}

func TestTEETypesHaveNames(t *testing.T) {
	for tee, want := range map[tdx.TEEType]string{tdx.SGX: "SGX", tdx.TDX: "TDX", 0x82: "TEE type 0x82"} {
		if tee.String() != want {
			t.Errorf("%#x is %q, want %q", uint32(tee), tee, want)
		}
	}
}

// Every bit of a report is hashed, reserved, or one of those that only its MAC covers.
func TestFlippedBitsOfReportsAreSeen(t *testing.T) {
	raw := report(func([]byte) {})
	good, err := tdx.ParseReport(raw)
	if err != nil {
		t.Fatal(err)
	}
	free := func(i, bit int) bool {
		switch {
		case i == 2 && bit == 0: // version 1 has another meaning, but the same form
			return true
		case i >= 16 && i < 32, i >= 128 && i < 192, i >= 224 && i < 256: // CPUSVN, REPORTDATA, MAC
			return true
		}
		return false
	}
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			r, err := tdx.ParseReport(raw)
			if (err == nil) != free(i, bit) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
			if err == nil && i >= 16 && i < 192 && cmp.Equal(good, r) {
				t.Errorf("bit %d of byte %d is in no field", bit, i)
			}
			raw[i] ^= 1 << bit
		}
	}
}

// The image hash covers MRTD to RTMR3 and nothing else: that is why policies look at the other fields themselves.
func TestTheImageHashCoversTheMeasurementsAlone(t *testing.T) {
	raw := ramp(648, 1)
	hash := func() tdx.Hash {
		b, err := tdx.ParseBody(raw)
		if err != nil {
			t.Fatal(err)
		}
		return tdx.ImageHash(&b.Measurements)
	}
	good := hash()
	want := sha256.Sum256(append(bytes.Clone(raw[136:520]), make([]byte, 64)...))
	if good != tdx.Hash(want) {
		t.Errorf("image hash %s, want %x", good, want)
	}
	for i := range raw {
		raw[i] ^= 0x10
		if covered := i >= 136 && i < 520; (hash() != good) != covered {
			t.Errorf("byte %d: covered %t", i, !covered)
		}
		raw[i] ^= 0x10
	}
}

// Every byte of a body is in one field: encoding what was read gives the input, and no two inputs read alike.
func TestBodiesSurviveTheirEncoding(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		size := rapid.SampledFrom([]int{584, 648}).Draw(r, "size")
		raw := rapid.SliceOfN(rapid.Byte(), size, size).Draw(r, "body")
		b, err := tdx.ParseBody(raw)
		if err != nil || !bytes.Equal(b.Encode(), raw) {
			r.Fatalf("the body changed (%v)", err)
		}
		// An enclave's body has reserved bytes, which read as nothing.
		enclave, err := tdx.ParseSGXBody(raw[:384])
		if err != nil {
			r.Fatal(err)
		}
		back, err := tdx.ParseSGXBody(enclave.Encode())
		if err != nil || *back != *enclave {
			r.Fatalf("the enclave's body changed (%v)", err)
		}
	})
}

func FuzzSignaturePart(f *testing.F) {
	for _, version := range []int{3, 4, 5} {
		part := signaturePart(version, "auth", "chain")
		f.Add(uint16(version), part)
		f.Add(uint16(version), part[:len(part)-1])
		f.Add(uint16(version), append(part, 0))
	}
	f.Add(uint16(4), signaturePart(3, "", ""))
	f.Add(uint16(3), []byte{})
	f.Fuzz(func(t *testing.T, version uint16, data []byte) {
		s, err := tdx.ParseSignature(version, data)
		if err != nil || len(data) > tdx.MaxQuote {
			return
		}
		back, err := s.Encode(version)
		if err != nil || !bytes.Equal(back, data) {
			t.Errorf("the signature part does not encode to its own bytes: %v", err)
		}
	})
}

// Quotes are bounded with what follows them: one byte more is too much, however good the quote.
func TestQuotesAreBounded(t *testing.T) {
	for name, raw := range map[string][]byte{"v3": pattern(3, 384), "v4": pattern(4, 584), "v5": pattern(5, 648)} {
		size := len(quote(t, raw).Signed)
		padded := append(bytes.Clone(raw[:size]), make([]byte, tdx.MaxQuote-size)...)
		if got := quote(t, padded); len(got.Signed) != size || cap(got.Signed) != size {
			t.Errorf("%s: %d bytes of %d are signed", name, len(got.Signed), size)
		}
		if _, err := tdx.Split(append(padded, 0)); err == nil || !strings.Contains(err.Error(), "at most 32768") {
			t.Errorf("%s: %d bytes: %v", name, len(padded)+1, err)
		}
	}
	s := tdx.Signature{
		Quote: make([]byte, 64), Key: make([]byte, 64), QEReport: make([]byte, 384), QESignature: make([]byte, 64),
		PCKChain: make([]byte, tdx.MaxQuote+1),
	}
	if _, err := s.Encode(4); err == nil {
		t.Error("a PCK chain larger than a quote was written")
	}
}
