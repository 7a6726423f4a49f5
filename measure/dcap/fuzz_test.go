package dcap_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// fuzzVerify mutates a quote that verifies. Whatever comes of it has a class, or the verdict of the good one.
func fuzzVerify(f *testing.F, tee tdx.TEEType, version int, td15 bool) {
	f.Helper()
	s := newScene(f, tee)
	s.version = version
	if td15 {
		s.td.Service = &tdx.ServiceTD{}
	}
	b := s.build(f)
	v, forgetting := dcap.NewVerifier(b.roots, 8), dcap.NewVerifier(b.roots, 0)
	c, err := dcap.Open(b.bundle, b.roots, b.now)
	if err != nil {
		f.Fatal(err)
	}
	good, err := v.Verify(b.quote, c, b.now)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{
		b.quote, append(bytes.Clone(b.quote), "trailing"...), b.quote[:len(b.quote)-1], b.quote[:700], b.quote[:48], nil,
	} {
		f.Add(seed)
	}
	original, err := tdx.Split(b.quote)
	if err != nil {
		f.Fatal(err)
	}
	size := bytes.Clone(b.quote)
	copy(size[len(original.Message):], []byte{10, 0, 0, 0})
	f.Add(size)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		r, err := v.Verify(data, c, b.now)
		platform, platformErr := dcap.PlatformOf(data)
		if !bytes.Equal(before, data) {
			t.Error("verifying changed its input")
		}
		if _, first := forgetting.Verify(data, c, b.now); dcap.ClassOf(first) != dcap.ClassOf(err) || (first == nil) != (err == nil) {
			t.Errorf("who has seen the good quote says %v, who has not says %v", err, first)
		}
		if err != nil {
			if dcap.ClassOf(err) == "" {
				t.Errorf("an error without a class: %v", err)
			}
			return
		}
		if platformErr != nil || platform != r.Platform() {
			t.Errorf("a good quote's platform is %v (%v)", platform, platformErr)
		}
		// Only the unsigned ends of the PEM area and behind the quote are free, and a signature's second form.
		got, err := tdx.Split(data)
		if err != nil || !bytes.Equal(got.Message, original.Message) || r.Combined != good.Combined {
			t.Errorf("another quote verifies: %x", data)
		}
	})
}

func FuzzVerifyV3(f *testing.F) { fuzzVerify(f, tdx.SGX, 3, false) }

func FuzzVerifyV4(f *testing.F) { fuzzVerify(f, tdx.TDX, 4, false) }

func FuzzVerifyV5(f *testing.F) { fuzzVerify(f, tdx.TDX, 5, true) }

func FuzzPCKExtension(f *testing.F) {
	e := sampleExtension()
	good := e.encode()
	e.piid = nil
	for _, seed := range [][]byte{good, e.encode(), good[:100], tlv(0x30, nil), {0x30, 0x80}, nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fmspc, components, _, _, err := dcap.ParsePCKExtension(data)
		if err != nil {
			return
		}
		if !bytes.Contains(data, append([]byte("\x01\x0d\x01\x04\x04\x06"), fmspc[:]...)) {
			t.Errorf("FMSPC %s is not in the extension", fmspc)
		}
		for i, svn := range components {
			want := append([]byte{0x02, byte(i + 1), 0x02}, tlv(0, integer(int(svn)))[1:]...)
			if !bytes.Contains(data, want) {
				t.Errorf("component %d is not in the extension", i+1)
			}
		}
	})
}

// mutations are a signed text and texts that must be refused.
func mutations(good string) []string {
	return []string{
		good, strings.Replace(good, ":", ": ", 1), strings.Replace(good, "{", `{"ID":"x",`, 1), strings.Replace(good, "{", `{"x":[{}],`, 1),
		good[:len(good)/2], good + " ", strings.ToLower(good), strings.ReplaceAll(good, "0", "00"), "{}", "[]", "",
	}
}

// agrees checks an accepted text against the lenient reader that others use: it must read the same values from it.
func agrees(t *testing.T, text string, want map[string]string) {
	t.Helper()
	var lenient struct{ ID, FMSPC, PCEID, MRSigner string }
	if err := json.Unmarshal([]byte(text), &lenient); err != nil {
		t.Fatalf("encoding/json refuses an accepted text: %v", err)
	}
	got := map[string]string{"id": lenient.ID, "fmspc": lenient.FMSPC, "pceid": lenient.PCEID, "mrsigner": lenient.MRSigner}
	for name, value := range want {
		if !strings.EqualFold(got[name], value) {
			t.Errorf("%s is %q to us and %q to encoding/json", name, value, got[name])
		}
	}
}

func FuzzTCBInfo(f *testing.F) {
	for _, tee := range []tdx.TEEType{tdx.TDX, tdx.SGX} {
		for _, seed := range mutations(newScene(f, tee).tcbInfo) {
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := dcap.ParseTCBInfo(text)
		if err != nil {
			return
		}
		agrees(t, text, map[string]string{"id": p.TEE.String(), "fmspc": p.FMSPC.String(), "pceid": hex.EncodeToString(p.PCEID[:])})
	})
}

func FuzzQEIdentity(f *testing.F) {
	for _, seed := range mutations(qeIdentityText) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tee, signer, err := dcap.ParseQEIdentity(text)
		if err != nil {
			return
		}
		agrees(t, text, map[string]string{"id": map[tdx.TEEType]string{tdx.TDX: "TD_QE", tdx.SGX: "QE"}[tee], "mrsigner": hex.EncodeToString(signer[:])})
	})
}

// What the walker accepts is JSON, and its text is the input's.
func FuzzWalk(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5e-3,"\u00e9",{}],"b":null}`, `[]`, `"\"`, `{"a":1,"A":2}`, `-01`, " 1 ", strings.Repeat("[", 40), "\"\xff\""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := dcap.Walk(text)
		if err != nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%q is not JSON", text)
		}
		if strings.Trim(text, " \t\r\n") != raw {
			t.Errorf("%q reads as %q", text, raw)
		}
	})
}

// The form of an answer is exact: what is taken as signed text is what encoding/json takes for it.
func FuzzSignedAnswer(f *testing.F) {
	signature := strings.Repeat("0f", 64)
	for _, seed := range []string{
		`{"tcbInfo":{"a":1},"signature":"` + signature + `"}`, `{"signature":"` + signature + `", "tcbInfo":{}}`,
		`{"tcbInfo":{"a":1},"signature":"` + signature + `","TcbInfo":{}}`, `{"tcbInfo":{},"tcbInfo":{},"signature":"` + signature + `"}`,
		`{"tcbInfo":[],"signature":"` + signature + `"}`, `{"tcbInfo":{}}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		text, signed, err := dcap.SplitSigned(body, "tcbInfo")
		if err != nil {
			return
		}
		var lenient struct {
			TCBInfo   json.RawMessage
			Signature string
		}
		if err := json.Unmarshal(body, &lenient); err != nil || string(lenient.TCBInfo) != text || lenient.Signature != signed {
			t.Errorf("%q is %q to us, %q to encoding/json (%v)", body, text, lenient.TCBInfo, err)
		}
	})
}

func FuzzCRL(f *testing.F) {
	s := newScene(f, tdx.TDX)
	b := s.build(f)
	for _, text := range []string{b.bundle.PCKCRL, b.bundle.RootCACRL, b.bundle.PCKCRL + "00", b.bundle.PCKCRL[:60], "3000", ""} {
		f.Add(hexBytes(f, text))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		entries, err := dcap.ParseCRL(raw)
		if err == nil && entries*20 > len(raw) {
			t.Errorf("%d entries in %d bytes", entries, len(raw))
		}
	})
}

// Certificates have one text, but for a line feed and a NUL at the end.
func FuzzPEMChain(f *testing.F) {
	s := newScene(f, tdx.TDX)
	b := s.build(f)
	chain := b.bundle.PCKCRLIssuerChain
	for _, seed := range []string{chain, chain + "\x00", strings.TrimSpace(chain), chain + chain, strings.ReplaceAll(chain, "\n", "\r\n"), ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		certs, err := dcap.PEMChain(text, 2)
		if err != nil {
			return
		}
		var again []byte
		for _, c := range certs {
			again = append(again, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
		}
		trim := func(b []byte) []byte { return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte{0}), []byte{'\n'}) }
		if !bytes.Equal(trim(again), trim(text)) {
			t.Errorf("%q is another text for %q", text, again)
		}
	})
}

func FuzzBundle(f *testing.F) {
	s := newScene(f, tdx.TDX)
	b := s.build(f)
	good := string(b.bundle.Encode())
	for _, seed := range mutations(good) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		bundle, err := dcap.ParseBundle(data)
		if err == nil {
			var back *dcap.Bundle
			if back, err = dcap.ParseBundle(bundle.Encode()); err != nil || *back != *bundle {
				t.Fatalf("the bundle does not survive its text: %v", err)
			}
			_, err = dcap.Open(bundle, b.roots, b.now)
		}
		if err != nil && dcap.ClassOf(err) == "" {
			t.Errorf("an error without a class: %v", err)
		}
	})
}
