package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cocoon/tests/golden"
)

func filled[T [32]byte | [48]byte | [64]byte](v byte) (out T) {
	for i := range len(out) {
		out[i] = v
	}
	return out
}

// example is the peer of wire_vectors.json, without its report.
func example() Preamble {
	return Preamble{
		PeerKey:     filled[[32]byte](7),
		Source:      netip.MustParseAddrPort("10.0.2.2:40001"),
		Destination: netip.MustParseAddrPort("127.0.0.1:8118"),
	}
}

func exampleTDX() *TDXReport {
	return &TDXReport{
		MRTD: filled[[48]byte](0x12), MRConfigID: filled[[48]byte](0x34), MROwner: filled[[48]byte](0xaa), MROwnerConfig: filled[[48]byte](0xbb),
		RTMR:       [4][48]byte{filled[[48]byte](0x61), filled[[48]byte](0x62), filled[[48]byte](0x63), filled[[48]byte](0x64)},
		ReportData: filled[[64]byte](0x55), CollateralRoot: filled[[48]byte](0xcc),
	}
}

func examples() map[string]struct {
	generation Generation
	preamble   Preamble
} {
	none, tdx, sgx, sev := example(), example(), example(), example()
	tdx.TDX = exampleTDX()
	sgx.SGX = &SGXReport{MRENCLAVE: filled[[32]byte](0x99), CollateralRoot: filled[[48]byte](0xcc)}
	sev.SEV = &SEVReport{Measurement: filled[[48]byte](0x99), ReportData: filled[[64]byte](0x55)}
	return map[string]struct {
		generation Generation
		preamble   Preamble
	}{
		"dec_none": {Dec2025, none}, "dec_tdx": {Dec2025, tdx}, "dec_sgx": {Dec2025, sgx},
		"apr_none": {Apr2026, none}, "apr_tdx": {Apr2026, tdx}, "apr_sev": {Apr2026, sev},
	}
}

var sameAddress = cmpopts.EquateComparable(netip.AddrPort{})

// TestPreambleVectors: the six stored frames, written and read.
func TestPreambleVectors(t *testing.T) {
	var vectors struct {
		Preamble map[string]struct {
			Frame string `json:"frame_hex"`
			Body  int    `json:"body_len"`
		} `json:"preamble"`
	}
	golden.JSON(t, "attestation/wire_vectors.json", &vectors)
	cases := examples()
	if len(vectors.Preamble) != len(cases) {
		t.Fatalf("%d vectors for %d cases", len(vectors.Preamble), len(cases))
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			want := vectors.Preamble[name]
			frame, err := tc.preamble.Append([]byte("before"), tc.generation)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(frame[len("before"):]); got != want.Frame || len(got) != 2*(4+want.Body) {
				t.Errorf("wrote %s, want %s", got, want.Frame)
			}
			stream := bytes.NewReader(append(golden.Hex(t, want.Frame), "next"...))
			got, g, err := ReadPreamble(iotest.OneByteReader(stream))
			if err != nil || g != tc.generation {
				t.Fatalf("read %v, %v", g, err)
			}
			if diff := cmp.Diff(&tc.preamble, got, sameAddress); diff != "" {
				t.Error(diff)
			}
			if stream.Len() != len("next") {
				t.Errorf("%d bytes left behind the frame, want 4", stream.Len())
			}
			if got.Attested() != !strings.HasSuffix(name, "none") {
				t.Errorf("attested is %v", got.Attested())
			}
		})
	}
}

// TestProtocolVectors: the other given set, with its refusals.
func TestProtocolVectors(t *testing.T) {
	var vectors struct {
		OK []struct {
			Name   string `json:"name"`
			Hex    string `json:"framed_hex"`
			Expect struct {
				Layout, Key string
				Attested    bool
				PublicKey   string `json:"public_key"`
				Source      string `json:"source"`
				Destination string `json:"destination"`
				ReportData  string `json:"reportdata"`
				Root        string `json:"collateral_root_hash"`
			} `json:"expect"`
		} `json:"ok"`
		Refused []struct {
			Name, Hex, Why string
		} `json:"must_return_an_error"`
	}
	golden.JSON(t, "protocol/preamble.json", &vectors)
	if len(vectors.OK) != 4 || len(vectors.Refused) < 9 {
		t.Fatalf("%d and %d vectors", len(vectors.OK), len(vectors.Refused))
	}
	for _, v := range vectors.OK {
		p, g, err := ReadPreamble(bytes.NewReader(golden.Hex(t, v.Hex)))
		if err != nil {
			t.Errorf("%s: %v", v.Name, err)
			continue
		}
		want := v.Expect
		if !strings.HasPrefix(want.Layout, g.String()) || p.Attested() != want.Attested || hex.EncodeToString(p.PeerKey[:]) != want.PublicKey ||
			p.Source.String() != want.Source || p.Destination.String() != want.Destination {
			t.Errorf("%s: %v %+v, want %+v", v.Name, g, p, want)
		}
		if p.TDX != nil && (hex.EncodeToString(p.TDX.ReportData[:]) != want.ReportData || hex.EncodeToString(p.TDX.CollateralRoot[:]) != want.Root) {
			t.Errorf("%s: report %+v, want %+v", v.Name, p.TDX, want)
		}
	}
	for _, v := range vectors.Refused {
		_, _, err := ReadPreamble(bytes.NewReader(golden.Hex(t, v.Hex)))
		if !errors.Is(err, ErrPreamble) {
			t.Errorf("%s (%s): %v", v.Name, v.Why, err)
		}
		if missing := errors.Is(err, ErrNoPreamble); missing != (v.Name == "frame-not-preamble" || v.Name == "empty") {
			t.Errorf("%s: called a missing preamble: %v", v.Name, missing)
		}
	}
}

// TestPreambleRefuses: each broken field is named.
func TestPreambleRefuses(t *testing.T) {
	apr, dec := func(b []byte) []byte { return AppendInt(AppendInt(b, 2), 0) }, func(b []byte) []byte { return AppendInt(AppendInt(b, 1), 0) }
	report := exampleTDX().append(nil)
	rootOnly := make([]byte, len(report))
	rootOnly[len(report)-1] = 1
	tail := func(key []byte, source string, port int32) []byte {
		b := AppendInt(AppendBytes(AppendBytes(nil, key), source), port)
		return AppendInt(AppendBytes(b, "127.0.0.1"), 8118)
	}
	good := tail(make([]byte, 32), "10.0.2.2", 1)
	for name, tc := range map[string]struct {
		body []byte
		want string
	}{
		"zero report in dec":          {bytes.Join([][]byte{dec(nil), make([]byte, len(report)), good}, nil), "a report of zeros"},
		"zero report with a root":     {bytes.Join([][]byte{apr(nil), rootOnly, good}, nil), "a report of zeros"},
		"root without a report":       {bytes.Join([][]byte{AppendInt(nil, 0), bytes.Repeat([]byte{1}, 48), good}, nil), "a collateral root without a report"},
		"host name":                   {bytes.Join([][]byte{apr(nil), report, tail(make([]byte, 32), "localhost", 1)}, nil), `source "localhost" is not an IP address`},
		"zone":                        {bytes.Join([][]byte{apr(nil), report, tail(make([]byte, 32), "fe80::1%eth0", 1)}, nil), "is not an IP address"},
		"address longer than any":     {bytes.Join([][]byte{apr(nil), report, tail(make([]byte, 32), strings.Repeat("1", 46), 1)}, nil), "at most 45"},
		"port beyond 16 bits":         {bytes.Join([][]byte{apr(nil), report, tail(make([]byte, 32), "10.0.2.2", 65536)}, nil), "source port 65536"},
		"negative port":               {bytes.Join([][]byte{apr(nil), report, tail(make([]byte, 32), "10.0.2.2", -1)}, nil), "source port -1"},
		"key of 33 bytes":             {bytes.Join([][]byte{apr(nil), report, tail(make([]byte, 33), "10.0.2.2", 1)}, nil), "at most 32"},
		"report cut":                  {bytes.Join([][]byte{apr(nil), report[:100]}, nil), "bytes wanted"},
		"SGX variant written as text": {bytes.Join([][]byte{AppendInt(AppendInt(nil, 1), 7), report, good}, nil), "variant 7"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _, err := ParsePreamble(tc.body)
			if p != nil || !errors.Is(err, ErrPreamble) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// TestPreambleLimits: an announced length is refused before its body is read or kept.
func TestPreambleLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		length uint32
		none   bool
	}{
		"one below the least": {99, true}, "one above the most": {maxPreamble + 1, false}, "all bits": {1<<32 - 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			body := iotest.ErrReader(errors.New("the body was read"))
			_, _, err := ReadPreamble(io.MultiReader(bytes.NewReader(binary.LittleEndian.AppendUint32(nil, tc.length)), body))
			if !errors.Is(err, ErrPreamble) || errors.Is(err, ErrNoPreamble) != tc.none || strings.Contains(err.Error(), "was read") {
				t.Fatal(err)
			}
		})
	}
	if _, _, err := ReadPreamble(strings.NewReader("\x10")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut length gave %v", err)
	}
	most := append(binary.LittleEndian.AppendUint32(nil, maxPreamble), make([]byte, maxPreamble)...)
	if _, _, err := ReadPreamble(bytes.NewReader(most)); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a body of the greatest length was not parsed: %v", err)
	}
}

// TestAppendRefuses: what a generation cannot say is an error, not something near it.
func TestAppendRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Preamble)
		g      Generation
		want   string
	}{
		"SGX in apr":           {func(p *Preamble) { p.SGX = new(SGXReport) }, Apr2026, "apr has no SGX"},
		"SEV in dec":           {func(p *Preamble) { p.SEV = new(SEVReport) }, Dec2025, "dec has no SEV"},
		"two reports":          {func(p *Preamble) { p.SEV, p.TDX = new(SEVReport), exampleTDX() }, Apr2026, "more than one"},
		"zero report":          {func(p *Preamble) { p.TDX = new(TDXReport) }, Apr2026, "set none"},
		"unknown generation":   {func(*Preamble) {}, 9, "generation 9 is unknown"},
		"no source":            {func(p *Preamble) { p.Source = netip.AddrPort{} }, Apr2026, "an address is missing"},
		"no destination":       {func(p *Preamble) { p.Destination = netip.AddrPort{} }, Dec2025, "an address is missing"},
		"zero report in dec":   {func(p *Preamble) { p.TDX = new(TDXReport) }, Dec2025, "set none"},
		"SEV and SGX in dec":   {func(p *Preamble) { p.SEV, p.SGX = new(SEVReport), new(SGXReport) }, Dec2025, "more than one"},
		"unknown with reports": {func(p *Preamble) { p.TDX = exampleTDX() }, 2, "generation 2 is unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			p := example()
			tc.change(&p)
			if b, err := p.Append(nil, tc.g); b != nil || !errors.Is(err, ErrPreamble) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%x, %v, want %q", b, err, tc.want)
			}
		})
	}
}

// TestAddresses: both families survive; a zone, which means nothing elsewhere, is left out.
func TestAddresses(t *testing.T) {
	p := example()
	p.Source = netip.AddrPortFrom(netip.MustParseAddr("fe80::1%eth0"), 65535)
	p.Destination = netip.MustParseAddrPort("[2001:db8::7]:0")
	frame, err := p.Append(nil, Dec2025)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := ReadPreamble(bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	if got.Source.String() != "[fe80::1]:65535" || got.Destination != p.Destination {
		t.Fatalf("%v, %v", got.Source, got.Destination)
	}
}

func TestGenerations(t *testing.T) {
	for _, g := range []Generation{Apr2026, Dec2025} {
		if got, err := ParseGeneration(g.String()); err != nil || got != g {
			t.Errorf("%s became %v, %v", g, got, err)
		}
	}
	for _, word := range []string{"", "APR", "generation 2", "apr "} {
		if _, err := ParseGeneration(word); err == nil {
			t.Errorf("%q accepted", word)
		}
	}
}

// FuzzPreamble: what reads back is written again as the same preamble, and every error is one of ours.
func FuzzPreamble(f *testing.F) {
	for _, tc := range examples() {
		frame, err := tc.preamble.Append(nil, tc.generation)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Add([]byte("\x0c\x00\x00\x00\x00\x00\x00\x00\x61\x42\x7c\xa5\x88\x77\x66\x55\x44\x33\x22\x11"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, g, err := ReadPreamble(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrPreamble) || p != nil {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		frame, err := p.Append(nil, g)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, g2, err := ReadPreamble(bytes.NewReader(frame))
		if err != nil || g2 != g || !cmp.Equal(p, again, sameAddress) {
			t.Fatalf("%v became %v (%v, %v)", p, again, g2, err)
		}
	})
}
